"""What `serve` sends to any client: no guest ends another's login, and no answer is read as something else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.attacks.serving import SERVICES, Server, serving
from tests.attacks.watching import Watcher
from tests.support.dicom_files import instances, write_folder

MADE_UP = list(instances(series=1, per_series=1))
USERS = """
[restricted]
collections = ["MADE-UP"]
[users.alice]
password = "a-password"
collections = ["MADE-UP"]
"""
GUEST = b"username=nbia_guest&password=&grant_type=password&client_id=nbia"
ALICE = b"username=alice&password=a-password&grant_type=password&client_id=nbia"
LOGINS = 21_000


async def flood(server: Server, count: int) -> None:
    """Log in as a guest so many times, over one connection."""
    head = (
        "POST /nbia-api/oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(GUEST)}\r\n\r\n"
    )
    request = head.encode() + GUEST
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def write() -> None:
        for _ in range(count // 500):
            writer.write(request * 500)
            await writer.drain()

    writing = asyncio.create_task(write())
    answered = 0
    while answered < count // 500 * 500:
        answered += (await reader.read(1 << 20)).count(b"HTTP/1.1 200")
    await writing
    writer.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_guests_who_log_in_without_end_do_not_end_the_login_of_a_user(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    (tmp_path / "users.toml").write_text(USERS)
    async with serving(bulkdl, tmp_path / "folder", "--users-file", tmp_path / "users.toml") as server:
        token = (await server.post("/nbia-api/oauth/token", ALICE)).rows()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert b"MADE-UP" in (await server.get(f"{SERVICES}/v2/getSeries", headers=headers)).body
        await asyncio.gather(*(flood(server, LOGINS // 4) for _ in range(4)))
        assert b"MADE-UP" in (await server.get(f"{SERVICES}/v2/getSeries", headers=headers)).body


async def test_every_answer_says_that_its_type_is_meant(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    async with serving(bulkdl, tmp_path / "folder") as server:
        paths = ["/", f"{SERVICES}/v1/getSeries", f"{SERVICES}/v1/getSeries?format=html", f"{SERVICES}/v1/nothing"]
        replies = {path: await server.get(path) for path in paths}
    odd = [path for path, reply in replies.items() if reply.headers.get("x-content-type-options") != "nosniff"]
    assert odd == []


BROKEN = {
    "gzip": {"Content-Encoding": "gzip"},
    "deflate": {"Content-Encoding": "deflate"},
    "an unknown encoding": {"Content-Encoding": "br"},
    "a charset that is none": {"Content-Type": "application/x-www-form-urlencoded; charset=none"},
    "a multipart without a boundary": {"Content-Type": "multipart/form-data"},
    "a multipart that is none": {"Content-Type": "multipart/form-data; boundary=x"},
}


async def test_a_form_that_is_broken_is_a_bad_request(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    async with serving(bulkdl, tmp_path / "folder") as server:
        for name, headers in BROKEN.items():
            reply = await server.post("/nbia-api/oauth/token", b"\x1f\x8bbroken\xff", headers=headers)
            assert reply.status in {400, 401, 413, 415, 422}, name
