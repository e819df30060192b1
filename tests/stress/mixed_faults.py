"""Mix all faults: a share of the answers is wrong in every possible way. The run must end correctly all the same.

`python -m tests.stress.mixed_faults --instances 2000` is the long form; the tests run a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkdl.model.reports.run import RunReport
from bulkdl.model.settings import Transport
from tests.support.bad_archive import JSON, ZIP, BadArchive, endpoint_of, no_fault, zip_of
from tests.support.commands import loops_by_uvloop
from tests.support.dicom_files import instances
from tests.support.faults import CERTIFICATE, IS_TLS, Action, Seen, answer, cut, drop
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.second_worker import OthersFirst
from tests.support.wrong_answers import CIRCLE, FAULTS

PER_SERIES = 20


@dataclass(frozen=True)
class MixedFaultsRun:
    """The result; `wrong` lists what must not happen."""

    report: RunReport
    served_wrong: int
    wrong: tuple[str, ...]


async def run_with_mixed_faults(
    folder: Path,
    *,
    instances_wanted: int,
    share: float,
    transport: Transport,
    seed: int,
    attempts: int = 8,
    workers: int = 1,
    per_series: int = PER_SERIES,
) -> MixedFaultsRun:
    """Mirror `instances_wanted` made-up instances from an archive; `share` of its answers are wrong.

    Then the archive answers correctly and the run is resumed: all instances must be held.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    made_up = list(instances(series=instances_wanted // per_series, per_series=per_series))
    served_wrong = 0

    def fault(seen: Seen) -> Action | None:
        nonlocal served_wrong
        if CIRCLE in seen.query:
            return chance.choice(list(FAULTS.values()))[0](made_up[0])
        if endpoint_of(seen) == "getSeries" or chance.random() >= share:
            return None
        served_wrong += 1
        if endpoint_of(seen) == "getSingleImage":
            one = archive.find(seen.query["SOPInstanceUID"])
            assert one is not None
            return chance.choice(list(FAULTS.values()))[0](one)
        of_series = [one for one in made_up if one.series_uid == seen.query.get("SeriesInstanceUID")]
        if endpoint_of(seen) == "getSOPInstanceUIDs":
            texts = [b"", b"[]", b"null", b"<html>", b"[{", b'[{"SOPInstanceUID":']
            broken = [answer(text, headers=JSON) for text in texts]
            return chance.choice([*broken, drop(), answer(b"", status=500), answer(b"", status=503)])
        whole = zip_of(archive.members(of_series))
        missing = zip_of(archive.members(of_series[: len(of_series) // 2]))
        return chance.choice(
            [
                cut(whole, after=len(whole) // 2, headers=ZIP),
                answer(whole[: len(whole) // 3], headers=ZIP),
                answer(missing, headers=ZIP),
                answer(b"", headers=ZIP),
                answer(b"", status=500),
                drop(),
            ]
        )

    wanted = checksums_of(made_up)
    trusted = {"ca_bundle": str(CERTIFICATE)} if IS_TLS.get() else {}
    async with BadArchive(made_up, fault) as archive:
        others_first = OthersFirst(archive, os.getpid())
        if workers > 1:
            archive.fault = lambda seen: others_first(seen) or fault(seen)
        report = await archive.mirror(
            folder,
            access={"answer_seconds": 0.4, "silence_seconds": 0.4, **trusted},
            max_attempts=attempts,
            concurrency=16,
            transport=transport,
            workers=workers,
            give_up_after_seconds=30.0,
        )
        sent = len(archive.server.requests)
        wrong = judge(report, folder / "mirror", wanted)
        if workers > 1 and not others_first.was_first:
            wrong.append("the second worker did not get work")
        if report.requests != sent:
            wrong.append(f"{report.requests} requests are reported, {sent} were sent")
        archive.fault = no_fault
        await archive.resume(folder, access=trusted)
    if not checksums_on_disk(folder / "mirror") == journalled_checksums(folder / "mirror") == wanted:
        wrong.append("in the end: the mirror is incomplete or wrong")
    return MixedFaultsRun(report, served_wrong, tuple(wrong))


def judge(report: RunReport, mirror: Path, wanted: dict[str, str]) -> list[str]:
    """What must not happen: a wrong visible file, a report that does not add up, more than 2 % missing."""
    visible, counts = checksums_on_disk(mirror), report.instances
    wrong = [path for path, found in visible.items() if wanted.get(path) != found]
    if visible != journalled_checksums(mirror):
        wrong.append("the journal does not match the files")
    if counts.fetched + counts.reused + counts.failed + counts.quarantined != counts.selected:
        wrong.append(f"the report does not add up: {counts}")
    missing = len(wanted) - len(visible)
    if missing > len(wanted) // 50:
        wrong.append(f"{missing} instances are missing")
    if sum(one.instance is not None for one in report.failures) < missing and not report.failures_left_out:
        wrong.append("not every missing instance is named")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--transport", default="single")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    run: Callable[[Coroutine[Any, Any, MixedFaultsRun]], MixedFaultsRun] = asyncio.run
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - not made for every system

        os.environ.update(loops_by_uvloop())  # for workers
        run = uvloop.run
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            run_with_mixed_faults(
                Path(folder),
                instances_wanted=options.instances,
                share=options.share,
                transport=Transport(options.transport),
                workers=options.workers,
                seed=options.seed,
            )
        )
    print(f"seed {options.seed}: {found}")  # noqa: T201 - a script
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
