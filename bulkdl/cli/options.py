"""The options of commands, in the groups in which `--help` shows them.

A group is a decorator: it adds its options to a command and passes one checked value for all of them. The options of
the selection, of fetching and of one verb are derived from their declarations in `model` and `verbs`.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
from click.core import ParameterSource

from bulkdl.cli.completing import complete_data_sets
from bulkdl.cli.config import Configuration, load_configuration
from bulkdl.cli.sections import JSON_HELP, SectionedOption
from bulkdl.errors import InvalidUid
from bulkdl.model.access import DEFAULT_ARCHIVE, Route
from bulkdl.model.options import Option, defaults_of, option_field, options_of, read_fields
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.progress.display import ProgressMode
from bulkdl.verbs.calls.signatures import options_of_verb

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]
Declared: TypeAlias = tuple[tuple[str, ...], dict[str, Any]]
"""The names and the settings of a click option."""

PATH: Final = click.Path(path_type=Path)

_CONFIGURATION: Final = "bulkdl.cli.configuration"
_COLLECTION: Final = "collection"


class Parsed(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic since click 8.4 only
    """A click type made of a function from text to value that raises `ValueError`, or `InvalidUid`, with a message."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click. Values of the configuration have the types of TOML, so numbers become text first."""
        if not isinstance(value, str | int | float):
            return value  # converted before
        try:
            return self._parse(str(value))
        except (ValueError, InvalidUid) as error:
            self.fail(str(error), param, ctx)


def _group(section: str, into: str, build: Callable[..., Any], *options: Declared) -> Decorator:
    """A decorator that adds `options` and calls the command with `into=build(**their values)`."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(**values: Any) -> Any:
            own = {_python_name(names): values.pop(_python_name(names)) for names, _ in options}
            return function(**values, **{into: build(**own)})

        decorators = [
            click.option(*names, cls=SectionedOption, section=section, **settings)
            if names[0].startswith("-")
            else click.argument(*names, **settings)
            for names, settings in options
        ]
        return _all(*decorators)(wrapper)

    return decorate


def _all(*decorators: Decorator) -> Decorator:
    """One decorator for several, of which the first is the outermost."""
    return lambda function: functools.reduce(lambda inner, decorate: decorate(inner), reversed(decorators), function)


def _declared(*names: str, **settings: Any) -> Declared:
    return names, settings


def _python_name(names: tuple[str, ...]) -> str:
    explicit = [name for name in names if not name.startswith("-")]
    return explicit[0] if explicit else names[0].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """Which archive, as the user named it. `is_chosen`: on the command line, not by a default or the environment.

    `given` names those of `api_key`, `username` and `password_file` that are on the command line, and so for this
    archive; those of the environment or the configuration may be for others.
    """

    name: str
    is_chosen: bool
    profiles: Mapping[str, str]
    proxy: str | None
    ca_bundle: str | None
    api_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password_file: Path | None = None
    idc_index: str | None = None
    route: str = Route.IDC_FIRST
    gen3_credentials: Path | None = None
    given: frozenset[str] = frozenset()


def _build_archive(*, archive: str, config: object, **values: Any) -> ArchiveOptions:
    del config
    configuration: Configuration = click.get_current_context().meta[_CONFIGURATION]
    return ArchiveOptions(
        name=archive,
        is_chosen=_is_given("archive"),
        profiles=configuration.profiles,
        given=frozenset(name for name in ("api_key", "username", "password_file") if _is_given(name)),
        **values,
    )


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _read_configuration(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    del param
    configuration = load_configuration(path, options=_CONFIGURABLE.keys())
    ctx.meta[_CONFIGURATION] = configuration
    ctx.default_map = {_CONFIGURABLE[key]: value for key, value in configuration.defaults.items()}
    return path


def origin(ctx: click.Context, param: click.Parameter) -> str | None:
    """Where a parameter's value was set, for a message; None if it was set on the command line."""
    source = ctx.get_parameter_source(param.name or "")
    if source is ParameterSource.DEFAULT_MAP:
        configuration: Configuration = ctx.meta[_CONFIGURATION]
        return configuration.source
    return f"the environment variable {param.envvar}" if source is ParameterSource.ENVIRONMENT else None


