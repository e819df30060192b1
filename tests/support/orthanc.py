"""Orthanc, a DICOM server by others, with its DICOMweb plugin: none of its mistakes are ours.

Debian: `apt-get install --no-install-recommends orthanc orthanc-dicomweb`. Tests that need it have the mark
`needs_orthanc` and are skipped elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.dicom_files import MadeUp
from tests.support.waiting import wait_until

_PROGRAM: Final = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin")
_PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_MOST_STARTS: Final = 5  # the port that was free may be taken meanwhile

USER: Final = "alice"
PASSWORD: Final = "made-up secret"  # noqa: S105 - made up

needs_orthanc = pytest.mark.skipif(
    _PROGRAM is None or not _PLUGIN.exists(), reason="Orthanc and its DICOMweb plugin are not installed"
)


@dataclass(frozen=True)
class Orthanc:
    """One that runs. `url` is that of the REST API of Orthanc, with a slash at the end."""

    port: int
    headers: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def dicomweb(self) -> str:
        """The root of DICOMweb, with a slash at the end."""
        return f"{self.url}dicom-web/"

    @property
    def wado(self) -> str:
        """The address of WADO-URI."""
        return f"{self.url}wado"

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer of the REST API; `path` has no slash before it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"/{path}", body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise OSError(f"{method} {path}: {response.status} {content[:200]!r}")
        return content

    def put(self, files: Iterable[MadeUp | bytes]) -> None:
        """Store instances, each by one request."""
        for one in files:
            self.ask("POST", "instances", one if isinstance(one, bytes) else one.content)

    def stored(self) -> dict[str, str]:
        """The MD5 of each stored file, as text, by its SOP Instance UID."""
        found: list[dict[str, Any]] = json.loads(self.ask("GET", "instances?expand&since=0&limit=1000000"))
        return {
            one["MainDicomTags"]["SOPInstanceUID"]: self.ask(
                "GET", f"instances/{one['ID']}/attachments/dicom/md5"
            ).decode()
            for one in found
        }

    def remove(self, sop_uid: str) -> None:
        """Delete one instance."""
        for number in json.loads(self.ask("POST", "tools/lookup", sop_uid.encode())):
            if number["Type"] == "Instance":
                self.ask("DELETE", f"instances/{number['ID']}")


@contextmanager
def orthanc(folder: Path, *, login: bool = False, **settings: object) -> Iterator[Orthanc]:
    """Run Orthanc on loopback with its files below `folder`, an empty one, until the block ends.

    `login`: it asks for `USER` and `PASSWORD`. `settings` are further ones of its configuration, by their names.
    """
    assert _PROGRAM is not None
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}"} if login else {}
    with ExitStack() as stack:
        for _ in range(_MOST_STARTS):
            name, port = secrets.token_hex(8), _free_port()
            configuration = folder / "orthanc.json"
            users = {"AuthenticationEnabled": login, "RegisteredUsers": {USER: PASSWORD}}
            configuration.write_text(json.dumps(_settings(folder, name, port) | users | settings))
            with (folder / "orthanc.log").open("wb") as log:
                process = subprocess.Popen([_PROGRAM, configuration], stdout=subprocess.DEVNULL, stderr=log)
            stack.callback(_stop, process)
            running = Orthanc(port, headers)
            if wait_until(lambda: _state(process, running, name)) == "ready":  # noqa: B023 - called in the loop
                yield running
                return
        raise OSError(f"Orthanc does not start: see {folder / 'orthanc.log'}")


def _settings(folder: Path, name: str, port: int) -> dict[str, object]:
    return {
        "Name": name,
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(_PLUGIN)],
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
    }


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _state(process: subprocess.Popen[bytes], running: Orthanc, name: str) -> str | None:
    """`ready` or `ended`; None while it starts. Another server may have got the port."""
    if process.poll() is not None:
        return "ended"
    with suppress(OSError, http.client.HTTPException, ValueError):
        return "ready" if json.loads(running.ask("GET", "system"))["Name"] == name else None
    return None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # a proper end takes it two seconds, and what it has stored is thrown away
    process.wait()
