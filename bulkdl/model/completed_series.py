"""A Series that a run has completed, for further processing: by a command of `--on-series`, or by a loop in Python."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkdl.model.records import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedSeries:
    """A Series all of whose selected instances are in the mirror, synced to the disk, since this `run`.

    `folder` has its files; `instances` and `size_bytes` are those that the mirror holds of it. `series` is the record
    of the archive.
    """

    mirror: Path
    run: int
    archive: str
    folder: Path
    series: Series
    instances: int
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        """The document on the standard input of a command of `--on-series`. Values that are not known are null."""
        series = self.series
        return {
            "mirror": str(self.mirror),
            "archive": self.archive,
            "run": self.run,
            "folder": str(self.folder),
            "collection": series.collection,
            "patient": series.patient_id,
            "study": series.study_uid,
            "series": series.series_uid,
            "modality": series.modality,
            "description": series.description,
            "license": series.license_name,
            "license_uri": series.license_uri,
            "instances": self.instances,
            "bytes": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class CompletedHandler:
    """What is called with each completed Series while the run goes on, at most `at_once` calls at a time.

    It ends soon after the run is stopped, and raises nothing. `notes` say at the end of the run what went wrong.
    """

    handle: Callable[[CompletedSeries], Awaitable[None]]
    at_once: int = 1
    notes: Callable[[], tuple[str, ...]] = tuple


def parse_command(text: str) -> tuple[str, ...]:
    """The words of a command, quoted as for a POSIX shell. ValueError: it is empty, or a quote is not closed."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a command: {error}".lower()) from error
    if not words:
        raise ValueError("an empty command was given")
    return words
