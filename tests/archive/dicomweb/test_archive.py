"""A server of DICOMweb as an archive, over real sockets: lists that are cut, odd servers, bodies, logins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bulkdl.archive.base import Archive
from bulkdl.errors import AccessDenied, NotFound, RequestFailed, RequestRejected, SelectionError, ShortBody
from bulkdl.model.access import Access, Credentials
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection
from bulkdl.verbs.data_sets.known_data_sets import data_sets_of_archive
from tests.support.archives import found_at, found_series, opened
from tests.support.dicom_files import instances
from tests.support.dicomweb_server import DicomwebServer, dicomweb_server, element, parts_of
from tests.support.faults import Action, FaultyServer, Seen, answer, redirect, zipped

MADE_UP = list(instances(series=6, per_series=6))
FIRST = MADE_UP[0]
OF_STUDY = {one.series_uid for one in MADE_UP if one.study_uid == FIRST.study_uid}
OF_SERIES = [one for one in MADE_UP if one.series_uid == FIRST.series_uid]
SERIES = Series(series_uid=FIRST.series_uid, study_uid=FIRST.study_uid, image_count=6)
ENTRY = Entry(f"{FIRST.study_uid}/{FIRST.sop_uid}", FIRST.sop_uid)
EVERYTHING = Selection(everything=True)


@asynccontextmanager
async def archive_of(
    fault: Callable[[Seen], Action | None] = lambda _: None,
    *,
    notes: list[str] | None = None,
    credentials: Credentials | None = None,
    **quirks: Any,
) -> AsyncIterator[tuple[Archive, DicomwebServer]]:
    access = Access(credentials=credentials or Credentials())
    async with (
        dicomweb_server(MADE_UP, fault, **quirks) as server,
        opened(server.url, kind="dicomweb", max_attempts=2, notes=notes, access=access) as archive,
    ):
        yield archive, server


async def content_of(archive: Archive, entry: Entry = ENTRY) -> bytes:
    async with archive.open(FIRST.series_uid, entry) as body:
        content = b"".join([chunk async for chunk in body.chunks()])
        assert body.length in {None, len(content)}
        return content


def odd(row: dict[str, Any]) -> dict[str, Any]:
    """A row with tags in lower case and numbers as texts."""
    return {
        tag.lower(): {**value, "Value": [str(each) if isinstance(each, int) else each for each in value["Value"]]}
        for tag, value in row.items()
    }


# --- find -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quirks",
    [
        {},
        {"most": 2},
        {"ignores_offset": True},
        {"ignores_criteria": True},
        {"ignores_criteria": True, "most": 2},
        {"largest_limit": 200},
        {"largest_limit": 0},
        {"is_empty_204": False},
        {"searches_series": False},
        {"takes_lists": False},
        {"has_counts": False},
        {"cut_at": 0},
        {"row": odd},
    ],
    ids=lambda quirks: ", ".join(quirks) or "none",
)
async def test_every_server_gives_the_same_series(quirks: dict[str, Any]) -> None:
    everything = {one.series_uid for one in MADE_UP}
    some = tuple(sorted(everything))[:3]
    async with archive_of(**quirks) as (archive, _):
        assert {series.series_uid for series in await found_series(archive, EVERYTHING)} == everything
        for selection, expected in (
            (Selection(patients=(FIRST.patient_id,)), OF_STUDY),
            (Selection(studies=(FIRST.study_uid,)), OF_STUDY),
            (Selection(series=some), set(some)),
            (Selection(collections=("made-up",), modalities=("CT",)), everything),
            (Selection(body_parts=("chest",)), everything),
            (Selection(patients=("nobody",)), set()),
        ):
            found = await found_at(archive, selection)
            assert {series.series_uid for series in found.series} == expected
            assert bool(found.not_found) == (not expected)
            assert found.failed == ()
            assert {(series.collection, series.modality) for series in found.series} <= {("MADE-UP", "CT")}


@pytest.mark.parametrize("selection", [EVERYTHING, Selection(series=(FIRST.series_uid,))], ids=["all", "one"])
async def test_instances_are_counted_where_the_server_does_not(selection: Selection) -> None:
    """Else a Series that grows would look the same, and one without a size as withdrawn."""
    of_first = sum(one.series_uid == FIRST.series_uid for one in MADE_UP)
    async with archive_of(has_counts=False) as (archive, server):
        (first,) = [each for each in await found_series(archive, selection) if each.series_uid == FIRST.series_uid]
        assert first.image_count == (await archive.size(FIRST.series_uid)).image_count == of_first
        server.made_up.remove(FIRST)
        assert (await archive.size(FIRST.series_uid)).image_count == of_first - 1


async def test_a_study_without_a_protocol_is_in_the_collection_of_the_host() -> None:
    def without_protocol(row: dict[str, Any]) -> dict[str, Any]:
        return {tag: value for tag, value in row.items() if tag != "00120020"}

    async with archive_of(row=without_protocol) as (archive, _):
        assert await archive.collections() == ("127.0.0.1",)
        assert len(await found_series(archive, Selection(collections=("127.0.0.1",)))) == 6
        assert await found_series(archive, Selection(collections=("MADE-UP",))) == []


@pytest.mark.parametrize("has_counts", [True, False])
async def test_collections_are_listed_with_their_patients_and_series(has_counts: bool) -> None:  # noqa: FBT001 - a parameter
    async with archive_of(has_counts=has_counts) as (archive, _):
        (found,) = await data_sets_of_archive(archive, "dicomweb")
        assert (found.name, found.patients, found.series) == ("MADE-UP", 3, 6 if has_counts else None)


async def test_a_short_list_of_series_is_a_failure_unless_the_instances_complete_it() -> None:
    for has_metadata in (True, False):
        async with archive_of(cut_at=0, has_metadata=has_metadata) as (archive, _):
            found = await found_at(archive, Selection(studies=(FIRST.study_uid,)))
            assert len(found.series) == (2 if has_metadata else 1)
            assert [str(error) for _, error in found.failed] == (
                [] if has_metadata else ["the archive lists 1 series of the study and counts 2"]
            )


async def test_a_study_whose_series_are_not_listed_is_a_failure() -> None:
    def fault(seen: Seen) -> Action | None:
        return answer(b"", status=500) if seen.path.endswith(f"{FIRST.study_uid}/series") else None

    async with archive_of(fault) as (archive, _):
        found = await found_at(archive, EVERYTHING)
        assert {series.series_uid for series in found.series} == {one.series_uid for one in MADE_UP} - OF_STUDY
        assert [str(question) for question, _ in found.failed] == [f"study uid {FIRST.study_uid}"]


async def test_a_series_of_another_study_is_not_one_of_the_list() -> None:
    def fault(seen: Seen) -> Action | None:
        if not seen.path.endswith(f"{FIRST.study_uid}/series"):
            return None
        rows = DicomwebServer(MADE_UP)
        return rows.rows([rows.series_row(MADE_UP[0]), rows.series_row(MADE_UP[6]), rows.series_row(MADE_UP[-1])])

    async with archive_of(fault) as (archive, _):
        found = await found_at(archive, Selection(studies=(FIRST.study_uid,)))
        assert {series.series_uid for series in found.series} == OF_STUDY
        assert [str(error) for _, error in found.failed] == [
            f"1 row of the series of study {FIRST.study_uid} cannot be read"
        ]


@pytest.mark.parametrize("cut_at", [10, 29, 30, 31])
async def test_lists_of_studies_that_are_cut_are_completed_day_by_day(cut_at: int) -> None:
    made_up = list(instances(series=60, per_series=1))
    notes: list[str]
    async with (
        dicomweb_server(made_up, studies_cut_at=cut_at) as server,
        opened(server.url, kind="dicomweb", notes=(notes := [])) as archive,
    ):
        found = await found_series(archive, EVERYTHING)
        assert bool(notes) == (cut_at < 30)
        assert sorted(series.series_uid for series in found) == sorted(one.series_uid for one in made_up)


async def test_a_server_that_ignores_days_is_asked_once_more() -> None:
    made_up = list(instances(series=60, per_series=1))
    async with (
        dicomweb_server(made_up, ignores_criteria=True) as server,
        opened(server.url, kind="dicomweb") as archive,
    ):
        assert len(await archive.collections()) == 1
        lists = [seen.query for seen in server.server.requests if seen.path.endswith("/studies")]
        assert ["StudyDate" in query for query in lists if "offset" not in query] == [False, True]


async def test_a_day_with_more_studies_than_a_list_is_a_failure() -> None:
    made_up = list(instances(series=60, per_series=1))
    async with (
        dicomweb_server(made_up, studies_cut_at=12) as server,
        opened(server.url, kind="dicomweb") as archive,
    ):
        server.days = {one.study_uid: "20200101" if at >= 24 else "20190101" for at, one in enumerate(made_up)}
        found = await found_at(archive, EVERYTHING)
        assert ["cuts the studies of the whole archive after 12" in str(error) for _, error in found.failed] == [True]
        assert len(found.series) == 48


async def test_series_that_are_not_there_are_named() -> None:
    async with archive_of() as (archive, _):
        found = await found_at(archive, Selection(series=(FIRST.series_uid, SeriesUid("1.2.3"))))
        assert [series.series_uid for series in found.series] == [FIRST.series_uid]
        assert [question.series_uid for question in found.not_found] == ["1.2.3"]


async def test_without_a_search_for_series_the_study_is_asked_for() -> None:
    def fault(seen: Seen) -> Action | None:
        return answer(b"", status=404) if seen.path in {"/dicom-web/series", "/dicom-web/instances"} else None

    async with archive_of(fault) as (archive, _):
        ((_, error),) = (await found_at(archive, Selection(series=(FIRST.series_uid,)))).failed
        assert "name its --study" in str(error)
        both = Selection(series=(FIRST.series_uid,), studies=(FIRST.study_uid,))
        assert [series.series_uid for series in await found_series(archive, both)] == [FIRST.series_uid]


async def test_what_no_answer_states_cannot_be_asked_for() -> None:
    async with archive_of() as (archive, server):
        del server.further["00180015"]
        with pytest.raises(SelectionError, match="--body-part cannot be answered"):
            await found_series(archive, Selection(body_parts=("CHEST",)))


@pytest.mark.parametrize(
    "wrong",
    [
        answer(b"<html>maintenance</html>", headers={"Content-Type": "text/html"}),
        answer(b'{"Message": "no"}', headers={"Content-Type": "application/json"}),
        answer(b"[{", headers={"Content-Type": "application/dicom+json"}),
        answer(b"", status=404),
        answer(b"", status=500),
    ],
    ids=["page", "document", "cut", "404", "500"],
)
async def test_what_is_not_an_answer_is_not_an_empty_one(wrong: Action) -> None:
    async with archive_of(lambda seen: wrong if seen.path.endswith("/studies") else None) as (archive, _):
        found = await found_at(archive, Selection(patients=("A",)))
        assert (len(found.failed), found.not_found) == (1, ())


async def test_a_gzip_and_a_206_are_answers() -> None:
    def fault(seen: Seen) -> Action | None:
        if seen.path.endswith("/studies") and "offset" not in seen.query:
            row = DicomwebServer(MADE_UP).study_row(FIRST)
            body = str([row]).replace("'", '"').encode()
            is_first = seen.ordinal == 1
            return zipped(body) if is_first else answer(body, status=206)
        return None

    async with archive_of(fault) as (archive, _):
        for _ in range(2):
            found = await found_series(archive, Selection(studies=(FIRST.study_uid,)))
            assert {series.series_uid for series in found} == OF_STUDY


# --- list -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [{}, {"most": 4}, {"cut_at": 2}, {"ignores_offset": True}], ids=str)
@pytest.mark.parametrize("study_uid", [FIRST.study_uid, None], ids=["with its study", "alone"])
async def test_lists_are_complete(quirks: dict[str, Any], study_uid: StudyUid | None) -> None:
    async with archive_of(**quirks) as (archive, server):
        listing = await archive.list(Series(series_uid=FIRST.series_uid, study_uid=study_uid, image_count=6))
        assert [entry.sop_uid for entry in listing.entries] == [one.sop_uid for one in OF_SERIES]
        asked = any(seen.path.endswith("/metadata") for seen in server.server.requests)
        assert asked == ("cut_at" in quirks)


async def test_a_short_list_stays_short_where_there_is_no_other() -> None:
    notes: list[str] = []
    async with archive_of(cut_at=2, has_metadata=False, notes=notes) as (archive, _):
        assert len((await archive.list(SERIES)).entries) == 3
        assert "short list" in notes[0]


async def test_instances_of_other_series_are_not_listed() -> None:
    def foreign(row: dict[str, Any]) -> dict[str, Any]:
        is_last = row.get("00080018") == element("UI", OF_SERIES[-1].sop_uid)
        return {**row, "0020000E": element("UI", "1.2.3")} if is_last else row

    async with archive_of(row=foreign) as (archive, _):
        listing = await archive.list(SERIES)
        assert (len(listing.entries), listing.invalid_rows) == (5, 1)


# --- open -------------------------------------------------------------------------------------------------------------


async def test_the_type_that_the_server_refuses_is_not_asked_for_again() -> None:
    async with archive_of(serves_bare=False, closes=True) as (archive, server):
        for one in OF_SERIES:
            entry = Entry(f"{one.study_uid}/{one.sop_uid}", one.sop_uid)
            assert await content_of(archive, entry) == one.content
        types = [seen.headers["accept"] for seen in server.requested("file")]
        assert types == [
            "application/dicom; transfer-syntax=*",
            *['multipart/related; type="application/dicom"; transfer-syntax=*'] * len(OF_SERIES),
        ]
        assert {seen.headers["accept-encoding"] for seen in server.requested("file")} == {"identity"}


PARTS = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b0'}
OCTETS = {"Content-Type": "application/octet-stream"}
MULTIPART = b"--b0\r\n\r\n" + FIRST.content + b"\r\n--b0--"


@pytest.mark.parametrize(
    "sent",
    [
        parts_of([FIRST.content]),
        answer(FIRST.content, headers=PARTS),
        answer(FIRST.content, headers=OCTETS),
        answer(MULTIPART, headers=OCTETS),
        answer(MULTIPART, headers=PARTS, status=206),
    ],
    ids=["parts", "bare as multipart", "bare", "multipart of another type", "206"],
)
async def test_an_instance_is_read_in_any_framing(sent: Action) -> None:
    async with archive_of(lambda seen: sent if "/instances/" in seen.path else None) as (archive, _):
        assert await content_of(archive) == FIRST.content
        async with archive.open(FIRST.series_uid, ENTRY) as body:
            assert await body.read(1 << 20) == FIRST.content


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (parts_of([FIRST.content], closes=True, has_end=False), ShortBody),
        (parts_of([FIRST.content, FIRST.content]), RequestFailed),
        (parts_of([]), RequestFailed),
        (answer(b"", headers=PARTS), RequestFailed),
        (answer(b"<html>", headers={"Content-Type": "text/html"}), RequestFailed),
        (answer(b"", status=404), NotFound),
    ],
    ids=["truncated", "two", "none", "empty", "page", "404"],
)
async def test_what_is_not_one_whole_instance_is_an_error(sent: Action, error: type[Exception]) -> None:
    async with archive_of(lambda seen: sent if "/instances/" in seen.path else None) as (archive, _):
        with pytest.raises(error):
            await content_of(archive)


async def test_a_server_with_wrong_lengths_is_read_by_its_delimiters() -> None:
    wrong = b"--b0\r\nContent-Length: 7\r\n\r\n" + FIRST.content + b"\r\n--b0--"

    async with archive_of(lambda seen: answer(wrong, headers=PARTS) if "/instances/" in seen.path else None) as (
        archive,
        _,
    ):
        with pytest.raises(RequestFailed, match="no delimiter"):
            await content_of(archive)
        assert await content_of(archive) == FIRST.content


@pytest.mark.parametrize("searches_series", [True, False])
async def test_a_key_without_its_study_is_looked_up(searches_series: bool) -> None:  # noqa: FBT001 - a parameter
    async with archive_of(searches_series=searches_series) as (archive, _):

        async def once(_: int) -> bytes:
            return await content_of(archive, Entry(FIRST.sop_uid, FIRST.sop_uid))

        archive.retrier.permits.resize(1)
        content, _ = await archive.retrier.attempt("an instance", once)  # which holds the only permit
        assert content == FIRST.content
        for key in ("x/1.2", "1.2/x", "../1.2"):
            with pytest.raises(RequestRejected):
                await content_of(archive, Entry(key, SopInstanceUid("1.2")))


# --- logins -----------------------------------------------------------------------------------------------------------


async def test_every_request_to_the_archive_has_the_login() -> None:
    async with archive_of(credentials=Credentials(api_key="token")) as (archive, server):
        series = await found_series(archive, Selection(studies=(FIRST.study_uid,)))
        await archive.list(series[0])
        await content_of(archive)
        assert {seen.headers.get("authorization") for seen in server.server.requests} == {"Bearer token"}


async def test_no_other_host_gets_the_login() -> None:
    async with FaultyServer(
        lambda _: answer(FIRST.content, headers={"Content-Type": "application/dicom"})
    ) as elsewhere:

        def fault(seen: Seen) -> Action | None:
            return redirect(f"{elsewhere.url}signed") if "/instances/" in seen.path else None

        async with archive_of(fault, credentials=Credentials(api_key="token")) as (archive, _):
            assert await content_of(archive) == FIRST.content
        assert ["authorization" in seen.headers for seen in elsewhere.requests] == [False]


@pytest.mark.parametrize(
    ("credentials", "hint"),
    [
        (Credentials(), "--username, or --api-key"),
        (Credentials(username="a", password="secret"), ""),  # noqa: S106 - made up
        (Credentials(api_key="secret"), ""),
    ],
    ids=["none", "basic", "bearer"],
)
async def test_a_refusal_shows_no_secret(credentials: Credentials, hint: str) -> None:
    sent = credentials.authorization or "nothing"
    refusal = answer(f"you sent {sent}".encode(), status=401)
    async with archive_of(lambda _: refusal, credentials=credentials) as (archive, _):
        ((_, error),) = (await found_at(archive, EVERYTHING)).failed
        assert isinstance(error, AccessDenied)
        assert hint in str(error)
        assert sent.partition(" ")[2] not in str(error) or sent == "nothing"
