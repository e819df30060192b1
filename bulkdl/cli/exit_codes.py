"""How a command ends: the exit code of the contract for a report or an error, and the JSON document. Pure."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from bulkdl import errors
from bulkdl.model.text import one_line

if TYPE_CHECKING:
    from bulkdl.model.reports.base import Report


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
_BY_ERROR: Final[tuple[tuple[type[errors.BulkdlError], Exit], ...]] = (
    (errors.UserError, Exit.USAGE),
    (errors.JournalError, Exit.USAGE),
    (errors.ArchiveRefused, Exit.REFUSED),
    (errors.AccessDenied, Exit.REFUSED),
    (errors.ArchiveError, Exit.UNREACHABLE),
    (errors.DiskError, Exit.DISK),
    (errors.MirrorLocked, Exit.LOCKED),
    (errors.Interrupted, Exit.INTERRUPTED),
)

_BY_OUTCOME: Final = {
    "complete": Exit.OK,
    "partial": Exit.INCOMPLETE,
    "interrupted": Exit.INTERRUPTED,
    "failed": Exit.UNREACHABLE,
}
"""The exit code of each `RunOutcome`."""


def for_error(error: errors.BulkdlError) -> Exit:
    """The exit code of an error that ended the command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.INCOMPLETE)


def for_report(report: Report) -> Exit:
    """The exit code of a verb: 0 only if nothing that was requested failed, is damaged or is missing."""
    return _BY_OUTCOME[report.ending]


def document(values: dict[str, Any]) -> str:
    """One JSON document."""
    return json.dumps(values, indent=1)


def error_values(error: errors.BulkdlError) -> dict[str, Any]:
    """The JSON document of a command that an error ended: its report as far as it came, and the error."""
    outcome = "interrupted" if isinstance(error, errors.Interrupted) else "failed"
    ended = {"outcome": outcome, "error": error.code, "message": one_line(str(error))}
    return {**(error.report or {}), **ended}
