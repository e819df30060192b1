"""The options that commands share, each declared once, in the groups in which `--help` shows them.

A group is a decorator: it adds its options to a command and hands the command one checked value for all of them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from bulkdl.cli import parsing
from bulkdl.cli.config import Configuration, load_configuration
from bulkdl.cli.progress import ProgressMode
from bulkdl.errors import InvalidUid, ManifestError
from bulkdl.model.ids import parse_series_uid, parse_study_uid
from bulkdl.model.selection import Selection, merge_series
from bulkdl.model.settings import FetchSettings, Transport, ValidationLevel

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]
Value = TypeVar("Value")

_CONFIGURATION: Final = "bulkdl.cli.configuration"
_DEFAULTS: Final = FetchSettings()


class Parsed(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic since click 8.4 only
    """A click type made of a function from text to value that raises `ValueError`, or `InvalidUid`, with a message."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click. Values of the configuration come as TOML gives them, so numbers are written out first."""
        if not isinstance(value, str | int | float):
            return value  # converted before
        try:
            return self._parse(str(value))
        except (ValueError, InvalidUid) as error:
            self.fail(str(error), param, ctx)


class SectionedOption(click.Option):
    """An option that `--help` shows under a heading."""

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose `--help` shows its options under their headings, its own first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _group(section: str, into: str, build: Callable[..., Any], *options: tuple[tuple[str, ...], dict[str, Any]]) -> Any:
    """A decorator that adds `options` and calls the command with `into=build(**their values)`."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(**values: Any) -> Any:
            own = {name: values.pop(name) for name in names}
            return function(**values, **{into: build(**own)})

        decorated: Function = wrapper
        for names_of_option, settings in reversed(options):
            decorated = click.option(*names_of_option, cls=SectionedOption, section=section, **settings)(decorated)
        return decorated

    names = [_python_name(names_of_option) for names_of_option, _ in options]
    return decorate


def _python_name(names: tuple[str, ...]) -> str:
    explicit = [name for name in names if not name.startswith("-")]
    return explicit[0] if explicit else names[0].lstrip("-").replace("-", "_")


# --- the archive ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """Which archive, as the caller named it. `is_chosen`: on the command line, not by a default or the environment.

    `given` names those of `api_key`, `username` and `password_file` that were written on the command line, so for this
    very archive; those of the environment or the configuration may be there for others.
    """

    name: str
    is_chosen: bool
    profiles: Mapping[str, str]
    proxy: str | None
    ca_bundle: str | None
    api_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password_file: Path | None = None
    given: frozenset[str] = frozenset()


def _build_archive(
    *,
    archive: str,
    api_key: str | None,
    username: str | None,
    password_file: Path | None,
    ca_bundle: str | None,
    proxy: str | None,
    config: Path | None,
) -> ArchiveOptions:
    del config
    configuration: Configuration = click.get_current_context().meta[_CONFIGURATION]
    return ArchiveOptions(
        name=archive,
        is_chosen=_is_given("archive"),
        profiles=configuration.profiles,
        proxy=proxy,
        ca_bundle=ca_bundle,
        api_key=api_key,
        username=username,
        password_file=password_file,
        given=frozenset(name for name in ("api_key", "username", "password_file") if _is_given(name)),
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
    """Where a parameter's value was set, for a message; None where the caller wrote it on the command line."""
    match ctx.get_parameter_source(param.name or ""):
        case ParameterSource.DEFAULT_MAP:
            configuration: Configuration = ctx.meta[_CONFIGURATION]
            return configuration.source
        case ParameterSource.ENVIRONMENT:
            return f"the environment variable {param.envvar}"
        case _:
            return None


_ARCHIVE: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("--archive",),
        {
            "metavar": "NAME|URL",
            "envvar": "BULKDL_ARCHIVE",
            "default": "tcia",
            "show_default": True,
            "help": "A profile, or the base URL of an archive.",
        },
    ),
    (("--api-key",), {"metavar": "KEY", "envvar": "BULKDL_API_KEY", "help": "The key of the archive."}),
    (("--username",), {"metavar": "NAME", "envvar": "BULKDL_USERNAME", "help": "The account for restricted data."}),
    (
        ("--password-file",),
        {"metavar": "FILE", "type": click.Path(path_type=Path), "help": "Holds the password of the account."},
    ),
    (
        ("--ca-bundle",),
        {
            "metavar": "FILE",
            "envvar": "SSL_CERT_FILE",
            "type": click.Path(exists=True, dir_okay=False),
            "help": "Certificates to trust instead of the system's.",
        },
    ),
    (("--proxy",), {"metavar": "URL", "help": "An HTTP proxy; otherwise HTTPS_PROXY and NO_PROXY count."}),
    (
        ("--config",),
        {
            "metavar": "FILE",
            "envvar": "BULKDL_CONFIG",
            "type": click.Path(path_type=Path),
            "is_eager": True,
            "callback": _read_configuration,
            "help": "The configuration file.",
        },
    ),
)

archive_options: Final[Decorator] = _group("Archive", "archive", _build_archive, *_ARCHIVE)


# --- the selection ----------------------------------------------------------------------------------------------------


def _build_selection(*, manifest: tuple[str, ...], **criteria: Any) -> Selection:
    own = Selection(**criteria)
    selection = merge_series([own, *(_read_manifest(path) for path in manifest)])
    selection.check()
    return selection


def _read_manifest(path: str) -> Selection:
    from bulkdl.verbs.manifests import select_from  # noqa: PLC0415 - many selections need no manifest

    source = "standard input" if path == "-" else path
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", source=source) from error
    return select_from(content, source=source)


