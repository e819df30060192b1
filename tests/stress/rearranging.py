"""Kill relayout, merge, sync and prune at random points, and check what the next run makes of it.

`python -m tests.stress.rearranging --kills 100` is the long form, with so many kills of each; the tests run a short
one. After each kill one further run of the verb, or of another that writes the mirror, must end it: no file is lost or
kept twice, and the journal has each one where it lies.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import shutil
import signal
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bulkdl
from tests.stress.torture import run_once
from tests.support import variants
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.commands import environment
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.fault_points import dying_at
from tests.support.layouts import NUMBERED, mirror_of
from tests.support.mirrors import checksums_on_disk, journalled_checksums

VERBS: Final = ("relayout", "merge", "sync", "prune")
_OUTSIDE: Final = "outside"
# The largest number of such calls before the kill.
_LATEST: Final = {"write": 3, "fsync": 30, "rename": 18, "unlink": 3, "commit": 6, _OUTSIDE: 0}
_LIFE_SECONDS: Final = (0.3, 1.5)  # of a run that is killed from outside
_LONGEST_RUN_SECONDS: Final = 60.0
_LAYOUTS: Final = ("bulkdl", "nbia-classic", "nbia-descriptive", "idc", "flat", NUMBERED, "%Modality/%StudyDate")

Command = tuple[str, ...]


@dataclass
class Kills:
    """The result. `points` counts the kills by where they fell."""

    verb: str
    seed: int
    kills: int = 0
    runs: int = 0
    points: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Case(ABC):
    """One verb: how its mirrors are made, the command, what may follow a kill, and what must be there then."""

    def __init__(self, folder: Path, archive: BadArchive, made_up: Sequence[MadeUp]) -> None:
        self.folder = folder
        self.archive = archive
        self.made_up = list(made_up)
        self.place = folder / "place"

    @abstractmethod
    async def prepare(self) -> None:
        """Make what every round begins with."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a round."""

    @abstractmethod
    def command(self, chance: random.Random) -> Command:
        """The run that is killed."""

    def following(self, command: Command, chance: random.Random) -> Command:
        """The run after the kill."""
        del chance
        return command

    @abstractmethod
    def wrong(self) -> list[str]:
        """What is wrong after that."""

    def differences(self, mirror: Path, wanted: Sequence[MadeUp], *, withdrawn: int = 0) -> list[str]:
        """How a mirror differs from one that has these instances, each once."""
        found, journalled = checksums_on_disk(mirror), journalled_checksums(mirror)
        expected = Counter(hashlib.sha256(one.content).hexdigest() for one in wanted)
        wrong = [f"lost: {digest}" for digest in (expected - Counter(found.values()))]
        wrong += [f"twice or foreign: {path}" for path, digest in found.items() if not expected[digest]]
        wrong += [] if Counter(found.values()) == expected else [f"{len(found)} files, {expected.total()} instances"]
        is_recorded = journalled.items() <= found.items() and len(found) - len(journalled) == withdrawn
        wrong += [] if is_recorded else [f"the journal has {len(journalled)} of {len(found)} files"]
        return wrong + [f"left: {path.name}" for path in (mirror / ".bulkdl" / "partial").iterdir()]


class Relayout(Case):
    """One mirror goes from layout to layout."""

    async def prepare(self) -> None:
        """Make the mirror once: it stays as the kills leave it."""
        self.place, self.layout = await mirror_of(self.made_up, self.folder), _LAYOUTS[0]

    def begin(self) -> None:
        """Go on with the mirror as it is."""

    def command(self, chance: random.Random) -> Command:
        """Rename it into another layout."""
        self.layout = chance.choice([layout for layout in _LAYOUTS if layout != self.layout])
        return ("relayout", str(self.place), "--layout", self.layout)

    def following(self, command: Command, chance: random.Random) -> Command:
        """The same, or any other verb that writes."""
        mirror, source = str(self.place), str(self.folder / "source")
        options: list[Command] = [
            command,
            ("relayout", mirror),
            ("adopt", source, "--to", mirror, "--archive", "nbia"),
            ("resume", mirror, "--archive", self.archive.address, "--transport", "single"),
        ]
        return chance.choice(options)

    def wrong(self) -> list[str]:
        """Every instance is there once."""
        return self.differences(self.place, self.made_up)


