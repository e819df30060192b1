"""The errors of connections, in the same words for every transport."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from bulkdl import errors

PROXY_HINT: Final = "; the proxy requires a login: --proxy http://NAME:PASSWORD@HOST:PORT"
CLOSED: Final = "the connection was closed before its end"
ENDED: Final = "it ended without notice"
CLOSED_IN_HEADER: Final = "it was closed before the end of the header"


def cannot_reach(where: str, reason: str) -> errors.ConnectFailed:
    """No connection to `where`, a host and its port."""
    return errors.ConnectFailed(f"{where} cannot be reached: {reason}")


def no_connection_in_time() -> errors.ConnectFailed:
    """The connection was not accepted, or TLS did not begin."""
    return errors.ConnectFailed("no connection within the time for it")


def refused_by_proxy(status: int, reason: str) -> errors.RequestFailed:
    """The proxy does not connect. To wait for it changes nothing where it requires a login."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return errors.AccessDenied(f"the proxy answered {status} {reason}{PROXY_HINT}", status=status)
    return errors.ConnectFailed(f"the proxy refused: {status} {reason}")


def unknown_host(host: str, reason: str) -> errors.ConnectFailed:
    """The name has no address."""
    return errors.ConnectFailed(f"the host {host} is not known: {reason}")


def not_trusted(host: str, reason: str) -> errors.ArchiveUnreachable:
    """The certificate is that of another host, or is not signed by one of those that are trusted."""
    return errors.ArchiveUnreachable(f"the certificate of {host} is not trusted: {reason} (see --ca-bundle)")


def speaks_no_tls(where: str) -> errors.ArchiveUnreachable:
    """The answer to the first message of TLS is not one."""
    return errors.ArchiveUnreachable(f"{where} does not use TLS: is its address http://…?")


def silent() -> errors.TimedOut:
    """The connection is there, but nothing comes."""
    return errors.TimedOut("the archive sent nothing, or too little, for too long")


def broken(reason: str) -> errors.ConnectionLost:
    """The connection ended in the middle of a response."""
    return errors.ConnectionLost(f"the connection broke: {reason}")


def invalid_response(reason: str) -> errors.ConnectionLost:
    """What arrived is not HTTP."""
    return errors.ConnectionLost(f"no valid response: {reason}")


def cut(reason: str) -> errors.ShortBody:
    """The body has no end."""
    return errors.ShortBody(f"the body is truncated: {reason}")


def too_many_files(error: BaseException) -> errors.MirrorUnwritable | None:
    """This process may open no more files; None if the error is another one."""
    if isinstance(error, OSError) and error.errno in errors.TOO_MANY_FILES:
        return errors.MirrorUnwritable("too many open files: no connection can be made; raise the limit (ulimit -n)")
    return None
