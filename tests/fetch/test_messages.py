"""Everything that goes between a worker process and its parent arrives as it was sent."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from bulkdl.archive.profiles import Profile
from bulkdl.errors import DiskFull
from bulkdl.fetch.messages import Batch, NoMoreWork, Stop
from bulkdl.fetch.shares import Share
from bulkdl.fetch.transport import TransportChooser
from bulkdl.fetch.worker import Learned, Traffic, WorkerSettings
from bulkdl.model.access import Access
from bulkdl.model.events import Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings, Transport
from tests.support.journals import outcome

MESSAGES = [
    Share(3, 1000.0),
    Stop(),
    NoMoreWork(),
    Batch((outcome(1, 2),), (Noted("text"),), Traffic(1, 2, 3, 4), 1, is_last=True),
    SeriesWork(
        series_uid=SeriesUid("1.2"),
        study_uid=None,
        folder="f",
        entries=(Entry("k", None, 7, b"m" * 16),),
        names=(None,),
        taken=frozenset({"1.dcm"}),
    ),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: object) -> None:
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - made here


def test_the_settings_of_a_worker_arrive_with_what_others_measured() -> None:
    settings = WorkerSettings(
        profile=Profile("a", "https://a.example/", "nbia-v1"),
        access=Access(),
        root=Path("mirror"),
        fetch=FetchSettings(),
        ceiling=4,
        learned=Learned(7, TransportChooser(Transport.AUTO)),
    )
    sent: WorkerSettings = pickle.loads(pickle.dumps(settings))  # noqa: S301 - made here
    assert (sent.profile, sent.root, sent.ceiling) == (settings.profile, settings.root, 4)
    assert sent.learned is not None
    assert sent.learned.limit == 7


def test_the_error_of_the_last_batch_arrives_with_its_kind() -> None:
    batch = Batch((), (), Traffic(0, 0, 0, 0), 0, is_last=True, error=DiskFull("no room"))
    sent: Batch = pickle.loads(pickle.dumps(batch))  # noqa: S301 - made here
    assert isinstance(sent.error, DiskFull)
    assert str(sent.error) == "no room"
