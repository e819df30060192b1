"""The REST services of TCIA as an archive: odd answers, batches of Series, lists, sizes and checksums."""

from __future__ import annotations

import asyncio
import json as jsons
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from bulkdl.archive.base import BundleForm, Capabilities, Listing
from bulkdl.archive.nbia.archive import NbiaArchive, capabilities_of
from bulkdl.archive.nbia.dialects import NbiaV1, NbiaV2, NbiaV4, TciaV3
from bulkdl.archive.nbia.endpoints import NBIA_V1
from bulkdl.errors import AccessDenied, ArchiveRefused, RequestFailed, ServerFailed, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry, Series, SeriesSize
from bulkdl.model.selection import Selection
from tests.support.archives import found_series, opened, samples
from tests.support.faults import (
    Action,
    FaultyServer,
    Script,
    Seen,
    answer,
    cut,
    in_turn,
    json,
    stall,
    zipped,
)

SERIES = SeriesUid("1.2.3")
ENTRY = Entry("1.2.3.4", SopInstanceUid("1.2.3.4"))
COLLECTION_A = Selection(collections=("A",))


def test_capabilities_follow_from_the_dialect() -> None:
    zips = Capabilities(bundle=BundleForm.ZIP, ranges=True, endpoints=True)
    single = replace(zips, asks_series_singly=True)
    assert capabilities_of(NbiaV1()) == replace(single, checksums=True)
    assert capabilities_of(NbiaV2()) == replace(single, checksums=True, series_checksums=True, takes_login=True)
    assert capabilities_of(NbiaV4()) == replace(zips, checksums=True, series_checksums=True, takes_login=True)
    assert capabilities_of(TciaV3()) == replace(single, takes_key=True)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[{"Collection":"A"},{"Collection":"B"}]', ["A", "B"]),
        ('{"Collection":"A"}', ["A"]),
        ("null", []),
        ("", []),
        ("  \r\n", []),
        ("[]", []),
        ("\ufeff[]", []),
        ('[{"Collection":"A","Collection":"B"}]', ["B"]),
        ('[{},{"Collection":null},{"Collection":""},{"Else":1},null]', []),
        ('[{"Collection":"\\/x\\u00e9"}]', ["/xé"]),
        ('[{"Collection":"\\ud800x"}]', ["?x"]),
        ('[{"Collection":"a\tb"}]', ["a\tb"]),
        ('[{"Collection":12}]', ["12"]),
    ],
)
async def test_odd_but_clear_answers_are_read(text: str, names: list[str]) -> None:
    async with FaultyServer(lambda _: json(text)) as server, opened(server.url) as client:
        assert await client.collections() == tuple(names)


async def test_an_encoded_list_is_read() -> None:
    async with FaultyServer(lambda _: zipped(b'[{"Collection":"A"}]')) as server, opened(server.url) as client:
        assert await client.collections() == ("A",)


@pytest.mark.parametrize(
    "text",
    [
        '[{"Collection":"A"}',
        '[{"Collection":"A"},',
        '[{"Coll',
        "<html><body>Log in</body></html>",
        "\n <!DOCTYPE html>",
        '"text"',
        "[1,2]",
        "[[]]",
        "42",
        "nonsense",
        "nul",
        "[] []",
        '[{"Collection":"A"}] trailing',
        '{"a":1}{"b":2}',
        '[{"a":' + "[" * 100_000,
        '[{"a":' + "9" * 5000 + "}]",
        "Server was not able to process your request\nnull",
    ],
)
async def test_another_text_than_a_list_is_an_unexpected_answer(text: str) -> None:
    async with FaultyServer(lambda _: json(text)) as server, opened(server.url) as client:
        with pytest.raises(UnexpectedAnswer, match=r"^getCollectionValues answered ") as caught:
            await client.collections()
        assert len(str(caught.value)) < 200


async def test_a_gzip_that_is_cut_off_fails() -> None:
    script = in_turn(zipped(b'[{"Collection":"A"}]' * 100, keep=40))
    async with FaultyServer(script) as server, opened(server.url) as client:
        with pytest.raises(RequestFailed):
            await client.collections()


async def test_series_come_in_batches_and_in_order() -> None:
    rows = [{"SeriesInstanceUID": f"1.2.{number}", "Collection": "A", "ImageCount": number} for number in range(1234)]
    async with (
        FaultyServer(lambda _: json(jsons.dumps(rows))) as server,
        opened(server.url) as client,
        aclosing(client.find(COLLECTION_A)) as found,
    ):
        batches = [batch.series async for batch in found]
    assert [len(batch) for batch in batches] == [500, 500, 234]
    assert [series.image_count for batch in batches for series in batch] == list(range(1234))


