"""All wrong answers of an archive to a request for one instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.support.bad_archive import DICOM
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, answer, cut, drop, raw, redirect, stall

Wrong = Callable[[MadeUp], "Action"]

OF_NO_MIRROR = next(instances(series=1, per_series=1, seed="other"))
CIRCLE = "round"  # the only parameter of a redirect to itself


def flipped(content: bytes) -> bytes:
    """Damage the element of the transfer syntax, so that validation finds it."""
    return content[:132] + bytes(byte ^ 0x55 for byte in content[132:150]) + content[150:]


def a_day_hence() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(days=1))


def page(status: int = 200, kind: str = "text/html") -> Action:
    return answer(b"<html><body>Welcome</body></html>", status=status, headers={"Content-Type": kind})


# Worth another attempt, each with the code of the failure when there is none left.
FAULTS: dict[str, tuple[Wrong, str]] = {
    "dropped before the headers": (lambda _: drop(), "connection-lost"),
    "reset before the headers": (lambda _: drop(reset=True), "connection-lost"),
    "dropped after the headers": (lambda one: cut(one.content, after=0, headers=DICOM), "short-body"),
    "dropped in the body": (lambda one: cut(one.content, after=200, headers=DICOM), "short-body"),
    "reset in the body": (lambda one: cut(one.content, after=200, reset=True, headers=DICOM), "short-body"),
    "chunked and cut": (lambda one: cut(one.content, after=200, chunked=True, headers=DICOM), "short-body"),
    "without a length, and cut": (
        lambda one: raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom\r\n\r\n" + one.content[:400]),
        "checksum-mismatch",
    ),
    "no HTTP at all": (lambda _: raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "connection-lost"),
    "silent": (lambda _: stall(asyncio.Event()), "timed-out"),
    "stalled after the headers": (lambda one: stall(asyncio.Event(), one.content, after=0, headers=DICOM), "timed-out"),
    "stalled in the body": (lambda one: stall(asyncio.Event(), one.content, after=300, headers=DICOM), "timed-out"),
    "a page": (lambda _: page(), "unexpected-answer"),
    "a page that calls itself DICOM": (lambda _: page(kind="application/dicom"), "unexpected-answer"),
    "an error in JSON": (
        lambda _: answer(b'{"error": "no"}', headers={"Content-Type": "application/json"}),
        "unexpected-answer",
    ),
    "an error in JSON that calls itself DICOM": (
        lambda _: answer(b'{"error": "no"}', headers=DICOM),
        "unexpected-answer",
    ),
    "empty": (lambda _: answer(b"", headers=DICOM), "unexpected-answer"),
    "redirected in a circle": (
        lambda one: redirect(f"getSingleImage?SOPInstanceUID={one.sop_uid}&{CIRCLE}=1"),
        "unexpected-answer",
    ),
    "204": (lambda _: answer(b"", status=204), "unexpected-answer"),
    "500": (lambda _: page(500), "server-error"),
    "502": (lambda _: page(502), "server-error"),
    "503": (lambda _: answer(b"", status=503), "server-error"),
    "504": (lambda _: page(504), "server-error"),
    "408": (lambda _: page(408), "server-error"),
    "429": (lambda _: answer(b"", status=429), "too-many-requests"),
    "503, come back in a second": (
        lambda _: answer(b"", status=503, headers={"Retry-After": "1"}),
        "too-many-requests",
    ),
    "429, come back in a day": (
        lambda _: answer(b"", status=429, headers={"Retry-After": "86400"}),
        "too-many-requests",
    ),
    "429, come back at a date": (
        lambda _: answer(b"", status=429, headers={"Retry-After": a_day_hence()}),
        "too-many-requests",
    ),
    "429, come back whenever": (
        lambda _: answer(b"", status=429, headers={"Retry-After": "soon, dear"}),
        "too-many-requests",
    ),
    "an unrequested part": (
        lambda one: answer(
            one.content[100:],
            status=206,
            headers={**DICOM, "Content-Range": f"bytes 100-{len(one.content) - 1}/{len(one.content)}"},
        ),
        "unexpected-answer",
    ),
    "the wrong object": (lambda _: answer(OF_NO_MIRROR.content, headers=DICOM), "wrong-object"),
    "flipped bytes": (lambda one: answer(flipped(one.content), headers=DICOM), "checksum-mismatch"),
    "cut, with a length to match": (lambda one: answer(one.content[:-64], headers=DICOM), "checksum-mismatch"),
}

# Not worth another attempt.
FOR_GOOD: dict[str, tuple[Wrong, str]] = {
    "404": (lambda _: answer(b"", status=404), "not-found"),
    "404 with a page": (lambda _: page(404), "rejected"),
    "410": (lambda _: answer(b"gone", status=410), "not-found"),
    "400, as NBIA says not allowed": (lambda _: answer(b"Not allowed", status=400), "rejected"),
}
