"""The program of a process that reads the headers of Series for `report`, and does nothing else."""

import sys

from bulkdl.dicom.image_facts import read_series_facts
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.runtime.processes import answer_all


def main() -> None:
    """Answer the parent process, Series by Series."""
    disable_numpy()
    answer_all(read_series_facts, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
