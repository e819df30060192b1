"""Acceptance: of forty Series one is refused, and one object each is redirected, silent, endless and changed.

The archive also has no zips any more. The run ends with exit 1, names exactly those, and holds all others.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from tests.attacks.hostile import DICOM, HostileArchive, asks_for, endless, endpoint_of, silent
from tests.attacks.test_resume_of_changed_objects import AFTER, BEFORE, CUT
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, FaultyServer, Seen, answer, cut, redirect
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=40, per_series=3, seed="forty"))
REFUSED = MADE_UP[0].series_uid
REDIRECTED, SILENT, ENDLESS = MADE_UP[30], MADE_UP[61], MADE_UP[92]
CHANGED = BEFORE
DATED = {"Last-Modified": "Thu, 26 Nov 2026 09:00:00 GMT", "Date": "Thu, 26 Nov 2026 09:00:00 GMT"}
FAILED = {one.sop_uid for one in MADE_UP if one.series_uid == REFUSED or one in (REDIRECTED, SILENT, ENDLESS)}


def changing(seen: Seen) -> Action:
    """Most of the object of before; from then on the object of after, as if it were the same."""
    if seen.ordinal == 1:
        return cut(BEFORE.content, after=CUT, headers={**DICOM, **DATED})
    if "range" not in seen.headers:
        return answer(AFTER, headers={**DICOM, **DATED})
    start = int(seen.headers["range"].removeprefix("bytes=").partition("-")[0])
    told = f"bytes {start}-{len(AFTER) - 1}/{len(AFTER)}"
    return answer(AFTER[start:], status=206, headers={**DICOM, **DATED, "Content-Range": told})


async def test_a_mirror_with_one_of_each_attack_names_exactly_those_and_holds_all_others(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    async with FaultyServer(lambda _: answer(b"", status=403)) as elsewhere:
        hostile: dict[str, Action] = {
            REDIRECTED.sop_uid: redirect(f"{elsewhere.url}signed"),
            SILENT.sop_uid: silent(head=True, body=SILENT.content[:100]),
            ENDLESS.sop_uid: endless(bytes(65536), first=ENDLESS.content, headers=DICOM, most=400_000_000),
        }

        def attack(seen: Seen) -> Action | None:
            if endpoint_of(seen) == "getImageWithMD5Hash":
                return answer(b"<html>410 Gone</html>", status=410)
            if asks_for(seen, "getM5HashForImage", CHANGED.sop_uid):
                return answer(hashlib.md5(AFTER, usedforsecurity=False).hexdigest().encode())
            if endpoint_of(seen) != "getSingleImage":
                return None
            if seen.query["SeriesInstanceUID"] == REFUSED:
                return answer(b"You do not have access to this series", status=403)
            return changing(seen) if asks_for(seen, "getSingleImage", CHANGED.sop_uid) else hostile.get(sop_of(seen))

        async with HostileArchive([*MADE_UP, CHANGED], attack) as archive:
            more = ("--transport", "zip", "--timeout", "3s", "--give-up-after", "10s")
            ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", *more), within=40)
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == FAILED
    held = [one for one in MADE_UP if one.sop_uid not in FAILED] + [replace(CHANGED, content=AFTER)]
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(held)
    document = ended.document()
    assert document["instances"]["fetched"] == len(held)
    assert document["instances"]["selected"] == len(MADE_UP) + 1


def sop_of(seen: Seen) -> str:
    return seen.query.get("SOPInstanceUID", "")
