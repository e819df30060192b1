"""`push` to archives that answer as the ones in use do, and as none should."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import (
    ArchiveRefused,
    ArchiveUnreachable,
    ConfigurationError,
    JournalUnreadable,
    MirrorLocked,
    RequestRejected,
)
from bulkdl.model.events import Event, InstanceFailed, ignore
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.push import PushCounts, PushReport
from bulkdl.model.settings import FetchSettings
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.connections.reach import reach
from bulkdl.verbs.push import push_async
from bulkdl.verbs.status import log_async
from tests.support.commands import run
from tests.support.dicom_files import instances, write_folder
from tests.support.faults import Action, Seen, answer, drop, stall
from tests.support.held_mirrors import make_mirror
from tests.support.journals import series_uid
from tests.support.orthanc import PASSWORD, USER, needs_orthanc, orthanc
from tests.support.store_server import DICOM_JSON, Reply, StoreServer, sequences

QUICK = FetchSettings(max_attempts=2, wait_scale=0.001, give_up_after_seconds=5.0)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Two Series of one Study, with three instances each: one request."""
    make_mirror(tmp_path / "mirror", series=2, per_series=3)
    return tmp_path / "mirror"


@pytest.fixture
def larger(tmp_path: Path) -> Path:
    """A mirror of which 120 instances are more than one request takes."""
    make_mirror(tmp_path / "larger", series=2, per_series=60)
    return tmp_path / "larger"


def contents(mirror: Path) -> dict[bytes, str]:
    return {path.read_bytes(): path.stem for path in sorted(mirror.rglob("*.dcm"))}


def serving(mirror: Path, reply: Reply = lambda *_: None) -> StoreServer:
    return StoreServer(contents(mirror), reply)


async def push(mirror: Path, server: StoreServer, **options: Any) -> PushReport:
    return await push_async(mirror, server.name, **{"settings": QUICK, "sink": ignore, **options})


async def test_sends_every_instance_once(mirror: Path) -> None:
    async with serving(mirror) as server:
        report = await push(mirror, server)
        assert (report.outcome, report.instances) == (RunOutcome.COMPLETE, PushCounts(6, 6, 0, 0))
        assert (report.series.complete, report.bytes_sent) == (2, report.bytes_selected)
        assert server.held == {uid: content for content, uid in contents(mirror).items()}
        assert {seen.path for seen in server.requests} == {"/dicom-web/studies"}
        assert {seen.headers["accept"] for seen in server.requests} == {"application/dicom+json"}
        assert all(int(seen.headers["content-length"]) == len(seen.body) for seen in server.requests)
        again = await push(mirror, server)
        assert (again.instances, again.requests) == (PushCounts(6, 0, 6, 0), 0)
    log = await log_async(mirror)
    runs = [(each.verb, each.archive, each.outcome) for each in log.runs]
    assert runs[1:] == [("push", f"{server.name.removeprefix('dicomweb+')}/", "complete")] * 2
    assert [line.rpartition("  ")[2] for line in log.as_text().splitlines()[-2:]] == [
        f"6 instances sent, {human_bytes(report.bytes_sent)}",
        "0 instances sent, 0 B",
    ]


async def test_another_archive_gets_everything_again(mirror: Path) -> None:
    async with serving(mirror) as first, serving(mirror) as second:
        await push(mirror, first)
        assert (await push(mirror, second)).instances.sent == 6


async def test_criteria_narrow_what_is_sent(mirror: Path) -> None:
    async with serving(mirror) as server:
        report = await push(mirror, server, series=(series_uid(1),), collection="phantom")
        assert report.instances == PushCounts(3, 3, 0, 0)
        absent = await push(mirror, server, patient="P-9")
        assert (absent.outcome, absent.instances.selected) == (RunOutcome.PARTIAL, 0)
        assert [each.message for each in absent.failures] == ["the mirror holds no instance of the patient P-9"]
        assert absent.complaint() == "the mirror holds no instance of the patient P-9; nothing was sent"
        apart = await push(mirror, server, series=(series_uid(1), series_uid(2)), modality="MR")
        of_series = f"the mirror holds no instance of the series {series_uid(1)} that meets the other criteria"
        messages = [each.message for each in apart.failures]
        assert (messages[0], messages[-1]) == (of_series, "the mirror holds no instance of the modality MR")


