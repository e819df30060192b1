from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_READ = """
import sys
if sys.argv[2] == "zlib":
    sys.modules["zlib_ng"] = None
from pathlib import Path
from bulkdl.store.bundles import BundleReader, EntryData
from bulkdl.store.inflation import crc32
data = [event.data for event in BundleReader().feed(Path(sys.argv[1]).read_bytes()) if isinstance(event, EntryData)]
print(crc32.__module__, crc32(b"".join(data)))
"""


@pytest.mark.parametrize(("library", "module"), [("zlib", "zlib"), ("zlib-ng", "zlib_ng.zlib_ng")])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_with_either(tmp_path: Path, library: str, module: str, method: int) -> None:
    out = io.BytesIO()
    content = bytes(range(256)) * 20_000
    with zipfile.ZipFile(out, "w", method) as bundle:
        bundle.writestr("1.dcm", content)
        crc = bundle.getinfo("1.dcm").CRC
    (tmp_path / "series.zip").write_bytes(out.getvalue())
    command = [sys.executable, "-c", _READ, str(tmp_path / "series.zip"), library]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [module, str(crc)]
