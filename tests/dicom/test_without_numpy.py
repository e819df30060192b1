"""A process without numpy: pydicom reads headers as before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bulkdl.dicom.validation import validate
from bulkdl.dicom.without_numpy import require_decoders
from bulkdl.errors import ConfigurationError
from bulkdl.model.settings import ValidationLevel
from tests.support.dicom_samples import pydicom_file


def test_pydicom_reads_the_same_without_loading_numpy_or_a_decoder() -> None:
    path = pydicom_file("CT_small.dcm")
    words = (
        "import sys; from pathlib import Path\n"
        "from bulkdl.dicom.without_numpy import disable_numpy\n"
        "from bulkdl.dicom.validation import validate\n"
        "from bulkdl.model.settings import ValidationLevel\n"
        "disable_numpy()\n"
        "print(validate(Path(sys.argv[1]), level=ValidationLevel.STRUCTURE))\n"
        "print([name for name in ('numpy', 'gdcm', 'PIL', 'pylibjpeg', 'requests') if sys.modules.get(name)])\n"
    )
    command = [sys.executable, "-c", words, str(path)]
    verdict, loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert verdict == str(validate(Path(path), level=ValidationLevel.STRUCTURE))
    assert loaded == "[]"


def test_keeps_modules_that_are_loaded() -> None:
    words = (
        "import sys, numpy\n"
        "from bulkdl.dicom.without_numpy import disable_numpy\n"
        "disable_numpy()\n"
        "import numpy as again\n"
        "print(again is numpy)\n"
    )
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize(
    ("installed", "is_enough"),
    [
        (set(), False),
        ({"numpy"}, False),
        ({"gdcm", "pylibjpeg", "openjpeg"}, False),
        ({"numpy", "gdcm"}, False),
        ({"numpy", "gdcm", "pylibjpeg", "openjpeg"}, True),
        ({"numpy", "libjpeg", "pylibjpeg", "openjpeg"}, True),
    ],
    ids=["nothing", "numpy", "no numpy", "no openjpeg", "with gdcm", "with libjpeg"],
)
def test_pixels_need_numpy_and_the_decoders_of_all_transfer_syntaxes(
    installed: set[str], *, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in installed:
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    if is_enough:
        require_decoders()
    else:
        with pytest.raises(ConfigurationError, match=r"pip install 'bulkdl\[pixels\]'"):
            require_decoders()
