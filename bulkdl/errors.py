"""Every error that bulkdl raises, in one tree, grouped by who can act.

    BulkdlError
    ├── UserError                     the caller's words are wrong                     exit 2
    │   ├── InvalidUid                not 1-64 digits and dots
    │   ├── SelectionError            nothing, or a contradiction, was asked for
    │   ├── ManifestError             a manifest that cannot be read (source, line)
    │   ├── ConfigurationError        the configuration file, a profile or an option
    │   └── LayoutError               a path template that cannot be used
    ├── ArchiveError                  the archive is to blame
    │   ├── ArchiveRefused            key, login or licence                            exit 3
    │   ├── ArchiveUnreachable        silent, or failing, for too long                 exit 4
    │   ├── ShortAtSource             a Series lists fewer instances than the archive counts in it
    │   └── RequestFailed             one request; `runtime.retry` judges it by its kind
    │       ├── ConnectFailed         refused, no such host, TLS, proxy: nothing was sent
    │       ├── ConnectionLost        it broke after the request was sent
    │       ├── TimedOut              no byte for too long
    │       ├── ShortBody             fewer bytes than announced
    │       ├── ServerFailed          5xx
    │       ├── TooManyRequests       429, and 503 with Retry-After
    │       ├── RequestRejected       400 and other 4xx that say nothing of access
    │       ├── AccessDenied          401, 403
    │       ├── NotFound              404, 410, or an answer that means it
    │       └── UnexpectedAnswer      a success that is not what was asked for
    ├── InstanceError                 one instance, as it came, cannot be taken
    │   ├── InvalidInstance                   no sound DICOM
    │   ├── InvalidAtSource           the same unsound bytes came twice: the archive holds them so
    │   ├── WrongObject               sound, but not the one that was asked for
    │   ├── ChecksumMismatch          not the bytes that the archive's checksum names
    │   └── NotInBundle               the zip of its series did not hold it
    ├── BundleError                   a zip that is cut, broken or hostile
    ├── DiskError                     the mirror cannot be written
    │   ├── DiskFull                  no space, no quota, no inodes                    exit 5
    │   └── MirrorUnwritable          permissions, read-only, input/output error       exit 5
    ├── MirrorLocked                  another process works on this mirror             exit 6
    ├── JournalError                  the journal cannot be used
    │   ├── JournalUnreadable         it is damaged, or no journal at all              exit 2
    │   └── JournalTooNew             a later bulkdl wrote it                          exit 2
    └── Interrupted                   Ctrl-C or SIGTERM; all that was finished is kept exit 130

Each class has a kebab-case `code`, the one of the JSON reports. A message is one line: what happened, what was kept,
what to do next. No message holds a secret. Errors of the libraries underneath never leave the package that is their
door; they stay reachable as `__cause__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class BulkdlError(Exception):
    """The root of the tree. `str(error)` is one line for people; `code` is stable, for programs.

    `attempts` is how often the failed action was tried before it was given up, where that was counted. `report` is the
    JSON document of the run that the error ended, where there was one.
    """

    code: ClassVar[str] = "error"
    attempts: int = 0
    report: Mapping[str, object] | None = None


# --- the user ---------------------------------------------------------------------------------------------------------


class UserError(BulkdlError):
    """The caller's words are wrong; nothing was done."""

    code = "usage"


class InvalidUid(UserError):
    """A text that is no UID: 1 to 64 digits and dots (the most that archives keep to; PS3.5 §9 demands more)."""

    code = "invalid-uid"


class SelectionError(UserError):
    """Nothing was asked for, or the criteria contradict each other."""

    code = "selection"


class ManifestError(UserError):
    """A manifest that cannot be read.

    `source` names it as the caller knows it; `line` is the line to blame (the first is 1), where one is.
    """

    code = "manifest"

    def __init__(self, message: str, *, source: str, line: int | None = None) -> None:
        where = source if line is None else f"{source}, line {line}"
        super().__init__(f"{where}: {message}")
        self.source = source
        self.line = line


class ConfigurationError(UserError):
    """The configuration file, a profile or an option cannot be used."""

    code = "configuration"


class LayoutError(UserError):
    """A path template names an unknown field, or does not keep instances apart."""

    code = "layout"


