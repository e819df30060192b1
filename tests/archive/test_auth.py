"""Logins against a server that keeps time by a clock of the test: tokens of two seconds, and both ways of refusing."""

from __future__ import annotations

import asyncio
import json as jsons
import pickle
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from bulkdl.archive.auth import GUEST, Token, Tokens
from bulkdl.archive.http import HttpClient
from bulkdl.archive.nbia.archive import NbiaArchive
from bulkdl.archive.nbia.endpoints import NBIA_V2, NBIA_V4, TCIA_V3
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Identity, Request
from bulkdl.archive.transports import open_transport
from bulkdl.errors import AccessDenied, ArchiveRefused, BulkdlError, RequestRejected, ServerFailed, UnexpectedAnswer
from bulkdl.model.access import Access, Credentials
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter
from tests.support.clocks import JumpingClock
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer, drop, json, raw, redirect

DATA = Path(__file__).parents[1] / "data" / "answers"
LIFE_SECONDS = 2.0
ME = Credentials(username="me", password="p&ss word")  # noqa: S106 - made up
ROWS = '[{"SOPInstanceUID":"1.2.3"}]'
SERIES = SeriesUid("1.2")


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keycloak:
    """What a server knows of logins: the forms it was sent, and the tokens that it gave, each until when."""

    def __init__(self, clock: Clock, *, life_seconds: float = LIFE_SECONDS, refreshes: bool = True) -> None:
        self.clock = clock
        self.forms: list[dict[str, str]] = []
        self.tokens: dict[str, float] = {}
        self.life_seconds = life_seconds
        self.refreshes = refreshes

    async def post(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        del path
        await asyncio.sleep(0)  # so that others get their turn while this one waits
        self.forms.append(dict(form))
        if form["grant_type"] == "refresh_token" and not self.refreshes:
            return 400, (DATA / "token_401.json").read_bytes()
        if form["grant_type"] == "password" and form["username"] == "me" and form["password"] != ME.password:
            return 401, (DATA / "token_401.json").read_bytes()
        token = f"token-{len(self.forms)}"
        self.tokens[token] = self.clock() + self.life_seconds
        told = {"access_token": token, "refresh_token": f"refresh-{token}", "expires_in": self.life_seconds}
        return 200, jsons.dumps(told).encode()

    @property
    def grants(self) -> list[str]:
        return [form["grant_type"] for form in self.forms]

    def accepts(self, seen: Seen) -> bool:
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        return self.clock() < self.tokens.get(token, 0)


def tokens(keycloak: Keycloak, credentials: Credentials = ME) -> Tokens:
    return Tokens(credentials, keycloak.post, clock=keycloak.clock)


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_however_many_wait_there_is_one_login() -> None:
    keycloak = Keycloak(Clock())
    mine = tokens(keycloak)
    found = await asyncio.gather(*(mine.current() for _ in range(50)))
    assert {token.value for token in found} == {"token-1"}
    assert keycloak.grants == ["password"]


async def test_a_token_is_renewed_before_it_expires() -> None:
    keycloak = Keycloak(Clock())
    mine = tokens(keycloak)
    first = await mine.current()
    keycloak.clock.now += LIFE_SECONDS * 0.7
    assert await mine.current() is first
    keycloak.clock.now += LIFE_SECONDS * 0.1
    found = await asyncio.gather(*(mine.current() for _ in range(50)))
    assert {token.value for token in found} == {"token-2"}
    assert keycloak.grants == ["password", "refresh_token"]
    assert keycloak.forms[1]["refresh_token"] == "refresh-token-1"  # noqa: S105 - made up


async def test_a_session_that_has_ended_is_begun_again_with_the_password() -> None:
    keycloak = Keycloak(Clock(), refreshes=False)
    mine = tokens(keycloak)
    await mine.current()
    keycloak.clock.now += LIFE_SECONDS
    assert (await mine.current()).value == "token-3"
    assert keycloak.grants == ["password", "refresh_token", "password"]


async def test_a_refused_token_is_replaced_once_for_all_who_were_refused() -> None:
    keycloak = Keycloak(Clock())
    mine = tokens(keycloak)
    refused = await mine.current()
    found = await asyncio.gather(*(mine.renewed(refused) for _ in range(20)))
    assert {token.value for token in found} == {"token-2"}
    assert len(keycloak.forms) == 2


async def test_a_wrong_password_is_sent_once() -> None:
    """Accounts are locked after a few."""
    keycloak = Keycloak(Clock())
    mine = tokens(keycloak, Credentials(username="me", password="wr0ng"))  # noqa: S106 - made up
    found = await asyncio.gather(*(mine.current() for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in found} == {ArchiveRefused}
    assert len(keycloak.forms) == 1
    assert not any("wr0ng" in str(error) for error in found)


async def test_the_guest_has_no_password() -> None:
    keycloak = Keycloak(Clock())
    await tokens(keycloak, Credentials()).current()
    assert (keycloak.forms[0]["username"], keycloak.forms[0]["password"]) == (GUEST, "")


async def test_the_other_address_is_tried_where_there_is_no_login_at_the_first() -> None:
    paths: list[str] = []
    keycloak = Keycloak(Clock())

    async def post(path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        paths.append(path)
        return (404, b"") if path.startswith("..") else await keycloak.post(path, form)

    mine = Tokens(ME, post, clock=keycloak.clock)
    await mine.renewed(await mine.current())
    assert paths == ["../oauth/token", "oauth/token", "oauth/token"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ArchiveRefused), (400, ArchiveRefused), (500, ServerFailed), (503, ServerFailed)]
)
async def test_a_login_that_fails_says_why_and_repeats_nothing_of_the_answer(
    status: int, kind: type[BulkdlError]
) -> None:
    async def post(_path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        return status, form["password"].encode()

    with pytest.raises(kind) as caught:
        await Tokens(ME, post).current()
    assert "me" in str(caught.value)
    assert str(ME.password) not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"access_token":1}',
        b'{"access_token":null}',
        b'{"access_token":""}',
        b'{"access_token":"a\\r\\nb"}',
        b'{"access_token":"a b"}',
        b"[" * 100_000,
        b"\xff",
    ],
    ids=range(12),
)
async def test_a_response_without_a_token_fails_the_login(body: bytes) -> None:
    async def post(_path: str, _form: Mapping[str, str]) -> tuple[int, bytes]:
        return 200, body

    with pytest.raises(UnexpectedAnswer):
        await Tokens(ME, post).current()