async def test_series_are_yielded_while_the_list_still_arrives() -> None:
    """A list of a whole archive takes minutes; the first download must not wait for its end."""
    rows = jsons.dumps([{"SeriesInstanceUID": f"1.2.{number}"} for number in range(700)]).encode()
    released = asyncio.Event()
    taken: list[int] = []
    script = in_turn(stall(released, rows, after=len(rows) - 10))
    async with (
        FaultyServer(script) as server,
        opened(server.url) as client,
        aclosing(client.find(COLLECTION_A)) as found,
    ):
        async for batch in found:
            taken.append(len(batch.series))
            released.set()
    assert taken == [500, 200]


async def test_a_list_that_is_cut_is_requested_again() -> None:
    rows = jsons.dumps([{"SeriesInstanceUID": f"1.2.{number}"} for number in range(700)]).encode()
    script = in_turn(cut(rows, after=len(rows) - 10), answer(rows))
    async with FaultyServer(script) as server, opened(server.url, max_attempts=2) as client:
        taken = await found_series(client, COLLECTION_A)
    assert len(taken) == 1200
    assert len({series.series_uid for series in taken}) == 700


async def test_invalid_rows_are_a_failure_of_the_question_and_all_others_are_found() -> None:
    rows = [
        {"SeriesInstanceUID": "../../etc/passwd"},
        {"SeriesInstanceUID": ""},
        {"Collection": "A"},
        {"SeriesInstanceUID": 5},
        {"SeriesInstanceUID": "61.7.001", "StudyInstanceUID": "no uid", "ImageCount": "many", "FileSize": 10**30},
    ]
    notes: list[str] = []
    async with (
        FaultyServer(lambda _: json(jsons.dumps(rows))) as server,
        opened(server.url, notes=notes) as client,
        aclosing(client.find(COLLECTION_A)) as found,
    ):
        batches = [batch async for batch in found]
    kept = [series for batch in batches for series in batch.series]
    assert kept == [Series(series_uid=SeriesUid(uid), collection="A") for uid in ("5", "61.7.001")]
    ((question, error),) = [failed for batch in batches for failed in batch.failed]
    assert str(question) == "collection A"
    assert str(error).startswith("3 rows of getSeries cannot be read: SeriesInstanceUID is not a UID: '../../etc/pas")
    assert [note for note in notes if "StudyInstanceUID" in note]


async def test_a_consumer_that_stops_early_ends_the_request() -> None:
    rows = jsons.dumps([{"SeriesInstanceUID": f"1.2.{number}"} for number in range(600)]).encode()
    stuck = stall(asyncio.Event(), rows, after=len(rows) - 10)
    async with FaultyServer(lambda _: stuck) as server, opened(server.url) as client:
        async with aclosing(client.find(COLLECTION_A)) as found:
            async for batch in found:
                assert len(batch.series) == 500
                break
        assert len(samples(client)) == 1
        assert client.retrier.permits.in_use == 0


async def test_instances_are_listed_once_each_and_in_order() -> None:
    rows = [{"SOPInstanceUID": uid} for uid in ("1.3", "1.2\0", "1.3", "x", None, " 1.1")]
    async with FaultyServer(lambda _: json(jsons.dumps(rows))) as server, opened(server.url) as client:
        listing = await client.list(Series(series_uid=SERIES))
        assert listing == Listing(tuple(Entry(uid, SopInstanceUid(uid)) for uid in ("1.3", "1.2", "1.1")), 2)
        assert server.requests[0].query == {"SeriesInstanceUID": "1.2.3"}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('[{"TotalSizeInBytes":1580542,"ObjectCount":3}]', SeriesSize(1580542, 3)),
        ('[{"TotalSizeInBytes":"1580542.0","ObjectCount":"3"}]', SeriesSize(1580542, 3)),
        ("[{}]", SeriesSize(None, None)),
        ("", SeriesSize(None, None)),
        ('[{"TotalSizeInBytes":"unknown","ObjectCount":null}]', SeriesSize(None, None)),
    ],
    ids=["numbers", "texts", "a row of nulls", "nothing", "rubbish"],
)
async def test_a_size_may_be_unknown(text: str, size: SeriesSize) -> None:
    async with FaultyServer(lambda _: json(text)) as server, opened(server.url) as client:
        assert await client.size(SERIES) == size


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"00112233445566778899aabbccddeeff\n", bytes.fromhex("00112233445566778899aabbccddeeff")),
        (b"00112233445566778899AABBCCDDEEFF", bytes.fromhex("00112233445566778899aabbccddeeff")),
        (b"", None),
        (b"d41d8cd9", None),
        (b"not found, not found, not found!", None),
        (b"00 11 22 33 44 55 66 77 88 99 aa", None),
        (b"\xff" * 32, None),
    ],
)
async def test_a_checksum_is_sixteen_bytes_or_none(content: bytes, digest: bytes | None) -> None:
    async with FaultyServer(lambda _: answer(content)) as server, opened(server.url) as client:
        assert await client.checksum(SERIES, ENTRY) == digest
        assert server.requests[0].query == {"SOPInstanceUid": "1.2.3.4"}


