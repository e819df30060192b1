"""Every DICOM file that the installed packages ship has its expected verdict, and dcmtk, where installed, agrees."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import InvalidInstance
from bulkdl.model.outcomes import NOT_DECODED
from bulkdl.model.preamble import HEAD_BYTES, is_dicom
from bulkdl.model.settings import ValidationLevel

_PACKAGES = ("pydicom", "data_store", "ljdata", "highdicom")  # data_store is pydicom-data, ljdata pylibjpeg-data
_IN_TABLE = _PACKAGES[:2]

# What is invalid at `structure`, by name and reason. All other files of pydicom and pydicom-data are valid there.
_NO_SERIES, _NO_INSTANCE, _NO_PIXELS = "no Series Instance UID", "no SOP Instance UID", "an image without pixel data"
_INVALID = {
    **dict.fromkeys(("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"), _NO_SERIES),
    **dict.fromkeys(("SC_rgb_jls_lossy_sample.dcm", "SC_rgb_jls_lossy_line.dcm"), _NO_SERIES),
    **dict.fromkeys(("chrSQEncoding.dcm", "chrSQEncoding1.dcm", "UN_sequence.dcm", "priv_SQ.dcm"), _NO_INSTANCE),
    **dict.fromkeys(("no_meta_group_length.dcm", "empty_charset_LEI.dcm", "nested_priv_SQ.dcm"), _NO_INSTANCE),
    **dict.fromkeys(("chrJapMulti.dcm", "chrJapMultiExplicitIR6.dcm", "chrKoreanMulti.dcm"), _NO_PIXELS),
    "MR_truncated.dcm": r"\(7FE0,0010\) claims 8192 bytes where there are 8130",
    "rtplan_truncated.dcm": r"\(300A,00B0\) claims 976 bytes where there are 711",
    "emri_small_jpeg_2k_lossless_too_short.dcm": r"\(7FE0,0010\) is not closed",
    "badVR.dcm": "Number of Frames is not a number: b'1A'",
    "bad_sequence.dcm": "invalid UID",
    "meta_missing_tsyntax.dcm": "no Transfer Syntax UID",
}
_INVALID_FOLDERS = {"TINY_ALPHA": _NO_PIXELS, "palettes": _NO_SERIES}

# What `pixels` says of files that are valid at `structure`, where it is not "decoded".
_AT_PIXELS = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "frame 1 has ",
    "JPEG-lossy.dcm": NOT_DECODED,
    "JPGExtended.dcm": NOT_DECODED,
}

# Where dcmtk 3.6.7 differs: it takes what is not DICOM by the Standard, or gives up on what others read.
_ONLY_DCMTK_TAKES = {"JPEG2000-embedded-sequence-delimiter.dcm", "badVR.dcm", "bad_sequence.dcm"} | {
    "meta_missing_tsyntax.dcm"
}
_ONLY_DCMTK_REJECTS = {"SC_rgb_jpeg.dcm"}  # implicit VR, declared as explicit
_DECODERS = {
    "1.2.840.10008.1.2.5": "dcmdrle",
    **{f"1.2.840.10008.1.2.4.{number}": "dcmdjpeg" for number in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{number}": "dcmdjpls" for number in (80, 81)},
}
_LARGEST_DAMAGED = 200_000


def _files(packages: tuple[str, ...]) -> list[Path]:
    found = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
        found += sorted(path for path in folder.rglob("*") if path.is_file() and _is_dicom(path)) if folder else []
    return found


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix not in {".py", ".pyc"} and is_dicom(file.read(HEAD_BYTES))


_TABLED, _OTHERS = _files(_IN_TABLE), _files(_PACKAGES[2:])


@cache
def _verdict(path: Path, level: ValidationLevel) -> ValidationResult | str:
    try:
        return validate(path, level=level, expected=None)
    except InvalidInstance as error:
        return str(error)


def _expected(path: Path) -> str | None:
    if path.name.startswith("DICOMDIR"):
        return "a DICOMDIR"
    folders = (reason for folder, reason in _INVALID_FOLDERS.items() if folder in path.parts)
    return _INVALID.get(path.name) or next(folders, None)


def test_the_packages_ship_files_of_many_kinds() -> None:
    assert len(_TABLED) > 150
    syntaxes = {
        found.transfer_syntax_uid for path in _TABLED if isinstance(found := _structure(path), ValidationResult)
    }
    assert len(syntaxes) >= 11


def _structure(path: Path) -> ValidationResult | str:
    return _verdict(path, ValidationLevel.STRUCTURE)


def _pixels(path: Path) -> ValidationResult | str:
    return _verdict(path, ValidationLevel.PIXELS)


@pytest.mark.parametrize("path", _TABLED, ids=lambda path: path.name)
def test_every_file_has_its_expected_verdict(path: Path) -> None:
    found, expected = _structure(path), _expected(path)
    if isinstance(found, str):
        assert expected is not None, found
        assert re.match(expected, found)
        return
    assert expected is None
    decoded, said = _pixels(path), _AT_PIXELS.get(path.name)
    if isinstance(decoded, str):
        assert said is not None, decoded
        assert decoded.startswith(said)
    else:
        assert [note for note in decoded.notes if note.startswith(NOT_DECODED)] == [
            note for note in decoded.notes if said and note.startswith(said)
        ]


# --- dcmtk ------------------------------------------------------------------------------------------------------------

dcmtk = pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmtk is not installed")


def _takes(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@dcmtk
def test_dcmtk_reads_every_valid_file() -> None:
    valid = [path for path in _TABLED + _OTHERS if not isinstance(_structure(path), str)]
    assert _takes("dcmdump", "-q", *(path for path in valid if path.name not in _ONLY_DCMTK_REJECTS))


@dcmtk
def test_dcmtk_rejects_what_is_damaged() -> None:
    """Our reasons that concern more than the encoding are left out: UIDs, and pixel data that an image needs."""
    beyond = ("a DICOMDIR", _NO_SERIES, _NO_INSTANCE, _NO_PIXELS)
    damaged = [
        path for path in _TABLED + _OTHERS if isinstance(said := _structure(path), str) and not said.startswith(beyond)
    ]
    assert {path.name for path in damaged if _takes("dcmdump", "-q", path)} <= _ONLY_DCMTK_TAKES


def _decoder(path: Path) -> str:
    found = _structure(path)
    return _DECODERS.get(found.transfer_syntax_uid, "") if isinstance(found, ValidationResult) else ""


@dcmtk
@pytest.mark.parametrize("path", [path for path in _TABLED + _OTHERS if _decoder(path)], ids=lambda path: path.name)
def test_dcmtk_decodes_what_we_decode_and_rejects_it_with_a_hole(path: Path, tmp_path: Path) -> None:
    decoder = _decoder(path)
    is_decoded = not isinstance(_pixels(path), str)
    assert _takes(decoder, path, tmp_path / "x") == is_decoded or path.name in _ONLY_DCMTK_REJECTS
    content = path.read_bytes()
    if len(content) > _LARGEST_DAMAGED:
        return
    start, end = content.rindex(b"\xe0\x7f\x10\x00"), content.rindex(b"\xfe\xff\xdd\xe0")
    hole = tmp_path / "hole"
    hole.write_bytes(content[: (start + end) // 2] + bytes(end - (start + end) // 2) + content[end:])
    if not _takes(decoder, hole, tmp_path / "x"):
        assert isinstance(_pixels(hole), str)