@pytest.mark.parametrize("life", ['"7200"', "7200", "7200.5"])
async def test_the_documented_answer_is_read(life: str) -> None:
    text = (DATA / "token_200.json").read_text().replace("7200", life)

    async def post(_path: str, _form: Mapping[str, str]) -> tuple[int, bytes]:
        return 200, text.encode()

    token = await Tokens(ME, post).current()
    assert token.value == "eyJhbGciOiJSUzI1NiJ9.EXAMPLE.EXAMPLE"
    assert int(token.lifetime_seconds) == 7200


@pytest.mark.parametrize("life", ["", ',"expires_in":null', ',"expires_in":"soon"', ',"expires_in":-1'])
async def test_a_token_of_unknown_life_is_used_for_a_while(life: str) -> None:
    async def post(_path: str, _form: Mapping[str, str]) -> tuple[int, bytes]:
        return 200, f'{{"access_token":"t"{life}}}'.encode()

    assert 60 < (await Tokens(ME, post).current()).lifetime_seconds < 1000


def test_secrets_are_in_no_representation() -> None:
    shown = repr(Access(credentials=Credentials(api_key="s3cret", username="me", password="s3cret")))  # noqa: S106 - made up
    shown += repr(Token("s3cret", "s3cret", 0, 1))
    assert "s3cret" not in shown
    assert "me" in shown


def test_credentials_travel_to_worker_processes() -> None:
    assert pickle.loads(pickle.dumps(Access(credentials=ME))).credentials == ME  # noqa: S301 - our own bytes