async def test_a_query_returns_what_the_archive_sent() -> None:
    script = in_turn(answer(b'"Collection"\n', headers={"Content-Type": "text/csv"}))
    async with FaultyServer(script) as server, opened(server.url) as client:
        assert isinstance(client, NbiaArchive)
        answered = await client.query(NBIA_V1["getSeries"], [("Collection", "A B"), ("format", "csv")])
        assert answered == ("text/csv", b'"Collection"\n')
        assert server.requests[0].query == {"Collection": "A B", "format": "csv"}


# --- many Series by name ----------------------------------------------------------------------------------------------


def rows_of(uids: list[str]) -> str:
    return jsons.dumps([{"SeriesInstanceUID": uid, "Modality": "CT"} for uid in uids])


async def find(
    script: Script, uids: list[str], *, kind: str = "nbia-v4", **criteria: Any
) -> tuple[set[str], set[SeriesUid | None], list[str]]:
    """The Series that are found, those that are not, and the paths that were asked."""
    selection = Selection(series=tuple(SeriesUid(uid) for uid in uids), **criteria)
    async with (
        FaultyServer(script) as server,
        opened(server.url, kind=kind) as client,
        aclosing(client.find(selection)) as batches,
    ):
        answers = [batch async for batch in batches]
    found = {series.series_uid for batch in answers for series in batch.series}
    not_found = {question.series_uid for batch in answers for question in batch.not_found}
    return {*found}, not_found, [seen.path for seen in server.requests]


def answering(known: set[str]) -> Script:
    """An archive that has these Series, by one and by many."""

    def script(seen: Seen) -> Action:
        form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        asked = form["list"].split(",") if "list" in form else [seen.query["SeriesInstanceUID"]]
        return json(rows_of([uid for uid in asked if uid in known]))

    return script


async def test_a_manifest_of_thousands_costs_a_few_questions() -> None:
    uids = [f"1.2.{number}" for number in range(4_500)]
    missing = {uids[7], uids[4_400]}
    found, not_found, paths = await find(answering(set(uids) - missing), uids)
    assert found == set(uids) - missing
    assert not_found == missing
    assert paths == ["/v4/getSeriesMetadata"] * 3


async def test_a_family_without_lists_of_uids_is_asked_for_each_series() -> None:
    found, not_found, paths = await find(answering({"1.1", "1.2"}), ["1.1", "1.2", "1.3"], kind="nbia-v1")
    assert (found, not_found) == ({"1.1", "1.2"}, {"1.3"})
    assert paths == ["/v1/getSeries"] * 3


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_an_archive_that_refuses_a_list_of_uids_is_asked_for_each_series(status: int) -> None:
    one_by_one = answering({"1.1", "1.2"})
    found, not_found, paths = await find(
        lambda seen: answer(status=status) if seen.method == "POST" else one_by_one(seen), ["1.1", "1.2", "1.3"]
    )
    assert (found, not_found) == ({"1.1", "1.2"}, {"1.3"})
    assert paths == ["/v4/getSeriesMetadata", *["/v4/getSeries"] * 3]


async def test_series_that_were_not_requested_are_ignored() -> None:
    found, not_found, _ = await find(lambda _: json(rows_of(["1.1", "6.6"])), ["1.1", "1.2"])
    assert (found, not_found) == ({"1.1"}, {"1.2"})


async def test_a_series_that_is_named_and_does_not_match_is_not_missing() -> None:
    found, not_found, _ = await find(answering({"1.1", "1.2"}), ["1.1", "1.2"], modalities=("MR",))
    assert (found, not_found) == (set(), set())


async def test_a_question_that_fails_is_named_with_its_error() -> None:
    def script(seen: Seen) -> Action:
        return answer(status=500) if "B" in seen.query.values() else json(rows_of(["1.1"]))

    async with (
        FaultyServer(script) as server,
        opened(server.url) as client,
        aclosing(client.find(Selection(collections=("A", "B")))) as batches,
    ):
        answers = [batch async for batch in batches]
    ((question, error),) = [failed for batch in answers for failed in batch.failed]
    assert (str(question), type(error)) == ("collection B", ServerFailed)
    assert [series.series_uid for batch in answers for series in batch.series] == ["1.1"]


async def test_a_refused_question_is_named_and_many_end_the_search() -> None:
    async with FaultyServer(lambda _: answer(status=403)) as server, opened(server.url) as client:
        async with aclosing(client.find(Selection(collections=("A", "B")))) as found:
            failed = [each async for batch in found for each in batch.failed]
        assert [type(error) for _, error in failed] == [AccessDenied, AccessDenied]
        with pytest.raises(ArchiveRefused, match="403"):
            await found_series(client, Selection(collections=tuple(map(str, range(1000)))))
        assert len(server.requests) < 100
