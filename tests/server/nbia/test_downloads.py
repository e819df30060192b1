"""Instances and bundles over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import tracemalloc
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from bulkdl.model.ids import stable_uuid
from bulkdl.server.app import make_app, serving
from bulkdl.server.catalogue import Catalogue, Root, ServedFile
from bulkdl.server.nbia.downloads import bundle, named, new_names, sequential_names
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.served_archive import FAILED, Archive


@pytest.mark.parametrize(
    ("series_uid", "sop_uid"),
    [("1.2", "1.2.3"), ("..", "/etc/passwd"), ("", ""), ("1.2'--", "%00")],
    ids=["unknown", "path", "empty", "odd"],
)
async def test_an_unknown_instance_is_a_server_error(archive: Archive, series_uid: str, sop_uid: str) -> None:
    answer = await archive.get(f"getSingleImage?SeriesInstanceUID={series_uid}&SOPInstanceUID={sop_uid}")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (500, "text/plain", FAILED)


async def test_an_instance_is_only_in_its_series(archive: Archive) -> None:
    query = f"SeriesInstanceUID={archive.made[0].series_uid}&SOPInstanceUID={archive.made[-1].sop_uid}"
    assert (await archive.get(f"getSingleImage?{query}")).status == 500


@pytest.mark.parametrize("change", ["gone", "cut"])
async def test_a_file_that_changed_since_the_scan_is_a_server_error_and_logged(archive: Archive, change: str) -> None:
    path = archive.folder / archive.made[0].path
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(archive.made[0].content[:-2])
    answer = await archive.image(archive.made[0])
    assert (answer.status, answer.body) == (500, FAILED)
    assert archive.log[-1].status == 500
    assert path.name in (archive.log[-1].note or "")


class CountingCatalogue(Catalogue):
    """A catalogue that counts how often the files of a Series are read, and reads them once it may."""

    reads = 0

    @cached_property
    def may_read(self) -> threading.Event:
        return threading.Event()

    def files(self, series_uid: str) -> tuple[ServedFile, ...]:
        self.reads += 1
        assert self.may_read.wait(20)
        return super().files(series_uid)


@pytest.mark.parametrize("api", ["NBIA", "bucket"])
async def test_many_who_ask_for_a_series_at_once_wait_for_one_query(tmp_path: Path, api: str) -> None:
    made = write_folder(tmp_path / "served", instances(series=1, per_series=20))
    with CountingCatalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        catalogue.scan([Root(tmp_path / "served")])
        async with serving(make_app(catalogue)) as base, aiohttp.ClientSession() as session:

            async def ask(one: MadeUp) -> bytes:
                query = f"SeriesInstanceUID={one.series_uid}&SOPInstanceUID={one.sop_uid}"
                key = f"/bulkdl/{stable_uuid(one.series_uid)}/{stable_uuid(one.sop_uid)}.dcm"
                nbia = f"/nbia-api/services/v1/getSingleImage?{query}"
                async with session.get(urljoin(base, nbia if api == "NBIA" else key)) as response:
                    return await response.read()

            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(one)) for one in made]
                for _ in range(2):  # once this is answered, the server has read the requests before
                    async with session.get(urljoin(base, "/nothing")) as response:
                        assert response.status == 404
                catalogue.may_read.set()
        assert [task.result() for task in asked] == [one.content for one in made]
        assert catalogue.reads == 1


async def test_a_running_server_sees_a_new_scan(archive: Archive, tmp_path: Path) -> None:
    assert (await archive.image(archive.made[0])).status == 200
    made = write_folder(tmp_path / "other", instances(series=1, per_series=1, seed="other"))
    archive.catalogue.scan([Root(tmp_path / "other")])
    assert (await archive.image(made[0])).body == made[0].content
    assert (await archive.image(archive.made[0])).status == 500


async def test_a_bundle_begins_with_the_licence(archive: Archive) -> None:
    made = [one for one in archive.made if one.series_uid == archive.made[0].series_uid]
    answer = await archive.get(f"getImage?SeriesInstanceUID={made[0].series_uid}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{made[0].series_uid}.zip"'
    assert "Content-Length" not in answer.headers
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["LICENSE", "00000001.dcm", "00000002.dcm"]
        assert {bundle.read(name) for name in bundle.namelist()[1:]} == {one.content for one in made}
        text = bundle.read("LICENSE").decode()
    assert "LUNG" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text


async def test_a_bundle_with_new_names(archive: Archive) -> None:
    answer = await archive.get(f"getImage?SeriesInstanceUID={archive.made[0].series_uid}&NewFileNames=yES")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["LICENSE", "1-1.dcm", "1-2.dcm"]


async def test_a_bundle_with_checksums_ends_with_them(archive: Archive) -> None:
    answer = await archive.get(f"getImageWithMD5Hash?SeriesInstanceUID={archive.made[-1].series_uid}")
    digest = hashlib.md5(archive.made[-1].content, usedforsecurity=False).hexdigest()
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["00000001.dcm", "md5hashes.csv"]
        assert bundle.read("md5hashes.csv").decode() == f"Filename,MD5Hash\n00000001.dcm,{digest}\n"


@pytest.mark.parametrize("endpoint", ["getImage", "getImageWithMD5Hash"])
async def test_the_bundle_of_an_unknown_series_is_not_public(archive: Archive, endpoint: str) -> None:
    answer = await archive.get(f"{endpoint}?SeriesInstanceUID=1.2")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert answer.body == b"Image with given SeriesInstanceUID,1.2, is not in public domain."


async def test_a_bundle_ends_before_a_missing_file_and_the_log_says_so(archive: Archive) -> None:
    (archive.folder / archive.made[-1].path).unlink()
    answer = await archive.get(f"getImage?SeriesInstanceUID={archive.made[-1].series_uid}")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
        assert bundle.namelist() == ["LICENSE"]
    assert "No such file" in (archive.log[-1].note or "")


async def test_the_md5_of_an_instance(archive: Archive) -> None:
    made = archive.made[0]
    answer = await archive.get(f"getM5HashForImage?SOPInstanceUid={made.sop_uid}")
    assert answer.body.decode() == hashlib.md5(made.content, usedforsecurity=False).hexdigest()
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_tcia_says_how_many_images_a_bundle_has(archive: Archive, method: str) -> None:
    """TCIA's Java SDK parses this header of every bundle."""
    url = f"{archive.base.removesuffix('/nbia-api/services')}/services/v3/TCIA/query/getImage"
    params = {"SeriesInstanceUID": archive.made[0].series_uid}
    async with archive.session.request(method, url, params=params) as response:
        assert (response.status, response.headers["imageCount"]) == (200, "2")