# --- the client -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def sending(
    server: FaultyServer, credentials: Credentials, *, clock: Clock | None = None, base: str = "services/"
) -> AsyncIterator[HttpClient]:
    policy = RetryPolicy(max_attempts=2, give_up_after_seconds=0, chance=lambda: 0.0)
    retrier = Retrier(limiter=Limiter(ceiling=16), policy=policy, stop=asyncio.Event())
    access = Access(credentials=credentials)
    async with open_transport(access) as transport:
        http = HttpClient(server.url + base, transport, retrier, access, clock=clock or time.monotonic)
        yield http
        await http.log_out()


@asynccontextmanager
async def asking(
    server: FaultyServer, kind: str, credentials: Credentials, *, clock: Clock | None = None, base: str = "services/"
) -> AsyncIterator[NbiaArchive]:
    async with sending(server, credentials, clock=clock, base=base) as http:
        yield NbiaArchive(Profile("x", server.url + base, kind), http)


async def listed(archive: NbiaArchive) -> list[str]:
    """The keys that a list gives."""
    return [entry.key for entry in (await archive.list(Series(series_uid=SERIES))).entries]


def serving(keycloak: Keycloak, refusal: Action, rows: Action | None = None) -> Callable[[Seen], Action]:
    """A script that gives tokens, answers who brings a good one, and refuses others."""

    def script(seen: Seen) -> Action:
        if seen.path.endswith("/oauth/token"):

            async def log_in(exchange: Exchange) -> None:
                form = {
                    name: values[0] for name, values in parse_qs(seen.body.decode(), keep_blank_values=True).items()
                }
                status, body = await keycloak.post(seen.path, form)
                await answer(body, status=status, headers={"Content-Type": "application/json"})(exchange)

            return log_in
        return (rows or json(ROWS)) if keycloak.accepts(seen) else refusal

    return script


BY_STATUS = answer(status=401)
BY_NOTHING = answer()


@pytest.mark.parametrize("refusal", [BY_STATUS, BY_NOTHING], ids=["401", "empty"])
async def test_tokens_of_two_seconds_are_enough_for_hundreds_of_questions(refusal: Action) -> None:
    clock = Clock()
    keycloak = Keycloak(clock)
    async with (
        FaultyServer(serving(keycloak, refusal)) as server,
        asking(server, "nbia-v2", ME, clock=clock) as client,
    ):
        for _ in range(20):
            found = await asyncio.gather(*(listed(client) for _ in range(10)))
            assert all(len(uids) == 1 for uids in found)
            clock.now += 0.9
    assert len(keycloak.forms) <= 20


@pytest.mark.parametrize("refusal", [BY_STATUS, BY_NOTHING], ids=["401", "empty"])
async def test_a_session_that_the_server_forgot_is_noticed(refusal: Action) -> None:
    """It was restarted, say, or its clock goes faster."""
    clock = Clock()
    keycloak = Keycloak(clock)
    async with (
        FaultyServer(serving(keycloak, refusal)) as server,
        asking(server, "nbia-v2", ME, clock=clock) as client,
    ):
        assert len(await listed(client)) == 1
        keycloak.tokens.clear()
        clock.now += LIFE_SECONDS * 0.6
        assert len(await listed(client)) == 1
    assert keycloak.grants == ["password", "refresh_token"]


async def test_an_empty_answer_to_a_fresh_token_is_accepted() -> None:
    keycloak = Keycloak(Clock())
    async with (
        FaultyServer(serving(keycloak, BY_STATUS, rows=BY_NOTHING)) as server,
        asking(server, "nbia-v2", ME, clock=keycloak.clock) as client,
    ):
        assert await listed(client) == []
        keycloak.clock.now += LIFE_SECONDS * 0.6
        assert await listed(client) == []
        assert await listed(client) == []
    assert len(keycloak.forms) == 2


async def test_access_that_stays_refused_ends_after_one_new_token() -> None:
    keycloak = Keycloak(Clock())
    async with (
        FaultyServer(serving(keycloak, BY_STATUS, rows=BY_STATUS)) as server,
        asking(server, "nbia-v2", ME, clock=keycloak.clock) as client,
    ):
        with pytest.raises(AccessDenied):
            await listed(client)
    assert len(keycloak.forms) == 2


