"""The token endpoint and logout, as Keycloak behind NBIA answers them.

The real server answers 500 to grants other than password and refresh_token. This one rejects them as OAuth requires
(RFC 6749 §5.2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bulkdl.server.authentication import IssuedTokens
from bulkdl.server.context import ServerContext

_NO_STORE: Final = {"Cache-Control": "no-store"}


class Logins:
    """Handlers of logins and logouts."""

    def __init__(self, context: ServerContext) -> None:
        self._authenticator = context.authenticator
        self._threads = context.threads

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
        """End the session of the token in the request."""
        if self._authenticator.log_out(request.headers.get("Authorization")):
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return _refused("invalid_token", "Token is not active", HTTPStatus.UNAUTHORIZED)


def _granted(tokens: IssuedTokens) -> dict[str, object]:
    return {
        "access_token": tokens.access_token,
        "expires_in": tokens.expires_in,
        "refresh_expires_in": tokens.refresh_expires_in,
        "refresh_token": tokens.refresh_token,
        "token_type": "Bearer",
        "id_token": tokens.session,
        "not-before-policy": 0,
        "session_state": tokens.session,
        "scope": "openid profile email",
    }


def _refused(error: str, description: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> web.Response:
    return _json({"error": error, "error_description": description}, status)


def _json(document: Mapping[str, object], status: HTTPStatus) -> web.Response:
    body = json.dumps(document, separators=(",", ":")).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=_NO_STORE)
