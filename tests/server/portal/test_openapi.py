"""The OpenAPI document has every endpoint of the tables, and the forms of the page send what they say."""

from __future__ import annotations

import html
import re

import pytest

from bulkdl.server.nbia.apis import APIS
from tests.support.served import Served


async def test_has_every_endpoint_with_its_parameters(portal: Served) -> None:
    document = (await portal.ask("/openapi.json")).document
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": portal.origin}]
    for api in APIS:
        for endpoint in api.endpoints.values():
            operation = document["paths"][api.base + endpoint.path][endpoint.method.lower()]
            if endpoint.method == "GET":
                names = {one["name"] for one in operation["parameters"]}
            else:
                ((_, content),) = operation["requestBody"]["content"].items()
                names = {name.rstrip("0") for name in content["schema"]["properties"]}
            assert {one.name for one in endpoint.parameters} <= names
    identifiers = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(identifiers)) == len(identifiers)


async def test_the_page_has_a_form_for_each_that_works(portal: Served) -> None:
    page = (await portal.ask("/api-docs")).body.decode()
    forms = re.findall(r'<form class="try" action="([^"]*)" method="(\w+)">', page)
    assert len(forms) == sum(len(api.endpoints) for api in APIS)
    assert "A missing, invalid or expired token is answered with 401 everywhere." in html.unescape(page)
    assert "empty-token" in page
    assert (await portal.ask("/nbia-api/services/v1/getSeries", params={"format": "JSON"})).status == 200


@pytest.mark.parametrize("topic", ["", "serve", "options", "quickstart.md", "report.png", "progress.svg"])
async def test_the_documentation_is_served(portal: Served, topic: str) -> None:
    answer = await portal.ask(f"/help/{topic}")
    assert answer.status == 200
    assert answer.kind.startswith({"png": "image/png", "svg": "image/svg+xml"}.get(topic[-3:], "text/html"))


async def test_the_pictures_of_the_documentation_are_on_its_pages(portal: Served) -> None:
    page = (await portal.ask("/help/progress")).body.decode()
    assert re.findall('<img src="(/help/[^"]*)"', page) == ["/help/progress.svg", "/help/progress-narrow.svg"]


@pytest.mark.parametrize("topic", ["none", "..%2fserve", "%3Cb%3E", "x.png"])
async def test_other_help_topics_do_not_exist(portal: Served, topic: str) -> None:
    assert (await portal.ask(f"/help/{topic}")).status == 404


async def test_health_says_what_is_served(portal: Served) -> None:
    answer = await portal.ask("/health")
    assert answer.document["status"] == "ok"
    assert answer.document["series"] == 5