async def test_after_a_new_token_that_is_refused_too_none_is_asked_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the objects that are refused. And the refused requests leave no connections."""
    later, keycloak = JumpingClock(monkeypatch), Keycloak(Clock(), life_seconds=3600)
    async with (
        FaultyServer(serving(keycloak, BY_STATUS, rows=BY_STATUS)) as server,
        asking(server, "nbia-v2", ME, clock=keycloak.clock) as client,
    ):
        for seconds, logins in ((0, 2), (29, 2), (2, 3)):
            later.jump(seconds)
            for _ in range(2):
                with pytest.raises(AccessDenied):
                    await listed(client)
            assert len(keycloak.forms) == logins
        assert server.open_connections == 1


async def test_a_refusal_of_another_host_says_nothing_of_the_token() -> None:
    keycloak = Keycloak(Clock())
    async with (
        FaultyServer(lambda _: BY_STATUS) as elsewhere,
        FaultyServer(serving(keycloak, BY_STATUS, rows=redirect(f"{elsewhere.url}x"))) as server,
        asking(server, "nbia-v2", ME, clock=keycloak.clock) as client,
    ):
        with pytest.raises(UnexpectedAnswer, match="to which the archive redirected, answered 401"):
            await listed(client)
    assert len(keycloak.forms) == 1


@pytest.mark.parametrize("is_whole", [False, True], ids=["rows", "whole"])
async def test_an_answer_to_an_old_token_is_believed(*, is_whole: bool) -> None:
    keycloak = Keycloak(Clock())
    async with (
        FaultyServer(serving(keycloak, BY_STATUS)) as server,
        sending(server, ME, clock=keycloak.clock) as client,
    ):
        for _ in range(2):
            question = Request("a question", "v2/getSOPInstanceUIDs", identity=Identity.TOKEN)
            if is_whole:
                assert (await client.read(question))[1].decode() == ROWS
            else:
                assert [rows async for rows in client.rows(question)] == [jsons.loads(ROWS)]
            keycloak.clock.now += LIFE_SECONDS * 0.6
    assert len(keycloak.forms) == 1


@pytest.mark.parametrize("is_reason", [False, True], ids=["text", "reason"])
async def test_a_message_of_the_archive_that_repeats_the_token_is_shown_without_it(*, is_reason: bool) -> None:
    keycloak = Keycloak(Clock())

    def refuse(seen: Seen) -> Action:
        token = seen.headers["authorization"].removeprefix("Bearer ")
        if is_reason:
            return raw(f"HTTP/1.1 400 not with {token} here\r\nContent-Length: 0\r\n\r\n".encode())
        return answer(f"not with {token} here".encode(), status=400)

    script = serving(keycloak, BY_STATUS)
    async with (
        FaultyServer(lambda seen: refuse(seen) if "authorization" in seen.headers else script(seen)) as server,
        asking(server, "nbia-v2", ME, clock=keycloak.clock) as client,
    ):
        with pytest.raises(RequestRejected, match="not with … here"):
            await listed(client)


@pytest.mark.parametrize("way", ["dropped", "silent"])
async def test_a_logout_that_fails_changes_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, keycloak = JumpingClock(monkeypatch), Keycloak(Clock())
    script = serving(keycloak, BY_STATUS)
    fault = drop() if way == "dropped" else clock.stall(5)
    async with FaultyServer(lambda seen: fault if seen.path == "/services/logout" else script(seen)) as server:
        async with asking(server, "nbia-v2", ME, clock=keycloak.clock) as client:
            await listed(client)
        assert server.requests[-1].path == "/services/logout"


async def test_an_old_token_that_is_answered_with_500_is_renewed() -> None:
    clock = Clock()
    keycloak = Keycloak(clock)
    refusal = answer(b"Server was not able to process your request\nnull", status=500)
    async with (
        FaultyServer(serving(keycloak, refusal)) as server,
        asking(server, "nbia-v4", ME, clock=clock) as client,
    ):
        await listed(client)
        keycloak.tokens.clear()
        clock.now += LIFE_SECONDS * 0.6
        assert len(await listed(client)) == 1


async def test_one_logs_out_at_the_end_but_not_the_guest() -> None:
    for credentials, times in ((ME, 1), (Credentials(), 0)):
        keycloak = Keycloak(Clock())
        async with FaultyServer(serving(keycloak, BY_STATUS)) as server:
            async with asking(server, "nbia-v2", credentials, clock=keycloak.clock) as client:
                await listed(client)
            logouts = [seen for seen in server.requests if seen.path == "/services/logout"]
        assert len(logouts) == times
        assert all(seen.headers["authorization"] == "Bearer token-1" for seen in logouts)


async def test_v4_asks_as_a_guest_without_a_token() -> None:
    async with (
        FaultyServer(lambda _: json(ROWS)) as server,
        asking(server, "nbia-v4", Credentials()) as client,
    ):
        await listed(client)
        assert [seen.path for seen in server.requests] == ["/services/v4/getSOPInstanceUIDs"]
        assert "authorization" not in server.requests[0].headers


async def test_v1_never_gets_credentials() -> None:
    async with FaultyServer(lambda _: json(ROWS)) as server:
        async with asking(server, "nbia-v1", Credentials(api_key="k", username="me", password="p")) as client:  # noqa: S106 - made up
            await listed(client)
        assert len(server.requests) == 1
        assert not {"authorization", "api_key"} & server.requests[0].headers.keys()


async def test_the_token_and_the_key_stay_at_home() -> None:
    keycloak = Keycloak(Clock())
    async with FaultyServer(lambda _: json(ROWS)) as elsewhere:
        away = redirect(f"{elsewhere.url}x", status=307)
        async with (
            FaultyServer(serving(keycloak, BY_STATUS, rows=away)) as server,
            asking(server, "nbia-v2", ME, clock=keycloak.clock) as client,
        ):
            await listed(client)
            assert "authorization" in server.requests[-1].headers
        async with (
            FaultyServer(lambda _: away) as server,
            asking(server, "tcia-v3", Credentials(api_key="k3y")) as client,
        ):
            await listed(client)
            assert server.requests[-1].headers["api_key"] == "k3y"
        assert len(elsewhere.requests) == 2
        for seen in elsewhere.requests:
            assert not {"authorization", "api_key"} & seen.headers.keys()
            assert "k3y" not in seen.target


async def test_a_login_is_not_sent_on() -> None:
    """A redirect of the token's address would send the password to another server."""
    async with (
        FaultyServer(lambda _: json(ROWS)) as elsewhere,
        FaultyServer(lambda _: redirect(elsewhere.url, status=307)) as server,
        asking(server, "nbia-v2", ME) as client,
    ):
        with pytest.raises(BulkdlError):
            await listed(client)
        assert elsewhere.requests == []