def damaged(mirror: Path, damage: str) -> Path:
    victim = sorted(mirror.rglob("*.dcm"))[1]
    content = victim.read_bytes()
    victim.unlink()
    if damage == "link":
        (mirror / "elsewhere").write_bytes(content)
        victim.symlink_to(mirror / "elsewhere")
    elif damage != "missing":
        victim.write_bytes(content[:-1] + (b"x" if damage == "altered" else b""))
    return victim


@pytest.mark.parametrize("damage", ["missing", "altered", "truncated", "link"])
async def test_a_file_that_differs_from_the_journal_is_not_sent(mirror: Path, damage: str) -> None:
    uids = contents(mirror)
    victim = damaged(mirror, damage)
    events: list[Event] = []
    async with StoreServer(uids) as server:
        report = await push(mirror, server, sink=events.append)
        assert (report.outcome, report.instances) == (RunOutcome.PARTIAL, PushCounts(6, 5, 0, 1))
        assert [(each.instance, each.error) for each in report.failures] == [(victim.stem, "file-differs")]
        assert victim.stem not in server.held
    assert [each.sop_uid for each in events if isinstance(each, InstanceFailed)] == [victim.stem]
    assert report.series.failed == 1


async def test_an_altered_file_ends_its_request(tmp_path: Path) -> None:
    """The last piece of a large file is kept back, so no archive can take it for whole."""
    (path,) = make_mirror(tmp_path, series=1, per_series=1, hole_bytes=3 << 20)
    with path.open("r+b") as file:
        file.write(b"altered")
    async with StoreServer({}) as server:
        report = await push(tmp_path, server)
        assert (report.instances.failed, server.requests) == (1, [])


def by_size(most: int, status: int) -> Reply:
    return lambda _, parts: answer(status=status) if len(parts) > most else None


@pytest.mark.parametrize("status", [400, 409, 413, 500])
async def test_a_refused_request_is_divided(mirror: Path, status: int) -> None:
    async with serving(mirror, by_size(1, status)) as server:
        report = await push(mirror, server)
        assert (report.outcome, report.instances.sent) == (RunOutcome.COMPLETE, 6)


async def test_an_instance_that_is_refused_costs_no_other(mirror: Path) -> None:
    victim = min(contents(mirror))
    async with serving(mirror, lambda _, parts: answer(b"odd", status=400) if victim in parts else None) as server:
        report = await push(mirror, server)
        assert report.instances == PushCounts(6, 5, 0, 1)
        assert report.failures[0].message == "the archive answered 400 Bad Request: odd"


@pytest.mark.parametrize(
    ("body", "status", "keeps", "expected"),
    [
        (b"", 200, True, PushCounts(6, 6, 0, 0)),
        (b"", 200, False, PushCounts(6, 0, 0, 6)),
        (b"<html>log in</html>", 200, False, PushCounts(6, 0, 0, 6)),
        (b"", 204, False, PushCounts(6, 0, 0, 6)),
        (b"", 409, True, PushCounts(6, 0, 0, 6)),
    ],
    ids=["empty, and stored", "empty", "page", "no content", "conflict without reasons"],
)
async def test_only_what_the_archive_confirms_is_sent(
    mirror: Path, *, body: bytes, status: int, keeps: bool, expected: PushCounts
) -> None:
    def reply(_: Seen, parts: list[bytes]) -> Action:
        server.keep(parts if keeps else [])
        return answer(body, status=status, headers=DICOM_JSON)

    async with serving(mirror, reply) as server:
        assert (await push(mirror, server)).instances == expected


async def test_each_instance_has_the_verdict_of_the_answer(mirror: Path) -> None:
    uids = list(contents(mirror).values())
    reasons = {uids[0]: 0x0122, uids[4]: 45070}

    def reply(_: Seen, parts: list[bytes]) -> Action:
        server.keep(parts)
        here = [server.uids[part] for part in parts]
        failed = {uid: reasons[uid] for uid in here if uid in reasons}
        return answer(sequences([uid for uid in here if uid not in reasons], failed), status=202, headers=DICOM_JSON)

    async with serving(mirror, reply) as server:
        report = await push(mirror, server)
        assert report.instances == PushCounts(6, 4, 1, 1)
        assert report.failures[0].message == "the archive did not store it: SOP class not supported (0122)"
        assert (await push(mirror, server)).instances == PushCounts(6, 0, 5, 1)


