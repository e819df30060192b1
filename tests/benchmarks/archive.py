"""nginx over the corpus: every answer of a TCIA v3 archive and of a bucket, from files, without and with TLS 1.3.

Its log has every request with its time.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

from tests.support.bucket_server import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.benchmarks.corpus import Corpus

_OBJECTS: Final = frozenset({"getSingleImage", "getImage"})
_PATH: Final = "/services/v3/TCIA/query"
_CONFIGURATION: Final = """\
worker_processes 1; pid {state}/nginx.pid; error_log {state}/error.log warn; user root; daemon off;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
  types {{ }} default_type application/json; sendfile on; tcp_nopush on; keepalive_requests 10000000;
  log_format timed '$msec $status $request_time $body_bytes_sent $uri';
  access_log {state}/access.log timed;
  map "$arg_SeriesInstanceUID$arg_Collection" $asked {{ default nothing; ~^(?<name>[A-Za-z0-9.-]+)$ $name; }}
  map $arg_prefix $folder {{ default nothing; ~^(?<uuid>[0-9a-f-]+)(/|%2F) $uuid; }}
  server {{
    listen {listen} backlog=4096;
    listen {encrypted} ssl backlog=4096;
    ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {certificate};
    location = {path}/getSingleImage {{
      default_type application/dicom; alias {corpus}/data/$arg_SeriesInstanceUID/$arg_SOPInstanceUID.dcm;
    }}
    location = {path}/getImage {{ default_type application/zip; alias {corpus}/zip/$arg_SeriesInstanceUID.zip; }}
    location = {path}/getSeries {{ alias {corpus}/json/getSeries/$asked.json; }}
    location = {path}/getSOPInstanceUIDs {{ alias {corpus}/json/getSOPInstanceUIDs/$asked.json; }}
    location = {path}/getPatientStudy {{ return 200 '[]'; }}
    location = {path}/getSeriesSize {{ alias {corpus}/json/getSeriesSize/$asked.json; }}
    location = /nbia-api/services/v4/getImage {{
      default_type application/zip; alias {corpus}/zip/$arg_SeriesInstanceUID.zip;
    }}
    location = /nbia-api/services/v4/getSeriesMetaData {{ return 200 '[]'; }}
    location = /{bucket} {{ default_type application/xml; alias {corpus}/lists/$folder.xml; }}
    location = /{bucket}/ {{ default_type application/xml; alias {corpus}/lists/$folder.xml; }}
    location /{bucket}/ {{ default_type binary/octet-stream; root {corpus}/bucket; }}
    location = /ready {{ return 200; access_log off; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered; `at` is when it came, by the wall clock in seconds.

    `ended_at` is when the last of the `size_bytes` of the body was handed to the system.
    """

    at: float
    ended_at: float
    status: int
    size_bytes: int
    endpoint: str

    @property
    def is_object(self) -> bool:
        """Whether an instance or a zip was requested."""
        return self.endpoint in _OBJECTS or self.endpoint.endswith(".dcm")


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive at `url`, and with TLS at `encrypted_url`, while it runs. `certificate` is the one to trust."""

    url: str
    encrypted_url: str
    log: Path
    bucket_url: str
    certificate: Path
    server: psutil.Process

    def mark(self) -> int:
        """A point in the log."""
        return self.log.stat().st_size

    def since(self, mark: int) -> list[Asked]:
        """What was asked after `mark`."""
        with self.log.open() as file:
            file.seek(mark)
            rows = [line.split() for line in file]
        return [
            Asked(float(at) - float(took), float(at), int(status), int(size), path.rpartition("/")[2])
            for at, status, took, size, path in rows
        ]

    def cpu_seconds(self) -> float:
        """What the server has used so far."""
        times = [process.cpu_times() for process in (self.server, *self.server.children())]
        return sum(time.user + time.system for time in times)


@contextmanager
def serving(
    corpus: Corpus, state: Path, *, host: str = "127.0.0.1", port: int = 8897, inside: Sequence[str] = ()
) -> Iterator[Archive]:
    """Serve `corpus` while the block runs; `inside` is a command that runs another, in a network namespace say."""
    state.mkdir(parents=True)
    configuration = state / "nginx.conf"
    certificate = _certificate(state, host)
    words = {"certificate": certificate, "state": state, "path": _PATH, "corpus": corpus.root, "bucket": BUCKET}
    configuration.write_text(_CONFIGURATION.format(listen=f"{host}:{port}", encrypted=f"{host}:{port + 1}", **words))
    command = [*inside, "nginx", "-c", str(configuration), "-e", str(state / "error.log")]
    with subprocess.Popen(command) as process:
        try:
            _wait_until_ready([*inside, "curl", "-sf", f"http://{host}:{port}/ready"], process)
            base = f"http://{host}:{port}"
            encrypted = f"https://{host}:{port + 1}{_PATH}"
            yield Archive(
                f"{base}{_PATH}", encrypted, state / "access.log", base, certificate, psutil.Process(process.pid)
            )
        finally:
            process.send_signal(signal.SIGTERM)


def _certificate(state: Path, host: str) -> Path:
    """A new certificate for `host`, with its key, in one file."""
    path = state / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048", "-subj", f"/CN={host}"]
    names = ["-addext", f"subjectAltName=IP:{host}", "-keyout", str(path), "-out", str(path)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return path


def _wait_until_ready(probe: Sequence[str], process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit("nginx did not start: see its messages above")
        if subprocess.run(probe, check=False, capture_output=True).returncode == 0:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    raise SystemExit("nginx does not answer")
