"""The pages over real sockets: every link leads somewhere, nothing hidden is shown, and hostile values stay text."""

from __future__ import annotations

import ast
import html
import json
import re
import shlex
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from bulkdl.server.catalogue import Root
from bulkdl.server.nbia.apis import SERVICES_PATH
from tests.server.portal.conftest import SECRET
from tests.support.dicom_files import instances, write_folder
from tests.support.served import Answer, Served, served

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
PART_IN_NO_CHARSET = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n'
    b"Content-Type: text/plain; charset=nonsense\r\n\r\na\r\n--x--\r\n"
)
LINK = re.compile(r'(?:href|src)="([^"]*)"')


def links(answer: Answer) -> list[str]:
    return [html.unescape(link) for link in LINK.findall(answer.body.decode())] if "html" in answer.kind else []


async def crawl(portal: Served, cookie: str = "") -> dict[str, Answer]:
    """What can be reached by links from the first page: no downloads, one filter at a time, few help pages."""
    found: dict[str, Answer] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if (
            path in found
            or not path.startswith("/")
            or re.match(r"/download|/search\?.*&|/help/[d-z]|/series\?.*#", path)
        ):
            continue
        found[path] = await portal.ask(path, headers={"Cookie": cookie} if cookie else None)
        waiting += links(found[path])
    return found


async def test_every_link_leads_to_a_page_that_runs_nothing_from_elsewhere(portal: Served) -> None:
    found = await crawl(portal)
    assert {path: answer.status for path, answer in found.items() if answer.status != 200} == {}
    assert {path.partition("?")[0] for path in found} >= {"/instance", "/series", "/study", "/patient", "/collection"}
    ours = {path: answer for path, answer in found.items() if not path.startswith(SERVICES_PATH)}
    for path, answer in ours.items():
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"]
        assert path.startswith("/help/") or not [link for link in links(answer) if re.match(r"(?i)[a-z]+:|//", link)]
    pages = {path: answer.body.decode() for path, answer in ours.items() if "html" in answer.kind}
    assert any("&lt;script&gt;alert(1)" in page for page in pages.values())
    for path, page in pages.items():
        scripts = re.findall(r"<script[^>]*>", page)
        assert set(scripts) <= {f'<script type="module" src="/static/{name}.js">' for name in ("portal", "viewer")}, (
            path
        )
        assert not re.search(r"<[^>\"]*(?:\"[^\"]*\"[^>\"]*)*\son\w+=", page), path
        assert "javascript:" not in page
        assert "}}49" not in page


async def test_a_restricted_collection_is_hidden_until_its_user_logs_in(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection=SECRET)
    hidden = [f"/collection?name={SECRET}", f"/series?uid={uid}", f"/instance?series={uid}", f"/picture?series={uid}"]
    for path in (
        *hidden,
        "/",
        "/search",
        "/search?q=chest",
        f"/instances?series={uid}",
        "/help/",
        "/api-docs",
        "/health",
    ):
        as_guest = await portal.ask(path)
        assert SECRET.encode() not in as_guest.body
        assert as_guest.kind != "image/png"
    assert b"<strong>0 series</strong>" in (await portal.ask("/search", params={"collection": SECRET})).body
    form = {"username": "alice", "password": "open sesame"}
    refused = await portal.ask("/login", method="POST", data=form | {"password": "x"})
    assert (refused.status, "Set-Cookie" in refused.headers) == (401, False)
    answer = await portal.ask("/login", method="POST", data=form)
    cookie = SimpleCookie(answer.headers["Set-Cookie"])["bulkdl_session"]
    assert (answer.status, cookie["httponly"], cookie["samesite"]) == (303, True, "Strict")
    sent = {"Cookie": f"bulkdl_session={cookie.value}"}
    assert [(await portal.ask(path, headers=sent)).status for path in hidden] == [200] * 4
    assert (await portal.ask(hidden[-1], headers=sent)).kind == "image/png"
    token = {"Authorization": f"Bearer {cookie.value}"}
    assert SECRET.encode() in (await portal.ask("/", headers=token)).body
    await portal.ask("/logout", method="POST", headers=sent)
    assert SECRET.encode() not in (await portal.ask("/", headers=sent)).body


async def test_forms_of_other_sites_are_refused(portal: Served) -> None:
    for sent in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
    ):
        for path in ("/login", "/logout", "/cart", "/fetch"):
            assert (await portal.ask(path, method="POST", headers=sent, data={})).status == 403


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"username=\xff\xfe", "application/x-www-form-urlencoded"),
        (b"username=a", "application/x-www-form-urlencoded; charset=nonsense"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n--x--", "multipart/form-data"),
        (PART_IN_NO_CHARSET, "multipart/form-data; boundary=x"),
    ],
    ids=["bytes", "charset", "broken-parts", "no-boundary", "charset-of-a-part"],
)
async def test_a_form_that_cannot_be_read_is_refused(portal: Served, body: bytes, kind: str) -> None:
    for path in ("/login", "/logout", "/cart", "/fetch"):
        answer = await portal.ask(path, method="POST", data=body, headers={"Content-Type": kind})
        assert (answer.status, answer.body) == (400, b"The form cannot be read.")


