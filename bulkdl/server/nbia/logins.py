"""The token endpoint and logout, as Keycloak behind NBIA answers them.

Every grant but password and refresh_token makes the real one fail with a 500; here it is refused in OAuth's own words
(RFC 6749 §5.2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bulkdl.server.authentication import Authenticator, IssuedTokens
from bulkdl.server.streaming import Threads

_NOT_KEPT: Final = {"Cache-Control": "no-store"}


class Logins:
    """Handlers of logins and logouts."""

    def __init__(self, authenticator: Authenticator, threads: Threads) -> None:
        self._authenticator = authenticator
        self._threads = threads

    async def token(self, form: Mapping[str, str]) -> web.Response:
        """Answer a request for tokens."""
        grant = form.get("grant_type", "").lower()
        if grant == "password":
            login = await self._threads.do(
                self._authenticator.log_in, form.get("username", ""), form.get("password", "")
            )
            refusal = _refused("invalid_grant", "Invalid user credentials", HTTPStatus.UNAUTHORIZED)
        elif grant == "refresh_token":
            login = self._authenticator.refresh(form.get("refresh_token", ""))
            refusal = _refused("invalid_grant", "Token is not active")
        else:
            return _refused("unsupported_grant_type", "Unsupported grant_type")
        return refusal if login is None else _json(_granted(login), HTTPStatus.OK)

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of the token that is shown."""
        if self._authenticator.log_out(request.headers.get("Authorization")):
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return _refused("invalid_token", "Token is not active", HTTPStatus.UNAUTHORIZED)


def _granted(login: IssuedTokens) -> dict[str, object]:
    return {
        "access_token": login.access_token,
        "expires_in": login.expires_in,
        "refresh_expires_in": login.refresh_expires_in,
        "refresh_token": login.refresh_token,
        "token_type": "Bearer",
        "id_token": login.session,
        "not-before-policy": 0,
        "session_state": login.session,
        "scope": "openid profile email",
    }


def _refused(error: str, description: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> web.Response:
    return _json({"error": error, "error_description": description}, status)


def _json(document: Mapping[str, object], status: HTTPStatus) -> web.Response:
    body = json.dumps(document, separators=(",", ":")).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=_NOT_KEPT)
