"""Write the generated parts of the documentation: `python -m tests.docs.generate`.

A page holds `<!-- generated: NAME -->` and `<!-- end -->`. What stands between them is written from the code: options
from click, exit codes from their enum, errors from their tree, documents from the reports, views from the schema.
`test_generated.py` fails when a page and the code differ.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import pkgutil
import re
import sqlite3
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from enum import Enum
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click

from bulkdl import __version__, errors
from bulkdl.archive.profiles import BUILT_IN
from bulkdl.cli.exit_codes import Exit, for_error
from bulkdl.cli.main import cli
from bulkdl.journal import schema
from bulkdl.model import events, reports
from bulkdl.model.access import DEMOS
from bulkdl.store.layout import FIELDS, LAYOUTS
from bulkdl.verbs.archives import ArchiveReport
from tests.docs.man_page import MAN_PAGE, man_page
from tests.docs.method_stubs import STUBS, stubs

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "bulkdl"
DOCS: Final = PACKAGE / "docs"
PAGES: Final = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BADGES: Final = ROOT / ".github" / "badges"
RESULTS: Final = ROOT / "tests" / "benchmarks" / "results" / "latest.json"

_PART: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_UNSHARED: Final = "Options"
_COMMANDS: Final = {
    "RunReport": "`mirror`, `resume`, `sync`",
    "SyncPlan": "`sync --dry-run`",
    "LogReport": "`log`",
    "StatusReport": "`status`",
    "VerifyReport": "`verify`",
    "AdoptReport": "`adopt`",
    "PlanReport": "`plan`",
    "RelayoutReport": "`relayout`",
    "MergeReport": "`merge`",
    "PushReport": "`push`",
    "ManifestReport": "`manifest show`",
    "ManifestWritten": "`manifest convert`, `from-mirror`, `lock`",
    "ManifestDifference": "`manifest diff`",
    "LsReport": "`ls`",
    "CiteReport": "`cite`",
    "MirrorReport": "`report`",
    "DoctorReport": "`doctor`",
    "ArchiveReport": "`archives`: each entry of its list `archives`",
}
# What values of any type are, where they are not those of an event.
_ANY: Final = {"CiteReport": "a value of CSL-JSON"}


def generated(text: str) -> str:
    """`text` with every generated part renewed."""
    return _PART.sub(lambda part: f"{part[1]}\n{_PARTS[part['name']]().strip()}\n\n{part[3]}", text)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table whose columns are aligned."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)).rstrip() + " |" for row in cells]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def _first_sentence(text: str | None) -> str:
    paragraph = " ".join((text or "").strip().partition("\n\n")[0].split())
    return re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0].removesuffix(".")


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Every command with its context, in the order of `bulkdl --help`."""
    root = click.Context(cli, info_name="bulkdl", **cli.context_settings)
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=root)
        if not isinstance(command, click.Group):
            yield ctx, command
            continue
        for inner in command.commands.values():
            yield click.Context(inner, info_name=f"{name} {inner.name}", parent=root), inner


def _sections(command: click.Command) -> dict[str, list[click.Option]]:
    sections: dict[str, list[click.Option]] = {}
    for param in command.params:
        if isinstance(param, click.Option):
            sections.setdefault(getattr(param, "section", _UNSHARED), []).append(param)
    return sections


def _options() -> str:
    """Every command with its own options; the shared groups once, at the end."""
    shared = _shared_groups()
    parts = []
    for ctx, command in commands():
        sections = _sections(command)
        own = sections.pop(_UNSHARED, [])
        usage = " ".join(("bulkdl", ctx.info_name or "", *command.collect_usage_pieces(ctx)))
        parts += [f"## bulkdl {ctx.info_name}", f"```text\n{usage}\n```", _help_text(command)]
        parts += [_option_table(own, ctx)] if own else []
        if examples := getattr(command, "examples", ()):
            parts.append("```shell\n{}\n```".format("\n".join(examples)))
        if sections:
            names = ", ".join(_shared_name(title, options, shared[title]) for title, options in sections.items())
            parts.append(f"Shared options: {names}.")
    ctx = click.Context(cli, info_name="bulkdl", **cli.context_settings)
    for title, options in shared.items():
        parts += [f"## {_short(title)} options", _note(title), _option_table(options, ctx)]
    return "\n\n".join(filter(None, parts))


