"""Prepare a process of bulkdl for a run: what it imports and what not, and a process for a second worker."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from bulkdl.archive.transports import import_transport
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.fetch.worker_main import work
from bulkdl.model.access import DEMOS, Access, ArchiveChoice
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.cores import usable_cores
from bulkdl.runtime.forked_process import forked


@contextmanager
def prepared_process(archive: ArchiveChoice | None, settings: FetchSettings) -> Iterator[None]:
    """Import what a run needs without what it does not: numpy, which doubles the time to start, and certificates.

    Until the block ends a forked process waits for work, if a run with these settings may use one. For processes of
    bulkdl only. The demonstration archive makes its images with numpy, so numpy stays for it.
    """
    import_transport(archive.access if archive is not None else Access())
    if archive is not None and archive.name in DEMOS:
        yield
        return
    disable_numpy()
    with (
        forked(work) if settings.workers != 1 and usable_cores() > 1 else nullcontext(),
        suppressed_pydicom_warnings,  # once for all: it costs a twentieth of a small instance
    ):
        yield
