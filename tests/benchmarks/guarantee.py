"""What bulkdl does besides, done to a folder: SHA-256, the structure check with pydicom, and a sync of each file.

A peer and then this, on all cores, is the peer at an equal guarantee. `python -m tests.benchmarks.guarantee FOLDER`.
With `--md5` it computes the MD5 too, as bulkdl does for an archive that has MD5s to compare with.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.dicom.validation import validate
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.fetch.digests import digests_of_file
from bulkdl.model.settings import ValidationLevel


def check(path: Path, *, with_md5: bool) -> None:
    """Validate, hash and sync one file."""
    validate(path, level=ValidationLevel.STRUCTURE)
    digests_of_file(path, with_md5=with_md5)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def main(folder: Path, *, with_md5: bool) -> None:
    disable_numpy()  # as our own processes do; those of the pool are forked from this one
    files = [path for path in folder.rglob("*") if path.is_file()]
    with suppressed_pydicom_warnings, ProcessPoolExecutor(os.cpu_count()) as processes:  # once for all, as ours
        list(processes.map(partial(check, with_md5=with_md5), files, chunksize=max(1, min(64, len(files) // 16))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), with_md5="--md5" in sys.argv)