_ARCHIVE: Final = (
    _declared(
        "--archive",
        metavar="NAME|URL",
        envvar="BULKDL_ARCHIVE",
        default=DEFAULT_ARCHIVE,
        show_default=True,
        help="A profile, or the base URL of an archive.",
    ),
    _declared("--api-key", metavar="KEY", envvar="BULKDL_API_KEY", help="The API key of the archive."),
    _declared("--username", metavar="NAME", envvar="BULKDL_USERNAME", help="The account for restricted data."),
    _declared("--password-file", metavar="FILE", type=PATH, help="The file that contains the password of the account."),
    _declared(
        "--gen3-credentials",
        metavar="FILE",
        envvar="BULKDL_GEN3_CREDENTIALS",
        type=PATH,
        help="The key file of your account at a data commons of Gen3, for controlled data.",
    ),
    _declared(
        "--ca-bundle",
        metavar="FILE",
        envvar="SSL_CERT_FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="Certificates to trust instead of the system's.",
    ),
    _declared(
        "--idc-index",
        metavar="PATH|URL",
        help="The index of the Imaging Data Commons: a Parquet file, its folder, or an address.",
    ),
    _declared(
        "--route",
        type=click.Choice([each.value for each in Route]),
        default=Route.IDC_FIRST.value,
        show_default=True,
        help="Where the series of TCIA come from: IDC, NBIA, or the other one for what the first does not have.",
    ),
    _declared("--proxy", metavar="URL", help="An HTTP proxy; the default comes from HTTPS_PROXY and NO_PROXY."),
    _declared(
        "--config",
        metavar="FILE",
        envvar="BULKDL_CONFIG",
        type=PATH,
        is_eager=True,
        callback=_read_configuration,
        help="The configuration file.",
    ),
)

archive_options: Final[Decorator] = _group("Archive", "archive", _build_archive, *_ARCHIVE)

_TARGET: Final = _declared(
    "--to",
    "target",
    metavar="ARCHIVE",
    required=True,
    help="Where to send: a profile of DICOMweb, or dicomweb+URL.",
)
_OF_TARGETS: Final = frozenset({"--api-key", "--username", "--password-file", "--ca-bundle", "--proxy", "--config"})


def _build_target(*, target: str, **values: Any) -> ArchiveOptions:
    return replace(_build_archive(archive=target, **values), is_chosen=True)


target_options: Final[Decorator] = _group(
    "Archive", "archive", _build_target, _TARGET, *(each for each in _ARCHIVE if each[0][0] in _OF_TARGETS)
)
"""The options of an archive that data are sent to: it has no default, and is never the one of the environment."""


def _option(name: str, option: Option, default: Any) -> Declared:
    """The option of the command for a field that a dataclass of `model` declares."""
    settings: dict[str, Any] = {"help": option.help}
    if default is False:
        return (*option.flags, name), {**settings, "is_flag": True}
    if isinstance(option.read, type) and issubclass(option.read, StrEnum):
        settings["type"] = click.Choice([each.value for each in option.read])
    elif option.read is Path:
        settings["type"] = click.Path(
            path_type=Path, file_okay=option.metavar != "DIR", dir_okay=option.metavar != "FILE"
        )
    elif option.read is not str:
        settings["type"] = Parsed(option.keyword, option.read)
    if (shown := option.default_text(default)) is not None:
        settings |= {"default": shown, "show_default": True}
    if default is inspect.Parameter.empty:
        settings["required"] = True
    if option.keyword == _COLLECTION:
        settings["shell_complete"] = complete_data_sets
    return (*option.flags, name), {**settings, "metavar": option.metavar, "multiple": default == ()}


def _options(kind: type[Any], *names: str) -> list[Declared]:
    defaults = defaults_of(kind)
    return [
        _option(name, option, defaults[name]) for name, option in options_of(kind).items() if not names or name in names
    ]


_DATA_SETS: Final = _declared("data_sets", nargs=-1, metavar="[DATA_SET]...", shell_complete=complete_data_sets)
_MANIFEST: Final = _declared(
    "--manifest",
    metavar="FILE",
    multiple=True,
    help="A manifest (.tcia, CSV, XLSX, JSON, list of UIDs); - is standard input.",
)
_SKIP_BAD_LINES: Final = _declared(
    "--skip-bad-lines", is_flag=True, help="Skip and count the invalid lines of manifests."
)