async def test_a_conflict_stores_what_it_does_not_name_either(mirror: Path) -> None:
    """What the archive has under these UIDs may be something else."""
    first = min(contents(mirror).values())

    def reply(_: Seen, parts: list[bytes]) -> Action:
        server.keep(parts)
        return answer(sequences([], {first: 0x0110}), status=409, headers=DICOM_JSON)

    async with serving(mirror, reply) as server:
        assert (await push(mirror, server)).instances == PushCounts(6, 0, 0, 6)


async def test_a_conflict_may_have_its_reason_in_a_header(mirror: Path) -> None:
    said = {"Warning": '299 dcm4chee: "no such\tpatient"'}
    async with serving(mirror, lambda *_: answer(b"", status=409, headers=said)) as server:
        report = await push(mirror, server)
        assert {each.message.partition(": ")[2] for each in report.failures} == {'299 dcm4chee: "no such patient"'}


async def test_an_instance_in_no_sequence_is_sent_once_more_alone(mirror: Path) -> None:
    left_out = sorted(contents(mirror))[2]

    def reply(_: Seen, parts: list[bytes]) -> Action | None:
        kept = [part for part in parts if part != left_out or len(parts) == 1]
        server.keep(kept)
        return answer(sequences([server.uids[part] for part in kept]), headers=DICOM_JSON)

    async with serving(mirror, reply) as server:
        assert (await push(mirror, server)).instances.sent == 6
        assert server.sizes == [6, 1]


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ArchiveRefused), (403, ArchiveRefused), (405, RequestRejected), (308, RequestRejected)],
)
async def test_an_archive_that_refuses_everything_ends_the_run(
    mirror: Path, status: int, error: type[Exception]
) -> None:
    elsewhere = {"Location": "https://other.test/not%20here"}
    async with serving(mirror, lambda *_: answer(b"not here", status=status, headers=elsewhere)) as server:
        with pytest.raises(error, match=r"not( |%20)here") as caught:
            await push(mirror, server)
        assert (len(server.requests) == 1) is (status != 403)
        assert caught.value.report is not None or status == 403  # type: ignore[attr-defined]
    assert (await log_async(mirror)).runs[-1].outcome == "failed"


async def test_waits_for_an_archive_that_is_busy_or_breaks_off(mirror: Path) -> None:
    actions = {1: answer(status=429, headers={"Retry-After": "0"}), 2: drop(), 3: answer(status=503)}
    async with serving(mirror, lambda seen, _: actions.get(seen.number)) as server:
        report = await push(mirror, server, settings=FetchSettings(max_attempts=5, wait_scale=0.001))
        assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 3)


async def test_what_was_confirmed_is_kept_when_the_archive_goes_away(larger: Path) -> None:
    arrived = asyncio.Event()

    def reply(seen: Seen, _: list[bytes]) -> Action | None:
        if seen.number == 1:
            return None
        arrived.set()
        return stall(asyncio.Event())

    settings = FetchSettings(concurrency=1, wait_scale=0.01, give_up_after_seconds=0.5)
    async with serving(larger, reply) as server:
        pushing = asyncio.ensure_future(push(larger, server, settings=settings))
        await arrived.wait()
        await server.go_away()
        with pytest.raises(ArchiveUnreachable) as caught:
            await pushing
        assert (caught.value.report or {})["instances"] == {"selected": 120, "sent": 100, "already": 0, "failed": 0}
        await server.come_back()
        server.reply = lambda *_: None
        assert (await push(larger, server)).instances == PushCounts(120, 20, 100, 0)


async def test_is_interrupted_between_requests(larger: Path) -> None:
    stop = asyncio.Event()

    def reply(_: Seen, __: list[bytes]) -> Action | None:
        stop.set()
        return None

    async with serving(larger, reply) as server:
        report = await push(larger, server, stop=stop, settings=FetchSettings(concurrency=1))
        assert (report.outcome, report.instances) == (RunOutcome.INTERRUPTED, PushCounts(120, 100, 0, 0))
        assert f"bulkdl push {larger} --to {server.name}" in (report.complaint() or "")
        assert (await push(larger, server)).instances == PushCounts(120, 20, 100, 0)


