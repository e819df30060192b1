"""A secret that an archive echoes is not shown, wherever a text is cut and however the secret is written."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.attacks.hostile import DICOM, JSON, HostileArchive, asks_for, endpoint_of, given
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer, raw, redirect

KEY = "kQ7xZp2mWv9rT4bN&Lc8dYs3GhJ6fKeA1u<XoPi5RtVzBnE0w"
SHOWN_AT_MOST = 10  # letters of it, by chance or otherwise
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "HTML": html.escape,
    "JSON": lambda text: text.replace("&", "\\u0026").replace("<", "\\u003c"),
    "URL": lambda text: quote(text, safe=""),
}
TEXT = {"Content-Type": "text/plain"}


def leaks(content: str) -> list[str]:
    """Pieces of the key in a text, longer than may be shown."""
    size = SHOWN_AT_MOST + 1
    return [KEY[start : start + size] for start in range(len(KEY) - size + 1) if KEY[start : start + size] in content]


def errors(secret: str) -> Iterator[Action]:
    """Refusals of an instance whose text is cut anywhere in the secret."""
    for before in range(1955, 2001, 3):
        yield answer(b" " * before + secret.encode(), status=400, headers=TEXT)
        yield answer(b"x\n" * 20 + b"\n" * (before - 40) + secret.encode(), status=418, headers=TEXT)
    for before in range(150, 205, 4):
        yield answer(b"x" * before + secret.encode() + b" again", status=400, headers=TEXT)
        yield answer(("é" * before + secret).encode(), status=422, headers={"Content-Type": "application/problem+json"})


def odd_lists(secret: str) -> Iterator[Action]:
    """Lists of a Series that are none, and hold the secret where a text of ours is cut."""
    for before in range(0, 62, 4):
        yield answer(b"x" * before + secret.encode(), headers=JSON)
        yield answer(b"<" + b"x" * before + secret.encode(), headers=JSON)
    for before in range(150, 205, 6):
        yield answer(
            json.dumps({"errorMessage": "x" * before + "\0"})[:-7].encode() + secret.encode() + b'"}', headers=JSON
        )
        yield answer(
            json.dumps([{"SOPInstanceUID": "x" * (before - 120)}])[:-3].encode() + secret.encode() + b'"}]',
            headers=JSON,
        )


def odd_headers(secret: str) -> Iterator[Action]:
    """Answers to a request for an instance whose headers hold the secret."""
    for before in range(0, 24, 3):
        pad = "x" * before
        yield answer(b"abc", headers={**DICOM, "Content-Encoding": pad + secret})
        yield answer(b"abc", headers={"Content-Type": f"text/{pad}{secret}"})
        yield redirect(f"ftp://{pad}{secret}/")
        yield raw(f"HTTP/1.1 400 {pad}{secret}\r\nContent-Length: 0\r\n\r\n".encode())
        yield raw(f"HTTP/1.1 {secret}\r\n\r\n".encode())
        yield raw(f"HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n".encode())
        yield answer(b"x", status=206, headers={**DICOM, "Content-Range": f"{pad}{secret}"})


async def said_of(bulkdl: Watcher, archive: HostileArchive, mirror: Path) -> str:
    """Everything that a run says, and writes into the mirror; what it quarantines is the archive's own."""
    words = archive.mirror_everything(mirror, "--max-attempts", "1", "--progress", "plain", kind="tcia-v3")
    ended = await bulkdl.run(*words, more={"BULKDL_API_KEY": KEY}, within=20)
    assert_orderly(ended, 0, 1)
    kept = [path for path in (mirror / ".bulkdl").glob("*") if path.is_file()]
    return ended.said() + "".join(path.read_bytes().decode("latin-1") for path in kept)


async def test_a_key_that_errors_echo_is_not_shown_in_part(bulkdl: Watcher, tmp_path: Path) -> None:
    hostile = [action for form in FORMS.values() for action in errors(form(KEY))]
    made_up = list(instances(series=1, per_series=len(hostile)))
    async with attacked(made_up, hostile) as archive:
        said = await said_of(bulkdl, archive, tmp_path / "mirror")
    assert leaks(said) == []


async def test_a_key_in_an_answer_that_is_not_a_list_is_not_shown_in_part(bulkdl: Watcher, tmp_path: Path) -> None:
    hostile = [action for form in FORMS.values() for action in odd_lists(form(KEY))]
    made_up = list(instances(series=len(hostile), per_series=1))
    by_series = given((one.series_uid for one in made_up), hostile)
    archive = HostileArchive(made_up)
    archive.attack = lambda seen: (
        by_series[seen.query["SeriesInstanceUID"]] if endpoint_of(seen) == "getSOPInstanceUIDs" else None
    )
    async with archive:
        said = await said_of(bulkdl, archive, tmp_path / "mirror")
    assert leaks(said) == []


async def test_a_key_in_odd_headers_is_not_shown_in_part(bulkdl: Watcher, tmp_path: Path) -> None:
    hostile = [action for form in FORMS.values() for action in odd_headers(form(KEY))]
    made_up = list(instances(series=1, per_series=len(hostile)))
    async with attacked(made_up, hostile) as archive:
        said = await said_of(bulkdl, archive, tmp_path / "mirror")
    assert leaks(said) == []


def attacked(made_up: list[MadeUp], hostile: list[Action]) -> HostileArchive:
    """An archive that gives each of its instances one of these answers."""
    by_instance = given((one.sop_uid for one in made_up), hostile)

    def attack(seen: Seen) -> Action | None:
        return by_instance[seen.query["SOPInstanceUID"]] if endpoint_of(seen) == "getSingleImage" else None

    return HostileArchive(made_up, attack)


PASSWORD = "pW3kZx8mQv2rT6bN Lc4dYs9GhJ1fKeA7uXoPi"  # noqa: S105 - made up


@pytest.mark.parametrize(("status", "before"), [(400, 30), (401, 180), (403, 1980), (500, 1980)])
async def test_a_password_that_a_refused_login_echoes_is_not_shown_in_part(
    status: int, before: int, bulkdl: Watcher, tmp_path: Path
) -> None:
    size = SHOWN_AT_MOST + 1
    pieces = [PASSWORD[start : start + size] for start in range(len(PASSWORD) - size + 1)]
    text = b"\n" * before + PASSWORD.encode()
    async with HostileArchive(list(instances(series=1, per_series=1))) as archive:
        archive.attack = lambda _: answer(text, status=status, headers=TEXT)
        words = archive.mirror_everything(tmp_path / "mirror", "--username", "user", "--max-attempts", "1", kind="nbia")
        ended = await bulkdl.run(*words, "--give-up-after", "1s", more={"BULKDL_PASSWORD": PASSWORD}, within=15)
    assert_orderly(ended)
    assert [piece for piece in pieces if piece in ended.said()] == []
    assert asks_for(archive.server.requests[0], "token")
