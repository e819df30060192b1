"""The index page for people who open the address in a browser: what is served, and through which endpoints.

It shows what a guest may see. The differences from the real archives are documented here only.
"""

from __future__ import annotations

from html import escape
from typing import Final

from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.server.catalogue.view import CatalogueView
from bulkdl.server.nbia.apis import APIS, SERVICES_PATH, Api, Credential
from bulkdl.server.nbia.quirks import Quirk

_MAX_COLLECTIONS: Final = 1_000

_CREDENTIALS: Final = {
    Credential.NONE: "Takes no login: every client is the guest.",
    Credential.KEY: "Takes an API key, as header or parameter api_key, if the server has keys.",
    Credential.TOKEN: (
        "Takes a login: POST username, password and grant_type=password to /nbia-api/oauth/token, then send "
        "Authorization: Bearer TOKEN. The guest, nbia_guest, needs no password."
    ),
    Credential.OPTIONAL_TOKEN: "Takes a login. Without one, the client is the guest.",
}

DIFFERENCES: Final = tuple(
    " ".join(text.split())
    for text in """
A missing, invalid or expired token is answered with 401 everywhere. The real NBIA answers most searches with an empty
200, which looks like an archive without data; the quirk empty-token does the same.

Instances have a length, ETag and Last-Modified, and support Range and If-Range. Downloads from the real archives cannot
be resumed; the quirk no-content-length removes all of this.

XML and HTML are escaped, CSV fields are quoted if necessary, and blanks in XML names become underscores. TCIA v3
escapes nothing, and NBIA's XML with such names cannot be parsed.

getSOPInstanceUIDs, getSeriesSize and checksums hide restricted Collections. The real servers do not.

An empty first column in CSV still begins with a quote. The real rows are malformed there.

A date in a 13th month matches nothing. Java continues into the next year.

An unknown grant_type or an unreadable form is answered with 400. The real server answers 500.

Other web sites cannot read answers, because there is no Access-Control-Allow-Origin. This protects data that is served
on a local machine.

Not available are getKeycloakParams, which reveals a password to everyone, user administration (NBIA v3), getCartData,
and the download servlet of the NBIA Data Retriever.

A thumbnail needs numpy and Pillow, which bulkdl[pixels] installs. Without them the answer is 400, as it is on the real
archives for instances that they cannot decode. It is also 400 if no installed decoder survives corrupt frames, for
example for lossless JPEG.

Pixel spacing and slice thickness are those of one instance. They are empty, and a search for them finds nothing, for
images that state them for each frame, and in a mirror, whose journal does not contain them.

A Series is new since its release date, or, if that is unknown, since it was written to disk.

A shared list of which a user may see no Series does not exist for that user, who may use its name for another list.
""".strip().split("\n\n")
)
"""Differences from the real archives, with the reason or the alternative."""


def index_page(view: CatalogueView, origin: str) -> str:
    """The page in HTML. `origin` is the address that the browser used."""
    totals = view.totals()
    collections = []
    for name in view.collections()[:_MAX_COLLECTIONS]:
        about = view.about(name)
        texts = [about.description, about.citation, about.license_name]
        collections.append(f"<li><b>{escape(name)}</b><br>{'<br>'.join(escape(text) for text in texts if text)}</li>")
    differences = "".join(f"<li>{escape(text)}</li>" for text in DIFFERENCES)
    quirks = "".join(f"<li><code>{quirk.value}</code>: {escape(quirk.description)}</li>" for quirk in Quirk)
    return (
        "<!DOCTYPE html><html lang='en'><head><title>bulkdl archive</title></head><body><h1>A bulkdl archive</h1>"
        f"<p>{totals.collections:,} Collections, {totals.patients:,} Patients, {totals.series:,} Series, "
        f"{totals.instances:,} instances, {totals.size_bytes:,} bytes, served through the APIs of TCIA and NBIA. "
        f"Mirror it with <code>bulkdl mirror --archive {escape(origin)}{SERVICES_PATH} --everything --to DIR</code>."
        "</p>"
        f"<h2>Collections</h2><ul>{''.join(collections)}</ul>"
        f"<h2>Endpoints</h2>{''.join(map(_family, APIS))}"
        f"<h2>What differs from the real archives</h2><ul>{differences}</ul>"
        f"<p>Quirks of the real archives, for testing clients, are switched on with --quirks:</p><ul>{quirks}</ul>"
        "</body></html>"
    )


def _family(api: Api) -> str:
    endpoints = "".join(_endpoint(api, endpoint) for endpoint in api.endpoints.values())
    return f"<h3>{escape(api.title)}</h3><p>{_CREDENTIALS[api.credential]}</p><ul>{endpoints}</ul>"


def _endpoint(api: Api, endpoint: Endpoint) -> str:
    parameters = "&".join(f"{p.name}{'0' if p.is_numbered else ''}=…" for p in endpoint.parameters)
    address = api.base + endpoint.path
    if endpoint.method == "GET":
        shown = escape(f"{address}?{parameters}" if parameters else address)
        is_open = api.credential in {Credential.NONE, Credential.OPTIONAL_TOKEN} and not endpoint.required
        linked = f'<a href="{escape(address)}">{shown}</a>' if is_open else shown
    else:
        linked = escape(f"{endpoint.method} {address}" + (f" with {parameters}" if parameters else ""))
    return f"<li><code>{linked}</code><br>{escape(endpoint.description)}</li>"
