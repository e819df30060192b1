"""The options of a run of `mirror`, `resume` or `verify --repair`, each declared in the metadata of its field."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from bulkdl.model.options import defaults_of, option_field, options_of, read_fields
from bulkdl.model.quantities import parse_count, parse_count_or_auto, parse_duration, parse_rate, rate_text

PARALLEL_ABOVE_BYTES: Final = 64 << 20


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
    """Settings of one run. `concurrency` and `workers` are None for automatic, `timeout_seconds` for those of `Access`.

    `rate_limit_bytes` is bytes per second for the whole run. `wait_scale` multiplies all waits between attempts, so
    that tests need not wait. Entries above `parallel_above_bytes` are downloaded in parallel ranges. With `once`, no
    bundle is requested that has instances which are held already.
    """

    concurrency: int | None = option_field(
        "concurrency", "The most requests in flight.", "auto|N", read=parse_count_or_auto
    )
    workers: int | None = option_field(
        "workers", "The number of processes that download.", "auto|N", read=parse_count_or_auto
    )
    rate_limit_bytes: float | None = option_field(
        "rate_limit", "A limit for the whole run, for example 50MB/s.", "RATE", read=parse_rate, write=rate_text
    )
    transport: Transport = option_field(
        "transport", "Download single instances, or one zip per series.", read=Transport, default=Transport.AUTO
    )
    validation: ValidationLevel = option_field(
        "validate",
        "How thoroughly each instance is validated.",
        read=ValidationLevel,
        default=ValidationLevel.STRUCTURE,
    )
    max_attempts: int = option_field(
        "max_attempts", "The most attempts per instance.", "N", read=parse_count, default=8
    )
    timeout_seconds: float | None = option_field(
        "timeout",
        "Time out after this long without a byte; by default after 30s in a body, and 2m before one.",
        "DURATION",
        read=parse_duration,
        write="{:g}s".format,
    )
    give_up_after_seconds: float = option_field(
        "give_up_after",
        "Give up after the archive has been unreachable this long.",
        "DURATION",
        read=parse_duration,
        write="{:g}s".format,
        shown_default="15m",
        default=900.0,
    )
    accept_unsound: bool = option_field(
        "accept_unsound", "Keep instances that are invalid at the archive itself, marked as such.", default=False
    )
    private: bool = option_field("private", "Make folders and files readable only for you.", default=False)
    no_side_files: bool = option_field(
        "no_side_files", "Write no metadata.csv, README.txt, LICENSE and CITATION.bib beside the images.", default=False
    )
    wait_scale: float = 1.0
    parallel_above_bytes: int = PARALLEL_ABOVE_BYTES
    once: bool = False


def go_on_with(
    kept: Mapping[str, Any], settings: FetchSettings, given: Collection[str]
) -> tuple[FetchSettings, list[str]]:
    """The settings of an earlier run, with those of `settings` that are `given`; and the names of those that it gave.

    `kept` are the values of that run as a journal has them. Names that are unknown or have invalid values are left out.
    """
    options, found = options_of(FetchSettings), dict[str, Any]()
    for name in kept.keys() & options.keys() - set(given):
        value = kept[name]
        with suppress(ValueError, TypeError):
            if value is not None and not isinstance(value, str | bool):
                options[name].read(options[name].write(value))  # raises as on the command line
            found |= read_fields(FetchSettings, {name: value})
    named = [name for name, default in defaults_of(FetchSettings).items() if found.get(name, default) != default]
    return replace(settings, **found), named