class Merge(Case):
    """Two mirrors of shards become one."""

    by = "link"

    async def prepare(self) -> None:
        """Make the shards."""
        for number in (1, 2):
            selection = bulkdl.select(collection=self.made_up[0].collection, shard=f"{number}/2")
            to, choice = self.folder / "first" / str(number), self.archive.choice(self.folder)
            await bulkdl.mirror_async(selection, to=to, archive=choice, settings=QUICK)

    def begin(self) -> None:
        """Begin with the shards alone."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.folder / "first", self.place)

    def command(self, chance: random.Random) -> Command:
        """Join them, in one of the three ways, perhaps in another layout, perhaps into one of them."""
        self.by = chance.choice(["link", "copy", "move"])
        one, other = (str(self.place / number) for number in "12")
        self.target = self.place / chance.choice(["whole", "1"])
        layout = () if self.target.name == "1" else ("--layout", chance.choice(_LAYOUTS))
        return ("merge", one, other, "--to", str(self.target), "--by", self.by, *layout)

    def following(self, command: Command, chance: random.Random) -> Command:
        """The same command; a mirror has its layout by then."""
        del chance
        return command

    def wrong(self) -> list[str]:
        """All is in one mirror, and the others are as they were, or empty."""
        wrong = self.differences(self.target, self.made_up)
        for other in (self.place / "1", self.place / "2"):
            if other == self.target:
                continue
            before = checksums_on_disk(self.folder / "first" / other.name)
            expected = {} if self.by == "move" else before
            if not checksums_on_disk(other) == journalled_checksums(other) == expected:
                wrong.append(f"{other.name} is not as it was, or not empty")
        return wrong


class Sync(Case):
    """The archive gains, replaces and withdraws Series."""

    async def prepare(self) -> None:
        """Mirror the archive as it was, and change it."""
        names, first = bulkdl.select(collection=self.made_up[0].collection), self.folder / "first"
        await bulkdl.mirror_async(names, to=first, archive=self.archive.choice(self.folder), settings=QUICK)
        self.withdrawn, rest = self.made_up[:3], self.made_up[3:]
        self.now = [*map(padded, rest[:6]), *rest[6:], *instances(series=2, per_series=3, seed="new")]
        self.replaced = rest[:6]
        self.archive.made_up = self.now

    def begin(self) -> None:
        """Begin with the mirror as it was."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.folder / "first", self.place)

    def command(self, chance: random.Random) -> Command:
        """Bring it to what the archive has now."""
        del chance
        workers = ("--workers", str(variants.WORKERS))
        return ("sync", str(self.place), "--archive", self.archive.address, "--transport", "single", *workers)

    def wrong(self) -> list[str]:
        """What is new is there, what was withdrawn is kept, and what was replaced is kept once."""
        wrong = self.differences(self.place, [*self.withdrawn, *self.now], withdrawn=len(self.withdrawn))
        kept = sorted(
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (self.place / ".bulkdl" / "superseded").rglob("*")
            if path.is_file()
        )
        if kept != sorted(hashlib.sha256(one.content).hexdigest() for one in self.replaced):
            wrong.append(f"{len(kept)} superseded files, {len(self.replaced)} instances were replaced")
        return wrong


class Prune(Sync):
    """What was withdrawn or replaced is removed."""

    async def prepare(self) -> None:
        """Make the mirror that `sync` left."""
        await super().prepare()
        first = self.folder / "first"
        await bulkdl.sync_async(first, archive=self.archive.choice(self.folder), settings=QUICK)

    def command(self, chance: random.Random) -> Command:
        """Remove the rest."""
        return (*super().command(chance), "--prune")

    def wrong(self) -> list[str]:
        """The mirror has what the archive has, and no more."""
        superseded = [path.name for path in (self.place / ".bulkdl" / "superseded").rglob("*") if path.is_file()]
        return self.differences(self.place, self.now) + superseded


_CASES: Final[dict[str, type[Case]]] = {"relayout": Relayout, "merge": Merge, "sync": Sync, "prune": Prune}


async def torture(folder: Path, verb: str, *, kills: int, seed: int) -> Kills:
    """Kill `verb` so many times, each time in a round by itself."""
    made_up = list(instances(series=8, per_series=3))
    async with BadArchive(made_up) as archive:
        case = _CASES[verb](folder, archive, made_up)
        await case.prepare()
        return await asyncio.to_thread(_torture, case, Kills(verb, seed), kills)


def _torture(case: Case, found: Kills, kills: int) -> Kills:
    chance = random.Random(found.seed)  # noqa: S311 - no secret
    env = environment(case.folder / "cache")
    while found.kills < kills and len(found.wrong) < 20:
        point = chance.choice(list(_LATEST))
        name = point if point == _OUTSIDE else point + chance.choice(["", "-after"])
        at = f"{name}:{chance.randint(1, max(1, _LATEST[point]))}"
        case.begin()
        command = case.command(chance)
        life_seconds = chance.uniform(*_LIFE_SECONDS) if point == _OUTSIDE else _LONGEST_RUN_SECONDS
        fault = {} if point == _OUTSIDE else dying_at(at)
        code, err = run_once((*command, "--progress", "none"), env | fault, life_seconds)
        when = f"round {found.runs}, {at}, {' '.join(command)}"
        found.runs += 1
        if code == -signal.SIGKILL:
            found.kills += 1
            found.points[name] += 1
            command = case.following(command, chance)
            code, err = run_once((*command, "--progress", "none"), env, _LONGEST_RUN_SECONDS)
            when += f", then {' '.join(command)}"
        if code != 0:
            found.wrong.append(f"{when}: exit {code}: {err}")
        found.wrong += [f"{when}: {wrong}" for wrong in case.wrong()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--verb", choices=VERBS, action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    results = []
    for verb in options.verb or VERBS:
        with tempfile.TemporaryDirectory() as folder:
            results.append(asyncio.run(torture(Path(folder), verb, kills=options.kills, seed=options.seed)))
        print(results[-1], flush=True)  # noqa: T201 - a script
    sys.exit(any(found.wrong for found in results))


if __name__ == "__main__":
    main()