def _shared_groups() -> dict[str, list[click.Option]]:
    """Each group with all of its options: some commands take only a part of one."""
    groups: dict[str, list[click.Option]] = {}
    for _, command in commands():
        for title, options in _sections(command).items():
            if title != _UNSHARED and len(options) > len(groups.get(title, [])):
                groups[title] = options
    return groups


def _shared_name(title: str, options: list[click.Option], group: list[click.Option]) -> str:
    only = ", ".join(f"`{option.opts[-1]}`" for option in options) if len(options) < len(group) else ""
    return f"[{_short(title)}](#{_anchor(title)}){f' (only {only})' if only else ''}"


def _help_text(command: click.Command) -> str:

    paragraphs = inspect.cleandoc(command.help or "").replace("\f", "").replace("\b\n", "").split("\n\n")
    return "\n\n".join(map(_paragraph, paragraphs))


def _paragraph(text: str) -> str:
    if text.startswith("  "):
        return f"```text\n{textwrap.dedent(text)}\n```"
    return _marked(" ".join(text.split()))


def _marked(text: str) -> str:
    """`text` with the names of options as code."""
    return re.sub(r"(?<![`\w-])--[a-z][a-z-]*", r"`\g<0>`", text)


def _short(title: str) -> str:
    return title.partition(" (")[0]


def _note(title: str) -> str:
    note = title.partition(" (")[2].rstrip(")")
    return f"{note[:1].upper()}{note[1:]}." if note else ""


def _anchor(title: str) -> str:
    return f"{_short(title).lower().replace(' ', '-')}-options"


def _option_table(options: Iterable[click.Option], ctx: click.Context) -> str:
    rows = []
    for option in options:
        record = option.get_help_record(ctx)
        if record is None:
            continue
        names, text = record
        envvar = f" Environment: `{option.envvar}`." if option.envvar else ""
        rows.append((f"`{names}`", f"{_marked(text)}{envvar}"))
    return table(("option", "meaning"), rows)


def _config_keys() -> str:
    """What `[defaults]` may set: the shared options that no selection and no configuration file is named by."""
    keys: dict[str, str] = {}
    for _, command in commands():
        for title, options in _sections(command).items():
            if title != _UNSHARED and not title.startswith("Selection"):
                keys |= {max(option.opts, key=len).lstrip("-"): option.help or "" for option in options}

    keys.pop("config")
    return table(("key", "meaning"), ((f"`{key}`", _marked(text)) for key, text in keys.items()))


def _environment() -> str:
    found: dict[str, str] = {}
    for _, command in commands():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                found[option.envvar] = f"`{option.opts[0]}`"
    return table(("variable", "same as"), ((f"`{name}`", option) for name, option in sorted(found.items())))


# --- endings and errors -----------------------------------------------------------------------------------------------


def exit_meanings() -> dict[int, str]:
    """The members of the enum with the docstrings below them."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Exit))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for node, text in pairwise(body.body):
        match node, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(words))):
                texts[name] = " ".join(words.split()).removesuffix(".")
    return {code.value: texts[code.name] for code in Exit}


def _exit_codes() -> str:
    return table(("code", "meaning"), ((str(code), meaning) for code, meaning in exit_meanings().items()))


def _errors() -> str:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.BulkdlError)]
    classes.remove(errors.BulkdlError)
    classes.sort(key=_line_of)
    rows = (
        (f"`{kind.code}`", str(int(for_error(kind.__new__(kind)))), _first_sentence(kind.__doc__)) for kind in classes
    )
    return table(("code", "exit code", "meaning"), rows)


def _line_of(kind: type) -> int:
    return inspect.getsourcelines(kind)[1]


# --- documents and events ---------------------------------------------------------------------------------------------


def _documents() -> str:
    modules = [import_module(found.name) for found in pkgutil.iter_modules(reports.__path__, f"{reports.__name__}.")]
    kinds = {name: kind for module in modules for name, kind in inspect.getmembers(module, inspect.isclass)}
    kinds["ArchiveReport"] = ArchiveReport
    parts = []
    for report, command in _COMMANDS.items():
        words: dict[str, str] = {}
        example = _example(kinds[report], words).as_json()
        words["of an event"] = _ANY.get(report, words.get("of an event", ""))
        rows = [(f"`{key}`", name) for key, name in _flat(example, words)]
        parts += [f"### {command}", table(("key", "type"), rows)]
    return "\n\n".join(parts)


def _example(hint: Any, words: dict[str, str]) -> Any:
    """A value of the type `hint`. `words` collects the choices of each enum under its first value."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        return hint(**{field.name: _example(hints[field.name], words) for field in dataclasses.fields(hint)})
    if isinstance(hint, type) and issubclass(hint, Enum):
        words[next(iter(hint)).value] = ", ".join(f"`{each.value}`" for each in hint)
        return next(iter(hint))
    hint = getattr(hint, "__supertype__", hint)
    arguments = [argument for argument in typing.get_args(hint) if argument not in {type(None), Ellipsis}]
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        return _example(arguments[0], words)
    if origin is tuple:
        return (_example(arguments[0], words),)
    if origin in {dict, Mapping}:
        return {"CODE": _example(arguments[1], words)}
    words["of an event"] = "as in the event of that name"
    plain = {str: "text", int: 1, float: 1.5, bool: True, date: date.min, Any: "of an event"}
    return {**plain, datetime: datetime.min.replace(tzinfo=UTC)}[hint]


