from __future__ import annotations

import pytest

from bulkdl.model.preamble import HEAD_BYTES, is_dicom


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(bytes(128) + b"DICM", True, id="zeros"),
        pytest.param(bytearray(b"x" * 128 + b"DICM\x02\0"), True, id="any preamble"),
        pytest.param(bytes(127) + b"DICM", False, id="one byte early"),
        pytest.param(bytes(129) + b"DICM", False, id="one byte late"),
        pytest.param(bytes(128) + b"DIC", False, id="cut"),
        pytest.param(b"DICM", False, id="no preamble"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_a_dicom_file_is_known_by_its_prefix(content: bytes | bytearray, *, expected: bool) -> None:
    assert is_dicom(content) is expected
    assert is_dicom(content[:HEAD_BYTES]) is expected
