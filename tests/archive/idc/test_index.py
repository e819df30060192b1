"""Where an index is found, and how it is downloaded: checked, whole or not at all, and not twice."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bulkdl.archive.connect import connect
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.idc.index import (
    COLLECTIONS,
    PRIOR,
    REFERENCES,
    RELEASES,
    RESULTS,
    SERIES,
    index_at,
    installed_index,
)
from bulkdl.archive.profiles import Profile
from bulkdl.errors import ConfigurationError, DiskError, RequestFailed
from tests.support.archives import make_retrier
from tests.support.faults import Action, FaultyServer, Seen, answer, cut
from tests.support.idc_index import series_row, write_index

Fault = Callable[[str], "Action | None"]


class Publisher:
    """Serves the files of an index, each with its SHA-256 beside it; `fault` replaces the answer for a name."""

    def __init__(self, folder: Path, *, fault: Fault = lambda _: None, absent: int = 404) -> None:
        self.folder = folder
        self.absent = absent  # the status of what it does not have
        self.fault = fault
        self.server = FaultyServer(self._answer)

    def _answer(self, seen: Seen) -> Action:
        name = seen.path.rpartition("/")[2]
        path = self.folder / name.removesuffix(".sha256")
        if (fault := self.fault(name)) is not None:
            return fault
        if not path.is_file():
            return answer(b"<?xml version='1.0'?><Error/>", status=self.absent)
        content = path.read_bytes()
        if name.endswith(".sha256"):
            return answer(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode())
        return answer(content)

    @property
    def asked(self) -> list[str]:
        """The names of the files that were requested, checksums left out."""
        names = [seen.path.rpartition("/")[2] for seen in self.server.requests]
        return [name for name in names if not name.endswith(".sha256")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [series_row(1), series_row(2)]
    names, dates = {"lung_one": "Lung-One"}, {1: "2020-01-01"}
    return write_index(tmp_path / "source", rows, prior=[], names=names, dates=dates, version="1.0.0")


@asynccontextmanager
async def archive_of(
    publisher: Publisher, cache: Path | None, *, path: str = "index/", notes: list[str] | None = None
) -> AsyncIterator[IdcArchive]:
    url = publisher.server.url
    profile = Profile("idc", url, "idc", index=f"{url}{path}", cache=cache)
    note = ([] if notes is None else notes).append
    async with connect(profile, make_retrier(), note=note) as archive:
        assert isinstance(archive, IdcArchive)
        yield archive


async def collections(publisher: Publisher, cache: Path, path: str = "index/") -> tuple[str, ...]:
    async with archive_of(publisher, cache, path=path) as archive:
        return await archive.collections()


def left_in(cache: Path) -> list[str]:
    """The names of all files in the cache."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", ["index/", "index", "index/idc_index.parquet"])
async def test_downloads_an_index_with_all_its_files_and_says_so(source: Path, tmp_path: Path, path: str) -> None:
    publisher, notes = Publisher(source), list[str]()
    async with publisher.server, archive_of(publisher, tmp_path / "cache", path=path, notes=notes) as archive:
        assert await archive.collections() == ("Lung-One",)
    assert sorted(publisher.asked) == sorted([SERIES, PRIOR, COLLECTIONS, RESULTS, RELEASES, *REFERENCES])
    assert notes[0].startswith("downloading the index of IDC, about 80 MB, from http://127.0.0.1:")
    assert left_in(tmp_path / "cache") == sorted([SERIES, PRIOR, COLLECTIONS, RELEASES, "digest"])


@pytest.mark.parametrize("absent", [403, 404])
async def test_an_index_may_be_alone_in_its_bucket(source: Path, tmp_path: Path, absent: int) -> None:
    for name in (PRIOR, COLLECTIONS, RELEASES):
        (source / name).unlink()
    publisher = Publisher(source, absent=absent)
    async with publisher.server:
        assert await collections(publisher, tmp_path / "cache") == ("lung_one",)
    assert left_in(tmp_path / "cache") == sorted([SERIES, "digest"])


async def test_downloads_an_index_again_only_when_it_has_changed(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source)
    async with publisher.server:
        await collections(publisher, tmp_path / "cache")
        before = len(publisher.asked)
        assert await collections(publisher, tmp_path / "cache") == ("Lung-One",)
        assert len(publisher.asked) == before
        write_index(source, [series_row(1, collection_id="new_one")])
        assert await collections(publisher, tmp_path / "cache") == ("new_one",)
        assert len(publisher.asked) > before


async def test_downloads_an_index_without_a_checksum_each_time(source: Path, tmp_path: Path) -> None:
    (source / PRIOR).unlink()
    publisher = Publisher(source, fault=lambda name: answer(status=404) if name.endswith(".sha256") else None)
    async with publisher.server:
        await collections(publisher, tmp_path / "cache")
        assert await collections(publisher, tmp_path / "cache") == ("Lung-One",)
    assert publisher.asked.count(SERIES) == 2


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        (SERIES, answer(b"other bytes"), "does not have the SHA-256"),
        (COLLECTIONS, answer(b"other bytes"), "does not have the SHA-256"),
        (SERIES, cut(b"x" * 1000, after=10), "connection|bytes"),
        (SERIES, answer(status=404), "404"),
        (PRIOR, answer(status=500), "500"),
        (f"{SERIES}.sha256", answer(b"<html>"), "is not a checksum"),
    ],
)
async def test_puts_nothing_in_place_that_is_not_whole(
    source: Path, tmp_path: Path, name: str, fault: Action, words: str
) -> None:
    publisher = Publisher(source, fault=lambda asked: fault if asked == name else None)
    async with publisher.server:
        with pytest.raises(RequestFailed, match=words):
            await collections(publisher, tmp_path / "cache")
        assert left_in(tmp_path / "cache") == []
        publisher.fault = lambda _: None
        assert await collections(publisher, tmp_path / "cache") == ("Lung-One",)


async def test_keeps_the_earlier_index_when_the_download_fails(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source)
    async with publisher.server:
        await collections(publisher, tmp_path / "cache")
        kept = left_in(tmp_path / "cache")
        write_index(source, [series_row(1, collection_id="new_one")])
        publisher.fault = lambda name: answer(b"bad") if name == SERIES else None
        with pytest.raises(RequestFailed, match="SHA-256"):
            await collections(publisher, tmp_path / "cache")
    assert left_in(tmp_path / "cache") == kept


async def test_says_where_the_index_cannot_be_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    publisher = Publisher(source)
    async with publisher.server:
        with pytest.raises(DiskError, match="cannot write the index of IDC"):
            await collections(publisher, tmp_path / "cache")


async def test_needs_a_folder_for_what_it_downloads(source: Path) -> None:
    publisher = Publisher(source)
    async with publisher.server, archive_of(publisher, None) as archive:
        with pytest.raises(ConfigurationError, match="--idc-index"):
            await archive.collections()


def test_finds_an_index_in_a_folder_or_as_a_file(source: Path) -> None:
    assert index_at(source) == index_at(source / SERIES)
    assert index_at(source).beside(PRIOR) == source / PRIOR
    (source / PRIOR).unlink()
    assert index_at(source).beside(PRIOR) is None
    with pytest.raises(ConfigurationError, match="there is no index of IDC at"):
        index_at(source / "elsewhere")


def test_finds_the_installed_package() -> None:
    files = installed_index()
    assert files is not None
    assert files.beside(RELEASES) is not None
