"""A process that fills a journal in groups until it is killed, and prints each group after it is committed.

Run as `python journal_writer.py PATH INSTANCES_PER_GROUP`, with the repository root on the import path.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from bulkdl.journal.journal import Journal
from tests.support.journals import begin, outcome, record_listed


def main(path: Path, size: int) -> None:
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        first = len(journal.series(limit=1_000_000))
        for number in count(first):
            record_listed(journal, run, number, range(size))
            journal.record_outcomes(run, [outcome(number, i) for i in range(size)])
            sys.stdout.write(f"{number + 1}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
