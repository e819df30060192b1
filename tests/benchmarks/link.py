"""Slow links: two network namespaces with a delay, a rate, a loss and a jitter between them.

By `tc netem` where the kernel has it, else by `tunlink.c`, which is compiled on the spot and passes the packets on in
user space. It takes root, iproute2, and for the second way a C compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT: Final = ("ip", "netns", "exec", "bulkdl-client")
SERVER: Final = ("ip", "netns", "exec", "bulkdl-server")
SERVER_HOST: Final = "10.77.0.2"
_CLIENT_HOST: Final = "10.77.0.1"
_NETEM: Final = ("tc", "qdisc", "add", "dev")
_PAYLOAD_BYTES: Final = 1448
_WIRE_BYTES: Final = 1538  # with Ethernet's preamble, header, checksum and gap
_NAMES: Final = {"bulkdl-client": (_CLIENT_HOST, SERVER_HOST), "bulkdl-server": (SERVER_HOST, _CLIENT_HOST)}


def missing() -> str | None:
    """Why there can be no slow link here, None where there can."""
    if os.geteuid() != 0:
        return "it takes root to make network namespaces"
    if shutil.which("ip") is None:
        return "iproute2 is missing"
    if not _has_netem() and shutil.which("cc") is None:
        return "the kernel has no netem, and there is no C compiler"
    return None


@dataclass(frozen=True, slots=True)
class Line:
    """A link. The delay is one way; up to `jitter_ms` are added to it at random. `loss` is in per cent."""

    delay_ms: float = 40
    mbit: int = 1000
    jitter_ms: float = 0
    loss: float = 0

    @property
    def payload_mb(self) -> float:
        """What TCP can carry over it, in MB a second: of 1,538 bytes on the wire, 1,448 are payload."""
        return self.mbit / 8 * _PAYLOAD_BYTES / _WIRE_BYTES

    @property
    def queue_kb(self) -> int:
        """A queue that holds the packets of 65 ms, so 8 MiB at 1 Gbit/s."""
        return self.mbit * 8192 // 1000


_CONGESTION_CONTROL: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")
FAR: Final = Line()
LOSSY: Final = Line(loss=0.5)
NARROW: Final = Line(delay_ms=90, mbit=10, jitter_ms=20)


def congestion_control() -> str:
    """How senders react to loss and delay, also over the link; what far scenarios take depends on it."""
    return _CONGESTION_CONTROL.read_text().strip()


@contextmanager
def slow_link(folder: Path, line: Line = FAR) -> Iterator[str]:
    """The link, while the block runs; yields what it is made of."""
    _remove()
    with ExitStack() as stack:
        stack.callback(_remove)
        for name in _NAMES:
            _ip("netns", "add", name)
        kind = "netem" if _has_netem() else "tunlink"
        if kind == "netem":
            ours, theirs = _NAMES
            _ip("link", "add", "bdl0", "netns", ours, "type", "veth", "peer", "bdl0", "netns", theirs)
            for name in _NAMES:
                _ip("netns", "exec", name, *_NETEM, "bdl0", "root", "netem", *_netem(line))
        else:
            link = stack.enter_context(_tunlink(folder, line))
            stack.callback(link.terminate)
        for name, (own, other) in _NAMES.items():
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", own, "peer", other, "dev", "bdl0")
            _ip("-n", name, "link", "set", "bdl0", "mtu", "1500", "txqueuelen", "10000", "up")
            _ip("netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1")
        yield kind


def _netem(line: Line) -> list[str]:
    jitter = [f"{line.jitter_ms / 2}ms"] if line.jitter_ms else []
    loss = ["loss", f"{line.loss}%"] if line.loss else []
    delay = ["delay", f"{line.delay_ms + line.jitter_ms / 2}ms", *jitter]
    return [*delay, *loss, "rate", f"{line.mbit}mbit", "limit", "100000"]


def _tunlink(folder: Path, line: Line) -> subprocess.Popen[str]:
    program = folder / "tunlink"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("tunlink.c")], check=True)
    knobs = ["--delay-ms", line.delay_ms, "--jitter-ms", line.jitter_ms, "--rate-mbit", line.mbit]
    knobs += ["--loss", line.loss, "--queue-kb", line.queue_kb, "--mtu", 1500]
    # A packet of up to 64 KiB for the kernel is lost as a whole, so where packets are lost each is passed on alone.
    knobs += [] if line.loss or line.jitter_ms else ["--gso"]
    command = [str(program), *_NAMES, *map(str, knobs)]
    link = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if link.stdout is None or link.stdout.readline().strip() != "ready":
        raise SystemExit("the slow link did not start")
    return link


def _has_netem() -> bool:
    try:
        _ip("netns", "add", "bulkdl-probe")
        probe = ["ip", "netns", "exec", "bulkdl-probe", *_NETEM, "lo", "root", "netem", "delay", "1ms"]
        return (
            shutil.which("tc") is not None and subprocess.run(probe, check=False, capture_output=True).returncode == 0
        )
    except subprocess.CalledProcessError:
        return False
    finally:
        subprocess.run(["ip", "netns", "del", "bulkdl-probe"], check=False, capture_output=True)


def _remove() -> None:
    for name in _NAMES:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