async def test_a_run_that_is_stopped_before_it_began_has_sent_nothing(mirror: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with serving(mirror) as server:
        assert (await push(mirror, server, stop=stop, patient="P-9")).outcome is RunOutcome.INTERRUPTED
        assert server.requests == []


async def test_a_run_that_is_cancelled_is_journalled(mirror: Path) -> None:
    arrived = asyncio.Event()

    def reply(_: Seen, __: list[bytes]) -> Action:
        arrived.set()
        return stall(asyncio.Event())

    async with serving(mirror, reply) as server:
        task = asyncio.ensure_future(push(mirror, server))
        await arrived.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert (await log_async(mirror)).runs[-1].outcome == "interrupted"


@pytest.mark.parametrize(
    ("credentials", "advice"),
    [
        ({}, "if it needs a login, give --username, or --api-key for a token"),
        ({"username": "alice", "password": "wrong"}, "the archive may not accept this login"),
        ({"api_key": "old"}, "the archive may not accept this token, or it has expired"),
    ],
    ids=["none", "a login", "a token"],
)
async def test_a_refusal_says_what_to_do_about_the_login(
    mirror: Path, credentials: dict[str, Any], advice: str
) -> None:
    async with serving(mirror, lambda *_: answer(status=401)) as server:
        with pytest.raises(ArchiveRefused) as caught:
            await push_async(mirror, reach(server.name, **credentials), settings=QUICK)
    assert str(caught.value).endswith(f"401 Unauthorized; {advice}")


@pytest.mark.parametrize(
    ("credentials", "header"),
    [({"api_key": "t0ken"}, "Bearer t0ken"), ({"username": "alice", "password": "pw"}, "Basic YWxpY2U6cHc=")],
    ids=["bearer", "basic"],
)
async def test_credentials_are_sent_with_each_request(mirror: Path, credentials: dict[str, str], header: str) -> None:
    async with serving(mirror) as server:
        await push_async(mirror, reach(server.name, **credentials), settings=QUICK)  # type: ignore[arg-type]
        assert {seen.headers["authorization"] for seen in server.requests} == {header}


@pytest.mark.parametrize("name", ["tcia", "demo", "nbia-v4+http://127.0.0.1:9/"])
async def test_refuses_archives_of_other_kinds(mirror: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"dicomweb\+URL"):
        await push_async(mirror, name)


async def test_a_mirror_in_use_is_left_alone(mirror: Path) -> None:
    async with serving(mirror) as server:
        with lock_mirror(mirror), pytest.raises(MirrorLocked):
            await push(mirror, server)
        assert server.requests == []


async def test_needs_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="not a mirror"):
        await push_async(tmp_path, "dicomweb+http://127.0.0.1:9/")


async def test_the_command_and_its_document(mirror: Path, tmp_path: Path) -> None:
    async with serving(mirror) as server:
        words = ["--to", server.name, "--json", "--progress", "plain"]
        found = await asyncio.to_thread(run, "push", mirror, *words, cache=tmp_path / "cache")
    assert (found.code, found.document()["instances"]) == (0, {"selected": 6, "sent": 6, "already": 0, "failed": 0})
    assert f"from {mirror} to {server.url}dicom-web/" in found.err


@needs_orthanc
async def test_orthanc_holds_the_same_bytes(tmp_path: Path) -> None:
    made_up = [*instances(series=2, per_series=3)]
    write_folder(tmp_path / "source", iter(made_up))
    await adopt_async(tmp_path / "source", to=tmp_path / "mirror", archive="nbia")
    (tmp_path / "orthanc").mkdir()
    with orthanc(tmp_path / "orthanc", login=True) as peer:
        target = reach(f"dicomweb+{peer.dicomweb}", username=USER, password=PASSWORD)
        with pytest.raises(ArchiveRefused, match="401"):
            await push_async(tmp_path / "mirror", reach(target.name, username=USER, password="no"), settings=QUICK)  # noqa: S106
        report = await push_async(tmp_path / "mirror", target, settings=QUICK)
        assert report.instances == PushCounts(6, 6, 0, 0)
        assert peer.stored() == {one.sop_uid: hashlib.md5(one.content).hexdigest() for one in made_up}  # noqa: S324
