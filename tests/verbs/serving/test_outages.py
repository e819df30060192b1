"""Whether an archive answers is said when it changes."""

from bulkdl.model.events import ArchiveDown, ArchiveUp, Noted
from bulkdl.verbs.serving.outages import NotedOutage


def test_the_end_of_an_outage_is_said_once() -> None:
    outage = NotedOutage()
    events = [ArchiveUp(1.0), ArchiveDown("a", 1.0), ArchiveDown("b", 1.0), ArchiveUp(1.0), ArchiveUp(1.0), Noted("c")]
    assert [outage.notice(event) for event in events] == [False, True, False, True, False, True]
    outage.notice(ArchiveDown("d", 1.0))
    assert outage.message == "d"
