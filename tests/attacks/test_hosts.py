"""A server answers only to its configured names: no web page reads it through another name (DNS rebinding)."""

from __future__ import annotations

from pathlib import Path

from tests.attacks.serving import SERVICES, Server, serving
from tests.attacks.watching import Watcher
from tests.support.dicom_files import instances, write_folder

MADE_UP = list(instances(series=1, per_series=1))
PATIENT = MADE_UP[0].patient_id.encode()
QUESTION = f"{SERVICES}/v1/getPatient"

OURS = ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "localhost.", "localhost:{port}", "127.0.0.1:{port}", "[::1]:1"]
FOREIGN = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example:localhost",
    "localhost@evil.example",
    "evil.example#localhost",
    "evil.example/127.0.0.1",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "[::ffff:8.8.8.8]",
    "xn--lcalhost-i2a",
    "localhost%00.evil.example",
    "localhost evil.example",
    "localhost,evil.example",
]


async def ask(server: Server, host: str, path: str = QUESTION) -> tuple[int, bytes]:
    reply = await server.get(path, headers={"Host": host.format(port=server.port)})
    return reply.status, reply.body


async def test_a_server_answers_by_its_own_names(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    async with serving(bulkdl, tmp_path / "folder") as server:
        for host in OURS:
            status, body = await ask(server, host)
            assert (status, PATIENT in body) == (200, True), host


async def test_a_server_does_not_answer_by_foreign_names(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    async with serving(bulkdl, tmp_path / "folder") as server:
        for path in (QUESTION, "/", "/services/v3/TCIA/query/getPatient", f"{SERVICES}/v1/nothing"):
            for host in FOREIGN:
                status, body = await ask(server, host, path)
                assert status in {400, 421}, (path, host)
                assert PATIENT not in body
                assert b"MADE-UP" not in body


async def test_a_server_does_not_take_logins_and_lists_by_foreign_names(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    form = b"username=nbia_guest&password=&grant_type=password&client_id=nbia"
    async with serving(bulkdl, tmp_path / "folder") as server:
        reply = await server.post("/nbia-api/oauth/token", form, headers={"Host": "evil.example"})
        assert reply.status in {400, 421}
        assert b"access_token" not in reply.body


async def test_names_that_were_allowed_are_answered_too(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    allowed = {"images.example": 200, "IMAGES.example:99": 200, "localhost": 200, "example": 421}
    async with serving(bulkdl, tmp_path / "folder", "--allowed-host", "images.example") as server:
        for host, expected in allowed.items():
            assert (await ask(server, host))[0] == expected, host


async def test_requests_without_one_host_are_refused(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    heads = [
        b"GET %b HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example%b HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    ]
    async with serving(bulkdl, tmp_path / "folder") as server:
        for head in heads:
            reply = await server.send(head % QUESTION.encode())
            assert reply.status in {400, 421}, head
            assert PATIENT not in reply.body


BROKEN = ["localhost:99999999", "localhost:port", "localhost:-1", "[::1", "localhost:" + "9" * 5000]


async def test_a_broken_host_is_a_bad_request(bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    async with serving(bulkdl, tmp_path / "folder") as server:
        for path in ("/", QUESTION):
            for host in BROKEN:
                status, _ = await ask(server, host, path)
                assert status in {200, 400, 421}, (path, host[:50])
