"""What a verb announces while it works: a few times a second, and the last step always."""

from __future__ import annotations

from pathlib import Path

import bulkdl
from bulkdl.model.events import Event, Working
from bulkdl.verbs.calls.announcer import Announcer
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances
from tests.support.layouts import mirror_of
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=4, per_series=2))


def last(events: list[Event]) -> Working:
    return next(event for event in reversed(events) if isinstance(event, Working))


def test_announces_a_few_times_a_second_and_the_last_step() -> None:
    events: list[Event] = []
    times = iter(at / 10 for at in range(100))
    announcer = Announcer(events.append, "relayout", 10, "series", lambda: next(times))
    for _ in range(10):
        announcer.step()
    done = [event.done for event in events if isinstance(event, Working)]
    assert done == [1, 4, 7, 10]


async def test_relayout_merge_and_lock_say_how_far_they_are(tmp_path: Path) -> None:
    one, other = await mirror_of(MADE_UP[:4], tmp_path / "a"), await mirror_of(MADE_UP[4:], tmp_path / "b")
    events: list[Event] = []
    await bulkdl.relayout_async(one, layout="flat", sink=events.append)
    assert last(events) == Working("relayout", 2, 2, "series")
    await bulkdl.relayout_async(one, as_view=tmp_path / "view", layout="idc", sink=events.append)
    assert last(events) == Working("view", 2, 2, "series")
    await bulkdl.merge_async(one, other, to=tmp_path / "both", sink=events.append)
    assert last(events) == Working("merge", 4, 4, "series")
    with (tmp_path / "both.lock").open("w", newline="") as file:
        await bulkdl.manifest_lock_async(tmp_path / "both", file, sink=events.append)
    assert last(events) == Working("lock", 4, 4, "series")


async def test_prune_and_the_lock_of_a_selection_say_how_far_they_are(tmp_path: Path) -> None:
    events: list[Event] = []
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        with (tmp_path / "a.lock").open("w", newline="") as file:
            choice = archive.choice(tmp_path)
            await bulkdl.manifest_lock_async("MADE-UP", file, archive=choice, sink=events.append)
        assert last(events) == Working("lock", 4, 4, "series")
        await synced(archive, mirror, MADE_UP[2:])
    await bulkdl.prune_async(mirror, sink=events.append)
    assert last(events) == Working("prune", 2, 2, "files")
