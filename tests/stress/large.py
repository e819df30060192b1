"""Download one very large file over a link that breaks again and again, and watch the memory.

`python -m tests.stress.large --gigabytes 4` is the long form for an instance, with `--slide --gigabytes 2 --kills 2`
for a slide of PathDB; the tests run short ones. An instance is a sparse file of empty frames, a slide one of empty
tiles. Each time that the server has sent so many bytes, it resets every connection.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from bulkdl.archive.pathdb import COHORT_TABLE
from bulkdl.server.demo.slides import write_slide
from tests.stress.memory import peak_bytes
from tests.support.bucket_server import BUCKET, list_xml_of, range_of, s3_error, uuid_of
from tests.support.commands import start
from tests.support.dicom_files import uid
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer
from tests.support.idc_index import series_row, write_index
from tests.support.pathdb_server import gone

_SIDE = 1024
_FRAME_BYTES = _SIDE * _SIDE * 2
_READ_BYTES = 1 << 18
_LINK_BYTES_PER_SECOND = 60_000_000
_SERIES, _STUDY, _SOP = uid("large", "series"), uid("large", "study"), uid("large", "sop")
_FOLDER = uuid_of("series", "large")
_SLIDE = "system/files/wsi/large.tif"
_KEY = f"{_FOLDER}/{uuid_of('instance', 'large')}.dcm"


@dataclass(frozen=True)
class Large:
    """The result: `sent_bytes` are those of all responses, so those above `length` were sent twice."""

    code: int
    length: int
    sent_bytes: int
    breaks: int
    peak_bytes: int
    is_right: bool
    seconds: float

    @property
    def twice(self) -> float:
        """The share of the bytes that was sent twice."""
        return self.sent_bytes / self.length - 1


def write_large(path: Path, size_bytes: int) -> None:
    """Write a valid instance of about `size_bytes`: a sparse file of empty frames."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(_SOP)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, _SOP
    image.StudyInstanceUID, image.SeriesInstanceUID = _STUDY, _SERIES
    image.PatientID, image.PatientName, image.Modality = "LARGE", "LARGE", "OT"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = _SIDE
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    frames = max(1, size_bytes // _FRAME_BYTES)
    image.NumberOfFrames = frames
    head = io.BytesIO()
    image.save_as(head, enforce_file_format=True)
    pixels = frames * _FRAME_BYTES
    element = b"\xe0\x7f\x10\0OW\0\0" + pixels.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(head.getvalue() + element)
        file.truncate(head.tell() + len(element) + pixels)


def write_large_slide(path: Path, size_bytes: int) -> None:
    """Write a slide of about `size_bytes`: all images of a pyramid have four thirds of the bytes of the first."""
    side = int((size_bytes / 4) ** 0.5)
    with path.open("wb") as file:
        write_slide(file, side, side)


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class BreakingBucket:
    """Serves one large object; every connection is reset whenever `break_every` more bytes were sent.

    With `bytes_per_second` all connections together carry no more than a link of that rate.
    """

    bytes_per_second: int | None = None

    def __init__(self, path: Path, break_every: int) -> None:
        self.path = path
        self.length = path.stat().st_size
        self.tag = f'"{md5_of(path)}"'
        self.sent_bytes = 0
        self.breaks = 0
        self._free_at = 0.0
        self._break_every = break_every
        self.server = FaultyServer(self._script)

    def _script(self, seen: Seen) -> Action:
        if "list-type" in seen.query:
            body = list_xml_of(BUCKET, seen.query["prefix"], [(_KEY, self.tag, self.length)])
            return answer(body, headers={"Content-Type": "application/xml"})
        if not seen.path.endswith(_KEY):
            return s3_error(404, "NoSuchKey")
        return self._part(seen)

    def _part(self, seen: Seen) -> Action:
        begin, end = range_of(seen, self.length)
        headers = {"Content-Length": str(end - begin), "ETag": self.tag}
        headers |= {"Content-Range": f"bytes {begin}-{end - 1}/{self.length}"} if "range" in seen.headers else {}

        async def act(exchange: Exchange) -> None:
            breaks = self.breaks
            exchange.keep_in_flight(_READ_BYTES)
            await exchange.send_head(206 if "range" in seen.headers else 200, headers)
            with self.path.open("rb", buffering=0) as file:
                file.seek(begin)
                left = end - begin
                while left and self.breaks == breaks:
                    piece = file.read(min(left, _READ_BYTES))
                    await exchange.send(piece)
                    left -= len(piece)
                    self.sent_bytes += len(piece)
                    await self._carry(len(piece))
                    if self.sent_bytes >= self._break_every * (self.breaks + 1):
                        self.breaks += 1
            if left:
                exchange.drop(reset=True)

        return act

    async def _carry(self, size_bytes: int) -> None:
        """Wait as long as the link needs for so many bytes, behind those that wait already."""
        if self.bytes_per_second is not None:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + size_bytes / self.bytes_per_second
            await asyncio.sleep(self._free_at - now)


class BreakingPathDb(BreakingBucket):
    """The same for one slide, which only the cohort table names."""

    def _script(self, seen: Seen) -> Action:
        if seen.path.endswith(COHORT_TABLE):
            row = f"LARGE,10.7937/large,P,large,{self.server.url}{_SLIDE}"
            return answer(f"collection,collection_doi,patient_id,slide_id,wsiimage_url\n{row}\n".encode())
        return self._part(seen) if seen.path.endswith(_SLIDE) else gone()


@asynccontextmanager
async def breaking_pathdb(folder: Path, size_bytes: int, break_every: int) -> AsyncIterator[BreakingPathDb]:
    """A running PathDB with one slide of about `size_bytes`."""
    path = folder / "large.tif"
    await asyncio.to_thread(write_large_slide, path, size_bytes)
    pathdb = await asyncio.to_thread(BreakingPathDb, path, break_every)
    async with pathdb.server:
        yield pathdb


@asynccontextmanager
async def breaking_bucket(folder: Path, size_bytes: int, break_every: int) -> AsyncIterator[BreakingBucket]:
    """A running bucket with one instance of `size_bytes`, and its index in `folder`/index."""
    path = folder / "large.dcm"
    await asyncio.to_thread(write_large, path, size_bytes)
    bucket = await asyncio.to_thread(BreakingBucket, path, break_every)
    values = {"SeriesInstanceUID": _SERIES, "StudyInstanceUID": _STUDY, "PatientID": "LARGE", "Modality": "OT"}
    row = series_row(1, instanceCount=1, aws_bucket=BUCKET, crdc_series_uuid=_FOLDER, **values)
    write_index(folder / "index", [row | {"series_size_MB": bucket.length / 1e6}])
    async with bucket.server:
        yield bucket


async def download_large(folder: Path, *, size_bytes: int, break_every: int, kills: int = 0) -> Large:
    """Mirror the instance with the command, which is killed so many times on the way, and then completes."""
    async with breaking_bucket(folder, size_bytes, break_every) as bucket:
        options = ("--archive", f"idc+{bucket.server.url}", "--idc-index", folder / "index", "--series", _SERIES)
        return await _download(folder, bucket, options, kills)


async def download_large_slide(
    folder: Path, *, size_bytes: int, break_every: int, kills: int = 0, bytes_per_second: int | None = None
) -> Large:
    """The same for a slide."""
    async with breaking_pathdb(folder, size_bytes, break_every) as pathdb:
        pathdb.bytes_per_second = bytes_per_second
        return await _download(
            folder, pathdb, ("--archive", f"pathdb+{pathdb.server.url}", "--collection", "LARGE"), kills
        )


async def _download(folder: Path, bucket: BreakingBucket, options: Sequence[str | Path], kills: int) -> Large:
    started = time.monotonic()
    command = ["mirror", *options, "--to", folder / "mirror", "--progress", "none", "--yes", "--workers", "1"]
    peak = 0
    for number in range(1, kills + 1):
        until = bucket.length * number // (kills + 1)
        peak = max(peak, await _killed([*command], folder / "cache", bucket, until))
    with start([*command], cache=folder / "cache") as process:
        peak = max(peak, await asyncio.to_thread(peak_bytes, process))
        _, said = await asyncio.to_thread(process.communicate)
    if process.returncode:
        print(said, file=sys.stderr)  # noqa: T201 - for the one who looks at a failure
    name = f"{_SOP}.dcm" if bucket.path.suffix == ".dcm" else bucket.path.name
    found = list((folder / "mirror").rglob(name))
    is_right = len(found) == 1 and f'"{await asyncio.to_thread(md5_of, found[0])}"' == bucket.tag
    seconds = time.monotonic() - started
    return Large(process.wait(), bucket.length, bucket.sent_bytes, bucket.breaks, peak, is_right, seconds)


async def _killed(command: list[str | Path], cache: Path, bucket: BreakingBucket, until: int) -> int:
    """Run the command until the bucket has sent `until` bytes, then kill it; its memory at that moment."""
    with start(command, cache=cache) as process:
        while bucket.sent_bytes < until and process.poll() is None:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
        with suppress(psutil.Error, ProcessLookupError):
            size_bytes = psutil.Process(process.pid).memory_info().rss
            os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            return int(size_bytes)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--slide", action="store_true")
    given = parser.parse_args()
    break_every, most_twice = (100_000_000, 0.01) if given.slide else (300_000_000, 0.05)
    with tempfile.TemporaryDirectory() as name:
        size_bytes = min(int(given.gigabytes * 1e9), (1 << 32) - 2 * _FRAME_BYTES)
        folder, options = Path(name), {"size_bytes": size_bytes, "break_every": break_every, "kills": given.kills}
        if given.slide:
            found = asyncio.run(download_large_slide(folder, **options, bytes_per_second=_LINK_BYTES_PER_SECOND))
        else:
            found = asyncio.run(download_large(folder, **options))
    print(f"{found}, {found.twice:.2%} sent twice")  # noqa: T201 - a script
    is_good = found.is_right and found.peak_bytes < 200e6 and found.twice <= most_twice
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
