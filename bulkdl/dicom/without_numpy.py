"""Let pydicom run without numpy and decoders, in a process that never decodes pixels.

pydicom imports all of them that are installed, which takes 34 MB and doubles the time to start (measured with numpy,
gdcm and pylibjpeg). `--validate pixels` decodes in separate processes.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import Final

from bulkdl.errors import ConfigurationError

_DECODERS: Final = ("numpy", "PIL", "gdcm", "jpeg_ls", "libjpeg", "openjpeg", "pylibjpeg", "rle")


def disable_numpy() -> None:
    """Make numpy and decoders appear as not installed. Modules that are already imported stay.

    Call it only in a process that bulkdl has started. Source: the reference of the import system, "The module cache":
    a module that is None there cannot be imported.
    """
    for name in _DECODERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as in the reference


def require_decoders() -> None:
    """Check that a process of its own could decode pixels. Imports nothing, and sees what `disable_numpy` hides.

    Raises:
        ConfigurationError: numpy is not installed, or no decoder.
    """
    installed = [name for name in _DECODERS if PathFinder.find_spec(name) is not None]
    if "numpy" not in installed or len(installed) == 1:
        raise ConfigurationError("--validate pixels needs numpy and decoders: pip install 'bulkdl[pixels]'")


def load_decoders() -> None:
    """Import what decodes pixels, before the first file needs it.

    Raises:
        ImportError, MemoryError: it cannot be imported here.
    """
    import pydicom.pixels.decoders  # noqa: F401, PLC0415 - only a process that decodes needs it