async def test_the_key_goes_into_the_query_if_so_asked() -> None:
    credentials = Credentials(api_key="k 3y", is_key_in_query=True)
    async with FaultyServer(lambda _: json(ROWS)) as server, asking(server, "tcia-v3", credentials) as client:
        await listed(client)
        assert server.requests[0].query["api_key"] == "k 3y"
        assert "api_key" not in server.requests[0].headers


@pytest.mark.parametrize("told", ["no key s3cret/x here", "no key s3cret%2Fx here"])
async def test_a_message_of_the_archive_that_repeats_the_key_is_shown_without_it(told: str) -> None:
    async with (
        FaultyServer(lambda _: answer(told.encode(), status=403)) as server,
        asking(server, "tcia-v3", Credentials(api_key="s3cret/x")) as client,
    ):
        with pytest.raises(AccessDenied) as caught:
            await listed(client)
    assert "no key … here" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        (None, "; an API key may be needed: give --api-key or set BULKDL_API_KEY"),
        ("a-wrong-key", "; the archive may not accept this API key"),
    ],
    ids=["no key", "a wrong key"],
)
async def test_a_refusal_says_what_to_do_about_the_key(key: str | None, advice: str) -> None:
    async with (
        FaultyServer(lambda _: answer(status=401)) as server,
        asking(server, "tcia-v3", Credentials(api_key=key)) as client,
    ):
        with pytest.raises(AccessDenied) as caught:
            await listed(client)
    assert str(caught.value) == f"the archive answered 401 Unauthorized{advice}"


