"""Options become the values of the library; what is wrong is said before anything is asked of an archive."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest

from bulkdl.archive.nbia.questions import plan_questions
from bulkdl.cli.main import cli
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    archive_options,
    fetch_options,
    fetching,
    origin,
    output_options,
    selecting,
    selection_options,
)
from bulkdl.errors import ManifestError, SelectionError
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.options import option_field, options_of
from bulkdl.model.quantities import parse_count
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection, criterion, merge_series
from bulkdl.model.settings import FetchSettings, Transport, ValidationLevel
from bulkdl.progress.display import ProgressMode

Parse = Callable[..., dict[str, Any]]

MANIFEST = "manifestVersion=3.0\nListOfSeriesToDownload=\n"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BULKDL_ARCHIVE", "BULKDL_API_KEY", "BULKDL_USERNAME", "BULKDL_CONFIG", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-configuration"))


@pytest.fixture
def parse() -> Parse:
    """The values that a command with every group of options is called with."""

    @click.command
    @selection_options
    @fetch_options
    @archive_options
    @output_options
    def command(**values: Any) -> dict[str, Any]:
        return values

    def run(*arguments: str) -> dict[str, Any]:
        with command.make_context("test", ["--collection", "c", *arguments]) as ctx:
            values: dict[str, Any] = command.invoke(ctx)
            return values

    return run


def test_without_options_everything_is_as_the_contract_says(parse: Parse) -> None:
    values = parse()
    assert values["settings"] == FetchSettings()
    assert values["output"] == OutputOptions(as_json=False, progress=ProgressMode.AUTO)
    assert values["archive"] == ArchiveOptions(name="tcia", is_chosen=False, profiles={}, proxy=None, ca_bundle=None)


def test_every_fetch_option_arrives(parse: Parse) -> None:
    values = parse(
        *("--concurrency", "32", "--workers", "4", "--rate-limit", "5MB/s", "--transport", "zip"),
        *("--validate", "pixels", "--max-attempts", "2", "--give-up-after", "1h30m", "--accept-unsound", "--private"),
    )
    assert values["settings"] == FetchSettings(
        concurrency=32,
        workers=4,
        rate_limit_bytes=5e6,
        transport=Transport.ZIP,
        validation=ValidationLevel.PIXELS,
        max_attempts=2,
        give_up_after_seconds=5400,
        accept_unsound=True,
        private=True,
    )


def test_every_criterion_arrives_and_may_be_repeated(parse: Parse) -> None:
    values = parse(
        *("--collection", "d", "--patient", "p", "--study", "1.2", "--series", "1.3", "--series", "1.4"),
        *("--modality", "CT", "--modality", "MR", "--body-part", "CHEST", "--manufacturer", "GE", "--model", "X"),
        *("--shared-list", "l", "--since", "2024-02-01"),
    )
    assert values["selection"].as_json() == {
        "collections": ("c", "d"),
        "patients": ("p",),
        "studies": ("1.2",),
        "series": ("1.3", "1.4"),
        "modalities": ("CT", "MR"),
        "body_parts": ("CHEST",),
        "manufacturers": ("GE",),
        "models": ("X",),
        "shared_lists": ("l",),
        "since": date(2024, 2, 1).isoformat(),
    }


def test_refuses_a_selection_that_contradicts_itself(parse: Parse) -> None:
    with pytest.raises(SelectionError, match="--everything"):
        parse("--everything")


# --- manifests --------------------------------------------------------------------------------------------------------


def test_manifests_are_read_in_order_and_each_series_counts_once(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "a.tcia").write_text(f"{MANIFEST}1.2.826.3\n1.2.826.2\n")
    (tmp_path / "b.txt").write_text("1.2.826.4\n1.2.826.3\n")
    values = parse(
        "--series", "1.2.826.5", "--manifest", str(tmp_path / "a.tcia"), "--manifest", str(tmp_path / "b.txt")
    )
    assert values["selection"].series == ("1.2.826.5", "1.2.826.3", "1.2.826.2", "1.2.826.4")


@pytest.mark.parametrize("words", [("--manifest", "-"), ("-",), ("-", "--manifest", "-")])
def test_a_manifest_may_come_from_standard_input(
    parse: Parse, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{MANIFEST}1.3\n".encode())))
    selection = parse(*words)["selection"]
    assert (selection.series, selection.data_sets) == (("1.3",), ())


def test_a_broken_manifest_is_named_with_its_line(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "a.tcia").write_text(f"{MANIFEST}1.3\n1.x\n")
    with pytest.raises(ManifestError, match=r"a\.tcia, line 4"):
        parse("--manifest", str(tmp_path / "a.tcia"))


def test_a_manifest_that_is_not_there_is_named(parse: Parse) -> None:
    with pytest.raises(ManifestError, match=r"nowhere\.tcia: cannot be read"):
        parse("--manifest", "nowhere.tcia")


def narrowed(uid: str, *sops: str) -> Selection:
    series = SeriesUid(uid)
    instances = ((series, tuple(SopInstanceUid(sop) for sop in sops)),) if sops else ()
    return Selection(series=(series,), instances=instances)


@pytest.mark.parametrize(
    ("parts", "instances"),
    [
        pytest.param([narrowed("1", "1.1")], (("1", ("1.1",)),), id="one list"),
        pytest.param([narrowed("1", "1.1"), narrowed("1", "1.2", "1.1")], (("1", ("1.1", "1.2")),), id="two lists"),
        pytest.param([narrowed("1", "1.1"), narrowed("1")], (), id="whole after narrowed"),
        pytest.param([narrowed("1"), narrowed("1", "1.1")], (), id="narrowed after whole"),
    ],
)
def test_a_whole_series_is_kept_beside_its_instances(parts: list[Selection], instances: tuple[Any, ...]) -> None:
    merged = merge_series([Selection(), *parts])
    assert merged.series == ("1",)
    assert merged.instances == instances


# --- configuration and environment ------------------------------------------------------------------------------------


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(
        '[profiles]\nlab = "nbia+http://lab.test/x"\n'
        '[defaults]\narchive = "lab"\nconcurrency = 3\njson = true\nrate-limit = "1MB/s"\n'
    )
    return path


def test_the_configuration_gives_defaults_and_profiles(parse: Parse, configuration: Path) -> None:
    values = parse("--config", str(configuration))
    assert values["archive"].name == "lab"
    assert values["archive"].profiles == {"lab": "nbia+http://lab.test/x"}
    assert values["settings"].concurrency == 3
    assert values["settings"].rate_limit_bytes == 1e6
    assert values["output"].as_json


def test_the_configuration_has_the_long_names_of_options(parse: Parse, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[defaults]\nquiet = true\nverbose = true\n")
    output = parse("--config", str(path))["output"]
    assert (output.is_quiet, output.is_verbose) == (True, True)


def test_the_environment_goes_before_the_configuration_and_the_command_line_before_both(
    parse: Parse, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKDL_CONFIG", str(configuration))
    monkeypatch.setenv("BULKDL_ARCHIVE", "nlst")
    assert parse()["archive"].name == "nlst"
    assert parse("--archive", "demo", "--concurrency", "5")["archive"].name == "demo"
    assert parse("--concurrency", "5")["settings"].concurrency == 5


def test_only_the_command_line_chooses_an_archive_for_a_mirror_that_has_one(
    parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default must not redirect `resume` to another archive."""
    monkeypatch.setenv("BULKDL_ARCHIVE", "nlst")
    assert not parse()["archive"].is_chosen
    assert parse("--archive", "nlst")["archive"].is_chosen


