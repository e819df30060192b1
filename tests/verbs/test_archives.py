"""Each step of a connection has a result, and after a step that failed the others are skipped."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdl.archive.profiles import BUILT_IN
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import Access, ArchiveChoice
from bulkdl.verbs.archives import ArchiveReport, archives_async, known_archives, update_index_async
from bulkdl.verbs.connections.reach import reach
from tests.support.commands import RunningArchive, serve
from tests.support.dicom_files import instances, write_folder
from tests.support.faults import Action, FaultyServer, Seen, answer, in_turn, json, stall
from tests.support.idc_index import series_row, write_index
from tests.support.nowhere import UNKNOWN_HOST

SELF_SIGNED = Path(__file__).parents[1] / "data" / "self_signed.pem"


@pytest.fixture(scope="module")
def running(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    folder = tmp_path_factory.mktemp("archive")
    write_folder(folder, instances(series=2, per_series=2, collection="FIRST"))
    with serve(folder, cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


async def look(address: str, **access: str) -> ArchiveReport:
    choice = ArchiveChoice(name=address, access=Access(**access), cache=Path("not-used"))  # type: ignore[arg-type]
    (report,) = await archives_async(choice, seconds_per_check=5)
    return report


def outcomes(report: ArchiveReport) -> dict[str, str]:
    return {result.check: result.outcome.value for result in report.results}


def reason(report: ArchiveReport) -> str:
    (message,) = (result.message for result in report.results if result.outcome.value == "failed")
    return message


@pytest.mark.parametrize("kind", ["nbia-v1", "nbia-v4", "tcia-v3"])
async def test_an_archive_that_answers_passes_every_step(running: RunningArchive, kind: str) -> None:
    base = running.url if kind != "tcia-v3" else running.url.replace("nbia-api/services", "services/v3")
    report = await look(f"{kind}+{base}")
    assert report.answers
    assert outcomes(report) == {"name": "ok", "proxy": "skipped", "tls": "skipped", "api": "ok", "image": "ok"}
    assert [result.message for result in report.results][-2:] == ["1 collection", "an instance of FIRST"]


async def test_a_host_that_is_not_known_ends_at_its_name() -> None:
    report = await look(f"http://{UNKNOWN_HOST}/nbia-api/services")
    assert outcomes(report) == dict.fromkeys(("proxy", "tls", "api", "image"), "skipped") | {"name": "failed"}
    assert f"{UNKNOWN_HOST} cannot be resolved" in reason(report)
    assert not report.answers


async def test_a_proxy_that_is_down_ends_there() -> None:
    report = await look("https://archive.invalid/nbia-api/services", proxy="http://127.0.0.1:9")
    assert outcomes(report)["name"] == "skipped"
    assert "the proxy 127.0.0.1:9 cannot be reached" in reason(report)


async def test_a_certificate_that_is_not_trusted_ends_at_tls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    async with FaultyServer(in_turn(json("[]")), tls=context) as server:
        report = await look(f"{server.url}nbia-api/services")
    assert outcomes(report)["tls"] == "failed"
    assert "see --ca-bundle" in reason(report)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(status=401), "access-denied"),
        (json("<html>"), "unexpected-answer"),
        (stall(asyncio.Event()), "timed-out"),
    ],
    ids=["refused", "a page", "silence"],
)
async def test_an_api_that_does_not_answer_ends_there(reply: Action, error: str) -> None:
    async with FaultyServer(in_turn(reply)) as server:
        choice = ArchiveChoice(name=f"{server.url}nbia-api/services", cache=Path("not-used"))
        (report,) = await archives_async(choice, seconds_per_check=0.5)
    results = {result.check: result for result in report.results}
    assert (results["name"].outcome.value, results["image"].outcome.value) == ("ok", "skipped")
    assert results["api"].error == error


async def test_an_image_that_is_none_fails_the_last_step() -> None:
    replies = {
        "getCollectionValues": json('[{"Collection": "A"}]'),
        "getPatient": json('[{"PatientId": "P"}]'),
        "getSeries": json('[{"SeriesInstanceUID": "1.2.3"}]'),
        "getSOPInstanceUIDs": json('[{"SOPInstanceUID": "1.2.4"}]'),
        "getSingleImage": answer(b"x" * 200, headers={"Content-Type": "application/dicom"}),
    }

    def script(seen: Seen) -> Action:
        return replies[seen.path.rpartition("/")[2]]

    async with FaultyServer(script) as server:
        report = await look(f"nbia-v1+{server.url}nbia-api/services")
    assert (outcomes(report)["api"], outcomes(report)["image"]) == ("ok", "failed")
    assert "not a DICOM file" in reason(report)
    assert len(server.requests) == len(replies)


async def test_archives_are_checked_side_by_side_and_reported_in_order() -> None:
    async with (
        FaultyServer(in_turn(stall(asyncio.Event()))) as silent,
        FaultyServer(in_turn(answer(status=404))) as other,
    ):
        names = [f"{server.url}nbia-api/services" for server in (silent, other)]
        choices = tuple(ArchiveChoice(name=name, cache=Path("not-used")) for name in names)
        reports = await archives_async(*choices, seconds_per_check=0.5)
    assert [report.name for report in reports] == names


# --- the index of the Imaging Data Commons ----------------------------------------------------------------------------


async def test_an_index_that_is_here_is_named_with_its_release(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", [series_row(1)], dates={25: "2020-01-01"})
    choice = reach("idc+http://127.0.0.1:9", idc_index=index, cache=tmp_path)
    (report,) = await archives_async(choice, seconds_per_check=5)
    assert report.release is not None
    assert report.release.startswith("IDC release 25 (2020-01-01, index 25.0.5): ")
    assert report.as_json()["release"] == report.release
    assert outcomes(report) == {"name": "ok", "proxy": "skipped", "tls": "skipped", "api": "ok", "image": "failed"}


async def test_an_index_that_is_not_here_is_not_downloaded_to_check_the_archive(tmp_path: Path) -> None:
    async with FaultyServer(in_turn(answer(status=404))) as server:
        choice = reach(f"idc+{server.url}", idc_index=f"{server.url}index/", cache=tmp_path)
        (report,) = await archives_async(choice, seconds_per_check=5)
        assert server.requests == []
    assert (outcomes(report)["api"], outcomes(report)["image"], report.release) == ("skipped", "skipped", None)


async def test_an_index_is_updated_and_its_release_is_said(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", [series_row(1)], version="26.0.0")
    content = (index / "idc_index.parquet").read_bytes()

    def script(seen: Seen) -> Action:
        return answer(content) if seen.path == "/idc_index.parquet" else answer(status=404)

    async with FaultyServer(script) as server:
        choice = reach(f"idc+{server.url}", idc_index=server.url, cache=tmp_path)
        assert await update_index_async(choice) == "IDC release 26 (index 26.0.0)"
    with pytest.raises(ConfigurationError, match="nlst has no index"):
        await update_index_async("nlst")


def test_every_archive_with_a_name_is_known() -> None:
    configured = {"ours": "http://localhost/nbia-api/services", "datacite": "http://localhost/"}
    assert known_archives(configured) == (*BUILT_IN, "ours", "demo", "demo-idc", "demo-pathdb")
