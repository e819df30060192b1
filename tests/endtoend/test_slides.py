"""Slides in a mirror: every verb keeps their names, and none takes them for DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bulkdl
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted
from bulkdl.model.records import NamedSlide
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.selection import Selection
from bulkdl.runtime.disk import JOURNAL
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.archives import archives_async
from bulkdl.verbs.cite import cite_async
from bulkdl.verbs.connections.data_commons import choose_commons
from bulkdl.verbs.manifest_lock import manifest_lock_async
from bulkdl.verbs.merge import merge_async
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.relayout import relayout_async
from bulkdl.verbs.report import report_async
from bulkdl.verbs.sync import sync_async
from bulkdl.verbs.verify import verify_async
from tests.contract.archives import choice
from tests.contract.run import SETTINGS
from tests.contract.test_mirror import paths_of
from tests.support.pathdb_server import made_up_slide, pathdb_server, slide_bytes, slides

PLACES = [f"MADE-UP/P{at // 2}/P{at // 2}-S{at}/P{at // 2}-S{at}.svs" for at in range(4)]


def places(mirror: Path) -> list[str]:
    return [path.relative_to(mirror).as_posix() for path in paths_of(mirror)]


@pytest.mark.parametrize("layout", ["nbia-classic", "{modality}/{series}/{SOPInstanceUID}-x.dcm"])
async def test_no_layout_moves_or_renames_slides(layout: str, tmp_path: Path) -> None:
    to, joined = tmp_path / "mirror", tmp_path / "joined"
    async with pathdb_server(slides(4)) as server:
        archive = choice("pathdb", server.url, tmp_path / "cache")
        await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS, layout=layout)
        assert places(to) == PLACES
    for name in ("descriptive", layout):
        report: Any = await relayout_async(to, layout=name)
        assert (places(to), report.outcome) == (PLACES, RunOutcome.COMPLETE)
    await merge_async(to, to=joined)
    assert places(joined) == PLACES
    assert (await verify_async(joined)).problems == ()


async def test_verbs_do_not_take_slides_for_dicom(tmp_path: Path) -> None:
    to, lock = tmp_path / "mirror", tmp_path / "cohort.lock"
    async with pathdb_server(slides(4)) as server:
        archive = choice("pathdb", server.url, tmp_path / "cache")
        await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)
        (about,) = await archives_async(archive)
        assert about.answers
    assert (await report_async(to, to=tmp_path / "report.html")).findings == ()
    cited = await cite_async(to)
    assert "4 slides of 2 patients" in cited.paragraph
    assert not any("Imaging Data Commons" in str(reference) for reference in cited.references)
    assert list(bulkdl.open(to).datasets()) == []
    assert len(list(bulkdl.open(to).paths())) == 4
    with lock.open("w", encoding="utf-8") as file:
        await manifest_lock_async(to, file)
    assert (await verify_async(to, against=lock)).problems == ()
    (to / PLACES[0]).write_bytes(b"other")
    assert [problem.problem for problem in (await verify_async(to, against=lock)).problems] == ["missing"]


async def test_a_mirror_without_its_journal_takes_its_slides_again_where_they_lie(tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    async with pathdb_server(slides(4)) as server:
        archive = choice("pathdb", server.url, tmp_path / "cache")
        await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)
        for path in to.glob(f"{JOURNAL}*"):
            path.unlink()
        cut = to / PLACES[1]
        cut.write_bytes(cut.read_bytes()[:-100])
        adopted = await adopt_async(to, archive=archive, rebuild=True)
        assert (adopted.adopted, adopted.refused) == (0, 0)
        before = len(server.requested("file"))
        report = await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)
        assert (report.outcome, report.instances.fetched, report.instances.reused) == (RunOutcome.COMPLETE, 1, 3)
        assert [seen.path.rpartition("/")[2] for seen in server.requested("file")[before:]] == ["P0-S1.svs"]
        assert (await verify_async(to)).problems == ()


async def test_slides_are_compared_with_the_archive_by_their_sizes(tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    async with pathdb_server(slides(2)) as server:
        archive = choice("pathdb", server.url, tmp_path / "cache")
        await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)
        assert (await verify_async(to, remote=True, archive=archive)).problems == ()
        server.made_up[0] = made_up_slide("P0", "P0-S0", slide_bytes(7, width=300))
        (problem,) = (await verify_async(to, remote=True, archive=archive)).problems
        assert (problem.problem, problem.path) == ("differs", PLACES[0].rpartition("/")[0])


async def test_sync_brings_a_slide_that_was_replaced(tmp_path: Path) -> None:
    to = tmp_path / "mirror"
    async with pathdb_server(slides(2)) as server:
        archive = choice("pathdb", server.url, tmp_path / "cache")
        await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)
        server.made_up[0] = made_up_slide("P0", "P0-S0", slide_bytes(7, width=300))
        server.updated = "2026-05-06"
        report = await sync_async(to, archive=archive, settings=SETTINGS)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
        assert (to / PLACES[0]).read_bytes() == slide_bytes(7, width=300)


def test_a_list_of_slides_comes_from_pathdb_where_no_archive_is_chosen() -> None:
    events: list[object] = []
    of_slides = Selection(alternatives=(Selection(slides=(NamedSlide("http://h/a.svs"),)),))
    chosen = choose_commons(of_slides, ArchiveChoice(cache=Path()), events.append)
    assert chosen.name == "pathdb"
    assert events == [Noted("the manifest names slides: they come from pathdb")]
    other = ArchiveChoice(cache=Path(), name="demo")
    assert choose_commons(of_slides, other, events.append) == other
    with_series = Selection(alternatives=(*of_slides.alternatives, Selection(collections=("A",))))
    assert choose_commons(with_series, ArchiveChoice(cache=Path()), events.append).name == "tcia"
