"""`bulkdl mirror` through every API family, and with logins that expire after seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.commands import Finished, RunningArchive, run, serve
from tests.support.dicom_files import MadeUp, instances, write_folder

COLLECTION = "FAMILIES"
FAMILIES = ("nbia-v1", "nbia-v2", "nbia-v4", "tcia-v3")

USERS = """
token_seconds = {token_seconds}

[restricted]
collections = ["{collection}"]

[users.alice]
password = "correct horse"
collections = ["{collection}"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUp]]:
    folder = tmp_path_factory.mktemp("archive")
    return folder, write_folder(folder, instances(series=5, per_series=4, collection=COLLECTION))


@pytest.fixture(scope="module")
def archive(
    folder: tuple[Path, list[MadeUp]], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningArchive]:
    log = tmp_path_factory.mktemp("families") / "access.jsonl"
    keys = log.parent / "keys.txt"
    keys.write_text("the-right-key\n")
    users = log.parent / "users.toml"
    users.write_text('[users.alice]\npassword = "correct horse"\n')
    with serve(folder[0], "--api-key-file", keys, "--users-file", users, cache=cache, log=log) as running:
        yield running


def address(family: str, archive: RunningArchive) -> str:
    """The base address of a family of the embedded archive."""
    if family != "tcia-v3":
        return f"{family}+{archive.url}"
    parts = urlsplit(archive.url)
    return f"tcia-v3+{parts.scheme}://{parts.netloc}/services/v3"


def credentials(family: str, folder: Path) -> tuple[str | Path, ...]:
    """The options that log in to a family."""
    if family == "tcia-v3":
        return ("--api-key", "the-right-key")
    if family != "nbia-v2":
        return ()
    (folder / "password").write_text("correct horse\n")
    return ("--username", "alice", "--password-file", folder / "password")


def files_of(mirror: Path) -> dict[str, bytes]:
    """The digest of each image of a mirror."""
    found = (path for path in mirror.rglob("*.dcm") if ".bulkdl" not in path.parts)
    return {str(path.relative_to(mirror)): hashlib.sha256(path.read_bytes()).digest() for path in found}


def mirrored(family: str, archive: RunningArchive, cache: Path, to: Path, *words: str | Path) -> Finished:
    return run(
        "mirror",
        *("--archive", address(family, archive)),
        *credentials(family, to.parent),
        *("--to", to, "--json", "--progress", "none"),
        *words,
        cache=cache,
    )


@pytest.mark.parametrize("transport", ["single", "zip"])
def test_a_mirror_is_the_same_byte_for_byte_through_every_family(
    archive: RunningArchive, folder: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path, transport: str
) -> None:
    mirrors = []
    for family in FAMILIES:
        done = mirrored(family, archive, cache, tmp_path / family, "--collection", COLLECTION, "--transport", transport)
        assert (done.code, done.err) == (0, ""), family
        assert done.document()["instances"]["fetched"] == 20
        mirrors.append(files_of(tmp_path / family))
    wanted = {hashlib.sha256(instance.content).digest() for instance in folder[1]}
    assert set(mirrors[0].values()) == wanted
    assert all(mirror == mirrors[0] for mirror in mirrors)


@pytest.mark.parametrize("family", FAMILIES)
def test_series_of_a_manifest_come_through_every_family(
    archive: RunningArchive, folder: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path, family: str
) -> None:
    wanted = sorted({instance.series_uid for instance in folder[1]})[:3]
    (tmp_path / "list.txt").write_text("\n".join(wanted))
    done = mirrored(family, archive, cache, tmp_path / "m", "--manifest", tmp_path / "list.txt")
    assert (done.code, done.err) == (0, "")
    assert {Path(path).parent.name for path in files_of(tmp_path / "m")} == set(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_complete_mirror_requests_no_instance_of_any_family(
    archive: RunningArchive, cache: Path, tmp_path: Path, family: str
) -> None:
    mirrored(family, archive, cache, tmp_path / "m", "--collection", COLLECTION)
    before = len(archive.object_requests())
    done = mirrored(family, archive, cache, tmp_path / "m", "--collection", COLLECTION)
    assert (done.code, done.document()["instances"]["reused"]) == (0, 20)
    assert len(archive.object_requests()) == before


def test_a_wrong_key_is_refused(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    words = ("--archive", address("tcia-v3", archive), "--api-key", "another-key")
    done = run("mirror", *words, "--collection", COLLECTION, "--to", tmp_path / "m", cache=cache)
    assert done.code == 3
    assert "another-key" not in done.out + done.err


def test_a_wrong_password_is_refused(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong horse")
    words = ("--archive", address("nbia-v2", archive), "--username", "alice", "--password-file", tmp_path / "password")
    done = run("mirror", *words, "--collection", COLLECTION, "--to", tmp_path / "m", cache=cache)
    assert done.code == 3
    assert "wrong horse" not in done.out + done.err


@pytest.mark.parametrize("family", ["nbia-v2", "nbia-v4"])
@pytest.mark.parametrize("manner", ["401", "empty"])
def test_a_mirror_run_continues_when_its_tokens_expire(cache: Path, tmp_path: Path, manner: str, family: str) -> None:
    """Tokens expire after one second, before the run ends. The answer to an expired token is 401 or an empty list."""
    write_folder(tmp_path / "archive", instances(series=10, per_series=30, collection="RESTRICTED"))
    (tmp_path / "users.toml").write_text(USERS.format(token_seconds=1, collection="RESTRICTED"))
    (tmp_path / "password").write_text("correct horse")
    quirks = ("--quirks", "empty-token") if manner == "empty" else ()
    options = ("--users-file", tmp_path / "users.toml", *quirks)
    with serve(tmp_path / "archive", *options, cache=cache, log=tmp_path / "access.jsonl") as archive:
        done = run(
            "mirror",
            *("--archive", f"{family}+{archive.url}", "--username", "alice"),
            *("--password-file", tmp_path / "password", "--collection", "RESTRICTED", "--to", tmp_path / "m"),
            *("--transport", "single", "--rate-limit", "100kB/s", "--json", "--progress", "none"),
            cache=cache,
        )
        logins = [asked for asked in archive.requests() if asked.endpoint == "token"]
    assert (done.code, done.err) == (0, "")
    counts = done.document()["instances"]
    assert (counts["selected"], counts["fetched"], counts["failed"]) == (300, 300, 0)
    assert done.document()["seconds"] > 1
    assert 2 <= len(logins) <= 2 + done.document()["seconds"]
