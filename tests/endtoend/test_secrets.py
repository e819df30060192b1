"""Keys, passwords and tokens are sent to their archive only.

Commands run with marked secrets, with success and every kind of failure. Then the marks are searched in everything that
they printed or wrote, in the command lines of all processes, and in all requests to other servers.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.support.commands import async_process_of, environment
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, FaultyServer, Script, Seen, answer, redirect
from tests.support.faults import json as as_json

KEY = "key-5f1d2c77-marked"
PASSWORD = "password-9a!c-marked"  # noqa: S105 - made up
PROXY_PASSWORD = "proxy-31e0-marked"  # noqa: S105 - made up
TOKEN = "token-77aa-marked"  # noqa: S105 - made up
REFRESH = "refresh-02bd-marked"
SECRETS = (KEY, PASSWORD, PROXY_PASSWORD, TOKEN, REFRESH)
MARKS = tuple(
    mark.encode()
    for secret in SECRETS
    for mark in {secret, quote(secret, safe=""), base64.b64encode(f"user:{secret}".encode()).decode()}
)


def found_in(content: bytes) -> list[bytes]:
    return [mark for mark in MARKS if mark in content]


@dataclass
class Archive:
    """An archive of a few Series. `looks`: the command lines of all processes during its requests."""

    made_up: list[MadeUp]
    elsewhere: str = ""
    refuse: Callable[[Seen], Action | None] = lambda _: None
    looks: list[bytes] = field(default_factory=list)

    def script(self, seen: Seen) -> Action:
        self.looks.append(b"\n".join(command_lines()))
        if (refusal := self.refuse(seen)) is not None:
            return refusal
        if seen.path.endswith("oauth/token"):
            token = {"access_token": TOKEN, "refresh_token": REFRESH, "expires_in": 3600, "refresh_expires_in": 3600}
            return as_json(json.dumps(token))
        of_series = [one for one in self.made_up if one.series_uid == seen.query.get("SeriesInstanceUID")]
        return self._answer(seen, of_series)

    def _answer(self, seen: Seen, of_series: list[MadeUp]) -> Action:
        match seen.path.rpartition("/")[2]:
            case "getCollectionValues":
                return as_json('[{"Collection": "MADE-UP"}]')
            case "getSeries":
                return as_json(json.dumps([self._row(uid) for uid in {one.series_uid for one in self.made_up}]))
            case "getSOPInstanceUIDs":
                return as_json(json.dumps([{"SOPInstanceUID": one.sop_uid} for one in of_series]))
            case "getSingleImage":
                (one,) = [one for one in of_series if one.sop_uid == seen.query["SOPInstanceUID"]]
                if one is self.made_up[0]:
                    return redirect(f"{self.elsewhere}moved/{one.sop_uid}.dcm")
                return answer(one.content, headers={"Content-Type": "application/dicom"})
            case _:
                return answer(status=404)

    def _row(self, series_uid: str) -> dict[str, object]:
        of_series = [one for one in self.made_up if one.series_uid == series_uid]
        row = {"SeriesInstanceUID": series_uid, "StudyInstanceUID": of_series[0].study_uid, "Modality": "CT"}
        counts = {"ImageCount": len(of_series), "FileSize": sum(len(one.content) for one in of_series)}
        return {**row, **counts, "Collection": "MADE-UP", "PatientID": of_series[0].patient_id}


def command_lines() -> list[bytes]:
    """The command lines of all processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:
            continue
    return lines


def another(made_up: list[MadeUp]) -> Script:
    """Another server, to which one instance is redirected."""

    def script(seen: Seen) -> Action:
        name = seen.path.rpartition("/")[2].removesuffix(".dcm")
        content = next((one.content for one in made_up if one.sop_uid == name), b"")
        return answer(content, headers={"Content-Type": "application/dicom"}, status=200 if content else 404)

    return script


async def ended(command: list[str], environment: dict[str, str]) -> tuple[int, bytes, bytes]:
    """The exit code of a command, and what it printed to both streams."""
    process = await async_process_of(command, environment)
    out, err = await process.communicate()
    return await process.wait(), out, err


class Ways:
    """The login methods of each family."""

    @staticmethod
    def key(url: str) -> tuple[str, dict[str, str]]:
        return f"{url}services/v3/TCIA", {"BULKDL_API_KEY": KEY}

    @staticmethod
    def login(url: str) -> tuple[str, dict[str, str]]:
        return f"{url}nbia-api/services/v2", {"BULKDL_USERNAME": "user", "BULKDL_PASSWORD": PASSWORD}


REFUSALS: dict[str, Callable[[Seen], Action | None]] = {
    "nothing": lambda _: None,
    "401 to all": lambda seen: answer(echo(seen), status=401, headers={"Content-Type": "text/plain"}),
    "500 to the lists": lambda seen: (
        answer(echo(seen), status=500) if seen.path.endswith("getSOPInstanceUIDs") else None
    ),
    "400 to the instances": lambda seen: (
        answer(echo(seen), status=400) if seen.path.endswith("getSingleImage") else None
    ),
    "rubbish instead of records": lambda seen: (
        answer(b"[{" + echo(seen), headers={"Content-Type": "application/json"})
        if seen.path.endswith("getSeries")
        else None
    ),
    "an echo instead of DICOM": lambda seen: (
        answer(echo(seen), headers={"Content-Type": "application/dicom"})
        if seen.path.endswith("getSingleImage")
        else None
    ),
}


def echo(seen: Seen) -> bytes:
    """An answer that repeats the whole request."""
    headers = " ".join(
        f"{name}: {value}" for name, value in seen.headers.items() if name in {"api_key", "authorization"}
    )
    return f"no: {headers} {seen.headers.get('proxy-authorization', '')} {seen.body.decode()}".encode()


