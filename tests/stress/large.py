"""Download one very large instance over a link that breaks again and again, and watch the memory.

`python -m tests.stress.large --gigabytes 4` is the long form; the tests run a short one. The instance is a sparse file
of empty frames. Each time that the server has sent so many bytes, it resets every connection.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from tests.stress.memory import peak_bytes
from tests.support.bucket_server import BUCKET, list_xml_of, range_of, s3_error, uuid_of
from tests.support.commands import start
from tests.support.dicom_files import uid
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer
from tests.support.idc_index import series_row, write_index

_SIDE = 1024
_FRAME_BYTES = _SIDE * _SIDE * 2
_READ_BYTES = 1 << 18
_SERIES, _STUDY, _SOP = uid("large", "series"), uid("large", "study"), uid("large", "sop")
_FOLDER = uuid_of("series", "large")
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


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class BreakingBucket:
    """Serves one large object; every connection is reset whenever `break_every` more bytes were sent."""

    def __init__(self, path: Path, break_every: int) -> None:
        self.path = path
        self.length = path.stat().st_size
        self.tag = f'"{md5_of(path)}"'
        self.sent_bytes = 0
        self.breaks = 0
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
                    if self.sent_bytes >= self._break_every * (self.breaks + 1):
                        self.breaks += 1
            if left:
                exchange.drop(reset=True)

        return act


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
    started = time.monotonic()
    async with breaking_bucket(folder, size_bytes, break_every) as bucket:
        options = ("--archive", f"idc+{bucket.server.url}", "--idc-index", folder / "index", "--progress", "none")
        command = ("mirror", "--series", _SERIES, "--to", folder / "mirror", "--yes", "--workers", "1", *options)
        peak = 0
        for number in range(1, kills + 1):
            until = bucket.length * number // (kills + 1)
            peak = max(peak, await _killed([*command], folder / "cache", bucket, until))
        with start([*command], cache=folder / "cache") as process:
            peak = max(peak, await asyncio.to_thread(peak_bytes, process))
            _, said = await asyncio.to_thread(process.communicate)
        if process.returncode:
            print(said, file=sys.stderr)  # noqa: T201 - for the one who looks at a failure
        found = list((folder / "mirror").rglob(f"{_SOP}.dcm"))
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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size_bytes = min(int(given.gigabytes * 1e9), (1 << 32) - 2 * _FRAME_BYTES)
        found = asyncio.run(
            download_large(Path(folder), size_bytes=size_bytes, break_every=300_000_000, kills=given.kills)
        )
    print(f"{found}, {found.twice:.1%} sent twice")  # noqa: T201 - a script
    is_good = found.is_right and found.peak_bytes < 200e6 and found.twice <= 0.05
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