def _flat(value: Any, words: Mapping[str, str], path: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from _flat(inner, words, f"{path}.{key}" if path else key)
        case []:
            yield f"{path}[]", "as above"
        case list() | tuple():
            yield from _flat(value[0], words, f"{path}[]")
        case bool():
            yield path, "true or false"
        case int():
            yield path, "integer"
        case float():
            yield path, "number"
        case _:
            yield path, words.get(value, "text")


def _events() -> str:
    kinds = [kind for _, kind in inspect.getmembers(events, inspect.isclass) if issubclass(kind, events.Event)]
    kinds.remove(events.Event)
    parts = []
    for kind in sorted(kinds, key=_line_of):
        paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
        names = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        parts += [f"### `{kind.name}`", *(" ".join(text.split()) for text in paragraphs), f"Keys: {names}."]
    return "\n\n".join(parts)


# --- the mirror -------------------------------------------------------------------------------------------------------


def _journal() -> str:
    """The sections of the schema's introduction, then every view and table with its columns, as SQLite sees them."""
    text = inspect.cleandoc(schema.__doc__ or "")
    first = re.search(r"^\S.*\n=+\n", text, flags=re.MULTILINE)
    return f"{_markdown(text[first.start() :] if first else text)}\n\n{_columns()}"


def _markdown(text: str) -> str:
    """Headings and literal blocks of reStructuredText as Markdown."""
    text = re.sub(r"^(\S.*)\n=+\n", r"## \1\n\n", text, flags=re.MULTILINE)
    blocks = re.compile(r"::\n\n((?:    .*\n|\n)+)")
    return blocks.sub(lambda block: f":\n\n```text\n{textwrap.dedent(block[1]).strip()}\n```\n\n", text)


def _columns() -> str:
    with closing(sqlite3.connect(":memory:")) as connection:
        for script in (*schema.MIGRATIONS, schema.VIEWS):
            connection.executescript(script)
        names = "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite%' ORDER BY name"
        parts = []
        for kind in ("view", "table"):
            parts.append(f"## Columns of each {kind}")
            parts.append(
                "\n".join(
                    f"- `{name}`: {', '.join(row[1] for row in connection.execute(f'PRAGMA table_info({name})'))}"
                    for (name,) in connection.execute(names, (kind,)).fetchall()
                )
            )
    return "\n\n".join(parts)


def _layouts() -> str:
    return table(("name", "template"), ((f"`{name}`", f"`{template}`") for name, template in LAYOUTS.items()))


def _layout_fields() -> str:
    return table(("field", "value"), ((f"`{{{name}}}`", meaning) for name, meaning in FIELDS.items()))


def _profiles() -> str:
    rows = [(f"`{name}`", *address.partition("+")[::2]) for name, address in BUILT_IN.items()]
    demos = zip(DEMOS, ("nbia", "idc", "pathdb"), strict=True)
    inside = [(f"`{name}`", kind, "inside bulkdl") for name, kind in demos]
    return table(("profile", "kind", "address"), [*rows, *inside])


# --- the code and its speed -------------------------------------------------------------------------------------------


def _map() -> str:
    """Every module of each folder with the first sentence of its docstring."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        folders.setdefault(path.parent, []).append(path)
    parts = []
    for folder, modules in folders.items():
        own = [path for path in modules if path.name != "__init__.py"]
        rows = [(f"`{path.name}`", _first_sentence(_docstring(path))) for path in own]
        name = folder.relative_to(PACKAGE.parent).as_posix()
        parts += [f"### {name}/", f"{_first_sentence(_docstring(folder / '__init__.py'))}."]
        parts += [table(("module", "subject"), rows)] if rows else []
    return "\n\n".join(parts)


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


_OF_README: Final = frozenset({"S1", "S2", "S3", "S2t", "S4", "S4L", "S5", "S8", "S7"})


def _speed() -> str:
    """The seconds of bulkdl and of the best of the others, for each scenario of the newest results."""
    found = _results()
    heads = ("", "bulkdl", "the same checks", "no checks", "floor", "scenario")
    rows = [(one["name"], *_seconds(one), _shown(one["floor"]), one["title"]) for one in found["summary"]]
    notes = [*found["notes"], f"{found['goals_met']} of {found['goals']} goals are met."]
    return "\n\n".join([_measured(found), table(heads, rows), *map(_filled, notes)])


def _speed_in_short() -> str:
    """The same for the README: fewer scenarios."""
    found = _results()
    heads = ("seconds", "bulkdl", "best other tool, followed by the same checks", "best other tool, without checks")
    rows = [(one["title"], *_seconds(one)) for one in found["summary"] if one["name"] in _OF_README]
    return "\n\n".join([_measured(found), table(heads, rows), *map(_filled, found["notes"])])


def _results() -> Any:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def _measured(found: Mapping[str, Any]) -> str:
    """When and on what kind of machine it was."""
    day = date.fromisoformat(found["date"])
    return _filled(
        f"Measured on {day.day} {day:%B %Y} on {found['machine']}: medians of {found['rounds']} rounds, with server, "
        "link and client on the one machine."
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _seconds(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return _shown(one["ours"]), _of_tool(one["checked"]), _of_tool(one["raw"])


def _of_tool(best: Sequence[Any] | None) -> str:
    return f"{_shown(best[1])} ({best[0]})" if best is not None else "-"


def _shown(seconds: float | None) -> str:
    return f"{seconds:.1f}" if seconds is not None else "-"


_PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "options": _options,
    "config-keys": _config_keys,
    "environment": _environment,
    "exit-codes": _exit_codes,
    "errors": _errors,
    "documents": _documents,
    "events": _events,
    "journal": _journal,
    "layouts": _layouts,
    "layout-fields": _layout_fields,
    "profiles": _profiles,
    "map": _map,
    "speed": _speed,
    "speed-in-short": _speed_in_short,
}


# --- badges -----------------------------------------------------------------------------------------------------------


def badges() -> dict[Path, str]:
    """The badges of the README, by file, from the metadata of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pattern = re.compile(r"Programming Language :: Python :: (3\.[0-9]+)")
    versions = [found[1] for line in project["classifiers"] if (found := pattern.fullmatch(line))]
    texts = {"version": __version__, "python": " | ".join(versions), "licence": project["license"]}
    return {BADGES / f"{name}.svg": _badge(name, text) for name, text in texts.items()}


def _badge(label: str, text: str) -> str:
    left, right = (10 + round(6.6 * len(word)) for word in (label, text))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">
<title>{label}: {text}</title>
<rect width="{left + right}" height="20" rx="3" fill="#555"/>
<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="#0a6ebd"/>
<g fill="#fff" font-family="Verdana,'DejaVu Sans',sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2}" y="14" textLength="{left - 10}">{label}</text>
<text x="{left + right / 2}" y="14" textLength="{right - 10}">{text}</text>
</g>
</svg>
"""


def main() -> None:
    """Renew every page and badge, the man page, and the stubs of the methods."""
    STUBS.write_text(stubs(), encoding="utf-8")
    MAN_PAGE.write_text(man_page(commands(), exit_meanings()), encoding="utf-8")
    for path, badge in badges().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(badge, encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (renewed := generated(text)) != text:
            page.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main()
