"""Who looks at a page: the sender of a token, the user of a login cookie, or the guest.

The cookie has the access token of a login. Scripts cannot read it, and browsers do not send it with what another site
asks for. A form that another site sends is refused besides.
"""

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from bulkdl.server.access import Authenticator, CredentialProblem, Viewer

COOKIE: Final = "bulkdl_session"
_FOREIGN: Final = frozenset({"cross-site", "same-site"})


def viewer_of(request: web.Request, authenticator: Authenticator) -> Viewer:
    """The viewer. A token that is invalid or has expired makes its sender the guest."""
    sent = request.headers.get("Authorization")
    if sent is None and (token := request.cookies.get(COOKIE)) is not None:
        sent = f"Bearer {token}"
    viewer = authenticator.viewer(sent)
    return authenticator.guest if isinstance(viewer, CredentialProblem) else viewer


def is_foreign(request: web.Request) -> bool:
    """Whether a form comes from a page of another site, as far as the browser says it."""
    if request.headers.get("Sec-Fetch-Site") in _FOREIGN:
        return True
    if (origin := request.headers.get("Origin")) is None:
        return False
    try:
        return urlsplit(origin).netloc != request.host
    except ValueError:
        return True


def start_session(response: web.Response, token: str, seconds: int, *, is_secure: bool) -> None:
    """Set the cookie of a login."""
    response.set_cookie(COOKIE, token, max_age=seconds, httponly=True, samesite="Strict", secure=is_secure)


def end_session(response: web.Response) -> None:
    """Remove the cookie of a login."""
    response.del_cookie(COOKIE, samesite="Strict", httponly=True)