async def test_the_printed_address_leads_browsers_to_the_pages_and_others_to_what_they_know(portal: Served) -> None:
    for path in (SERVICES_PATH, f"{SERVICES_PATH}/"):
        browser = await portal.ask(path, headers=BROWSER)
        assert (browser.status, browser.headers["Location"]) == (303, "/")
        for method, sent in (("GET", {}), ("POST", BROWSER), ("GET", {"Accept": "*/*"})):
            answer = await portal.ask(path, method=method, headers=sent)
            assert (answer.status, b"HTTP Status 404" in answer.body) == (404, True)
    unknown = await portal.ask("/nbia-search/", headers=BROWSER)
    assert b"<h1>HTTP Status 404 - Not Found</h1>" in unknown.body


@pytest.mark.parametrize(
    "path",
    [
        "/collection?name=NONE",
        "/collection",
        "/patient?collection=OPEN&id=%00",
        "/study?uid=1.2.3",
        "/study?uid=%3Cb%3E",
        "/series?uid=../../etc/passwd",
        "/instance?series=1.2.3",
        "/download?format=exe&of=search",
        "/download?format=tcia",
        "/download?format=zip&of=cart",
    ],
)
async def test_what_does_not_exist_is_a_page_that_says_so(portal: Served, path: str) -> None:
    answer = await portal.ask(path)
    assert (answer.status, b"<h1>Not found</h1>" in answer.body) == (404, True)


@pytest.mark.parametrize("value", ["-1", "9" * 40, "1e9", "x", "%00", "²", "%F0%9F"])
async def test_wild_parameters_are_answered(portal: Served, value: str) -> None:
    for path in (
        f"/search?kind={value}&number={value}&q={value}",
        f"/?after={value}",
        f"/search?year={value}&nothing={value}",
    ):
        assert (await portal.ask(path)).status == 200


async def test_the_cart_keeps_what_is_chosen_and_no_more(portal: Served) -> None:
    series = list(portal.catalogue.series_uids(collection="OPEN"))
    (hidden, *_) = portal.catalogue.series_uids(collection=SECRET)
    form = [
        ("action", "add"),
        ("next", "//elsewhere.example"),
        *(("series", uid) for uid in (*series[:2], hidden, "x")),
    ]
    answer = await portal.ask("/cart", method="POST", data=form)
    assert (answer.status, answer.headers["Location"]) == (303, "/cart")
    cookie = f"bulkdl_cart={SimpleCookie(answer.headers['Set-Cookie'])['bulkdl_cart'].value}"
    page = await portal.ask("/cart", headers={"Cookie": cookie})
    assert [uid in page.body.decode() for uid in (*series[:3], hidden)] == [True, True, False, False]
    less = await portal.ask(
        "/cart",
        method="POST",
        headers={"Cookie": cookie, "Accept": "application/json"},
        data={"action": "remove", "series": series[0]},
    )
    assert json.loads(less.body) == {"series": 1, "has": False}


async def test_a_search_by_uid_leads_to_what_has_it(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    file = portal.catalogue.files(uid)[0]
    for typed, path in ((uid, f"/series?uid={uid}"), (file.sop_uid, f"/instance?series={uid}")):
        answer = await portal.ask("/search", params={"q": typed})
        assert path in html.unescape(answer.body.decode())


async def test_the_command_and_the_line_of_python_are_whole_whatever_a_name_contains(tmp_path: Path) -> None:
    name = 'it\'s; $(touch x) `y` \\ "z" <b>'
    write_folder(tmp_path / "served", instances(series=1, per_series=1))
    async with served(Root(tmp_path / "served", name), catalogue=tmp_path / "catalogue.sqlite") as running:
        page = (await running.ask("/collection", params={"name": name})).body.decode()
    command, python, *_ = [html.unescape(code) for code in re.findall("<pre><code>(.*?)</code></pre>", page, re.DOTALL)]
    words = shlex.split(command)
    assert words[words.index("--collection") + 1] == name
    (call,) = [node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Call)]
    given = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
    assert given == {"collection": name, "archive": f"{running.origin}{SERVICES_PATH}", "to": "DIR"}


async def test_the_forms_of_the_viewer_keep_what_was_chosen_without_scripts_too(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    chosen = {"series": uid, "centre": "40", "width": "400", "tag": "Modality", "over": "1.2"}
    page = (await portal.ask("/instance", params=chosen)).body.decode()
    (search,) = re.findall(r'<form[^>]*id="tag-search".*?</form>', page, re.DOTALL)
    kept = dict(re.findall(r'name="(\w+)" value="([^"]+)"', search))
    assert kept.items() >= chosen.items()
    hostile = await portal.ask("/instance", params={**chosen, "over": '"><script>'})
    assert b"<script>" not in hostile.body
