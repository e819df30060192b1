"""Let pydicom run without numpy and decoders, in a process that never decodes pixels.

pydicom imports all of them that are installed, which takes 34 MB and doubles the time to start (measured with numpy,
gdcm and pylibjpeg). `--validate pixels` decodes in separate processes.
"""

from __future__ import annotations

import sys
from typing import Final

_DECODERS: Final = ("numpy", "PIL", "gdcm", "jpeg_ls", "libjpeg", "openjpeg", "pylibjpeg", "rle")


def disable_numpy() -> None:
    """Make numpy and decoders appear as not installed. Modules that are already imported stay.

    Call it only in a process that bulkdl has started. Source: the reference of the import system, "The module cache":
    a module that is None there cannot be imported.
    """
    for name in _DECODERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as in the reference
