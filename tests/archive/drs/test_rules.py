"""The pure rules of a data commons: addresses, directories of zips, records, tokens."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib

import pytest

from bulkdl.archive.drs.keys import Gen3Tokens
from bulkdl.archive.drs.records import read_record
from bulkdl.archive.drs.signed_urls import problem_of, read_signed_url
from bulkdl.archive.drs.zip_directory import EarlierBytesNeeded, MemberReader, ZipMember, read_directory
from bulkdl.archive.private_hosts import is_private
from bulkdl.errors import AccessDenied, ArchiveRefused, ShortBody, UnexpectedAnswer
from bulkdl.model.drs_objects import DrsObject, location_of_objects, objects_of
from bulkdl.runtime.inflating import PIECE_BYTES
from tests.support.gen3_server import jwt

LOCAL_HEADER = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, zipfile.ZIP_DEFLATED, *[0] * 7)
COMMONS = "https://commons.example.org/"
UUID = "870175D4-EE9A-4A64-BF7A-6CDDB18C22BD"


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "commons", "is_allowed"),
    [
        ("https://bucket.s3.amazonaws.com/a?X-Amz-Signature=1", COMMONS, True),
        ("https://8.8.8.8/a", COMMONS, True),
        ("http://bucket.s3.amazonaws.com/a", COMMONS, False),
        ("https://10.1.2.3/a", COMMONS, False),
        ("https://169.254.169.254/latest/meta-data", COMMONS, False),
        ("https://[::1]/a", COMMONS, False),
        ("https://[::ffff:10.0.0.1]/a", COMMONS, False),
        ("https://127.1/a", COMMONS, False),
        ("https://0x7f000001/a", COMMONS, False),
        ("https://2130706433/a", COMMONS, False),
        ("https://localhost/a", COMMONS, False),
        ("https://printer.local/a", COMMONS, False),
        ("https://metadata.google.internal/a", COMMONS, False),
        ("https://user:word@bucket.s3.amazonaws.com/a", COMMONS, False),
        ("file:///etc/passwd", COMMONS, False),
        ("http://127.0.0.1:9/a", "http://127.0.0.1:8/", True),
        ("http://127.0.0.2:9/a", "http://127.0.0.1:8/", False),
        ("https://10.0.0.1/a", "https://10.0.0.1/", True),
        ("http://10.0.0.1/a", "https://10.0.0.1/", False),
    ],
)
def test_only_public_addresses_by_https_are_requested(url: str, commons: str, *, is_allowed: bool) -> None:
    assert (problem_of(url, commons) is None) is is_allowed


def test_a_host_of_the_same_name_in_another_case_is_private_as_well() -> None:
    assert is_private("LOCALHOST.")


def test_a_signed_address_expires_when_its_query_says_so_and_hides_its_secrets() -> None:
    def read(query: str) -> tuple[float, tuple[str, ...]]:
        url = f"https://bucket.s3.amazonaws.com/a?{query}"
        signed = read_signed_url(json.dumps({"url": url}).encode(), COMMONS, now=100.0)
        assert "s3cret" not in repr(signed)
        return signed.expires, signed.secrets

    amazon, secrets = read("X-Amz-Date=19700101T010000Z&X-Amz-Expires=60&X-Amz-Signature=s3cret")
    assert amazon == 3660.0
    assert "s3cret" in secrets
    assert read("X-Goog-Date=19700101T010000Z&X-Goog-Expires=5&X-Goog-Signature=s3cret")[0] == 3605.0
    assert read("Expires=777&Signature=s3cret")[0] == 777.0
    assert read("sig=s3cret")[0] == 160.0


@pytest.mark.parametrize("content", [b"", b"[]", b'{"url": 3}', b'{"url": "http://["}', b'{"url": "https://x\\n"}'])
def test_what_is_not_an_address_is_an_unexpected_answer(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_signed_url(content, COMMONS, now=0.0)


# --- records ----------------------------------------------------------------------------------------------------------


def record(**changes: object) -> bytes:
    found = {"id": f"dg.TEST/{UUID}", "size": "12", "checksums": [{"type": "MD5", "checksum": "AB" * 16}], **changes}
    return json.dumps(found).encode()


def test_a_record_is_read_with_a_size_in_either_form_and_names_from_where_the_object_lies() -> None:
    methods = [
        {"type": "gs", "access_id": "gs", "access_url": {"url": "gs://b/folder/1.2.zip"}},
        {"type": "s3", "access_id": "s3"},
        {"type": "https", "access_id": "../../user", "available": True},
        {"type": "ftp", "access_id": "ftp", "available": False},
        7,
    ]
    found = read_record(record(access_methods=methods), DrsObject(object_id=f"dg.TEST/{UUID}"))
    assert (found.size_bytes, found.md5, found.name) == (12, bytes.fromhex("ab" * 16), "1.2.zip")
    assert found.access_ids == ("s3", "gs")


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        record(id=f"dg.TEST/{UUID[:-1]}C"),
        record(size=None),
        record(size=-1),
        record(form="bundle"),
        record(contents=[{"name": "x"}]),
    ],
)
def test_what_is_not_the_record_of_the_object_is_an_unexpected_answer(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_record(content, DrsObject(object_id=f"dg.TEST/{UUID}"))


# --- zips -------------------------------------------------------------------------------------------------------------


def made_zip(count: int = 3) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("folder/", b"")
        for number in range(count):
            made.writestr(f"folder/{number}", bytes([number]) * 1000, zipfile.ZIP_DEFLATED if number % 2 else None)
        made.writestr("md5hashes.csv", "a,b")
    return buffer.getvalue()


def test_the_directory_is_read_from_the_end_which_may_have_to_begin_earlier() -> None:
    content = made_zip()
    starts, members = [len(content) - 22], tuple[ZipMember, ...]()
    while not members:
        try:
            members = read_directory(content[starts[-1] :], len(content))
        except EarlierBytesNeeded as needed:
            starts.append(needed.start)
    assert starts[-1] == content.index(b"PK\x01\x02")
    assert starts == sorted(set(starts), reverse=True)
    assert [(each.position, each.name, each.is_image) for each in members] == [
        (1, "folder/", False),
        (2, "folder/0", True),
        (3, "folder/1", True),
        (4, "folder/2", True),
        (5, "md5hashes.csv", False),
    ]


def bytes_of(member: ZipMember, content: bytes, piece: int) -> bytes:
    reader, part = MemberReader(member), content[member.offset :]
    found = b"".join(data for start in range(0, len(part), piece) for data in reader.feed(part[start : start + piece]))
    reader.close()
    return found


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_member_is_read_from_a_part_of_the_zip(piece: int) -> None:
    content = made_zip()
    for member in read_directory(content, len(content))[1:4]:
        assert bytes_of(member, content, piece) == bytes([int(member.name[-1])]) * 1000


@pytest.mark.parametrize("more_bytes", [0, 1, 21, 100, 250])
def test_a_member_that_inflates_to_a_little_more_than_a_piece_is_whole(more_bytes: int) -> None:
    """By then, zlib has taken all of its bytes, and keeps up to 258 decoded ones."""
    buffer, image = io.BytesIO(), bytes((1 << 18) + more_bytes)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("mask", image)
    content = buffer.getvalue()
    assert bytes_of(read_directory(content, len(content))[0], content, len(content)) == image


@pytest.mark.parametrize("size_bytes", [10, PIECE_BYTES, PIECE_BYTES + 5, 2 * PIECE_BYTES])
@pytest.mark.parametrize("piece", [7, 10**7])
def test_a_member_whose_data_goes_on_behind_its_end_is_damaged(size_bytes: int, piece: int) -> None:
    """Zlib gives the bytes behind a stream back again and again."""
    content = bytes(size_bytes)
    packed = zlib.compress(content, wbits=-zlib.MAX_WBITS) + b"more"
    member = ZipMember(0, "1.dcm", 0, len(packed), size_bytes, zlib.crc32(content), is_deflated=True)
    with pytest.raises(ShortBody, match="goes on behind its end"):
        bytes_of(member, LOCAL_HEADER + packed, piece)


def test_a_damaged_member_is_found_by_its_checksum() -> None:
    content = made_zip()
    first = read_directory(content, len(content))[1]
    damaged = content.replace(b"\0" * 900, b"\0" * 899 + b"x")
    with pytest.raises(ShortBody):
        bytes_of(first, damaged, 100)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 1000, made_zip()[:-1], zlib.compress(b"x" * 99)])
def test_what_is_not_a_zip_is_an_unexpected_answer(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_directory(content, len(content))


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_is_renewed_before_it_expires_and_a_refused_key_is_not_sent_again() -> None:
    now, posted = [1000.0], list[str]()
    refuses = False

    async def post(path: str, key: str) -> bytes:
        posted.append(path)
        assert key == "key"
        if refuses:
            raise AccessDenied("revoked", status=401)
        return json.dumps({"access_token": jwt(exp=now[0] + 100, jti=str(len(posted)))}).encode()

    tokens = Gen3Tokens("key", COMMONS, post, clock=lambda: now[0])
    first = await tokens.current()
    assert first is await tokens.current()
    now[0] += 80.0
    assert await tokens.current() is not first
    refuses, now[0] = True, now[0] + 80.0
    for _ in range(2):
        with pytest.raises(ArchiveRefused, match="revoked"):
            await tokens.current()
    assert len(posted) == 3


async def test_without_a_key_there_is_no_token() -> None:
    async def post(*_: str) -> bytes:
        raise AssertionError

    assert await Gen3Tokens(None, COMMONS, post).current() is None


# --- identifiers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "object_id", "uri"),
    [
        (f"drs://a.org/dg.4DFC/{UUID}", "a.org", f"dg.4DFC/{UUID}", f"drs://a.org/dg.4DFC/{UUID}"),
        (f"DRS://A.org:81/{UUID}", "a.org:81", UUID, f"drs://a.org:81/{UUID}"),
        (f"drs://dg.4DFC:{UUID}", "", f"dg.4DFC/{UUID}", f"drs://dg.4DFC:{UUID}"),
        (f"drs://dg.4DFC/{UUID}", "", f"dg.4DFC/{UUID}", f"drs://dg.4DFC:{UUID}"),
        (f"drs://dg.4DFC:dg.4DFC/{UUID}", "", f"dg.4DFC/{UUID}", f"drs://dg.4DFC:{UUID}"),
        (f"dg.4DFC/{UUID}", "", f"dg.4DFC/{UUID}", f"drs://dg.4DFC:{UUID}"),
    ],
)
def test_identifiers_are_read_in_every_form(text: str, host: str, object_id: str, uri: str) -> None:
    found = DrsObject.parse(text)
    assert (found.host, found.object_id, found.uri) == (host, object_id, uri)
    assert DrsObject.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "drs://",
        "drs://a.org",
        "drs://a.org/",
        f"drs://a.org/../{UUID}",
        "drs://a.org/a b",
        "drs://a@b/c",
        "drs://a.org/a?b=c",
        f"drs://{UUID}",
        "drs://a.org/" + "x" * 300,
    ],
)
def test_what_is_not_an_identifier_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a DRS identifier"):
        DrsObject.parse(text)


def test_a_location_keeps_what_a_manifest_says_of_its_objects() -> None:
    one = DrsObject(
        object_id="x/1",
        host="a.org",
        name="ä b#&=.zip",
        collection="C 1",
        patient_id="P/1",
        size_bytes=0,
        md5=b"\0" * 16,
    )
    other = DrsObject(object_id="x/2", host="a.org")
    assert list(objects_of(location_of_objects([one, other]))) == [one, other]
