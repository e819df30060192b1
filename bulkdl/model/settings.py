"""How a run goes about its work: the options shared by `mirror`, `resume` and `verify --repair`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ValidationLevel(StrEnum):
    """How closely pydicom looks at each instance; each level includes the one before."""

    HEADER = "header"
    STRUCTURE = "structure"
    PIXELS = "pixels"


class Transport(StrEnum):
    """How bodies come: one getSingleImage per instance, or one zip per Series."""

    AUTO = "auto"
    SINGLE = "single"
    ZIP = "zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """Settings of one run. `concurrency` is the ceiling of requests in flight, None for the adaptive default.

    `workers` counts processes, None for automatic; `rate_limit_bytes` is bytes a second for the whole run.
    `wait_scale` stretches or shortens all that is waited out between attempts, so that tests need not wait.
    """

    concurrency: int | None = None
    workers: int | None = None
    rate_limit_bytes: float | None = None
    transport: Transport = Transport.AUTO
    validation: ValidationLevel = ValidationLevel.STRUCTURE
    max_attempts: int = 8
    give_up_after_seconds: float = 900.0
    accept_unsound: bool = False
    private: bool = False
    wait_scale: float = 1.0