def _criterion(option: str, name: str, metavar: str, text: str, **more: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return ((option, name), {"metavar": metavar, "multiple": True, "help": text, **more})


_SELECTION: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    _criterion("--collection", "collections", "NAME", "A Collection, in any case."),
    _criterion("--patient", "patients", "ID", "A Patient ID."),
    _criterion("--study", "studies", "UID", "A Study Instance UID.", type=Parsed("uid", parse_study_uid)),
    _criterion("--series", "series", "UID", "A Series Instance UID.", type=Parsed("uid", parse_series_uid)),
    _criterion("--modality", "modalities", "CODE", "A modality, such as CT."),
    _criterion("--body-part", "body_parts", "NAME", "A body part examined, such as CHEST."),
    _criterion("--manufacturer", "manufacturers", "NAME", "A manufacturer of the equipment."),
    _criterion("--model", "models", "NAME", "A manufacturer's model name."),
    _criterion("--shared-list", "shared_lists", "NAME", "A shared list of the archive."),
    (
        ("--since",),
        {"metavar": "YYYY-MM-DD", "type": Parsed("date", parsing.parse_date), "help": "Released on that day or later."},
    ),
    _criterion("--manifest", "manifest", "FILE", "A manifest (.tcia, CSV, list of UIDs); - is standard input."),
    (("--everything",), {"is_flag": True, "help": "The whole archive."}),
)

selection_options: Final[Decorator] = _group(
    "Selection (values of one option are alternatives, different options narrow)",
    "selection",
    _build_selection,
    *_SELECTION,
)


# --- fetching ---------------------------------------------------------------------------------------------------------


def _build_settings(
    *,
    concurrency: int | None,
    workers: int | None,
    rate_limit: float | None,
    transport: str,
    validate: str,
    max_attempts: int,
    give_up_after: float,
    accept_unsound: bool,
    private: bool,
) -> FetchSettings:
    return FetchSettings(
        concurrency=concurrency,
        workers=workers,
        rate_limit_bytes=rate_limit,
        transport=Transport(transport),
        validation=ValidationLevel(validate),
        max_attempts=max_attempts,
        give_up_after_seconds=give_up_after,
        accept_unsound=accept_unsound,
        private=private,
    )


_COUNT_OR_AUTO: Final = Parsed("count", parsing.parse_count_or_auto)

_FETCH: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("--concurrency",),
        {
            "metavar": "auto|N",
            "type": _COUNT_OR_AUTO,
            "default": "auto",
            "show_default": True,
            "help": "Requests in flight, at most.",
        },
    ),
    (
        ("--workers",),
        {
            "metavar": "auto|N",
            "type": _COUNT_OR_AUTO,
            "default": "auto",
            "show_default": True,
            "help": "Processes that fetch.",
        },
    ),
    (
        ("--rate-limit",),
        {"metavar": "RATE", "type": Parsed("rate", parsing.parse_rate), "help": "Such as 50MB/s, for the whole run."},
    ),
    (
        ("--transport",),
        {
            "type": click.Choice([each.value for each in Transport]),
            "default": _DEFAULTS.transport.value,
            "show_default": True,
            "help": "Instance by instance, or one zip per Series.",
        },
    ),
    (
        ("--validate",),
        {
            "type": click.Choice([each.value for each in ValidationLevel]),
            "default": _DEFAULTS.validation.value,
            "show_default": True,
            "help": "How closely each instance is looked at.",
        },
    ),
    (
        ("--max-attempts",),
        {
            "metavar": "N",
            "type": Parsed("count", parsing.parse_count),
            "default": str(_DEFAULTS.max_attempts),
            "show_default": True,
            "help": "Attempts at one instance.",
        },
    ),
    (
        ("--give-up-after",),
        {
            "metavar": "DURATION",
            "type": Parsed("duration", parsing.parse_duration),
            "default": "15m",
            "show_default": True,
            "help": "How long a silent archive is waited for.",
        },
    ),
    (("--accept-unsound",), {"is_flag": True, "help": "Take in, marked, what the archive itself holds unsound."}),
    (("--private",), {"is_flag": True, "help": "Make folders and files readable for you alone."}),
)

fetch_options: Final[Decorator] = _group("Fetching", "settings", _build_settings, *_FETCH)


# --- output -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is printed where. `as_json`: one JSON document on standard output instead of text."""

    as_json: bool
    progress: ProgressMode


def _build_output(*, as_json: bool, progress: str) -> OutputOptions:
    return OutputOptions(as_json, ProgressMode(progress))


JSON_OPTION: Final[tuple[tuple[str, ...], dict[str, Any]]] = (
    ("--json", "as_json"),
    {"is_flag": True, "help": "Print one JSON document on standard output."},
)

_OUTPUT: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    JSON_OPTION,
    (
        ("--progress",),
        {
            "type": click.Choice([each.value for each in ProgressMode]),
            "default": ProgressMode.AUTO.value,
            "show_default": True,
            "help": "What standard error shows: bars on a terminal, else plain lines.",
        },
    ),
)

output_options: Final[Decorator] = _group("Output", "output", _build_output, *_OUTPUT)

# What [defaults] may set: long names of options with `_`, to the names that click knows them by. Not the configuration
# itself, and no selection: a default that narrows every run would not be remembered.
_CONFIGURABLE: Final[Mapping[str, str]] = {
    names[0].lstrip("-").replace("-", "_"): _python_name(names)
    for names, _ in (*_ARCHIVE, *_FETCH, *_OUTPUT)
    if names[0] != "--config"
}