def commands(address: str, mirror: Path, manifest: Path, *, give_up_after: str) -> list[list[str]]:
    quick = ["--max-attempts", "1", "--give-up-after", give_up_after]
    here = ["--archive", address]
    mirror_it = ["mirror", *here, "--to", str(mirror), *quick]
    return [
        [*mirror_it, "--manifest", str(manifest), "--progress", "json", "--workers", "2"],
        [*mirror_it, "--everything", "--yes", "--progress", "plain", "--transport", "single"],
        ["query", *here, "getSeries"],
        ["status", str(mirror), "--json"],
        ["status", str(mirror)],
        ["resume", str(mirror), "--json", "--progress", "plain", *quick],
        ["verify", str(mirror), "--remote", "--repair", "--json", *quick],
        ["plan", *here, "--everything", "--to", str(mirror)],
        ["query", *here, "getNothing"],
    ]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("way", [Ways.key, Ways.login], ids=["key", "login"])
def test_no_secret_is_printed_written_or_sent_elsewhere(
    way: Callable[[str], tuple[str, dict[str, str]]], refusal: str, tmp_path: Path
) -> None:
    made_up = list(instances(series=2, per_series=3))
    archive = Archive(made_up, refuse=REFUSALS[refusal])
    mirror, cache = tmp_path / "mirror", tmp_path / "cache"
    said: list[bytes] = []

    async def scenario() -> None:
        async with FaultyServer(archive.script) as server, FaultyServer(another(made_up)) as other:
            archive.elsewhere = other.url
            address, secrets = way(server.url)
            manifest = tmp_path / "list.tcia"
            server_url = f"http://user:{PASSWORD}@{urlsplit(other.url).netloc}/servlet/DownloadServlet"
            uids = "\n".join({one.series_uid for one in made_up})
            manifest.write_text(f"downloadServerUrl={server_url}\nListOfSeriesToDownload=\n{uids}\n")
            told = {**environment(cache), **secrets, "BULKDL_TRACEBACK": "1"}
            wanted = commands(address, mirror, manifest, give_up_after="1m" if refusal == "nothing" else "0.1s")
            for command in wanted[: None if refusal == "nothing" else 4]:
                _, out, err = await ended(command, told)
                said.append(err + (b"" if command[0] == "query" else out))  # it prints answers of an archive unchanged
                assert b"Traceback" not in err, err.decode()
            if refusal == "nothing":
                assert any(seen.path.startswith("/moved/") for seen in other.requests)
                assert any(found_in(repr(seen.headers).encode()) for seen in server.requests)
            assert [seen for seen in other.requests if found_in(f"{seen.target} {seen.headers}".encode())] == []
            assert [seen.target for seen in server.requests if found_in(seen.target.encode())] == []

    asyncio.run(scenario())
    assert [text.decode() for text in said if found_in(text)] == []
    called = b"".join(archive.looks).replace(PROXY_PASSWORD.encode(), b"")  # another test passes it as an option
    assert found_in(called) == []
    assert archive.looks
    written = [path for folder in (mirror, cache) for path in folder.rglob("*") if path.is_file()]
    quarantined = mirror / ".bulkdl" / "quarantine"  # contains the response, which is what the archive sends
    kept = [path for path in written if not (path.parent == quarantined and path.suffix == ".dcm")]
    assert [path for path in kept if found_in(path.read_bytes())] == []


@pytest.mark.parametrize("by", ["option", "environment"])
@pytest.mark.parametrize("state", ["refuses", "is dead"])
def test_the_password_of_a_proxy_is_for_the_proxy_alone(by: str, state: str, tmp_path: Path) -> None:
    mirror, cache = tmp_path / "mirror", tmp_path / "cache"

    async def scenario() -> list[bytes]:
        async with FaultyServer(lambda seen: answer(echo(seen), status=407)) as proxy:
            port = urlsplit(proxy.url).port if state == "refuses" else 9
            address = f"http://user:{PROXY_PASSWORD}@127.0.0.1:{port}"
            told = {**environment(cache), "BULKDL_TRACEBACK": "1"}
            told |= {"HTTP_PROXY": address, "http_proxy": address} if by == "environment" else {}
            said = []
            for progress in ("json", "plain"):
                command = [
                    "mirror",
                    "--archive",
                    "http://archive.example/nbia-api/services/v1",
                    "--everything",
                    "--yes",
                ]
                command += ["--to", str(mirror), "--progress", progress, "--give-up-after", "1s", "--max-attempts", "2"]
                command += ["--proxy", address] if by == "option" else []
                code, out, err = await ended(command, told)
                assert code in {3, 4}
                said.append(out + err)
            assert bool(proxy.requests) == (state == "refuses")
            return said

    said = asyncio.run(scenario())
    assert [text.decode() for text in said if found_in(text)] == []
    assert [path for path in mirror.rglob("*") if path.is_file() and found_in(path.read_bytes())] == []


async def test_an_address_with_a_password_is_refused_without_showing_it(tmp_path: Path) -> None:
    for address in (
        f"http://user:{PASSWORD}@127.0.0.1:9/nbia-api/services",
        f"nbia+http://user:{PASSWORD}@127.0.0.1:9/x",
        f"ftp://user:{PASSWORD}@127.0.0.1/nbia-api/services",
    ):
        command = ["mirror", "--archive", address, "--everything", "--yes", "--to", str(tmp_path / "m")]
        code, out, err = await ended(command, environment(tmp_path))
        assert code == 2
        assert not found_in(out + err)
    assert os.listdir(tmp_path) in ([], ["cache"])  # noqa: PTH208 - names alone
