"""Let pydicom run without numpy and decoders, in a process that never decodes pixels.

pydicom imports all of them that are installed, which takes 34 MB and doubles the time to start (measured with numpy,
gdcm and pylibjpeg). requests and tqdm, by which it downloads its sample files, take 35 ms and 5 MB more.
`--validate pixels` decodes in separate processes.
"""

import sys
from importlib.machinery import PathFinder
from typing import Final

from bulkdl.errors import ConfigurationError

_NOT_NEEDED: Final = ("requests", "tqdm", "numpy", "PIL", "gdcm", "jpeg_ls", "libjpeg", "openjpeg", "pylibjpeg", "rle")
_NEEDED: Final = (("numpy",), ("gdcm", "libjpeg"), ("pylibjpeg",), ("openjpeg",))  # one module of each


def disable_numpy() -> None:
    """Make numpy, decoders, requests and tqdm appear as not installed. Modules that are already imported stay.

    Call it only in a process that bulkdl has started. Source: the reference of the import system, "The module cache":
    a module that is None there cannot be imported.
    """
    for name in _NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as in the reference


def require_decoders() -> None:
    """Check, importing nothing, that another process could decode pixels. ConfigurationError: not all is installed."""
    missing = [names[0] for names in _NEEDED if not any(map(PathFinder.find_spec, names))]
    if missing:
        raise ConfigurationError(
            f"--validate pixels needs {' and '.join(missing)}, not installed: pip install 'bulkdl[pixels]'"
        )


def load_decoders() -> None:
    """Import what decodes pixels before the first file needs it; any ImportError or MemoryError is the caller's."""
    import pydicom.pixels.decoders  # noqa: F401, PLC0415 - only a process that decodes needs it
