"""The options of a run, shared by `mirror`, `resume` and `verify --repair`.

Each option is declared once, in the metadata of its field; `cli.options` makes the option of the command from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bulkdl.model.options import Option, declare
from bulkdl.model.quantities import parse_count, parse_count_or_auto, parse_duration, parse_rate


class ValidationLevel(StrEnum):
    """How thoroughly each instance is validated; each level includes the one before."""

    HEADER = "header"
    STRUCTURE = "structure"
    PIXELS = "pixels"


class Transport(StrEnum):
    """How instances are downloaded: one request per instance, or one bundle per Series."""

    AUTO = "auto"
    SINGLE = "single"
    ZIP = "zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """Settings of one run. `concurrency` is the limit of requests in flight, None for the adaptive default.

    `workers` counts processes, None for automatic; `rate_limit_bytes` is bytes per second for the whole run.
    `wait_scale` multiplies all waits between attempts, so that tests need not wait.
    """

    concurrency: int | None = field(
        default=None,
        metadata=declare(Option("concurrency", "The most requests in flight.", "auto|N", read=parse_count_or_auto)),
    )
    workers: int | None = field(
        default=None,
        metadata=declare(
            Option("workers", "The number of processes that download.", "auto|N", read=parse_count_or_auto)
        ),
    )
    rate_limit_bytes: float | None = field(
        default=None,
        metadata=declare(
            Option("rate_limit", "A limit for the whole run, for example 50MB/s.", "RATE", read=parse_rate)
        ),
    )
    transport: Transport = field(
        default=Transport.AUTO,
        metadata=declare(Option("transport", "Download single instances, or one zip per Series.", read=Transport)),
    )
    validation: ValidationLevel = field(
        default=ValidationLevel.STRUCTURE,
        metadata=declare(Option("validate", "How thoroughly each instance is validated.", read=ValidationLevel)),
    )
    max_attempts: int = field(
        default=8, metadata=declare(Option("max_attempts", "The most attempts per instance.", "N", read=parse_count))
    )
    give_up_after_seconds: float = field(
        default=900.0,
        metadata=declare(
            Option(
                "give_up_after",
                "Give up after the archive has been unreachable this long.",
                "DURATION",
                read=parse_duration,
                shown_default="15m",
            )
        ),
    )
    accept_unsound: bool = field(
        default=False,
        metadata=declare(
            Option("accept_unsound", "Keep instances that are invalid at the archive itself, marked as such.")
        ),
    )
    private: bool = field(
        default=False, metadata=declare(Option("private", "Make folders and files readable only for you."))
    )
    wait_scale: float = 1.0