def served(path: Path, content: bytes = b"", *, acquisition: int | None = None) -> ServedFile:
    path.write_bytes(content)
    status = path.stat()
    return ServedFile(1, path, None, "1.2", "1.2.3", status.st_size, status.st_mtime_ns, None, acquisition, None)


def md5_of(file: ServedFile) -> bytes:
    return hashlib.md5(file.path.read_bytes(), usedforsecurity=False).digest()


@pytest.mark.parametrize(
    ("acquisitions", "names"),
    [
        ([], []),
        ([1], ["1-1.dcm"]),
        ([None, None], ["1-1.dcm", "1-2.dcm"]),
        ([4, 4, 7, 4], ["1-1.dcm", "1-2.dcm", "2-1.dcm", "3-1.dcm"]),
        ([1] * 11, [f"1-{number:02}.dcm" for number in range(1, 12)]),
        (list(range(10)), [f"{number:02}-1.dcm" for number in range(1, 11)]),
    ],
    ids=["none", "one", "without-numbers", "acquisitions", "many-instances", "many-acquisitions"],
)
def test_new_names_count_acquisitions_and_instances(
    tmp_path: Path, acquisitions: list[int | None], names: list[str]
) -> None:
    assert new_names([served(tmp_path / "x", acquisition=number) for number in acquisitions]) == names


def test_sequential_names_have_eight_digits(tmp_path: Path) -> None:
    assert sequential_names([served(tmp_path / "x")] * 2) == ["00000001.dcm", "00000002.dcm"]


def test_holds_license_files_and_checksums_in_that_order(tmp_path: Path) -> None:
    contents = [b"first", b"x" * 1_000_000]
    files = [served(tmp_path / str(number), content) for number, content in enumerate(contents)]
    pieces = list(bundle(named(files, ["a", "b"]), license_text="terms", md5_of=md5_of))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.namelist() == ["LICENSE", "a", "b", "md5hashes.csv"]
        assert archive.testzip() is None
        assert [archive.read("LICENSE"), archive.read("a"), archive.read("b")] == [b"terms", *contents]
        lines = archive.read("md5hashes.csv").decode()
        assert lines == f"Filename,MD5Hash\na,{md5_of(files[0]).hex()}\nb,{md5_of(files[1]).hex()}\n"
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}
        assert all(entry.compress_size > entry.file_size for entry in archive.infolist())  # which would take longest
        assert all(entry.flag_bits & 0x08 for entry in archive.infolist())  # lengths come behind the data


def test_files_of_every_length_are_in_blocks_of_deflate(tmp_path: Path) -> None:
    contents = [b"x" * size for size in (0, 1, 0xFFFF, 0x10000, 2 * 0xFFFF, 1 << 19, (1 << 19) + 1)]
    files = [served(tmp_path / str(number), content) for number, content in enumerate(contents)]
    content = b"".join(bundle(named(files, map(str, range(len(files))))))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == contents
        blocks = [-(-len(each) // 0xFFFF) + 1 for each in contents[:5]]  # the last one is empty
        added = [entry.compress_size - entry.file_size for entry in archive.infolist()[:5]]
        assert added == [5 * number for number in blocks]
        starts = [entry.header_offset + 30 + len(entry.filename) for entry in archive.infolist()]
    for start, expected in zip(starts, contents, strict=True):  # without the lengths, as streams are read
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        assert inflating.decompress(content[start:]) == expected
        assert inflating.eof


def test_no_piece_holds_a_whole_instance(tmp_path: Path) -> None:
    """Memory does not grow with the size of an instance."""
    noise = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(60_000))
    pieces = list(bundle([(served(tmp_path / "x", noise), "x")]))
    assert len(pieces) > 4
    assert max(map(len, pieces)) < 700_000


def test_keeps_nothing_but_a_piece_while_that_is_sent(tmp_path: Path) -> None:
    """A slow client takes minutes for a piece."""
    file = served(tmp_path / "x", bytes(4_000_000))
    tracemalloc.start()
    try:
        kept = [tracemalloc.get_traced_memory()[0] - len(piece) for piece in bundle([(file, "x")])]
    finally:
        tracemalloc.stop()
    assert len(kept) > 4
    assert max(kept) < 100_000


@pytest.mark.parametrize("change", ["gone", "longer", "folder"])
def test_ends_well_formed_before_a_file_that_changed(tmp_path: Path, change: str) -> None:
    """The real server does this, so clients must count the instances."""
    files = [served(tmp_path / str(number), b"content") for number in range(3)]
    files[1].path.unlink()
    if change == "longer":
        files[1].path.write_bytes(b"content and more")
    elif change == "folder":
        files[1].path.mkdir()
    failures: list[str] = []
    pieces = bundle(named(files, ["a", "b", "c"]), md5_of=md5_of, on_failure=failures.append)
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.namelist() == ["a"]
    assert len(failures) == 1