@pytest.mark.parametrize(
    ("kind", "credentials", "advice"),
    [
        ("nbia-v2", Credentials(), "; if this is restricted, log in with --username"),
        ("nbia-v2", ME, ""),
        ("nbia-v1", Credentials(), ""),
    ],
    ids=["a guest", "a user", "without logins"],
)
async def test_a_refusal_says_what_to_do_about_the_login(kind: str, credentials: Credentials, advice: str) -> None:
    keycloak = Keycloak(Clock())
    async with (
        FaultyServer(serving(keycloak, BY_STATUS, rows=BY_STATUS)) as server,
        asking(server, kind, credentials, clock=keycloak.clock) as client,
    ):
        with pytest.raises(AccessDenied) as caught:
            await listed(client)
    assert str(caught.value) == f"the archive answered 401 Unauthorized{advice}"


# --- forms ------------------------------------------------------------------------------------------------------------


async def test_many_series_are_asked_for_in_one_form() -> None:
    async with (
        FaultyServer(lambda _: answer((DATA / "nbia_v4_getSeries.json").read_bytes())) as server,
        asking(server, "nbia-v4", Credentials()) as client,
    ):
        uids = tuple(SeriesUid(f"1.2.{number}") for number in range(1999))
        known = SeriesUid("1.3.6.1.4.1.14519.5.2.1.9999.1001.226690874513370918842267715043")
        async with aclosing(client.find(Selection(series=(known, *uids)))) as batches:
            found = [series async for batch in batches for series in batch.series]
        (seen,) = server.requests
        assert (seen.method, seen.target) == ("POST", "/services/v4/getSeriesMetadata")
        assert parse_qs(seen.body.decode()) == {"list": [",".join((known, *uids))], "format": ["json"]}
        assert found[0].image_count == 3


async def test_a_form_is_a_question_like_any_other() -> None:
    async with (
        FaultyServer(lambda _: answer(b"d" * 32)) as server,
        asking(server, "nbia-v4", Credentials()) as client,
    ):
        parameters = (("list", "1"), ("list", "2"), ("includeAnnotation", "false"))
        await client.query(NBIA_V4["getManifestText"], parameters)
        assert server.requests[0].body == b"list=1&list=2&includeAnnotation=false"
        assert await client.series_checksum(SERIES) is not None
        assert parse_qs(server.requests[1].body.decode()) == {"SeriesInstanceUID": ["1.2"]}


async def test_v3_tells_of_its_endpoints_itself() -> None:
    async with (
        FaultyServer(lambda _: json("{}")) as server,
        asking(server, "tcia-v3", Credentials(api_key="k"), base="services/v3/") as client,
    ):
        assert await client.metadata(TCIA_V3["getSeries"]) == ("application/json", b"{}")
        assert server.requests[0].target == "/services/v3/TCIA/query/getSeries/metadata"
        assert server.requests[0].headers["api_key"] == "k"
    async with FaultyServer(lambda _: json("{}")) as server, asking(server, "nbia-v2", ME) as client:
        assert await client.metadata(NBIA_V2["getSeries"]) is None


@pytest.mark.parametrize("name", ["v3_error_500", "v3_error_471_missing_param"])
async def test_an_error_with_the_status_of_a_success_is_not_a_row(name: str) -> None:
    """As a row it would be skipped, and the list would seem to be empty."""
    async with (
        FaultyServer(lambda _: json((DATA / f"{name}.json").read_text())) as server,
        asking(server, "tcia-v3", Credentials()) as client,
    ):
        with pytest.raises(UnexpectedAnswer, match="answered with an error"):
            await listed(client)


@pytest.mark.parametrize("nothing", [b"", b"[]", b"null"])
async def test_a_text_that_is_nothing_is_asked_for_again_with_a_fresh_token(nothing: bytes) -> None:
    clock = Clock()
    keycloak = Keycloak(clock)
    async with (
        FaultyServer(serving(keycloak, answer(nothing), rows=answer(b"d" * 32))) as server,
        asking(server, "nbia-v2", ME, clock=clock) as client,
    ):
        assert await client.series_checksum(SERIES) is not None
        keycloak.tokens.clear()
        clock.now += LIFE_SECONDS * 0.6
        assert await client.series_checksum(SERIES) is not None
