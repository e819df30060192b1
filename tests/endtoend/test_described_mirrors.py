"""A served mirror answers what its archive says of Patients, Studies, Series and Collections as that archive does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import FetchSettings
from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.serve import serve_async
from tests.support.commands import RunningArchive

_TOKEN: Final = {"username": "nbia_guest", "password": "", "grant_type": "password", "client_id": "nbia"}
_PARENTS: Final = tuple(
    f"{base}/{endpoint}?format=json"
    for base in ("services/v3/TCIA/query", *(f"nbia-api/services/v{version}" for version in (1, 2, 4)))
    for endpoint in ("getPatient", "getPatientStudy")
)
_DESCRIPTIONS: Final = ("nbia-api/services/getCollectionDescriptions", "nbia-api/services/v4/getCollectionDescriptions")
_SERIES: Final = {
    "nbia-v1": "nbia-api/services/v1/getSeries",
    "nbia-v2": "nbia-api/services/v2/getSeries",
    "nbia-v4": "nbia-api/services/v4/getSeries",
    "tcia-v3": "services/v3/TCIA/query/getSeries?format=json",
}
_CRITERIA: Final = (
    [("PatientSexCriteria", "M")],
    [("PatientSexCriteria", "F")],
    [("SpeciesCriteria", "337915000")],
    [("ImageModalityCriteria", "CT"), ("PatientSexCriteria", "O")],
)
_SMALL: Final = ("PYDICOM-DICOMDIR",)


def lists_of(family: str) -> tuple[str, ...]:
    """The lists that a mirror made by a family answers as its archive does: v1 and v3 have no descriptions."""
    return (*_PARENTS, _SERIES[family], *(_DESCRIPTIONS if family in {"nbia-v2", "nbia-v4"} else ()))


async def answers_of(origin: str, family: str, collections: tuple[str, ...] = ()) -> dict[str, Any]:
    """The answers of an archive to all lists, sorted, and to searches; without the numbers of rows and of v4 the time.

    With `collections` only the rows of these.
    """
    answers: dict[str, Any] = {}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{origin}/nbia-api/oauth/token", data=_TOKEN) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['access_token']}"}
        for path in lists_of(family):
            async with session.get(f"{origin}/{path}", headers=headers) as response:
                assert response.status == 200, (path, await response.text())
                rows = await response.json(content_type=None)
            for row in rows:
                row.pop("id", None)
                if family == "nbia-v4":  # which sends days
                    row.pop("collectionDescTimestamp", None)
            kept = [row for row in rows if not collections or _collection(row) in collections]
            answers[path] = sorted(kept, key=str)
        for criteria in _CRITERIA if not collections else ():
            answers[str(criteria)] = await _search(session, f"{origin}/nbia-api/services/v4/getSimpleSearch", criteria)
    return answers


def _collection(row: dict[str, Any]) -> Any:
    return row.get("Collection") or row.get("collectionName")


async def _search(session: aiohttp.ClientSession, url: str, criteria: list[tuple[str, str]]) -> Any:
    form: dict[str, str] = {"start": "0", "size": "1000"}
    for position, (kind, value) in enumerate(criteria):
        form |= {f"criteriaType{position}": kind, f"value{position}": value}
    async with session.post(url, data=form) as response:
        found = await response.json(content_type=None)
    for row in found["resultSet"]:
        for number in ("id", "studyIdentifiers"):
            row.pop(number)
    return found


@pytest.mark.parametrize(
    ("family", "collections"), [("nbia-v4", ()), ("nbia-v1", ()), ("nbia-v2", _SMALL), ("tcia-v3", _SMALL)]
)
async def test_a_served_mirror_answers_as_its_archive(
    family: str, collections: tuple[str, ...], demo_archive: RunningArchive, tmp_path: Path
) -> None:
    origin = demo_archive.url.removesuffix(SERVICES_PATH)
    services = f"{origin}/services/v3" if family == "tcia-v3" else demo_archive.url
    report = await mirror_async(
        to=tmp_path / "mirror",
        archive=f"{family}+{services}",
        settings=FetchSettings(accept_unsound=True),
        **({"collection": collections} if collections else {"everything": True}),
    )
    assert report.outcome is RunOutcome.COMPLETE
    theirs = await answers_of(origin, family, collections)
    async with serve_async(tmp_path / "mirror", cache=tmp_path / "cache") as served:
        ours = await answers_of(served.url.removesuffix(SERVICES_PATH), family)
    if collections:
        assert all(theirs.values())
    else:
        counts = {path.split("?")[0].rpartition("/")[2]: len(rows) for path, rows in theirs.items() if path[0] != "["}
        assert (counts["getPatient"], counts["getPatientStudy"]) == (46, 59)
    for path, rows in theirs.items():
        if not (path.startswith("[") and collections):
            assert ours[path] == rows, path
