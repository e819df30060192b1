"""The program of a process that answers the questions of `batch`, and does nothing else."""

import sys

from bulkdl.dicom.validation import load_pydicom
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.runtime.processes import answer_all, tune_process
from bulkdl.verbs.adoption.batch import BatchWorker


def main() -> None:
    """Answer the parent process, batch by batch."""
    tune_process()
    disable_numpy()
    load_pydicom()
    work()


def work() -> None:
    """The same, in a process that is prepared."""
    answer_all(BatchWorker().answer, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
