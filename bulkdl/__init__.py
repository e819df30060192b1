"""bulkdl mirrors DICOM collections of The Cancer Imaging Archive, and serves them again."""

from __future__ import annotations

__version__ = "0.1.0"
