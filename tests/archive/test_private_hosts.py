"""What a host is, as far as its name or address says."""

from __future__ import annotations

import pytest

from bulkdl.archive.private_hosts import is_of_this_machine, is_private

HERE = ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "::", "localhost", "x.localhost.", "169.254.169.254"]
HERE += ["::ffff:127.0.0.1", "[::ffff:a9fe:a9fe]", "::ffff:0:0"]
NEAR = ["10.0.0.5", "192.168.1.1", "fc00::1", "pacs", "pacs.local", "store.lan", "::ffff:10.0.0.5"]
FAR = ["8.8.8.8", "services.cancerimagingarchive.net", "2600::1", "3com.example.com"]


@pytest.mark.parametrize("host", [*HERE, *NEAR, *FAR])
def test_a_host_is_here_near_or_far(host: str) -> None:
    assert is_of_this_machine(host) == (host in HERE)
    assert is_private(host) == (host not in FAR)