def selecting(kind: type[Selection]) -> Decorator:
    """Data sets by name, the options of the criteria that `kind` declares, and manifests: one `selection`."""

    def build(
        *, data_sets: tuple[str, ...], manifest: tuple[str, ...], skip_bad_lines: bool, **criteria: Any
    ) -> Selection:
        from bulkdl.verbs import select  # noqa: PLC0415 - `--help` does not need it

        def read(path: str) -> Selection:
            if path == "-":
                name = "standard input"
                return select.select_from(
                    select.read_content(name, sys.stdin.buffer), source=name, skip_bad_lines=skip_bad_lines
                )
            return select.select_from_file(path, skip_bad_lines=skip_bad_lines)

        words = [word for word in data_sets if word != "-"]
        if len(words) < len(data_sets) and "-" not in manifest:
            manifest = (*manifest, "-")
        named = select.select_data_sets(words, kind(**read_fields(kind, criteria)), skip_bad_lines=skip_bad_lines)
        return select.merge_manifests(named, map(read, manifest))

    section = "Selection (values of one option are alternatives, different options narrow)"
    return _group(section, "selection", build, _DATA_SETS, *_options(kind), _MANIFEST, _SKIP_BAD_LINES)


selection_options: Final[Decorator] = selecting(Selection)


def verb_options(verb: Callable[..., Any]) -> Decorator:
    """The options that the signature of a verb declares; they become one mapping `options`, by name."""
    declared = options_of_verb(verb)

    def build(**values: Any) -> dict[str, Any]:
        return {
            name: declared[name][0].read(value) if isinstance(value, str) else value for name, value in values.items()
        }

    options = [_option(name, option, default) for name, (option, default) in declared.items()]
    return _group("Options", "options", build, *options)


def _group_of_fields(section: str, into: str, kind: type[Any], *names: str) -> Decorator:
    return _group(section, into, lambda **values: kind(**read_fields(kind, values)), *_options(kind, *names))


def fetching(kind: type[FetchSettings], *names: str) -> Decorator:
    """The options that `kind` declares, or those of the named fields; they become one `settings`."""
    return _group_of_fields("Fetching", "settings", kind, *names)


fetch_options: Final[Decorator] = fetching(FetchSettings)


def given_settings() -> frozenset[str]:
    """The names of the settings that are on the command line, of the command that runs."""
    return frozenset(name for name in options_of(FetchSettings) if _is_given(name))


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is printed. `as_json`: one JSON document on standard output instead of text.

    `is_quiet`: neither progress nor a text; errors are printed. `is_verbose`: each retry is a line.
    """

    as_json: bool = option_field("json", JSON_HELP, default=False)
    progress: ProgressMode = option_field(
        "progress",
        "What standard error shows; auto: bars on a terminal, else plain lines.",
        read=ProgressMode,
        default=ProgressMode.AUTO,
    )
    is_quiet: bool = option_field("quiet", "Show errors only: no progress, no summary.", default=False, letter="q")
    is_verbose: bool = option_field("verbose", "Show each retry as a line.", default=False, letter="v")
    log_file: Path | None = option_field(
        "log-file", "Append every event to FILE, as the JSON lines of --progress json.", "FILE", read=Path
    )


output_options: Final[Decorator] = _group_of_fields("Output", "output", OutputOptions)

mirror_argument: Final[Decorator] = click.argument("mirror", metavar="DIR", type=PATH)


def file_option(*names: str, help: str) -> Decorator:  # noqa: A002 - click's name for it
    """The option `names` for a file that the command writes; the second one may be that of the parameter."""
    return click.option(*names, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help=help)


@dataclass(frozen=True, slots=True)
class VerbCall:
    """What the command line gives to a verb: its options, the `settings` among them, the archive, and the output."""

    options: dict[str, Any]
    settings: FetchSettings
    archive: ArchiveOptions
    output: OutputOptions


def running(verb: Callable[..., Any], *further: Decorator, archive: Decorator = archive_options) -> Decorator:
    """The options of a command that runs `verb`: those of the verb, `further` ones, the archive and the output.

    One of the further groups is that of fetching. The command receives a `call`, and what the other groups make.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(settings: FetchSettings, archive: ArchiveOptions, output: OutputOptions, **values: Any) -> Any:
            options = {**values.pop("options"), "settings": settings}
            return function(VerbCall(options, settings, archive, output), **values)

        return _all(verb_options(verb), *further, archive, output_options)(wrapper)

    return decorate


# What [defaults] may set: long option names with `_`, and their names in click. --config is not among them, and neither
# is the selection: users would forget a default that narrows every run.
_CONFIGURABLE: Final[Mapping[str, str]] = {
    name.removeprefix("--").replace("-", "_"): _python_name(names)
    for names, _ in (*_ARCHIVE, *_options(FetchSettings), *_options(OutputOptions))
    for name in names
    if name.startswith("--") and name != "--config"
}
