"""A TCIA v3 archive of very many tiny instances, which it makes when they are requested: no file holds them.

`python -m tests.benchmarks.tiny_archive INSTANCES` serves so many on a free port of 127.0.0.1, and prints the address.
A request costs it little: instances differ in their UIDs alone, and zips are stored.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.corpus import TINY, template_of
from tests.support.dicom_files import uid

PATH: Final = "/services/v3/TCIA/query"
PER_SERIES: Final = 1_000
_DATE_1980: Final = 0x21
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")


class TinyArchive:
    """Answers requests for `instances` instances."""

    def __init__(self, instances: int) -> None:
        self._series = [uid("tiny series", number) for number in range(instances // PER_SERIES)]
        self._numbers = {series: number for number, series in enumerate(self._series)}
        self._size = len(self._template(0))

    def answer(self, target: str) -> tuple[str, bytes]:  # noqa: PLR0911 - a table, in the form of a match
        """The content type and the body for the target of a request; an empty type if there is none."""
        parts = urlsplit(target)
        series = parse_qs(parts.query).get("SeriesInstanceUID", [""])[0]
        number = self._numbers.get(series)
        match parts.path.rpartition("/")[2]:
            case "getSeries":
                return "application/json", json.dumps([self._row(one) for one in self._series]).encode()
            case "getSOPInstanceUIDs" if number is not None:
                rows = [{"SOPInstanceUID": sop_uid} for sop_uid in sop_uids(number)]
                return "application/json", json.dumps(rows).encode()
            case "getImage" if number is not None:
                return "application/zip", zip_of(self._template(number), number)
            case "getSingleImage" if number is not None:
                sop_uid = parse_qs(parts.query)["SOPInstanceUID"][0]
                return "application/dicom", self._template(number).replace(_placeholder(), sop_uid.encode())
            case "getPatientStudy":
                return "application/json", b"[]"
            case "getSeriesSize" if number is not None:
                row = {"TotalSizeInBytes": self._size * PER_SERIES, "ObjectCount": PER_SERIES}
                return "application/json", json.dumps([row]).encode()
            case _:
                return "", b""

    def _row(self, series: str) -> dict[str, object]:
        number = self._numbers[series]
        return {
            "SeriesInstanceUID": series,
            "StudyInstanceUID": uid("tiny study", number),
            "Collection": TINY.name,
            "PatientID": f"P{number:04d}",
            "Modality": "CT",
            "SeriesNumber": number,
            "ImageCount": PER_SERIES,
            "FileSize": self._size * PER_SERIES,
        }

    def _template(self, number: int) -> bytes:
        return template_of(TINY, uid("tiny study", number), self._series[number], bytes(TINY.side**2 * 2))


def _placeholder() -> bytes:
    return uid("template").encode()


@cache
def _sop_root() -> str:
    return uid("tiny")


def sop_uids(number: int) -> Iterator[str]:
    """The SOP Instance UIDs of a Series: as long as every made-up UID."""
    root = _sop_root()
    for index in range(PER_SERIES):
        tail = f"{number:05d}{index:05d}"
        yield root[: -len(tail)] + tail


def zip_of(template: bytes, number: int) -> bytes:
    """The zip of a Series, stored."""
    body, directory, offset = [], [], 0
    before, placeholder, after = template.partition(_placeholder())
    size = len(template)
    for index, sop_uid in enumerate(sop_uids(number)):
        content, name = before + sop_uid.encode() + after.replace(placeholder, sop_uid.encode()), b"%06d.dcm" % index
        crc = zlib.crc32(content)
        fields = (0, 0, 0, _DATE_1980, crc, size, size, len(name), 0)
        body += [_LOCAL.pack(b"PK\3\4", 20, *fields), name, content]
        directory += [_CENTRAL.pack(b"PK\1\2", 20, 20, *fields, 0, 0, 0, 0, offset), name]
        offset += _LOCAL.size + len(name) + size
    listing = b"".join(directory)
    end = _END.pack(b"PK\5\6", 0, 0, PER_SERIES, PER_SERIES, len(listing), offset, 0)
    return b"".join([*body, listing, end])


async def serve(archive: TinyArchive) -> None:
    """Serve until the process ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                kind, body = archive.answer(head.split(b" ", 2)[1].decode())
                line = "200 OK" if kind else "404 Not Found"
                fields = f"Content-Type: {kind or 'text/plain'}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(f"HTTP/1.1 {line}\r\n{fields}".encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}{PATH}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(TinyArchive(int(sys.argv[1]))))
