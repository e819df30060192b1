"""Storing through DICOMweb (STOW-RS): what is taken, what is refused and why, who may, and what a kill leaves."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bulkdl.errors import BulkdlError, ConfigurationError, MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.model.access import CLIENTS
from bulkdl.model.reports.push import PushCounts
from bulkdl.runtime.disk import BOOKKEEPING, JOURNAL, PARTIAL
from bulkdl.server.access import AccessRules, User
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.adoption.reception import open_reception
from bulkdl.verbs.cite import cite_async
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.push import push_async
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.serve import serve_async
from bulkdl.verbs.serving.accepted_stores import check_store_options
from bulkdl.verbs.status import log_async, status_async
from bulkdl.verbs.sync import sync_async
from bulkdl.verbs.verify import verify_async
from tests.support.catalogue_files import one
from tests.support.commands import start
from tests.support.dicom_files import MadeUp, instances, noisy, write_folder
from tests.support.orthanc import needs_orthanc, orthanc
from tests.support.small_disks import mounted

MADE = [*instances(series=2, per_series=2, collection="LUNG")]
(OTHER,) = instances(series=1, per_series=1, collection="OTHER", seed="other")
MULTIPART = 'multipart/related; type="application/dicom"; boundary="token"'
USERS = """
[restricted]
collections = ["SECRET"]
[users.alice]
password = "right"
[users.bob]
password = "right"
collections = ["SECRET"]
"""


def body(*parts: bytes, end: bytes = b"--token--") -> bytes:
    return b"".join(b"--token\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + end


@dataclass
class Storing:
    """A server that takes instances, and its mirror."""

    root: Path
    origin: str
    session: aiohttp.ClientSession

    async def store(
        self, content: Any, *, study: str = "", kind: str = MULTIPART, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """The status and the document of the answer."""
        url = f"{self.origin}/dicom-web/studies{study}"
        async with self.session.post(url, data=content, headers={"Content-Type": kind, **headers}) as response:
            found = await response.read()
            return response.status, json.loads(found)

    def held(self) -> dict[str, bytes]:
        """The instances of the mirror, which the journal has as well."""
        found = {path.stem: path.read_bytes() for path in self.root.rglob("*.dcm")}
        with Journal.open_readonly(self.root / JOURNAL) as journal:
            assert {each.sop_uid for each in journal.held(limit=1_000)} == found.keys()
        assert os.listdir(self.root / PARTIAL) == []  # noqa: PTH208 - names alone
        return found


@asynccontextmanager
async def storing(folder: Path, **options: Any) -> AsyncIterator[Storing]:
    root, cache = folder / "received", folder / "cache"
    async with (
        serve_async(root, accept_store=True, cache=cache, **options) as served,
        aiohttp.ClientSession() as session,
    ):
        yield Storing(root, served.url.partition("/nbia-api")[0], session)


def said(document: dict[str, Any]) -> dict[str, list[Any]]:
    """The UIDs that an answer names as stored, those that failed with their reasons, and those of other failures."""

    def values(sequence: str, *tags: str) -> list[Any]:
        items = document.get(sequence, {}).get("Value", [])
        found = [tuple(item[tag]["Value"][0] for tag in tags) for item in items]
        return [each[0] for each in found] if len(tags) == 1 else found

    return {
        "stored": values("00081199", "00081155"),
        "failed": values("00081198", "00081155", "00081197"),
        "others": values("0008119A", "00081197"),
    }


async def test_what_is_pushed_is_held_and_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "source", iter(MADE))
    await adopt_async(tmp_path / "source", to=tmp_path / "mirror", archive="nbia")
    async with storing(tmp_path) as server:
        report = await push_async(tmp_path / "mirror", f"dicomweb+{server.origin}/dicom-web")
        assert report.instances == PushCounts(4, 4, 0, 0)
        assert server.held() == {one.sop_uid: one.content for one in MADE}
        again = await push_async(tmp_path / "mirror", f"dicomweb+{server.origin}/dicom-web/")
        assert again.instances.already == 4
        found: list[Any] = []
        while len(found) < len(MADE):
            async with server.session.get(f"{server.origin}/dicom-web/instances") as response:
                found = await response.json(content_type=None) if response.status == 200 else []
        with pytest.raises(MirrorLocked):
            await adopt_async(tmp_path / "source", to=server.root)
    audit = await verify_async(server.root)
    assert (audit.checked, audit.sound) == (4, 4)
    assert [each.collection for each in (await status_async(server.root)).collections] == ["RECEIVED"]


async def test_a_cache_of_an_archive_without_sizes_says_so(tmp_path: Path) -> None:
    write_folder(tmp_path / "source", iter(MADE))
    async with serve_async(tmp_path / "source", cache=tmp_path / "cache") as archive:
        url = f"dicomweb+{archive.url.partition('/nbia-api')[0]}/dicom-web"
        options: list[str | Path] = ["serve", "--archive", url, "--cache", tmp_path / "held", "--port", "0"]
        with start(options, cache=tmp_path / "cache") as serving:
            said = await asyncio.to_thread(lambda: (serving.stdout.readline(), serving.stderr.readline()))  # type: ignore[union-attr]
            async with aiohttp.ClientSession() as session, session.get(said[0].partition("/nbia-api")[0]) as response:
                page = await response.text()
            serving.send_signal(signal.SIGTERM)
    assert said[1] == "serving 4 instances in 2 series of 1 patients, size unknown\n"
    assert "<dt>Size</dt><dd>unknown</dd>" in page


ONE, TWO = MADE[0], MADE[1]


async def test_what_clients_stored_is_of_no_archive_and_whole(tmp_path: Path) -> None:
    async with storing(tmp_path) as server:
        assert (await server.store(body(ONE.content)))[0] == 200
    status = await status_async(server.root)
    assert (status.archive, status.unlisted_series, status.series.complete) == ("", 0, 1)
    assert [(each.verb, each.archive) for each in (await log_async(server.root)).runs] == [("serve", CLIENTS)]
    for ask in (resume_async, sync_async):
        with pytest.raises(BulkdlError, match="no archive to ask; name one with --archive"):
            await ask(server.root)
    assert f"were received from {CLIENTS} on" in (await cite_async(server.root)).paragraph


async def test_what_clients_stored_in_part_is_completed_from_an_archive(tmp_path: Path) -> None:
    async with storing(tmp_path) as server:
        assert (await server.store(body(ONE.content)))[0] == 200
    write_folder(tmp_path / "source", iter(MADE))
    async with serve_async(tmp_path / "source", cache=tmp_path / "cache") as archive:
        report = await mirror_async(series=ONE.series_uid, archive=archive.url, to=server.root)
        assert (report.outcome, report.instances.fetched, report.instances.reused) == ("complete", 1, 1)
    assert (await status_async(server.root)).held == 2


async def chunked(content: bytes) -> AsyncIterator[bytes]:
    for start_ in range(0, len(content), 100):
        yield content[start_ : start_ + 100]


FORMS: dict[str, tuple[Any, str]] = {
    "quoted": (body(ONE.content), MULTIPART),
    "unquoted": (body(ONE.content), "multipart/related; type=application/dicom; boundary=token"),
    "a line break first": (b"\r\n" + body(ONE.content), MULTIPART),
    "chunked": (None, MULTIPART),
    "bare": (ONE.content, "application/dicom"),
    "twice": (body(ONE.content, ONE.content), MULTIPART),
}


@pytest.mark.parametrize(("content", "kind"), FORMS.values(), ids=FORMS.keys())
async def test_takes_every_form_of_a_request(tmp_path: Path, content: Any, kind: str) -> None:
    async with storing(tmp_path) as server:
        for _ in range(2):  # the same bytes again are stored already
            status, document = await server.store(chunked(body(ONE.content)) if content is None else content, kind=kind)
            assert (status, set(said(document)["stored"])) == (200, {ONE.sop_uid})
            study = f"{server.origin}/dicom-web/studies/{ONE.study_uid}"
            assert document["00081190"] == {"vr": "UR", "Value": [study]}
            (item, *_) = document["00081199"]["Value"]
            assert item["00081190"]["Value"] == [f"{study}/series/{ONE.series_uid}/instances/{ONE.sop_uid}"]
        assert server.held() == {ONE.sop_uid: ONE.content}


DUPLICATE, OTHER_STUDY, NO_DICOM = 0x0111, 0xA901, 0xC000
REFUSED: dict[str, tuple[bytes, str, int, dict[str, list[Any]]]] = {
    "other bytes": (
        body(TWO.content, noisy(ONE).content),
        "",
        202,
        {"stored": [TWO.sop_uid], "failed": [(ONE.sop_uid, DUPLICATE)], "others": []},
    ),
    "other bytes alone": (
        body(noisy(ONE).content),
        "",
        409,
        {"stored": [], "failed": [(ONE.sop_uid, DUPLICATE)], "others": []},
    ),
    "another study": (
        body(OTHER.content),
        f"/{ONE.study_uid}",
        409,
        {"stored": [], "failed": [(OTHER.sop_uid, OTHER_STUDY)], "others": []},
    ),
    "of that study": (
        body(TWO.content),
        f"/{ONE.study_uid}",
        200,
        {"stored": [TWO.sop_uid], "failed": [], "others": []},
    ),
    "not DICOM": (
        body(b"not dicom", TWO.content),
        "",
        202,
        {"stored": [TWO.sop_uid], "failed": [], "others": [NO_DICOM]},
    ),
    "truncated": (
        body(TWO.content[:-10]),
        "",
        409,
        {"stored": [], "failed": [(TWO.sop_uid, NO_DICOM)], "others": []},
    ),
}


@pytest.mark.parametrize(("content", "study", "status", "expected"), REFUSED.values(), ids=REFUSED.keys())
async def test_each_instance_has_its_verdict(
    tmp_path: Path, content: bytes, study: str, status: int, expected: dict[str, list[Any]]
) -> None:
    async with storing(tmp_path) as server:
        await server.store(body(ONE.content))
        found = await server.store(content, study=study)
        assert (found[0], said(found[1])) == (status, expected)
        uids = {ONE.sop_uid, *expected["stored"]}
        assert server.held() == {one.sop_uid: one.content for one in (*MADE, OTHER) if one.sop_uid in uids}


@pytest.mark.parametrize("is_same", [True, False], ids=["the same bytes", "other bytes"])
async def test_a_file_that_only_lies_at_its_place_is_taken_if_it_is_the_same(tmp_path: Path, *, is_same: bool) -> None:
    """As after a kill between its renaming and its entry in the journal."""
    async with storing(tmp_path) as server:
        await server.store(body(TWO.content))
        (beside,) = server.root.rglob("*.dcm")
        content = ONE.content if is_same else noisy(ONE).content
        place = beside.with_name(f"{ONE.sop_uid}.dcm")
        place.write_bytes(content)
        status, document = await server.store(body(ONE.content))
        assert (status, said(document)["failed"]) == ((200, []) if is_same else (409, [(ONE.sop_uid, DUPLICATE)]))
        assert place.read_bytes() == content
        if is_same:
            assert server.held().keys() == {ONE.sop_uid, TWO.sop_uid}


WHOLE = body(ONE.content, TWO.content)


@pytest.mark.parametrize(
    ("content", "kind", "headers", "status"),
    [
        (WHOLE[:-9], MULTIPART, {}, 400),
        (b"--token--", MULTIPART, {}, 400),
        (WHOLE, "text/plain", {}, 415),
        (WHOLE, "multipart/form-data; boundary=token", {}, 415),
        (WHOLE, MULTIPART, {"Accept": "application/dicom+xml"}, 406),
        (b"", MULTIPART, {"Content-Length": str(5 << 30)}, 413),
        (WHOLE, MULTIPART, {"Content-Encoding": "gzip"}, 400),
    ],
    ids=["truncated", "empty", "text", "form", "xml", "too large", "not gzip"],
)
async def test_of_a_refused_request_nothing_is_stored(
    tmp_path: Path, content: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    async with storing(tmp_path) as server:
        found = await server.store(content, kind=kind, **headers)
        assert (found[0], sorted(found[1])) == (status, ["error", "message"])
        assert server.held() == {}


async def test_a_full_disk_is_said_and_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with storing(tmp_path) as server:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", full)
            status, document = await server.store(body(ONE.content))
            assert (status, said(document)["failed"]) == (409, [(ONE.sop_uid, 0xA700)])
            patched.setattr(os, "open", full)
            status, document = await server.store(body(ONE.content))
            assert (status, "A700" in document["message"]) == (507, True)
        assert server.held() == {}
        assert (await server.store(body(ONE.content)))[0] == 200


async def test_a_journal_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with mounted(tmp_path / "received", "size=2m") as disk:
        async with storing(tmp_path) as server:
            await server.store(body(ONE.content))
            statuses = []
            with (disk / BOOKKEEPING / "filler").open("wb", buffering=0) as filler:
                for number in range(12):
                    with suppress(OSError):
                        while filler.write(bytes(4_096)) == 4_096:
                            pass
                    filler.truncate(filler.tell() - 4_096 * number)
                    filler.seek(0, os.SEEK_END)
                    statuses.append((await server.store(body(one(SOPInstanceUID=f"1.2.{number}"))))[0])
                    server.held()
            assert {200, 507} <= {*statuses}


async def test_without_the_option_nothing_can_be_stored(tmp_path: Path) -> None:
    write_folder(tmp_path / "served", iter(MADE))
    async with serve_async(tmp_path / "served", cache=tmp_path / "cache") as served, aiohttp.ClientSession() as session:
        server = Storing(tmp_path, served.url.partition("/nbia-api")[0], session)
        status, document = await server.store(WHOLE)
        assert (status, "--accept-store" in document["message"]) == (405, True)


def of_collection(made: MadeUp, name: str) -> bytes:
    """The instance with the Collection in the private block of CTP."""
    from io import BytesIO  # noqa: PLC0415 - for these alone

    from pydicom import dcmread  # noqa: PLC0415

    image, buffer = dcmread(BytesIO(made.content)), BytesIO()
    image.private_block(0x13, "CTP", create=True).add_new(0x10, "LO", name)
    image.save_as(buffer)
    return buffer.getvalue()


def basic(name: str, password: str) -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


async def test_users_alone_store_and_not_into_what_is_hidden_from_them(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text(USERS)
    alice, bob = basic("alice", "right"), basic("bob", "right")
    secret = of_collection(ONE, "Secret")
    same_series = of_collection(TWO, "")
    async with storing(tmp_path, users_file=tmp_path / "users.toml") as server:
        assert (await server.store(WHOLE))[0] == 401
        assert (await server.store(WHOLE, Authorization=basic("alice", "wrong")))[0] == 401
        for content, uid in ((secret, ONE.sop_uid), (same_series, TWO.sop_uid)):
            if content is same_series:
                assert (await server.store(body(secret), Authorization=bob))[0] == 200
            status, document = await server.store(body(content), Authorization=alice)
            assert (status, said(document)["failed"]) == (409, [(uid, 0x0110)])
        assert (await server.store(body(OTHER.content), Authorization=alice))[0] == 200
        assert server.held().keys() == {ONE.sop_uid, OTHER.sop_uid}


async def test_a_series_is_hidden_whatever_its_folder_is_called(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text(USERS)
    write_folder(tmp_path / "source", iter([ONE]))
    layout = "{patient}/{study}/{series}"
    await adopt_async(tmp_path / "source", to=tmp_path / "received", archive="nbia", layout=layout, collection="Secret")
    async with storing(tmp_path, users_file=tmp_path / "users.toml") as server:
        status, document = await server.store(body(TWO.content), Authorization=basic("alice", "right"))
        assert (status, said(document)["failed"]) == (409, [(TWO.sop_uid, 0x0110)])


@pytest.mark.parametrize("changed", [{"StudyInstanceUID": "1.2.3"}, {"PatientID": "another"}], ids=["study", "patient"])
async def test_a_series_is_of_one_study_and_one_patient(tmp_path: Path, changed: dict[str, str]) -> None:
    stray = one(SOPInstanceUID="1.2.3.4", SeriesInstanceUID=ONE.series_uid, **changed)
    known = one(SOPInstanceUID="1.2.3.5", SeriesInstanceUID=ONE.series_uid)
    async with storing(tmp_path) as server:
        for content in (body(known, stray), body(stray)):  # in one request with the first of its Series, and later
            _, document = await server.store(content)
            assert said(document)["failed"] == [("1.2.3.4", 0xA900)]
        assert server.held().keys() == {"1.2.3.5"}


def refusals(folder: Path) -> Iterator[tuple[list[Path], str, AccessRules, str]]:
    users = AccessRules(users={"alice": User("alice", "right")})
    (folder / "full").mkdir()
    (folder / "full" / "file").write_bytes(b"")
    yield [], "127.0.0.1", users, "exactly one PATH"
    yield [folder, folder], "127.0.0.1", users, "exactly one PATH"
    yield [folder / "full"], "127.0.0.1", users, "neither a mirror nor empty"
    yield [folder / "full" / "file"], "127.0.0.1", users, "not a folder"
    yield [folder / "new"], "0.0.0.0", AccessRules(), "needs --users-file"  # noqa: S104 - refused
    yield [folder / "new"], "127.0.0.1", AccessRules(keys=frozenset({"key"})), "needs --users-file too"


def test_says_what_the_option_needs(tmp_path: Path) -> None:
    for roots, host, rules, message in refusals(tmp_path):
        with pytest.raises(ConfigurationError, match=message):
            check_store_options(roots, host, rules)
    with pytest.raises(ConfigurationError, match="any web page"):
        check_store_options([tmp_path / "new"], "localhost", AccessRules(), origins=["*"])
    with pytest.raises(ConfigurationError, match="no --archive"):
        check_store_options([tmp_path / "new"], "localhost", AccessRules(), is_of_archive=True)
    check_store_options([tmp_path / "new"], "localhost", AccessRules())


async def test_a_request_that_is_stopped_waits_for_one_instance_at_most(tmp_path: Path) -> None:
    async with (
        open_mirror(tmp_path / "received", "serve") as mirror,
        open_reception(mirror, None, asyncio.Event()) as reception,
    ):
        names = [reception.next_name() for _ in range(2)]
        for name in names:
            os.mkfifo(reception.partials.path(name))  # to open it waits for a writer
        settling = asyncio.create_task(reception.settle(names, study_uid=None, hidden=frozenset()))
        writing = await asyncio.to_thread(os.open, reception.partials.path(names[0]), os.O_WRONLY)
        settling.cancel()
        os.close(writing)
        with pytest.raises(asyncio.CancelledError):
            await settling


async def test_a_kill_leaves_nothing_half_stored(tmp_path: Path) -> None:
    words = ["serve", str(tmp_path / "received"), "--accept-store", "--port", "0", "--json"]

    def killed() -> None:
        with start(words, cache=tmp_path / "cache") as process:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            asyncio.run(store_until_killed(url, process.pid))
            process.wait()

    async def store_until_killed(url: str, pid: int) -> None:
        async def half() -> AsyncIterator[bytes]:
            yield body(ONE.content, TWO.content)[: len(ONE.content) + 300]
            while not any((tmp_path / "received" / PARTIAL).iterdir()):
                yield b"x" * 100_000
            os.kill(pid, 9)
            yield b""

        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await Storing(tmp_path, url.partition("/nbia-api")[0], session).store(half())

    await asyncio.to_thread(killed)
    async with storing(tmp_path) as server:
        assert server.held() == {}
        assert (await server.store(WHOLE))[0] == 200


@needs_orthanc
async def test_takes_what_orthanc_sends(tmp_path: Path) -> None:
    (tmp_path / "orthanc").mkdir()
    async with storing(tmp_path) as server:
        servers = {"ours": {"Url": f"{server.origin}/dicom-web/"}}
        web = {"Enable": True, "Root": "/dicom-web/", "Servers": servers}
        with orthanc(tmp_path / "orthanc", DicomWeb=web) as peer:
            await asyncio.to_thread(peer.put, MADE)
            wanted = {"Resources": json.loads(await asyncio.to_thread(peer.ask, "GET", "studies")), "Synchronous": True}
            await asyncio.to_thread(peer.ask, "POST", "dicom-web/servers/ours/stow", json.dumps(wanted).encode())
        assert server.held() == {one.sop_uid: one.content for one in MADE}
