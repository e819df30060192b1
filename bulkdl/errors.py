"""Every error that bulkdl raises, in one tree, grouped by who can act.

    BulkdlError
    ├── UserError                     the caller's input is invalid                    exit 2
    │   ├── InvalidUid                not 1-64 digits and dots
    │   ├── SelectionError            nothing is selected, or criteria contradict each other
    │   ├── ManifestError             a manifest cannot be read (source, line)
    │   ├── ConfigurationError        the configuration file, a profile or an option is invalid
    │   └── LayoutError               a path template is invalid
    ├── ArchiveError                  the archive refuses, fails or does not answer
    │   ├── ArchiveRefused            key, login or licence                            exit 3
    │   ├── ArchiveUnreachable        no answer, or only failures, for too long        exit 4
    │   ├── ShortAtSource             a Series lists fewer instances than the archive's own count
    │   ├── DiffersAtSource           the list of a Series has more, or other bytes, than the archive's index says
    │   └── RequestFailed             one request; `runtime.retry` decides what follows
    │       ├── ConnectFailed         refused, unknown host, TLS, proxy: nothing was sent
    │       ├── ConnectionLost        the connection broke after the request was sent
    │       ├── TimedOut              no data for too long
    │       ├── ShortBody             fewer bytes than announced
    │       ├── ServerFailed          5xx
    │       ├── TooManyRequests       429, and 503 with Retry-After
    │       ├── RequestRejected       400 and other 4xx that do not concern access
    │       ├── AccessDenied          401, 403
    │       ├── NotFound              404, 410, or an answer with that meaning
    │       └── UnexpectedAnswer      a successful response that is not what was requested
    ├── InstanceError                 one downloaded instance cannot be stored in the mirror
    │   ├── InvalidInstance           not valid DICOM
    │   ├── InvalidAtSource           the same invalid bytes twice: the archive holds them like this
    │   ├── WrongObject               valid DICOM, but another object than the requested one
    │   │   └── WrongAtSource         the same, with the bytes that the archive lists: it holds them so
    │   ├── ChecksumMismatch          the bytes do not match the archive's checksum
    │   ├── LockedInstanceError       it is not the instance of the lock
    │   │   ├── Withdrawn             the archive does not have it any more
    │   │   ├── Replaced              the archive has another version of it
    │   │   └── Damaged               its bytes were changed, and the archive does not say why
    │   ├── DuplicateInstance         another entry of the Series has the same SOP Instance UID
    │   ├── NotInBundle               the bundle of its Series does not contain it
    │   └── NotStored                 the archive that it was sent to did not store it, or does not confirm it
    ├── BundleError                   a bundle is truncated, damaged or hostile
    ├── FileDiffers                   a file of the mirror is missing, or not the one of the journal
    ├── InvalidVolume                 the images of a Series are not the slices of one volume
    ├── DiskError                     the mirror cannot be written
    │   ├── DiskFull                  no space, quota or inodes left                   exit 5
    │   └── MirrorUnwritable          permissions, read-only, input/output error       exit 5
    ├── MirrorLocked                  another process works on this mirror             exit 6
    ├── JournalError                  the journal cannot be used
    │   ├── JournalUnreadable         it is damaged or does not exist                  exit 2
    │   └── JournalTooNew             a later version of bulkdl wrote it               exit 2
    └── Interrupted                   Ctrl-C or SIGTERM; finished work is saved        exit 130

Each class has a kebab-case `code`, the one of the JSON reports. A message is one line: what happened, what was kept,
what to do next. No message holds a secret. Each package that imports a library translates the errors of that library;
the original error stays reachable as `__cause__`.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import ClassVar, Final

TOO_MANY_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""The numbers of an OSError where this process, or the system, may open no more files."""


class BulkdlError(Exception):
    """The root of the tree. `str(error)` is one line for people; `code` is stable, for programs.

    `attempts` counts the attempts at the failed action, where they are counted. `report` is the JSON document of the
    run that the error ended, where there is one.
    """

    code: ClassVar[str] = "error"
    attempts: int = 0
    report: Mapping[str, object] | None = None

    def __init_subclass__(cls, *, code: str) -> None:
        cls.code = code

    def __reduce__(self) -> tuple[object, ...]:
        # An exception is made anew from its message alone by default, which fails where __init__ requires more.
        return type(self).__new__, (type(self), *self.args), vars(self)


class UserError(BulkdlError, code="usage"):
    """The caller's input is invalid; nothing was done."""


class InvalidUid(UserError, code="invalid-uid"):
    """A text is not a UID: 1 to 64 digits and dots. Archives hold UIDs that break the other rules of PS3.5 §9."""


class SelectionError(UserError, code="selection"):
    """Nothing is selected, or the criteria contradict each other."""


class ManifestError(UserError, code="manifest"):
    """A manifest cannot be read.

    `source` is the name that the caller gave it; `line` is the invalid line (counted from 1), if one line is at fault.
    """

    def __init__(self, message: str, *, source: str, line: int | None = None) -> None:
        where = source if line is None else f"{source}, line {line}"
        super().__init__(f"{where}: {message}")
        self.source = source
        self.line = line


class ConfigurationError(UserError, code="configuration"):
    """The configuration file, a profile or an option is invalid."""


class LayoutError(UserError, code="layout"):
    """A path template names an unknown field, or gives two instances the same path."""


