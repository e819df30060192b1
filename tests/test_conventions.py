"""The rules of this project that a program can check: names, words, sizes, tests in their places."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).parents[1]
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# Published codes and option names are written in backticks, or are a whole string.
_CODE = re.compile(r"`[^`]*`|--[a-z-]+|\b\w+(?:[-_]\w+)+\b|accept unsound|\bunsound(?=[:']|  )")
_WORDS: Final = {
    "metaphors": r"weather|crew|desk|strangers?|breath|doors?|houses?|bookmarks?|patience|turnstiles?|veils?",
    "mannered words": r"affairs?|whoever|nobody|told|had|(?:un)?sound(?:ness)?",
    "mannered phrases": r"of (?:its|their|his) own|for good|at hand|what came|let pass|could not be had",
    "'is no X'": r"(?<!there )(?:is|are|was|were) no(?! longer| more)",
}
_ANY_NOT_PLAIN = re.compile(rf"\b(?:{'|'.join(_WORDS.values())})\b", re.IGNORECASE)
_NOT_PLAIN = {kind: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for kind, words in _WORDS.items()}

_MOST_PARAMETERS: Final = 6
# Functions that may have more parameters than six, and why.
_MANY_PARAMETERS: Final[dict[str, str]] = {
    "bulkdl/model/options.py:option_field": "declares a field: each parameter is one fact of the option",
    "bulkdl/server/app.py:make_app": "each is one part of a server, and may be left out",
    "bulkdl/verbs/export.py:export_async": "public: its keywords are the interface of the library",
    "bulkdl/verbs/manifest_lock.py:manifest_lock_async": "public: its keywords are the interface of the library",
    "bulkdl/verbs/ls.py:ls_async": "public: its keywords are the interface of the library",
    "bulkdl/verbs/mirror.py:mirror_async": "public: its keywords are the interface of the library",
    "bulkdl/verbs/mirroring.py:mirroring": "public: its keywords are the interface of the library",
    "bulkdl/verbs/plan.py:plan_async": "public: its keywords are the interface of the library",
    "bulkdl/verbs/connections/reach.py:reach": "public: its keywords are the interface of the library",
}

# Tests replace functions of the system, to let it fail or to be as on another one, and what a library found installed.
_MAY_BE_REPLACED: Final = frozenset(
    {
        "os",
        "socket",
        "fcntl",
        "sys",
        "importlib.metadata",
        "sqlite3",
        "'sys.stdin'",
        "asyncio.SelectorEventLoop",
        "decoder",
        "get_decoder(HTJ2KLossless)",
    }
)

# Modules without a test file of the same name, and the test that covers them instead.
_TESTED_BY: Final[dict[str, str]] = {
    "__init__.py": "verbs/test_import.py",
    "__main__.py": "cli/test_main.py",
    "_version.py": "cli/test_main.py",
    "archive/aiohttp_transport.py": "archive/test_transports.py",  # the test is on both transports
    "archive/connection_errors.py": "archive/test_http.py",  # their words, which the test reads
    "archive/http_transport.py": "archive/test_transports.py",  # a protocol; the test is on its implementations
    "archive/idc/index_descriptions.py": "archive/idc/test_catalogue.py",  # rows that a catalogue reads
    "archive/idc/index_rows.py": "archive/idc/test_catalogue.py",  # rows, as above
    "archive/socket_*.py": "archive/test_socket_transport.py",  # a transport as a whole, over real sockets
    "archive/drs/*.py": "archive/drs/test_archive.py",  # from a manifest to a mirror; pure rules in test_rules.py
    "archive/dicomweb/paths.py": "archive/dicomweb/test_questions.py",  # addresses, which are made of questions
    "archive/dicomweb/*.py": "archive/dicomweb/test_archive.py",  # searches and bodies, over real sockets
    "archive/request.py": "archive/nbia/test_families.py",  # plain values that dialects make
    "archive/nbia/endpoints/*.py": "archive/nbia/test_endpoints.py",  # tables; the test goes over every line
    "cli/commands/*.py": "cli/test_commands.py",  # options and one call each; the test runs the commands
    "docs/__init__.py": "docs/test_pages.py",
    "fetch/packed_series.py": "archive/drs/test_archive.py",  # zips of a data commons, over real sockets
    "fetch/recorder.py": "fetch/test_coordinator.py",  # over a journal, as a run uses it
    "fetch/worker_main.py": "fetch/test_worker_process.py",  # a program; the test runs it as the parent does
    "journal/*.py": "journal/test_journal.py",  # the parts of a journal, which the test asks as one
    "manifest/*.py": "manifest/test_manifest.py",  # the forms in one table, and what they share
    "model/reports/*.py": "model/test_reports.py",  # values; the test goes over their documents, another their texts
    "model/*.py": "verbs/test_mirror.py",  # values without rules of their making; every verb takes or returns them
    "pages/*.py": "verbs/test_report.py",  # what they draw is the page, which the test reads
    "resolve/listing.py": "resolve/test_resolution.py",  # both stages, on archives over real sockets
    "resolve/unindexed.py": "verbs/test_mirror.py",  # on manifests, over real sockets
    "server/bucket/documents.py": "server/bucket/test_listing.py",  # XML, which the test reads
    "server/bucket/index_main.py": "server/bucket/test_index.py",  # a program; the test runs it as the parent does
    "server/catalogue/__init__.py": "server/catalogue/test_catalogue.py",
    "server/catalogue/reports.py": "server/catalogue/test_scan.py",  # values that a scan returns
    "server/context.py": "server/test_app.py",  # a value that `app` makes
    "server/demo/anatomy.py": "server/demo/test_phantom.py",  # slices, which the test sees in the files
    "server/dicomweb/*.py": "server/dicomweb/test_routes.py",  # the test asks every path over real sockets
    "server/inspection_main.py": "server/test_inspection.py",  # a program; the test runs it as the parent does
    "server/portal/*.py": "server/portal/test_routes.py",  # the test asks every page over real sockets
    "server/reception.py": "server/dicomweb/test_store.py",  # a protocol; the test is on its implementation
    "server/dicomweb/spool.py": "server/dicomweb/test_store.py",  # over real sockets, and what a kill leaves of it
    "verbs/adoption/reception.py": "server/dicomweb/test_store.py",  # the same
    "verbs/serving/accepted_stores.py": "server/dicomweb/test_store.py",  # what the option needs
    "server/supply.py": "verbs/serving/test_gateway.py",  # a protocol; the test is on its implementation
    "server/pathdb/*.py": "server/pathdb/test_routes.py",  # the test asks the API over real sockets
    "slides/check_main.py": "fetch/test_plain_files.py",  # a program; the test runs it as the parent does
    "server/services/*.py": "server/services/test_routes.py",  # the test asks both services over real sockets
    "verbs/serving/catalogue_loading.py": "verbs/serving/test_gateway.py",  # it loads archives of all kinds
    "verbs/serving/cache_downloads.py": "verbs/serving/test_gateway.py",  # the test is on the whole cache
    "verbs/serving/held_series.py": "verbs/serving/test_gateway.py",  # the same
    "verbs/serving/demands.py": "verbs/serving/test_gateway.py",  # the state of what the cache waits for
    "verbs/connections/data_commons.py": "archive/drs/test_archive.py",  # which archive a manifest needs, and its key
    "verbs/manifest_diff.py": "verbs/test_manifest.py",  # the same files as those of manifest
    "verbs/manifests/files.py": "verbs/locks/test_files.py",  # compressed ones are locks
    "verbs/manifests/rows.py": "verbs/test_manifest.py",  # as they are read and written
    "verbs/tables/header_main.py": "verbs/tables/test_header_table.py",  # a program; run as the parent does
    "verbs/connections/endpoint_methods.py": "docs/test_types.py",  # stubs, which the test hands to a type checker
    "verbs/mirrors/held_references.py": "resolve/test_annotations.py",  # those of all archives use it
    "archive/plain_*.py": "archive/test_supporting_files.py",  # what archives of plain files share
    "verbs/connections/supporting_data.py": "archive/test_supporting_files.py",  # the questions, over real sockets
    "verbs/runs/adopted_files.py": "fetch/test_adopted.py",  # with the checksums of archives of all kinds
    "verbs/runs/run_reporter.py": "verbs/runs/test_mirror_run.py",  # what each run says and reports
    "verbs/runs/run_selections.py": "verbs/runs/test_mirror_run.py",  # what each run resolves
    "verbs/report_main.py": "verbs/test_report.py",  # a program; the test runs it as the parent does
    "verbs/pushing/*.py": "verbs/test_push.py",  # from a mirror to made-up archives, over real sockets
    "verbs/connections/open_store.py": "verbs/test_push.py",  # as above
    "server/nbia/*.py": "server/nbia/test_documented.py",  # the test asks every endpoint over real sockets
    "verbs/adoption/batch_main.py": "verbs/adoption/test_processes.py",  # a program; run as the parent does
    "verbs/adoption/*.py": "verbs/test_adopt.py",  # the steps of adopt, on folders of all kinds
}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def modules(folder: str = "bulkdl") -> dict[str, ast.Module]:
    """Every module below `folder`, parsed, by its path."""
    return {path.relative_to(ROOT).as_posix(): parsed(path) for path in sorted((ROOT / folder).rglob("*.py"))}


@cache
def functions() -> list[tuple[str, Function]]:
    """Every function of the package, with the path of its module."""
    return [
        (path, node)
        for path, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def lines_of(function: Function) -> int:
    """From `def` to the last line, without the docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    docstring = function.body[0]
    if ast.get_docstring(function) is not None and docstring.end_lineno is not None:
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def parameters_of(function: Function) -> list[str]:
    every = function.args
    named = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    return [one.arg for one in named if one is not None and one.arg not in {"self", "cls"}]


