"""Hostile names of an archive: every path is portable, inside the mirror, unique, and the same in later runs."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkdl.archive.nbia.values import PADDING
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.store.side_names import is_side_file
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.status import status
from tests.support.commands import run
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, FaultyServer, Script, Seen, answer
from tests.support.faults import json as as_json

if TYPE_CHECKING:
    from bulkdl.model.reports.run import RunReport

NAMES = [
    *("plain", "a/b", "a\\b", "../../../../etc/passwd", "..", ".", "/absolute", "C:\\Windows", "\\\\server\\share"),
    *("trailing dot.", "trailing blank ", " leading", "...", " ", "~user", "-rf", "$(id)", "`id`", "a;b", '*?<>|:"'),
    *("NUL", "nul.txt", "COM1", "aux .dcm", "CLOCK$", "con", "LPT¹"),
    *("tab\there", "line\nend", "return\rhere", "bell\a", "escape\x1b[31m", "delete\x7f", "null\0byte"),
    *("x" * 300, "é" * 300, "\N{GRINNING FACE}" * 100, "x" * 299 + "y"),
    *("right\u202eto left", "zero\u200bwidth", "\ufeffmark", "soft\xadhyphen", "a\N{DIVISION SLASH}b"),
    "a\N{FULLWIDTH SOLIDUS}b",
    *("Case", "CASE", "case", "ca\N{LATIN SMALL LETTER LONG S}e"),
    *(unicodedata.normalize("NFC", "Müller"), unicodedata.normalize("NFD", "Müller"), "MÜLLER", "Mu\u0308ller "),
    *("straße", "STRASSE", "strasse", "ﬁne", "fine", "İ", "i̇", *("\u0391\u03a3", "\u03b1\u03c2", "\u03b1\u03c3")),
    *(".bulkdl", ".BULKDL", "journal.sqlite", "a~12345678", "name~", "100%", "%2e%2e%2f", "日本語", "עברית"),
]  # fmt: skip
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{name}{digit}" for name in ("COM", "LPT") for digit in "0123456789¹²³")}


@dataclass(frozen=True)
class Named:
    """An instance with a Collection and a Patient that are not in its header."""

    collection: str
    patient_id: str
    made_up: MadeUp


def archive_of(named: list[Named]) -> dict[str, Named]:
    return {one.made_up.series_uid: one for one in named}


def serve(by_series: dict[str, Named]) -> Script:
    """An NBIA archive with these Series and their unchanged names."""
    collections = sorted({one.collection for one in by_series.values()})

    def script(seen: Seen) -> Action:
        endpoint, uid = seen.path.rpartition("/")[2], seen.query.get("SeriesInstanceUID", "")
        match endpoint:
            case "getCollectionValues":
                return as_json(json.dumps([{"Collection": name} for name in collections]))
            case "getSeries":
                rows = [
                    {
                        "SeriesInstanceUID": series_uid,
                        "StudyInstanceUID": one.made_up.study_uid,
                        "Collection": one.collection,
                        "PatientID": one.patient_id,
                        "Modality": "CT",
                        "ImageCount": 1,
                        "FileSize": len(one.made_up.content),
                    }
                    for series_uid, one in by_series.items()
                    if one.collection == seen.query.get("Collection", one.collection)
                ]
                return as_json(json.dumps(rows))
            case "getSOPInstanceUIDs":
                return as_json(json.dumps([{"SOPInstanceUID": by_series[uid].made_up.sop_uid}]))
            case "getSingleImage":
                return answer(by_series[uid].made_up.content, headers={"Content-Type": "application/dicom"})
            case _:
                return answer(status=404)

    return script


async def fetch_all(named: list[Named], to: Path) -> RunReport:
    async with FaultyServer(serve(archive_of(named))) as server:
        choice = ArchiveChoice(cache=to / "cache", name=f"{server.url}nbia-api/services")
        settings = FetchSettings(transport=Transport.SINGLE, workers=1)
        return await mirror_async(Selection(everything=True), to=to, archive=choice, settings=settings)


def hostile() -> list[Named]:
    """Every name as a Collection and as a Patient."""
    made_up = list(instances(series=2 * len(NAMES), per_series=1))
    as_collections = [Named(name, "patient", one) for name, one in zip(NAMES, made_up, strict=False)]
    as_patients = [Named("PATIENTS", name, one) for name, one in zip(NAMES, made_up[len(NAMES) :], strict=True)]
    return as_collections + as_patients


def paths_below(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and path.relative_to(root).parts[0] != ".bulkdl"
        and not is_side_file(path.relative_to(root).as_posix())
    }


def true_name(name: str) -> str:
    """Names that differ in their padding alone are one name: PS3.5 §6.2, LO."""
    return name.strip(PADDING) or name


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def is_portable(component: str) -> bool:
    return (
        len(component.encode()) <= 255
        and component == unicodedata.normalize("NFC", component)
        and not any(
            character in '<>:"/\\|?*' or ord(character) < 32 or ord(character) == 127 for character in component
        )
        and not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in component)
        and component == component.strip(" .")
        and component.partition(".")[0].strip().upper() not in DEVICES
    )


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Named]]:
    around = tmp_path_factory.mktemp("around")
    named = hostile()
    report = asyncio.run(fetch_all(named, around / "mirror"))
    assert (report.instances.fetched, report.instances.failed) == (len(named), 0)
    assert [path.name for path in around.iterdir()] == ["mirror"]  # nothing is outside the mirror
    return around / "mirror", named


def test_every_path_is_portable_and_there_are_as_many_as_instances(mirrored: tuple[Path, list[Named]]) -> None:
    paths = paths_below(mirrored[0])
    assert sorted(paths.values()) == sorted(one.made_up.content for one in mirrored[1])
    assert [part for path in paths for part in path.split("/") if not is_portable(part)] == []


def test_no_two_names_are_equal_on_a_case_insensitive_file_system(mirrored: tuple[Path, list[Named]]) -> None:
    """Two Collections that differ only in case have different folders."""
    owners: dict[str, set[str]] = {}
    by_content = {one.made_up.content: one for one in mirrored[1]}
    for path, content in paths_below(mirrored[0]).items():
        collection, patient, *_ = path.split("/")
        one = by_content[content]
        owners.setdefault(folded(collection), set()).add(true_name(one.collection))
        owners.setdefault(folded(f"{collection}/{patient}"), set()).add(
            f"{true_name(one.collection)}\n{true_name(one.patient_id)}"
        )
    assert {key: names for key, names in owners.items() if len(names) > 1} == {}


def test_paths_are_the_same_from_run_to_run_whatever_the_order(mirrored: tuple[Path, list[Named]]) -> None:
    before = paths_below(mirrored[0])
    report = asyncio.run(fetch_all(list(reversed(mirrored[1])), mirrored[0]))
    assert report.instances.fetched == 0
    assert paths_below(mirrored[0]) == before


def test_status_shows_the_true_names_without_their_padding(mirrored: tuple[Path, list[Named]], cache: Path) -> None:
    told = {entry.collection for entry in status(mirrored[0]).collections}
    assert told == {true_name(one.collection) for one in mirrored[1]}
    shown = run("status", mirrored[0], cache=cache)
    assert shown.code == 0
    assert not any(ord(character) < 32 and character != "\n" for character in shown.out)
    document = run("status", mirrored[0], "--json", cache=cache).document()
    assert {entry["collection"] for entry in document["collections"]} == told


def test_verify_finds_every_file_in_its_place(mirrored: tuple[Path, list[Named]], cache: Path) -> None:
    done = run("verify", mirrored[0], "--json", "--progress", "none", cache=cache)
    assert (done.code, done.document()["problems"]) == (0, [])
