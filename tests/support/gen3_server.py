"""A data commons of Gen3 over real sockets, as small as DRS allows: records, tokens for a key, signed addresses.

The objects lie at another server, the store, which sends them to requests with a valid signature, and ranges of
them. What `fault` returns for a request to either is done instead of the right answer.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from bulkdl.model.access import ArchiveChoice
from bulkdl.verbs.connections.reach import reach
from tests.support.bucket_server import uuid_of
from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, FaultyServer, Seen, answer
from tests.support.faults import json as answer_json

PREFIX = "dg.TEST"


def jwt(**claims: Any) -> str:
    """A JSON Web Token whose signature is not checked."""
    head, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    return f"{head}.{payload}.c2lnbmF0dXJl{claims.get('jti', '')}"


@dataclass
class CommonsObject:
    """One object. `checksums` are those of its record, by default its MD5."""

    name: str
    content: bytes
    checksums: Mapping[str, str] | None = None
    size: int | str | None = None
    access_ids: Sequence[str] = ("s3",)

    @property
    def record(self) -> dict[str, Any]:
        known = self.checksums
        if known is None:
            known = {"md5": hashlib.md5(self.content, usedforsecurity=False).hexdigest()}
        methods = [
            {"type": each, "access_id": each, "access_url": {"url": f"s3://controlled/{self.name}"}}
            for each in self.access_ids
        ]
        return {
            "name": self.name,
            "form": "object",
            "size": len(self.content) if self.size is None else self.size,
            "checksums": [{"type": kind, "checksum": digits} for kind, digits in known.items()],
            "access_methods": methods,
            "contents": [],
        }


def zip_of_series(made_up: Sequence[MadeUp], *, stored: bool = False) -> bytes:
    """The zip of a Series, as archives make it: a licence, and one member for each instance."""
    buffer = io.BytesIO()
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", compression=method) as made:
        made.writestr("LICENSE", "as agreed")
        for number, one in enumerate(made_up, start=1):
            made.writestr(f"images/1-{number:02}.dcm", one.content)
    return buffer.getvalue()


def object_id_of(name: str) -> str:
    """The identifier of an object, in upper case as some data commons write it."""
    return f"{PREFIX}/{uuid_of('object', name).upper()}"


@dataclass
class Gen3Server:
    """See above. `url` is that of the data commons; `tokens`, `signatures` and `key` are all secrets so far."""

    objects: Sequence[CommonsObject]
    fault: Callable[[Seen], Action | None] = lambda _: None
    key: str = field(default_factory=lambda: jwt(exp=int(time.time()) + 1_000_000, jti="THE-KEY"))
    token_seconds: int = 3600
    url_seconds: int = 3600
    refuses_key: bool = False
    denied: set[str] = field(default_factory=set)  # names of objects that the account may not have
    dead: set[str] = field(default_factory=set)  # tokens and signatures that are not valid any more
    tokens: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commons = FaultyServer(lambda seen: self.fault(seen) or self._commons(seen))
        self.store = FaultyServer(lambda seen: self.fault(seen) or self._store(seen))
        self._by_id = {object_id_of(each.name): each for each in self.objects}
        self._by_name = {each.name: each for each in self.objects}
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.commons)
        await self._stack.enter_async_context(self.store)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        return self.commons.url

    @property
    def netloc(self) -> str:
        return self.url.partition("://")[2].rstrip("/")

    @property
    def secrets(self) -> list[str]:
        """What must be nowhere."""
        return [self.key, *self.tokens, *self.signatures]

    def uri(self, name: str) -> str:
        """The identifier of an object, with the host."""
        return f"drs://{self.netloc}/{object_id_of(name)}"

    def manifest(self, folder: Path, *, names: Sequence[str] | None = None) -> Path:
        """A manifest of all objects, as the portals write it."""
        lines = ["name,drs_uri,study_short_name,participant_id,Md5sum"]
        chosen = [self._by_name[name] for name in names] if names is not None else self.objects
        for each in chosen:
            digits = {item["type"]: item["checksum"] for item in each.record["checksums"]}
            lines.append(f"{each.name},{self.uri(each.name)},DEMO,DC-01,{digits.get('md5', '')}")
        path = folder / "manifest.csv"
        path.write_text("\r\n".join(lines))
        return path

    def key_file(self, folder: Path, key: str | None = None) -> Path:
        """The key file of the user."""
        path = folder / "credentials.json"
        path.write_text(json.dumps({"api_key": key or self.key, "key_id": "4e0c"}))
        path.chmod(0o600)
        return path

    def choice(self, folder: Path, *, with_key: bool = True) -> ArchiveChoice:
        """The default archive, with a profile for this data commons."""
        key = self.key_file(folder) if with_key else None
        profiles = {"testing": f"drs+{self.url}"}
        return reach("nbia", profiles=profiles, cache=folder / "cache", gen3_credentials=key, agrees=True)

    def requested(self, kind: str) -> list[Seen]:
        """The requests to the data commons whose path contains `kind`."""
        return [seen for seen in self.commons.requests if kind in seen.path]

    # --- the data commons ---------------------------------------------------------------------------------------------

    def _commons(self, seen: Seen) -> Action:
        path = unquote(seen.path).strip("/")
        if path.startswith("user/credentials/") and path.endswith("/access_token"):
            return self._exchange(seen)
        head, _, rest = path.partition("objects/")
        object_id, _, access_id = rest.partition("/access/")
        found = self._by_id.get(object_id)
        if head != "ga4gh/drs/v1/" or found is None:
            return _refusal(404, "no record found")
        if not access_id:
            return answer_json(json.dumps({"id": object_id, **found.record}))
        return self._sign(seen, found)

    def _exchange(self, seen: Seen) -> Action:
        is_json = "json" in seen.headers.get("content-type", "")
        given = json.loads(seen.body)["api_key"] if is_json else parse_qs(seen.body.decode())["api_key"][0]
        if self.refuses_key or given != self.key:
            return _refusal(401, f"the key {given} has been revoked")
        token = jwt(exp=int(time.time()) + self.token_seconds, jti=f"TOKEN-{next(self._numbers)}")
        self.tokens.append(token)
        return answer_json(json.dumps({"access_token": token}))

    def _sign(self, seen: Seen, found: CommonsObject) -> Action:
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or token in self.dead:
            return _refusal(401, f"authentication error: {token or 'no token'}")
        if found.name in self.denied:
            return _refusal(403, "You don't have access permission on this file: phs004225")
        signature = hashlib.sha256(f"signature {next(self._numbers)}".encode()).hexdigest()
        self.signatures.append(signature)
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=TEST%2Fs3%2Faws4_request"
            f"&X-Amz-Date={time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}&X-Amz-Expires={self.url_seconds}"
            f"&X-Amz-Signature={signature}"
        )
        return answer_json(json.dumps({"url": f"{self.store.url}controlled/{found.name}?{query}"}))

    # --- the store ----------------------------------------------------------------------------------------------------

    def _store(self, seen: Seen) -> Action:
        signature = seen.query.get("X-Amz-Signature", "")
        if "authorization" in seen.headers or signature not in self.signatures or "%2Fs3%2F" not in seen.target:
            return _s3_error("SignatureDoesNotMatch", f"not the signature {signature}")
        if signature in self.dead:
            return _s3_error("AccessDenied", "Request has expired")
        found = self._by_name[unquote(seen.path).rpartition("/")[2]]
        tag = f'"{hashlib.sha256(found.content).hexdigest()[:16]}-2"'
        asked = seen.headers.get("range", "").removeprefix("bytes=")
        if not asked:
            return answer(found.content, headers={"ETag": tag})
        first, _, last = asked.partition("-")
        start, end = int(first), min(int(last or len(found.content)) + 1, len(found.content))
        headers = {"ETag": tag, "Content-Range": f"bytes {start}-{end - 1}/{len(found.content)}"}
        return answer(found.content[start:end], status=206, headers=headers)


def _refusal(status: int, text: str) -> Action:
    return answer(
        json.dumps({"msg": text, "status_code": status}).encode(),
        status=status,
        headers={"Content-Type": "application/json"},
    )


def _s3_error(code: str, message: str) -> Action:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return answer(body.encode(), status=403, headers={"Content-Type": "application/xml"})
