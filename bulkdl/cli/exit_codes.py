"""The exit code of the contract for a report or an error. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from bulkdl.errors import (
    AccessDenied,
    ArchiveError,
    ArchiveRefused,
    BulkdlError,
    DiskError,
    Interrupted,
    JournalError,
    MirrorLocked,
    UserError,
)
from bulkdl.model.reports import AdoptReport, PlanReport, RunOutcome, RunReport, VerifyReport


class Exit(IntEnum):
    """How the command ends. The first eight are the contract's; scripts rely on them."""

    OK = 0
    """Everything selected is in the mirror and verified."""
    INCOMPLETE = 1
    """Finished, but some instances failed, or `verify` found problems. The journal names each."""
    USAGE = 2
    """Invalid usage: the command line, a manifest, the configuration or the journal."""
    REFUSED = 3
    """The archive refused the key, the login or the licence."""
    UNREACHABLE = 4
    """The archive cannot be reached, or keeps failing."""
    DISK = 5
    """The disk is full, or the mirror cannot be written."""
    LOCKED = 6
    """Another process is working on this mirror."""
    INTERRUPTED = 130
    """Interrupted (Ctrl-C, SIGTERM). What was finished is in the journal; the message says how to continue."""
    BROKEN_PIPE = 141
    """The reader of standard output closed it. A shell reports 128 + SIGPIPE for this."""


# The first class that matches decides, so subclasses come before their bases.
_BY_ERROR: Final[tuple[tuple[type[BulkdlError], Exit], ...]] = (
    (UserError, Exit.USAGE),
    (JournalError, Exit.USAGE),
    (ArchiveRefused, Exit.REFUSED),
    (AccessDenied, Exit.REFUSED),
    (ArchiveError, Exit.UNREACHABLE),
    (DiskError, Exit.DISK),
    (MirrorLocked, Exit.LOCKED),
    (Interrupted, Exit.INTERRUPTED),
)

_BY_OUTCOME: Final = {
    RunOutcome.COMPLETE: Exit.OK,
    RunOutcome.PARTIAL: Exit.INCOMPLETE,
    RunOutcome.INTERRUPTED: Exit.INTERRUPTED,
    RunOutcome.FAILED: Exit.UNREACHABLE,
}


def for_error(error: BulkdlError) -> Exit:
    """The exit code of an error that ended the command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.INCOMPLETE)


def for_run(report: RunReport) -> Exit:
    """The exit code of `mirror` and `resume`."""
    return _BY_OUTCOME[report.outcome]


def for_verify(report: VerifyReport) -> Exit:
    """The exit code of `verify`: 0 only if all is valid or repaired, and nothing is owed."""
    if report.repair is not None and report.repair.outcome is not RunOutcome.COMPLETE:
        return for_run(report.repair)
    return Exit.INCOMPLETE if remaining_problems(report) or report.owed else Exit.OK


def for_adoption(report: AdoptReport) -> Exit:
    """The exit code of `adopt`."""
    return _BY_OUTCOME[report.outcome]


def remaining_problems(report: VerifyReport) -> int:
    """How many problems are left: all, or after complete repairs those that repairs do not change, as foreign files."""
    if report.repair is None or report.repair.outcome is not RunOutcome.COMPLETE:
        return len(report.problems)
    return sum(problem.instance is None for problem in report.problems)


def for_plan(report: PlanReport) -> Exit:
    """The exit code of `plan`: 1 if the archive lacks something that was requested by name."""
    return Exit.INCOMPLETE if report.failures else Exit.OK
