"""The token endpoint and logout, as Keycloak behind NBIA answers them.

The real server answers 500 to grants other than password and refresh_token. This one rejects them as OAuth requires
(RFC 6749 §5.2).
"""

from http import HTTPStatus

from aiohttp import web

from bulkdl.server.context import ServerContext
from bulkdl.server.nbia.errors import refusal
from bulkdl.server.nbia.renderings import to_json
from bulkdl.server.nbia.request import RequestRefused, read_form


class Logins:
    """Handlers of logins and logouts."""

    def __init__(self, context: ServerContext) -> None:
        self._authenticator = context.authenticator
        self._threads = context.logins

    async def token(self, request: web.Request) -> web.Response:
        """Answer a request for tokens."""
        try:
            form = await read_form(request)
        except RequestRefused as refused:
            return refusal(refused)
        grant = form.get("grant_type", "").lower()
        if grant == "password":
            name, password = form.get("username", ""), form.get("password", "")
            login = await self._threads.do(self._authenticator.log_in, name, password)
            denial = _denied("invalid_grant", "Invalid user credentials", HTTPStatus.UNAUTHORIZED)
        elif grant == "refresh_token":
            login = self._authenticator.refresh(form.get("refresh_token", ""))
            denial = _denied("invalid_grant", "Token is not active")
        else:
            return _denied("unsupported_grant_type", "Unsupported grant_type")
        if login is None:
            return denial
        granted = {
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
        return _json(granted, HTTPStatus.OK)

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of the token in the request."""
        if self._authenticator.log_out(request.headers.get("Authorization")):
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return _denied("invalid_token", "Token is not active", HTTPStatus.UNAUTHORIZED)


def _denied(error: str, description: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> web.Response:
    return _json({"error": error, "error_description": description}, status)


def _json(document: object, status: HTTPStatus) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(status=status, body=to_json(document), headers=headers)