@pytest.mark.parametrize(
    "arguments", [("--api-key", "s3cret"), ("--username", "me"), ("--password-file", "p")], ids=lambda words: words[0]
)
def test_a_key_of_the_command_line_is_for_this_archive(parse: Parse, arguments: tuple[str, str]) -> None:
    options = parse(*arguments)["archive"]
    assert options.given == {arguments[0].lstrip("-").replace("-", "_")}
    assert "s3cret" not in repr(options)


def test_a_key_of_the_environment_is_for_other_archives(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKDL_API_KEY", "k")
    monkeypatch.setenv("BULKDL_USERNAME", "me")
    assert not parse()["archive"].given


def test_a_bad_value_is_traced_to_where_it_was_set(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text("[defaults]\nworkers = 0\n")
    with pytest.raises(click.BadParameter) as caught:
        parse("--config", str(tmp_path / "c.toml"))
    assert caught.value.ctx is not None
    assert caught.value.param is not None
    assert origin(caught.value.ctx, caught.value.param) == str(tmp_path / "c.toml")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(click.BadParameter) as caught:
        parse()
    assert caught.value.ctx is not None
    assert caught.value.param is not None
    assert origin(caught.value.ctx, caught.value.param) == "the environment variable SSL_CERT_FILE"


# --- one declaration --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WiderSelection(Selection):
    """A selection with one more criterion."""

    protocols: tuple[str, ...] = criterion("scan_protocol", "A protocol name.", "NAME", asks=("protocol", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class WiderSettings(FetchSettings):
    """Settings with one more option."""

    burst: int = option_field("burst", "A burst.", "N", read=parse_count, shown_default="3", default=3)


@click.command
@selecting(WiderSelection)
@fetching(WiderSettings)
def wider(**values: Any) -> dict[str, Any]:
    """A command with the options of the two classes above."""
    return values


def run_wider(*arguments: str) -> dict[str, Any]:
    with wider.make_context("test", list(arguments)) as ctx:
        values: dict[str, Any] = wider.invoke(ctx)
        return values


def test_a_criterion_is_declared_once_for_the_command_and_the_library() -> None:
    selection = run_wider("--scan-protocol", "Head", "--scan-protocol", "Neck", "--modality", "CT")["selection"]
    assert selection == WiderSelection.from_keywords({"scan_protocol": ["Head", "Neck"], "modality": "CT"})
    assert selection.matches(Series(series_uid=SeriesUid("1"), modality="CT", protocol="HEAD"))
    assert not selection.matches(Series(series_uid=SeriesUid("1"), modality="CT", protocol="Chest"))
    assert WiderSelection.from_json(json.loads(json.dumps(selection.as_json()))) == selection
    assert merge_series([selection, Selection(series=(SeriesUid("1"),))]) == replace(selection, series=("1",))
    selection.check()
    assert plan_questions(selection) == plan_questions(Selection(modalities=("CT",)))


def test_a_criterion_that_archives_cannot_be_asked_for_alone_filters_every_collection() -> None:
    selection = WiderSelection.from_keywords({"scan_protocol": "Head"})
    assert selection.narrowest() is None
    assert [str(question) for question in plan_questions(selection, ("A", "B"))] == ["collection A", "collection B"]


def test_a_fetch_option_is_declared_once_for_the_command_and_the_library() -> None:
    assert run_wider("--collection", "c")["settings"] == WiderSettings()
    assert run_wider("--collection", "c", "--burst", "7", "--workers", "2")["settings"] == WiderSettings(
        burst=7, workers=2
    )
    assert "A burst.  [default: 3]" in wider.get_help(click.Context(wider))


def test_a_default_is_shown_as_it_is_read() -> None:
    for name, option in options_of(FetchSettings).items():
        default = getattr(FetchSettings(), name)
        if (shown := option.default_text(default)) is not None:
            assert option.read(shown) == default


# --- the contract -----------------------------------------------------------------------------------------------------

ARCHIVE = {"--archive", "--api-key", "--username", "--password-file", "--ca-bundle", "--proxy", "--config"}
SELECTION = {"--collection", "--patient", "--study", "--series", "--modality", "--body-part", "--manufacturer"}
SELECTION |= {"--model", "--shared-list", "--since", "--manifest", "--everything"}
FETCH = {"--concurrency", "--workers", "--rate-limit", "--transport", "--validate", "--max-attempts", "--give-up-after"}
FETCH |= {"--accept-unsound", "--private"}
OUTPUT = {"--json", "--progress"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mirror", ARCHIVE | SELECTION | FETCH | OUTPUT | {"--to", "--layout", "--yes"}),
        ("resume", ARCHIVE | FETCH | OUTPUT | {"--layout", "--yes"}),
        ("plan", ARCHIVE | SELECTION | OUTPUT | {"--save"}),
        ("status", {"--watch", "--json"}),
        ("verify", ARCHIVE | FETCH | OUTPUT | {"--quick", "--repair", "--layout", "--yes"}),
        ("query", ARCHIVE | {"--format"}),
        ("serve", ARCHIVE | {"--demo", "--host", "--port", "--collection", "--access-log", "--cache", "--cache-size"}),
    ],
)
def test_a_command_has_the_options_of_the_contract(name: str, options: set[str]) -> None:
    with click.Context(cli, **cli.context_settings) as ctx:
        command = cli.get_command(ctx, name)
    assert command is not None
    assert options <= {word for param in command.params for word in param.opts}
