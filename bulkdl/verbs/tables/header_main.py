"""The program of a process that reads attributes of files for `export --table headers`, and does nothing else."""

import sys

from bulkdl.dicom.header_values import read_values
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.runtime.processes import answer_all


def main() -> None:
    """Answer the parent process, batch by batch."""
    disable_numpy()
    answer_all(read_values, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