# --- names and sizes --------------------------------------------------------------------------------------------------


def test_no_two_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for path, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_most_functions_are_short() -> None:
    sizes = [lines_of(function) for _, function in functions()]
    assert statistics.median(sizes) <= 8
    assert statistics.quantiles(sizes, n=10)[-1] <= 24


def test_no_attribute_is_counted_up_across_an_await() -> None:
    """`self.count += await ask()` reads the count before it waits, so what other tasks add meanwhile is lost."""
    found = [
        f"{path}:{node.lineno}"
        for path, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.AugAssign)
        and isinstance(node.target, ast.Attribute)
        and any(isinstance(inner, ast.Await) for inner in ast.walk(node.value))
    ]
    assert found == []


def test_functions_with_many_parameters_are_few_and_named() -> None:
    many = {f"{path}:{found.name}" for path, found in functions() if len(parameters_of(found)) > _MOST_PARAMETERS}
    assert many - _MANY_PARAMETERS.keys() == set()


# --- words ------------------------------------------------------------------------------------------------------------


def prose_of_module(path: Path) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a module, and the names of its tests; with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")


def prose_of_text(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text without its generated parts, whose words are checked in the modules they come from."""
    is_generated = False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        is_generated = (is_generated or line.startswith("<!-- generated:")) and not line.startswith("<!-- end")
        if not is_generated:
            yield number, line


def prose(path: Path) -> Iterator[tuple[int, str]]:
    yield from prose_of_module(path) if path.suffix == ".py" else prose_of_text(path)


def texts() -> list[Path]:
    """Every file that people read as text."""
    kinds = {".py", ".md", ".yml", ".yaml", ".toml"}
    folders = [ROOT / name for name in ("bulkdl", "tests", ".github") if (ROOT / name).is_dir()]
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in kinds]
    found += [path for path in ROOT.iterdir() if path.suffix in kinds or path.name == "Makefile"]
    return sorted(path for path in found if path != Path(__file__) and "data" not in path.parts)


def suspect_prose() -> Iterator[tuple[str, str]]:
    """The lines, without code, each with its place, of all texts that have such words anywhere, in code too.

    To take the others apart takes ten times as long as to search them.
    """
    for path in texts():
        if not _ANY_NOT_PLAIN.search(path.read_text().replace("_", " ")):
            continue
        for line, text in prose(path):
            yield f"{path.relative_to(ROOT).as_posix()}:{line}", _CODE.sub("", text)


def test_the_text_is_plain_english() -> None:
    found = [
        f"{place}: {word!r} ({kind})"
        for place, text in suspect_prose()
        for kind, words in _NOT_PLAIN.items()
        for word in words.findall(text)
    ]
    assert found == []


def test_no_file_names_a_machine_or_unfinished_work() -> None:
    wrong = re.compile(r"T[O]DO|F[I]XME|/w[o]rk/|/r[o]ot/|index-[u]rl|trusted-[h]ost")  # not to find itself
    files = [*texts(), *(ROOT / ".requirements").glob("*.txt")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if wrong.search(line)
    ]
    assert found == []


# --- tests ------------------------------------------------------------------------------------------------------------


def test_the_makefile_names_tests_that_exist() -> None:
    words = re.findall(r"\btests[./][\w./]+(?=\s)", (ROOT / "Makefile").read_text())
    places = [ROOT / (word if "/" in word else word.replace(".", "/")) for word in words]
    missing = [place for place in places if not place.exists() and not place.with_suffix(".py").exists()]
    assert missing == []


def replaced_names(node: ast.AST) -> Iterator[str]:
    """What `monkeypatch.setattr` or `mock` replace in this call."""
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in {"monkeypatch.setattr", "patch", "patch.object", "mock.patch", "mock.patch.object"}:
            yield ast.unparse(node.args[0])


def test_tests_replace_functions_of_the_system_alone() -> None:
    found = [
        f"{path}: {name}"
        for path, module in modules("tests").items()
        if not path.startswith("tests/clients/")
        for node in ast.walk(module)
        for name in replaced_names(node)
        if name not in _MAY_BE_REPLACED
    ]
    assert found == []


def is_mirrored(place: str) -> bool:
    folder, _, name = place.rpartition("/")
    return (ROOT / "tests" / folder / f"test_{name}").exists()


def test_each_module_has_a_test_file_of_its_name_or_one_that_is_named_here() -> None:
    missing = []
    for path, module in modules().items():
        place = path.removeprefix("bulkdl/")
        is_empty = place.endswith("__init__.py") and len(module.body) <= 1
        other = next((test for pattern, test in _TESTED_BY.items() if fnmatch(place, pattern)), None)
        is_tested = is_mirrored(place) or (other is not None and (ROOT / "tests" / other).exists())
        if not is_empty and not is_tested:
            missing.append(place)
    assert missing == []


def test_no_module_is_excused_that_has_its_test_file() -> None:
    needless = []
    for pattern in _TESTED_BY:
        excused = [place for path in modules() if fnmatch(place := path.removeprefix("bulkdl/"), pattern)]
        if all(is_mirrored(place) for place in excused):
            needless.append(pattern)
    assert needless == []
