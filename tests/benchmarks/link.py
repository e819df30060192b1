"""A slow link: two network namespaces with a round trip of 80 ms and 1 Gbit/s between them.

By `tc netem` where the kernel has it, else by `tunlink.c`, which is compiled on the spot and passes the packets on in
user space. It takes root, iproute2, and for the second way a C compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT: Final = ("ip", "netns", "exec", "bulkdl-client")
SERVER: Final = ("ip", "netns", "exec", "bulkdl-server")
SERVER_HOST: Final = "10.77.0.2"
_CLIENT_HOST: Final = "10.77.0.1"
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


@contextmanager
def slow_link(folder: Path) -> Iterator[str]:
    """The link, while the block runs; yields what it is made of."""
    _remove()
    with ExitStack() as stack:
        stack.callback(_remove)
        for name in _NAMES:
            _ip("netns", "add", name)
        kind = "netem" if _has_netem() else "tunlink"
        if kind == "netem":
            _ip(
                "link",
                "add",
                "bdl0",
                "netns",
                "bulkdl-client",
                "type",
                "veth",
                "peer",
                "bdl0",
                "netns",
                "bulkdl-server",
            )
            for name in _NAMES:
                _ip(*f"netns exec {name} tc qdisc add dev bdl0 root netem delay 40ms rate 1gbit limit 100000".split())
        else:
            link = stack.enter_context(_tunlink(folder))
            stack.callback(link.terminate)
        for name, (own, other) in _NAMES.items():
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", own, "peer", other, "dev", "bdl0")
            _ip("-n", name, "link", "set", "bdl0", "mtu", "1500", "txqueuelen", "10000", "up")
            _ip("netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1")
        yield kind


def _tunlink(folder: Path) -> subprocess.Popen[str]:
    program = folder / "tunlink"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("tunlink.c")], check=True)
    knobs = ["--delay-ms", "40", "--rate-mbit", "1000", "--loss", "0", "--queue-kb", "8192", "--mtu", "1500", "--gso"]
    link = subprocess.Popen([program, *_NAMES, *knobs], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if link.stdout is None or link.stdout.readline().strip() != "ready":
        raise SystemExit("the slow link did not start")
    return link


def _has_netem() -> bool:
    try:
        _ip("netns", "add", "bulkdl-probe")
        probe = [
            "ip",
            "netns",
            "exec",
            "bulkdl-probe",
            "tc",
            "qdisc",
            "add",
            "dev",
            "lo",
            "root",
            "netem",
            "delay",
            "1ms",
        ]
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
