"""For a process that reads headers and never decodes: numpy and the decoders count as not installed.

pydicom imports all that it finds of them, which costs a process 34 MB and twice the time to start (measured with numpy,
gdcm and pylibjpeg). `--validate pixels` decodes in processes of its own.
"""

from __future__ import annotations

import sys
from typing import Final

_DECODERS: Final = ("numpy", "PIL", "gdcm", "jpeg_ls", "libjpeg", "openjpeg", "pylibjpeg", "rle")


def disable_numpy() -> None:
    """Have pydicom do without them from now on; what is imported already stays. For processes of our own.

    Source: the import system's reference, "The module cache": a name that is None there cannot be found.
    """
    for name in _DECODERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the form that the reference names
