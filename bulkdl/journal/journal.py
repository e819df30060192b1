"""`Journal` records facts and answers questions, in the vocabulary of the domain.

One object has the only connection that writes. It blocks, so one thread calls it. Each method that records is one
transaction: when it returns, its facts are synced to the disk. The caller makes sure that they are true on the disk.
Questions are answered from keys and from totals that triggers keep (`schema`), never by loading what is counted.
"""

from bulkdl.journal.description_records import DescriptionRecords
from bulkdl.journal.header_records import HeaderRecords
from bulkdl.journal.held_files import HeldFiles
from bulkdl.journal.joined_history import JoinedHistory
from bulkdl.journal.layout_records import LayoutRecords
from bulkdl.journal.owed_work import OwedWork
from bulkdl.journal.run_records import RunRecords
from bulkdl.journal.sent_records import SentRecords
from bulkdl.journal.series_lists import SeriesLists
from bulkdl.journal.totals import JournalTotals
from bulkdl.journal.withdrawals import Withdrawals


class Journal(
    RunRecords,
    LayoutRecords,
    JoinedHistory,
    DescriptionRecords,
    HeaderRecords,
    SeriesLists,
    OwedWork,
    Withdrawals,
    JournalTotals,
    HeldFiles,
    SentRecords,
):
    """The journal of one mirror. A context manager; `close` may be called twice.

    The classes that it joins have its methods by subject, and share one connection and its state (`JournalDatabase`).

    What records raises JournalError, and records nothing, if a Series or an instance was never recorded, or if a folder
    belongs to another Series (see `series_in_folder`). All methods raise the errors of `connection.translated`.
    """
