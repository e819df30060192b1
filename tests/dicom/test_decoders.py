"""The decoders that are installed, by transfer syntax."""

from __future__ import annotations

from bulkdl.dicom.decoders import find_decoders


def test_each_compressed_transfer_syntax_has_its_decoders() -> None:
    decoders = find_decoders()
    assert "pydicom" in decoders["RLE Lossless"]
    assert "pyjpegls" in decoders["JPEG-LS Lossless Image Compression"]
    assert all(decoders.values())
    assert "Explicit VR Little Endian" not in decoders
