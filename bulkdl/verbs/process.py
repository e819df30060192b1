"""Prepare a process that does nothing but run one verb, as the command does."""

from __future__ import annotations

from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.model.access import DEMO, ArchiveChoice


def prepare_process(archive: ArchiveChoice | None) -> None:
    """Keep pydicom from importing numpy, which doubles the time to start. For processes of bulkdl only.

    The demonstration archive makes its images with numpy, in this process, so numpy stays for it.
    """
    if archive is None or archive.name != DEMO:
        disable_numpy()