# --- the archive ------------------------------------------------------------------------------------------------------


class ArchiveError(BulkdlError):
    """The archive is to blame."""

    code = "archive"


class ArchiveRefused(ArchiveError):
    """The archive refused the key, the login or the licence. The run stops; all that was finished is kept."""

    code = "refused"


class ArchiveUnreachable(ArchiveError):
    """The archive stayed silent, or kept failing, for longer than the caller waits."""

    code = "unreachable"


class ShortAtSource(ArchiveError):
    """A Series lists fewer instances than the archive itself counts in it, twice; what is listed is fetched."""

    code = "short-at-source"


class RequestFailed(ArchiveError):
    """One request failed.

    `status` is the HTTP status where one came, `retry_after_seconds` what the archive asked us to wait.
    """

    code = "request-failed"

    def __init__(self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ConnectFailed(RequestFailed):
    """No connection: refused, unknown host, TLS or proxy. The request was never sent."""

    code = "connect-failed"


class ConnectionLost(RequestFailed):
    """The connection broke after the request was sent."""

    code = "connection-lost"


class TimedOut(RequestFailed):
    """No byte came for too long."""

    code = "timed-out"


class ShortBody(RequestFailed):
    """The body ended before the length that was announced, or its encoding was cut."""

    code = "short-body"


class ServerFailed(RequestFailed):
    """The archive answered 5xx. For NBIA that includes an instance that it does not know (getSingleImage)."""

    code = "server-error"


class TooManyRequests(RequestFailed):
    """The archive asks for retrier: 429, or 503 with Retry-After."""

    code = "too-many-requests"


class RequestRejected(RequestFailed):
    """The archive calls the request wrong (4xx). NBIA says so for series that it does not have or may not show."""

    code = "rejected"


class AccessDenied(RequestFailed):
    """401 or 403."""

    code = "access-denied"


class NotFound(RequestFailed):
    """404 or 410, or an answer that means the same."""

    code = "not-found"


class UnexpectedAnswer(RequestFailed):
    """A successful answer that is not what was asked for: HTML, JSON where DICOM should be, broken JSON, nothing."""

    code = "unexpected-answer"


# --- one instance -----------------------------------------------------------------------------------------------------


class InstanceError(BulkdlError):
    """One instance, as it came, cannot be taken into the mirror."""

    code = "instance"


class InvalidInstance(InstanceError):
    """The bytes are no sound DICOM file. The message says where they stop being one."""

    code = "unsound"


class InvalidAtSource(InstanceError):
    """The same unsound bytes came twice: the archive holds the instance so. `--accept-unsound` takes it in, marked."""

    code = "unsound-at-source"


class WrongObject(InstanceError):
    """Sound DICOM, but its UIDs are not those that were asked for."""

    code = "wrong-object"


class ChecksumMismatch(InstanceError):
    """The bytes are not those that the archive's own checksum names."""

    code = "checksum-mismatch"


class NotInBundle(InstanceError):
    """The zip of the series ended without this instance."""

    code = "not-in-bundle"


class BundleError(BulkdlError):
    """The zip of a series is cut, broken or hostile. What came out of it before is as good as its own checks say."""

    code = "bundle"


# --- the disk, other processes, the journal, the end ------------------------------------------------------------------


class DiskError(BulkdlError):
    """The mirror cannot be written."""

    code = "disk"


class DiskFull(DiskError):
    """No space, no quota or no inodes are left."""

    code = "disk-full"


class MirrorUnwritable(DiskError):
    """Permissions, a read-only file system or an input/output error."""

    code = "mirror-unwritable"


class MirrorLocked(BulkdlError):
    """Another process works on this mirror; the message names it."""

    code = "mirror-locked"


class JournalError(BulkdlError):
    """The journal of a mirror cannot be used."""

    code = "journal"


class JournalUnreadable(JournalError):
    """There is no journal, or it is damaged. It is never overwritten."""

    code = "journal-unreadable"


class JournalTooNew(JournalError):
    """A later version of bulkdl wrote the journal."""

    code = "journal-too-new"


class Interrupted(BulkdlError):
    """Ctrl-C or SIGTERM. All that was finished is journalled."""

    code = "interrupted"
