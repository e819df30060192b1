"""A restricted Collection is hidden from other users by every endpoint of every API.

Two archives are asked the same: one where the Collection is restricted, one where it is not at all. For who may not see
it they must be the same archive.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from pydicom import dcmread

from bulkdl.archive.nbia.endpoints import Endpoint, Parameter
from bulkdl.server.access import AccessRules, User
from bulkdl.server.catalogue import About, Root
from bulkdl.server.nbia.apis import APIS, Api, Credential
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.served import Answer, Served, served

SECRET = "SECRET-LUNG"  # noqa: S105 - a Collection
RULES = AccessRules(
    keys=frozenset({"key"}),
    users={
        "alice": User("alice", "open sesame", frozenset({SECRET})),
        "bob": User("bob", "let me in"),
    },
    restricted=frozenset({SECRET}),
)
ABOUT = About(description="told", license_name="CC BY 4.0", collection_uri="https://doi.org/10.1/OPEN")
ABOUT_SECRET = About(
    description="whispered", license_name="SECRET-LICENCE", collection_uri="https://doi.org/10.1/SECRET"
)
EVERY = [(api, endpoint) for api in APIS for endpoint in api.endpoints.values()]
NUMBERED = {"getDicomTagsByImageID", "getStudyDrillDown", "getImageDrillDown"}  # names of rows differ from scan to scan


@dataclass
class Pair:
    """An archive with a restricted Collection, one without it, and what is hidden."""

    hiding: Served
    bare: Served
    hidden: MadeUp
    open: MadeUp

    def values(self, parameter: Parameter, of: MadeUp) -> str:
        """A value of that instance for a parameter."""
        secret = of is self.hidden
        known = {
            "collection": of.collection,
            "patient_id": of.patient_id,
            "patient_ids": of.patient_id,
            "study_uid": of.study_uid,
            "study_uids": of.study_uid,
            "sop_uid": of.sop_uid,
            "series_uid": of.series_uid,
            "series_uids": f"{self.hidden.series_uid},{self.open.series_uid}",
            "modality": "XA" if secret else "CT",
            "body_part": "SECRETPART" if secret else "CHEST",
            "manufacturer": "SECRETMAKER" if secret else "EXAMPLE",
            "doi": f"10.1/{'SECRET' if secret else 'OPEN'}",
            "shared_list": "mixed",
            "user": "alice",
            "format": "JSON",
            "level": "series",
            "start": "0",
            "size": "100",
            "image_id": "1",
            "series_ids": "1",
            "any_or_all": "any",
        }
        if parameter.date_form is not None and parameter.field == "since":
            return (
                "01-01-1990"
                if "%m-" in parameter.date_form
                else {"%Y/": "1990/01/01", "%Y-": "1990-01-01"}.get(parameter.date_form[:3], "01/01/1990")
            )
        return known.get(parameter.field, "")

    def forms(self, endpoint: Endpoint) -> Iterator[list[tuple[str, str]]]:
        """Requests with the fewest and with all parameters, for the public and the hidden instance."""
        plain = [p for p in endpoint.parameters if not p.is_numbered]
        for of in (self.open, self.hidden):
            yield [(p.name, self.values(p, of)) for p in plain if p.required]
            for one in plain:
                yield [(p.name, self.values(p, of)) for p in plain if p.required or p is one]
            yield [(p.name, value) for p in plain if (value := self.values(p, of))]
            if any(p.is_numbered for p in endpoint.parameters):
                for kind, value in (
                    ("CollectionCriteria", of.collection),
                    ("PatientCriteria", of.patient_id),
                    ("SeriesCriteria", of.series_uid),
                    ("MinNumberOfStudiesCriteria", "1"),
                ):
                    yield [("criteriaType0", kind), ("value0", value), ("start", "0"), ("size", "100")]


def write(folder: Path) -> tuple[MadeUp, MadeUp]:
    (shown, *_) = write_folder(folder / "open", instances(series=2, per_series=2, collection="OPEN"))
    (hidden, *_) = write_folder(folder / "secret", instances(series=2, per_series=2, collection=SECRET, seed="secret"))
    for path in (folder / "secret").rglob("*.dcm"):
        dataset = dcmread(path)
        dataset.Modality, dataset.BodyPartExamined, dataset.Manufacturer = "XA", "SECRETPART", "SECRETMAKER"
        dataset.SeriesDescription = dataset.StudyDescription = "SECRETWORDS"
        dataset.PatientSpeciesDescription = "SECRETSPECIES"
        dataset.save_as(path)
    return shown, hidden


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    folder = tmp_path / "both"
    shown, hidden = write(folder)
    bare = tmp_path / "bare"
    shutil.copytree(folder / "open", bare / "open", copy_function=shutil.copy2)
    roots = Root(folder / "open", about=ABOUT), Root(folder / "secret", about=ABOUT_SECRET)
    async with (
        served(*roots, catalogue=tmp_path / "1.sqlite", rules=RULES) as hiding,
        served(Root(bare / "open", about=ABOUT), catalogue=tmp_path / "2.sqlite", rules=RULES) as without,
    ):
        alice = await hiding.log_in("alice", "open sesame")
        for name, uids in (("mixed", [shown.series_uid, hidden.series_uid]), ("secret", [hidden.series_uid])):
            form = [("list", ",".join(uids)), ("name", name), ("description", "words"), ("url", "there")]
            made = await hiding.nbia("createSharedList", method="POST", data=form, token=alice)
            assert made.body == b"List created"
        alice = await without.log_in("alice", "open sesame")
        form = [("list", shown.series_uid), ("name", "mixed"), ("description", "words"), ("url", "there")]
        await without.nbia("createSharedList", method="POST", data=form, token=alice)
        yield Pair(hiding, without, hidden, shown)


def comparable(answer: Answer) -> object:
    """An answer without what differs from one moment, or one catalogue, to the next."""
    if answer.body[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
            return answer.status, {name: bundle.read(name) for name in bundle.namelist()}
    body = answer.body.decode(errors="replace")
    body = re.sub(
        r'manifest-\d+|http://127.0.0.1:\d+|"(date|id|studyIdentifier)":\d+|"seriesIdentifiers":\[[\d,]*\]', "", body
    )
    return answer.status, body


async def visitor(api: Api, archive: Served, name: str) -> dict[str, object]:
    """The request arguments of a client that may not see the Collection."""
    if api.credential is Credential.KEY:
        return {"headers": {"api_key": "key"}}
    if api.credential is Credential.NONE or (api.credential is Credential.OPTIONAL_TOKEN and name == "nobody"):
        return {}
    if name == "bob":
        return {"token": await archive.log_in("bob", "let me in")}
    return {"token": await archive.log_in()}


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
async def test_a_restricted_collection_looks_like_one_that_does_not_exist(pair: Pair, api: Api) -> None:
    for name in ("nobody", "bob"):
        asks = {id(archive): await visitor(api, archive, name) for archive in (pair.hiding, pair.bare)}
        for endpoint in api.endpoints.values():
            if endpoint.name in {"createSharedList", "deleteSharedList"}:
                continue
            for values in pair.forms(endpoint):
                hiding = await pair.hiding.endpoint(api, endpoint, values, **asks[id(pair.hiding)])
                bare = await pair.bare.endpoint(api, endpoint, values, **asks[id(pair.bare)])
                if endpoint.name not in NUMBERED:
                    assert comparable(hiding) == comparable(bare), (name, endpoint.name, values)
                found = re.search(b"SECRET(MAKER|PART|WORDS|SPECIES|-LICENCE)|whispered", hiding.body)
                assert found is None, (name, endpoint.name)
    assert await pair.hiding.ask("/") is not None


@pytest.mark.parametrize("endpoint", sorted(NUMBERED))
async def test_no_number_reveals_a_restricted_collection(pair: Pair, endpoint: str) -> None:
    found = b""
    for number in range(1, 40):
        asked = {"imageID": str(number)} if endpoint == "getDicomTagsByImageID" else {"list": str(number)}
        place = "params" if endpoint == "getDicomTagsByImageID" else "data"
        method = "GET" if place == "params" else "POST"
        answer = await pair.hiding.nbia(f"v4/{endpoint}", method=method, **{place: asked})
        found += answer.body
    assert pair.open.series_uid.encode() in found
    assert b"SECRET" not in found
    assert pair.hidden.series_uid.encode() not in found


async def test_the_first_page_does_not_show_it(pair: Pair) -> None:
    answer = await pair.hiding.ask("/")
    assert b"OPEN" in answer.body
    assert SECRET.encode() not in answer.body
    for name, number in (("Collections", 1), ("Patients", 1), ("Series", 2), ("Instances", 4)):
        assert f"<dt>{name}</dt><dd>{number}</dd>".encode() in answer.body


async def test_a_permitted_user_gets_all_of_it(pair: Pair) -> None:
    alice = await pair.hiding.log_in("alice", "open sesame")
    hidden = pair.hidden
    for version in ("v2", "v4"):
        listed = await pair.hiding.nbia(f"{version}/getCollectionValues", token=alice)
        assert {"Collection": SECRET} in listed.document
        series = await pair.hiding.nbia(f"{version}/getSeries", params={"Collection": SECRET}, token=alice)
        assert len(series.document) == 2
        query = {"SeriesInstanceUID": hidden.series_uid, "SOPInstanceUID": hidden.sop_uid}
        image = await pair.hiding.nbia(f"{version}/getSingleImage", params=query, token=alice)
        assert (image.status, image.kind) == (200, "application/dicom")
        bundle = await pair.hiding.nbia(
            f"{version}/getImage", params=query if version == "v2" else list(query.items())[:1], token=alice
        )
        assert bundle.body[:2] == b"PK"
    counts = await pair.hiding.nbia("getCollectionValuesAndCounts", token=alice)
    assert {row["criteria"] for row in counts.document} == {"OPEN", SECRET}


async def test_the_cache_does_not_reveal_it_to_others(pair: Pair) -> None:
    """The files of a Series are cached between requests; permissions must not be."""
    hidden = pair.hidden
    query = {"SeriesInstanceUID": hidden.series_uid, "SOPInstanceUID": hidden.sop_uid}
    alice = await pair.hiding.log_in("alice", "open sesame")
    assert (await pair.hiding.nbia("v4/getSingleImage", params=query, token=alice)).status == 200
    assert (await pair.hiding.nbia("v4/getSingleImage", params=query)).status == 500
    assert (await pair.hiding.nbia("v1/getSingleImage", params=query)).status == 500
    v3 = await pair.hiding.ask("/services/v3/TCIA/query/getSingleImage", params=query, headers={"api_key": "key"})
    assert v3.status == 500


async def test_a_hidden_list_does_not_block_its_name(pair: Pair) -> None:
    alice, bob = await pair.hiding.log_in("alice", "open sesame"), await pair.hiding.log_in("bob", "let me in")
    form = {"list": pair.open.series_uid, "name": "secret"}
    for name in ("secret", "unknown"):
        gone = await pair.hiding.nbia("deleteSharedList", method="POST", data={"name": name}, token=bob)
        assert (gone.status, gone.body) == (400, b"List not found")
        form["name"] = name
        made = await pair.hiding.nbia("createSharedList", method="POST", data=form, token=bob)
        assert (made.status, made.body) == (200, b"List created")
    for token, owner, uid in ((alice, "alice", pair.hidden.series_uid), (bob, "bob", pair.open.series_uid)):
        told = await pair.hiding.nbia("getSharedList", method="POST", data={"nameValue": "secret"}, token=token)
        assert (told.document["userName"], told.document["seriesInstanceUIDs"]) == (owner, [uid])
    (row,) = (await pair.hiding.nbia("v1/getContentsByName?name=secret")).document
    assert row["SeriesInstanceUID"] == pair.open.series_uid
    gone = await pair.hiding.nbia("deleteSharedList", method="POST", data={"name": "secret"}, token=bob)
    assert gone.body == b"List deleted"
    told = await pair.hiding.nbia("getSharedList", method="POST", data={"nameValue": "secret"}, token=alice)
    assert told.document["userName"] == "alice"


async def test_a_visible_list_blocks_its_name(pair: Pair) -> None:
    bob = await pair.hiding.log_in("bob", "let me in")
    form = {"list": pair.open.series_uid, "name": "mixed"}
    made = await pair.hiding.nbia("createSharedList", method="POST", data=form, token=bob)
    assert (made.status, made.body) == (400, b"Duplicate list name")


async def test_a_shared_list_shows_to_each_user_what_is_visible(pair: Pair) -> None:
    alice = await pair.hiding.log_in("alice", "open sesame")
    bob = await pair.hiding.log_in("bob", "let me in")
    for token, count in ((alice, 2), (bob, 1)):
        answer = await pair.hiding.nbia("getSharedList", method="POST", data={"nameValue": "mixed"}, token=token)
        assert len(answer.document["seriesInstanceUIDs"]) == count
    answer = await pair.hiding.nbia("getSharedList", method="POST", data={"nameValue": "secret"}, token=bob)
    assert json.loads(answer.body) is None


@pytest.mark.parametrize(
    ("user", "sender", "denied"),
    [
        ("alice", None, ()),
        ("unknown", None, ()),  # the same, so that names cannot be tried
        ("bob", None, ()),
        ("nbia_guest", None, ("hidden", "missing")),
        (None, None, ("hidden", "missing")),
        ("alice", "alice", ("missing",)),
        ("bob", "alice", ("hidden",)),
        ("bob", "bob", ("hidden", "missing")),
        ("alice", "bob", ()),
    ],
)
async def test_what_is_denied_to_a_user_depends_on_what_the_sender_may_see(
    pair: Pair, user: str | None, sender: str | None, denied: tuple[str, ...]
) -> None:
    """The NBIA Data Retriever of alice asks without a token. A guest who names her must not learn what there is."""
    passwords = {"alice": "open sesame", "bob": "let me in"}
    token = None if sender is None else await pair.hiding.log_in(sender, passwords[sender])
    uids = {"open": pair.open.series_uid, "hidden": pair.hidden.series_uid, "missing": "1.2.3.4.5"}
    params = {"seriesList": ",".join(uids.values()), **({"userName": user} if user else {})}
    for version in ["v4", *(["v1"] if sender is None else [])]:
        answer = await pair.hiding.nbia(f"{version}/getDeniedSeries", params=params, token=token)
        assert answer.status == (200 if denied else 204)
        found = [row["SeriesInstanceUID"] for row in answer.document] if denied else []
        assert found == [uids[name] for name in denied]


async def test_the_way_of_the_official_retriever_ends_with_the_restricted_series(pair: Pair) -> None:
    """Manifest, getDeniedSeries by the name of the login, then zips with checksums and metadata.csv with its token."""
    archive, series_uid = pair.hiding, pair.hidden.series_uid
    token = await archive.log_in("alice", "open sesame")
    form = {"list": series_uid, "includeAnnotation": "false"}
    manifest = await archive.nbia("v4/getManifestText", method="POST", data=form, token=token)
    lines = manifest.body.decode().splitlines()
    assert lines[-1] == series_uid
    assert lines[0] == f"downloadServerUrl={archive.origin}/nbia-download/servlet/DownloadServlet"
    query = {"userName": "alice", "format": "csv", "seriesList": series_uid}
    assert (await archive.nbia("v1/getDeniedSeries", params=query)).status == 204

    one = {"SeriesInstanceUID": series_uid}
    bundle = await archive.nbia("v2/getImageWithMD5Hash", params=one, token=token)
    with zipfile.ZipFile(io.BytesIO(bundle.body)) as opened:
        listed = csv.DictReader(io.StringIO(opened.read("md5hashes.csv").decode()))
        sums = {row["Filename"]: row["MD5Hash"] for row in listed}
        assert len(sums) == 2
        for name, digest in sums.items():
            assert hashlib.md5(opened.read(name), usedforsecurity=False).hexdigest() == digest
    metadata = await archive.nbia("v2/getSeriesMetaData", params={**one, "format": "csv"}, token=token)
    (row,) = csv.DictReader(io.StringIO(metadata.body.decode()))
    assert (row["Series UID"], row["Collection"], row["Number of Images"]) == (series_uid, SECRET, "2")

    for who in (None, await archive.log_in("bob", "let me in")):
        refused = await archive.nbia("v4/getImageWithMD5Hash", params=one, token=who)
        assert (refused.status, refused.body[:8]) == (400, b"The user")
