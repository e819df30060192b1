"""An error of the archive is not the answer that it has no data: no verb reports, and no journal records it so."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.attacks.hostile import JSON, PAGE, HostileArchive, endpoint_of
from tests.attacks.watching import Ended, Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, redirect
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=2))
SERIES = MADE_UP[0].series_uid
TEXT = {"Content-Type": "text/plain"}
RETIRED: dict[str, Action] = {
    "404 with a page": answer(b"<html><title>404 Not Found</title></html>", status=404, headers=PAGE),
    "400": answer(b"Invalid query parameter: 'Collection'. Allowed parameters are: [format]", status=400, headers=TEXT),
    "410": answer(b"This API was retired", status=410, headers=TEXT),
    "a page": answer(b"<html><title>We have moved</title></html>", headers=PAGE),
    "a JSON error": answer(b'{"error": "this API was retired"}', headers=JSON),
    "a message in JSON": answer(b'{"message": "Not Found", "status": 404}', headers=JSON),
    "301 to a page": redirect("/gone", status=301),
    "500 with a text": answer(b"retired", status=500, headers=TEXT),
    "451": answer(b"Unavailable", status=451, headers=TEXT),
    "202": answer(b"", status=202),
    "JSON of another API": answer(b'[{"id": 1, "name": "a thing"}]', headers=JSON),
}
UNTRUE = (
    "does not have this series",
    "has no series",
    "does not know the series",
    "holds something else",
    "something else",
    "not-found",
    "no instances",
    "did you mean",
)
IN_FEW_WORDS = ("--give-up-after", "2s", "--max-attempts", "2")


def retired(action: Action) -> HostileArchive:
    """An archive that gives this answer to everything, but for a page behind its redirect."""

    def attack(seen: Seen) -> Action:
        return answer(b"<html>Gone</html>", headers=PAGE) if seen.path == "/gone" else action

    return HostileArchive(MADE_UP, attack)


def verbs(archive: HostileArchive, mirror: Path, manifest: Path) -> dict[str, Sequence[str | Path]]:
    """Every verb that asks an archive, with the ways to say what is wanted."""
    here = ("--archive", archive.address())
    there = ("--to", mirror, "--progress", "none", "--json", "--yes", *IN_FEW_WORDS)
    return {
        "mirror --collection": ("mirror", *here, "--collection", "MADE-UP", *there),
        "mirror --series": ("mirror", *here, "--series", SERIES, *there),
        "mirror --manifest": ("mirror", *here, "--manifest", manifest, *there),
        "mirror --patient": ("mirror", *here, "--patient", "PATIENT-00000000", *there),
        "plan --study": ("plan", *here, "--study", MADE_UP[0].study_uid, "--json"),
        "plan --series": ("plan", *here, "--series", SERIES, "--json"),
        "mirror --everything": ("mirror", *here, "--everything", "--yes", *there),
        "mirror --shared-list": ("mirror", *here, "--shared-list", "a-list", *there),
    }


def assert_told(ended: Ended, mirror: Path, *codes: int) -> None:
    """The archive is what failed, and nothing is said to be absent."""
    assert_orderly(ended, *(codes or (3, 4)))
    for words in UNTRUE:
        assert words not in ended.said(), ended.said()
    journal = mirror / ".bulkdl" / "journal.sqlite"
    if journal.exists():
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as database:
            rows = database.execute("SELECT error FROM failure WHERE error = 'not-found'").fetchall()
        database.close()
        assert rows == []


RIGHT_BY_COLLECTION = {"400", "a page", "301 to a page", "500 with a text", "451", "202"}
RIGHT_BY_MANIFEST = {"a page", "301 to a page", "500 with a text", "202"}
VERBS = ("mirror --series", "mirror --patient", "plan --study", "plan --series", "mirror --everything")


@pytest.mark.parametrize("name", RETIRED)
async def test_a_retired_api_is_named_by_a_mirror_of_a_collection(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    await try_verb(name, "mirror --collection", bulkdl, tmp_path)


@pytest.mark.parametrize("name", RETIRED)
async def test_a_retired_api_is_named_by_a_mirror_of_a_manifest(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    await try_verb(name, "mirror --manifest", bulkdl, tmp_path)


@pytest.mark.parametrize("verb", [*VERBS, "mirror --shared-list"])
async def test_a_retired_api_is_named_by_every_verb(verb: str, bulkdl: Watcher, tmp_path: Path) -> None:
    await try_verb("404 with a page", verb, bulkdl, tmp_path)


async def try_verb(name: str, verb: str, bulkdl: Watcher, tmp_path: Path) -> None:
    """Ask a retired archive by one verb."""
    manifest = tmp_path / "list.txt"
    manifest.write_text("\n".join(dict.fromkeys(one.series_uid for one in MADE_UP)))
    async with retired(RETIRED[name]) as archive:
        words = verbs(archive, tmp_path / "mirror", manifest)[verb]
        ended = await bulkdl.run(*words, within=12)
    assert_told(ended, tmp_path / "mirror")


@pytest.mark.parametrize(
    "names", [tuple(RETIRED)[:4], tuple(RETIRED)[4:8], tuple(RETIRED)[8:]], ids=["4xx", "odd", "5xx"]
)
async def test_a_retired_api_is_named_by_verify_remote(names: tuple[str, ...], bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(mirror))
        assert_orderly(ended, 0)
        for name in names:
            action = RETIRED[name]
            archive.attack = lambda seen, action=action: (  # type: ignore[misc]
                answer(b"<html>", headers=PAGE) if seen.path == "/gone" else action
            )
            more = ("--json", "--progress", "none", "--give-up-after", "2s")
            ended = await bulkdl.run("verify", mirror, "--remote", *more, within=12)
            assert_told(ended, mirror)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


@pytest.mark.parametrize("name", ["404 with a page", "400", "a JSON error", "a page"])
async def test_a_retired_api_is_named_by_resume(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: answer(b"", status=500) if endpoint_of(seen) == "getSingleImage" else None
        ended = await bulkdl.run(*archive.mirror_everything(mirror, "--give-up-after", "1s"))
        assert_orderly(ended, 1, 4)
        archive.attack = lambda seen: answer(b"<html>", headers=PAGE) if seen.path == "/gone" else RETIRED[name]
        more = ("--json", "--progress", "none", "--give-up-after", "2s", "--max-attempts", "2")
        ended = await bulkdl.run("resume", mirror, *more, within=12)
    assert_told(ended, mirror, 1, 3, 4)


@pytest.mark.parametrize("status", [400, 422])
async def test_the_message_of_an_archive_about_a_rejected_question_is_shown(
    status: int, bulkdl: Watcher, tmp_path: Path
) -> None:
    """A rejected request is not a Collection that does not exist, and the archive's own message is shown."""
    words_of_archive = b"Collection is spelled with a capital P"
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: (
            answer(words_of_archive, status=status, headers=TEXT) if endpoint_of(seen) == "getSeries" else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=12)
    assert_orderly(ended)
    assert ended.code != 0
    assert words_of_archive.decode() in ended.said()
    assert "has no series" not in ended.said()


async def test_one_retired_endpoint_is_the_failure_of_what_needs_it(bulkdl: Watcher, tmp_path: Path) -> None:
    """Where zips are gone, instances come singly."""
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: RETIRED["410"] if endpoint_of(seen).startswith("getImage") else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--transport", "zip"), within=12)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_series_that_an_archive_in_good_health_does_not_have_is_said_to_be_absent(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    """The honest case: absence is still reported if the answer was understood."""
    async with HostileArchive(MADE_UP) as archive:
        words = archive.mirror_series(tmp_path / "mirror", "--series", "1.2.3.4")
        ended = await bulkdl.run(*words, within=12)
    assert_orderly(ended, 1)
    assert ended.failures() == [("1.2.3.4", None, "not-found")]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
