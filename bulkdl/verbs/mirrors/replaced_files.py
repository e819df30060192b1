"""Put aside files of which the archive has other bytes now, and owe their instances again."""

from collections.abc import Callable, Sequence

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, Run
from bulkdl.model.records import InstanceKey


def replace_files(
    journal: Journal, run: Run, held: Sequence[HeldInstance], put_aside: Callable[[HeldInstance], None]
) -> list[HeldInstance]:
    """Put aside the files of held instances, and owe them; returns those for which it was done.

    An instance that this run owes, or has downloaded, since the caller looked is left alone: the file in place may be
    the new one, before the journal knows it. Runs on the journal's thread, so that nothing is owed between the look and
    the end. Raises DiskError.
    """
    replaced = []
    for each in held:
        place = journal.find_held(InstanceKey(each.series_uid, each.sop_uid))
        if place is not None and place.run_id != run.id:
            put_aside(each)
            replaced.append(each)
    journal.owe(run, [InstanceKey(each.series_uid, each.sop_uid) for each in replaced])
    return replaced