class ArchiveError(BulkdlError, code="archive"):
    """The archive refuses, fails or does not answer."""


class ArchiveRefused(ArchiveError, code="refused"):
    """The archive refused the key, the login or the licence. The run stops; finished work is saved."""


class ArchiveUnreachable(ArchiveError, code="unreachable"):
    """The archive gave no answer, or only failures, for longer than the run waits."""


class ShortAtSource(ArchiveError, code="short-at-source"):
    """A Series repeatedly lists fewer instances than the archive's own count. The listed ones are downloaded."""


class DiffersAtSource(ArchiveError, code="differs-at-source"):
    """A Series lists more instances, or other bytes, than the archive's own index says. The list is downloaded."""


class RequestFailed(ArchiveError, code="request-failed"):
    """One request failed.

    `status` is the HTTP status, if there was a response; `retry_after_seconds` is the wait that the archive asks for.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ConnectFailed(RequestFailed, code="connect-failed"):
    """No connection: refused, unknown host, TLS or proxy. The request was not sent."""


class ConnectionLost(RequestFailed, code="connection-lost"):
    """The connection broke after the request was sent."""


class TimedOut(RequestFailed, code="timed-out"):
    """No data arrived for too long."""


class ShortBody(RequestFailed, code="short-body"):
    """The body ended before its announced length, or its content encoding is truncated."""


class ServerFailed(RequestFailed, code="server-error"):
    """The archive answered 5xx. NBIA also answers 500 for an instance that it does not have (getSingleImage)."""


class TooManyRequests(RequestFailed, code="too-many-requests"):
    """The archive asks for fewer requests: 429, or 503 with Retry-After."""


class RequestRejected(RequestFailed, code="rejected"):
    """The archive calls the request invalid (4xx). NBIA does so for a Series that it does not have or may not show."""


class AccessDenied(RequestFailed, code="access-denied"):
    """401 or 403."""


class NotFound(RequestFailed, code="not-found"):
    """404 or 410, or an answer with the same meaning."""


class UnexpectedAnswer(RequestFailed, code="unexpected-answer"):
    """A successful response that is not what was requested: HTML, JSON instead of DICOM, broken JSON, an empty body."""


class InstanceError(BulkdlError, code="instance"):
    """One downloaded instance cannot be stored in the mirror."""


class InvalidInstance(InstanceError, code="unsound"):
    """The bytes are not a valid DICOM file. The message says what is invalid, and where."""


class InvalidAtSource(InstanceError, code="unsound-at-source"):
    """The same invalid bytes were received twice: the archive holds them. `--accept-unsound` stores them, marked."""


class WrongObject(InstanceError, code="wrong-object"):
    """The file is valid DICOM, but its UIDs are not the requested ones."""


class WrongAtSource(WrongObject, code="wrong-at-source"):
    """The file is another object than the requested one, and has the checksum that the archive lists."""


class ChecksumMismatch(InstanceError, code="checksum-mismatch"):
    """The bytes do not match the archive's checksum."""


class LockedInstanceError(InstanceError, code="differs-from-lock"):
    """An instance is not the one of the lock file that the mirror is held to."""


class Withdrawn(LockedInstanceError, code="withdrawn"):
    """The archive does not have an instance of the lock any more."""


class Replaced(LockedInstanceError, code="replaced"):
    """The archive has another version of an instance of the lock: its size, form or place there is different."""


class Damaged(LockedInstanceError, code="damaged"):
    """The archive's bytes of an instance are not those of the lock, though it does not call them a new version."""


class DuplicateInstance(InstanceError, code="duplicate-instance"):
    """Another entry of the Series has the same SOP Instance UID."""


class NotInBundle(InstanceError, code="not-in-bundle"):
    """The bundle of the Series ended without this instance."""


class NotStored(InstanceError, code="not-stored"):
    """An archive to which the instance was sent did not store it, or does not confirm that it did."""


class BundleError(BulkdlError, code="bundle"):
    """The bundle of a Series is truncated, damaged or hostile. Instances that were read before it stay valid."""


class FileDiffers(BulkdlError, code="file-differs"):
    """A file of the mirror is missing or altered: it is not the one of the journal. It was not sent."""

    def __init__(self, message: str, *, sop_uid: str) -> None:
        super().__init__(message)
        self.sop_uid = sop_uid


class InvalidVolume(BulkdlError, code="invalid-volume"):
    """The images of a Series are not the slices of one volume: the message says which are missing, or differ."""


class DiskError(BulkdlError, code="disk"):
    """The mirror cannot be written."""


class DiskFull(DiskError, code="disk-full"):
    """No space, quota or inodes are left."""


class MirrorUnwritable(DiskError, code="mirror-unwritable"):
    """Permissions, a read-only file system or an input/output error."""


class MirrorLocked(BulkdlError, code="mirror-locked"):
    """Another process works on this mirror; the message names it."""


class JournalError(BulkdlError, code="journal"):
    """The journal of a mirror cannot be used."""


class JournalUnreadable(JournalError, code="journal-unreadable"):
    """The journal does not exist, or is damaged. It is never overwritten."""


class JournalTooNew(JournalError, code="journal-too-new"):
    """A later version of bulkdl wrote the journal."""


class Interrupted(BulkdlError, code="interrupted"):
    """Ctrl-C or SIGTERM. Finished work is saved in the journal."""
