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
        metadata=declare(
            Option(
                keyword="concurrency",
                metavar="auto|N",
                help="The most requests in flight.",
                read=parse_count_or_auto,
                shown_default="auto",
            )
        ),
    )
    workers: int | None = field(
        default=None,
        metadata=declare(
            Option(
                keyword="workers",
                metavar="auto|N",
                help="The number of processes that download.",
                read=parse_count_or_auto,
                shown_default="auto",
            )
        ),
    )
    rate_limit_bytes: float | None = field(
        default=None,
        metadata=declare(
            Option(
                keyword="rate_limit",
                metavar="RATE",
                help="A limit for the whole run, for example 50MB/s.",
                read=parse_rate,
            )
        ),
    )
    transport: Transport = field(
        default=Transport.AUTO,
        metadata=declare(
            Option(
                keyword="transport",
                help="Download single instances, or one zip per Series.",
                read=Transport,
                shown_default="auto",
            )
        ),
    )
    validation: ValidationLevel = field(
        default=ValidationLevel.STRUCTURE,
        metadata=declare(
            Option(
                keyword="validate",
                help="How thoroughly each instance is validated.",
                read=ValidationLevel,
                shown_default="structure",
            )
        ),
    )
    max_attempts: int = field(
        default=8,
        metadata=declare(
            Option(
                keyword="max_attempts",
                metavar="N",
                help="The most attempts per instance.",
                read=parse_count,
                shown_default="8",
            )
        ),
    )
    give_up_after_seconds: float = field(
        default=900.0,
        metadata=declare(
            Option(
                keyword="give_up_after",
                metavar="DURATION",
                help="Give up after the archive has been unreachable this long.",
                read=parse_duration,
                shown_default="15m",
            )
        ),
    )
    accept_unsound: bool = field(
        default=False,
        metadata=declare(
            Option(
                keyword="accept_unsound",
                help="Keep instances that are invalid at the archive itself, marked as such.",
            )
        ),
    )
    private: bool = field(
        default=False,
        metadata=declare(Option(keyword="private", help="Make folders and files readable only for you.")),
    )
    wait_scale: float = 1.0
