"""The tools that people use today, each with the settings that suit it best. They are given ready addresses."""

from __future__ import annotations

import shutil
import sys
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks import bucket
from tests.support.bucket_server import BUCKET, series_uuid, uuid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.benchmarks.corpus import Instance

_NAIVE: Final = Path(__file__).with_name("naive.py")
_ZIPS: Final = Path(__file__).with_name("zips.py")
_PROGRAMS: Final = {"wget2": "wget2", "curl -Z": "curl", "aria2c": "aria2c"}
_S5CMD: Final = Path(sys.executable).with_name("s5cmd")
# What `make test-clients` installs the public client in.
_CLIENT: Final = Path(__file__).parents[2] / ".venv-tcia-utils" / "bin" / "python"


class Job:
    """The same objects in the forms that the peers want. Files go to `folder`; by https they trust `certificate`."""

    def __init__(
        self, folder: Path, url: str, instances: Sequence[Instance], in_flight: int, certificate: Path
    ) -> None:
        self._folder = folder
        self._certificate = str(certificate)
        self._in_flight = str(in_flight)
        self._is_encrypted = url.startswith("https:")
        self._origin = url.partition("/services/")[0]
        self._series = list(dict.fromkeys(one.series_uid for one in instances))
        self._addresses = [
            (
                f"{url}/getSingleImage?SeriesInstanceUID={one.series_uid}&SOPInstanceUID={one.sop_uid}",
                f"{one.series_uid}/{one.sop_uid}.dcm",
            )
            for one in instances
        ]

    def commands(self) -> dict[str, Callable[[Path], list[str]]]:
        """The command of each peer that is installed, for a folder to fill.

        All of them find the certificate of the archive in variables of the environment, or by an option.
        """
        known: dict[str, Callable[[Path], list[str]]]
        known = {"wget2": self._wget2, "curl -Z": self._curl, "aria2c": self._aria2c, "naive aiohttp": self._naive}
        made = {name: make for name, make in known.items() if shutil.which(_PROGRAMS.get(name, "true"))}
        if _CLIENT.is_file():
            made["tcia_utils"] = self._tcia_utils
        return made

    def floor(self, out: Path) -> list[str]:
        """The command of a program that does only the necessary; see `floor`."""
        return floor(self._write_lines(), out, *(("--trust", self._certificate) if self._is_encrypted else ()))

    def _wget2(self, out: Path) -> list[str]:
        out.mkdir(parents=True, exist_ok=True)
        urls = self._write("wget2.txt", (address for address, _ in self._addresses))
        threads = min(int(self._in_flight), 32)  # more gain it nothing
        plain = ["-q", f"--max-threads={threads}", "-P", str(out), "-i", urls, "--no-config", "--no-robots"]
        return ["wget2", *plain, *self._trusting("--ca-certificate=")]

    def _curl(self, out: Path) -> list[str]:
        lines = (f'url="{address}"\noutput="{out}/{path}"' for address, path in self._addresses)
        return [
            "curl",
            "-Z",
            "--parallel-max",
            self._in_flight,
            "-s",
            "--create-dirs",
            "-K",
            self._write("curl", lines),
            *(("--cacert", self._certificate) if self._is_encrypted else ()),
        ]

    def _aria2c(self, out: Path) -> list[str]:
        lines = (f"{address}\n  out={path}" for address, path in self._addresses)
        quiet = [
            "--quiet=true",
            "--summary-interval=0",
            "--no-conf=true",
            "--file-allocation=none",
            "-x1",
            "-s1",
            "--disk-cache=64M",
            *self._trusting("--ca-certificate="),
        ]
        return ["aria2c", "-i", self._write("aria2", lines), "-d", str(out), "-j", self._in_flight, *quiet]

    def _naive(self, out: Path) -> list[str]:
        command = [sys.executable, str(_NAIVE), self._write_lines(), str(out), "32"]
        return [*self._with_environment("SSL_CERT_FILE"), *command]

    def _tcia_utils(self, out: Path) -> list[str]:
        command = [str(_CLIENT), str(_ZIPS), self._origin, self._write("series", self._series), str(out)]
        return [*self._with_environment("REQUESTS_CA_BUNDLE"), *command]

    def _write_lines(self) -> str:
        return self._write("lines", (f"{address} {path}" for address, path in self._addresses))

    def _trusting(self, option: str) -> list[str]:
        return [f"{option}{self._certificate}"] if self._is_encrypted else []

    def _with_environment(self, variable: str) -> list[str]:
        return ["env", f"{variable}={self._certificate}"] if self._is_encrypted else []

    def _write(self, name: str, lines: Iterable[str]) -> str:
        path = self._folder / name
        path.write_text("\n".join(lines) + "\n")
        return str(path)


class BucketJob:
    """The objects of a bucket for the programs that download from it, with IDC's manifests. Files go to `folder`."""

    def __init__(self, folder: Path, url: str, instances: Sequence[Instance]) -> None:
        self._folder = folder
        self._url = url
        self._common = [str(_S5CMD), "--no-sign-request", "--endpoint-url", url, "run"]
        self._instances = instances

    def commands(self) -> dict[str, Callable[[Path], list[str]]]:
        """The command of each peer, for a folder to fill; none without s5cmd."""
        return {"s5cmd": self._s5cmd, "s5cmd, as idc-index": self._idc_index} if _S5CMD.is_file() else {}

    def floor(self, out: Path) -> list[str]:
        """The command of a program that does only the necessary; see `floor`."""
        keys = [(f"{series_uuid(one.series_uid)}/{uuid_of('instance', one.sop_uid)}.dcm") for one in self._instances]
        path = self._folder / "bucket.lines"
        path.write_text("".join(f"{self._url}/{BUCKET}/{key} {key}\n" for key in keys))
        return floor(str(path), out, "--md5")

    def _s5cmd(self, out: Path) -> list[str]:
        """With all files in one folder, as the manifests of IDC's portal say."""
        return self._run("s5cmd", bucket.manifest(self._instances, f"{out}/"))

    def _idc_index(self, out: Path) -> list[str]:
        """As idc-index 0.13 calls it, once it has loaded its index: with a folder for each Series."""
        by_series = groupby(self._instances, key=attrgetter("series_uid"))
        lines = (bucket.manifest(of_series, f'"{out}/{uid}/"') for uid, of_series in by_series)
        return self._run("idc-index", "".join(lines))

    def _run(self, name: str, lines: str) -> list[str]:
        path = self._folder / f"{name}.s5cmd"
        path.write_text(lines)
        return [*self._common, str(path)]


def floor(lines: str, out: Path, *further: str) -> list[str]:
    """The command of `floor`, for a file with lines of an address and a path."""
    return [sys.executable, "-m", "tests.benchmarks.floor", lines, str(out), *further]


def missing() -> list[str]:
    """The peers that are not installed."""
    programs = [name for name, program in _PROGRAMS.items() if shutil.which(program) is None]
    programs += [] if _S5CMD.is_file() else ["s5cmd (make setup)"]
    return programs if _CLIENT.is_file() else [*programs, "tcia_utils (make test-clients)"]
