"""The page for people who open the address in a browser: what is served, through which endpoints, and how they differ.

It shows what a guest may see. The differences from the real archives are told here, and nowhere else.
"""

from __future__ import annotations

from html import escape
from typing import Final

from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.server.catalogue.view import CatalogueView
from bulkdl.server.nbia.apis import APIS, SERVICES_PATH, Api, Credential
from bulkdl.server.nbia.quirks import Quirk

_MOST_COLLECTIONS: Final = 1_000

_ASKS: Final = {
    Credential.NONE: "Whoever asks is the guest.",
    Credential.KEY: "Takes an API key, as header or parameter api_key, where the server was given keys.",
    Credential.TOKEN: (
        "Takes a login: POST username, password and grant_type=password to /nbia-api/oauth/token, then send "
        "Authorization: Bearer TOKEN. The guest, nbia_guest, needs no password."
    ),
    Credential.OPTIONAL_TOKEN: "Takes a login, and whoever has none for the guest.",
}

DIFFERENCES: Final = tuple(
    " ".join(text.split())
    for text in """
A missing, wrong or expired token is answered 401 everywhere. The real NBIA answers most searches with an empty 200,
which looks like an archive without data; the quirk empty-token brings that back.

Instances have a length, ETag and Last-Modified, and honour Range and If-Range. The real ones cannot be resumed; the
quirk no-content-length takes all of it away.

XML and HTML are escaped, fields of CSV that need it are quoted, and XML names with blanks get underlines. TCIA v3
escapes nothing, and NBIA's XML of such names cannot be read.

getSOPInstanceUIDs, getSeriesSize and checksums show nothing of restricted Collections. The real ones do not ask.

A first column that is empty still begins with a quote in CSV. The real rows are broken there.

A day of a 13th month finds nothing. Java counts on into the next year.

An unknown grant_type is answered 400, and so are forms that cannot be read. The real one answers 500.

No other web site may read answers: there is no Access-Control-Allow-Origin. What a lab serves on its own machine is
nobody else's business.

Left out are getKeycloakParams, which tells a password to anybody, user administration (NBIA v3), getCartData, and the
download servlet of the NBIA Data Retriever.

A thumbnail needs numpy and Pillow, which bulkdl[pixels] brings. It is answered 400, like whatever the real ones cannot
draw, without these, and where no decoder is at hand that survives corrupt frames: for lossless JPEG above all.

The spacing of pixels and the thickness of slices are those of one instance. They are left empty, and a search for them
finds nothing, where images say them of each frame, and in a mirror, whose journal does not have them.

New is what was released since, or, where no release is known, what was written to disk since.

A shared list of which somebody may see no Series is none to them, and its name is free for a list of their own.
""".strip().split("\n\n")
)
"""What is not as on the real archives, and why, or what is there instead."""


def front_page(view: CatalogueView, origin: str) -> str:
    """The page, in HTML. `origin` is the address that the reader called."""
    totals = view.totals()
    collections = []
    for name in view.collections()[:_MOST_COLLECTIONS]:
        about = view.about(name)
        told = [about.description, about.citation, about.license_name]
        collections.append(f"<li><b>{escape(name)}</b><br>{'<br>'.join(escape(text) for text in told if text)}</li>")
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
        f"<p>Habits of the real ones, for tests of clients, are switched on by --quirks:</p><ul>{quirks}</ul>"
        "</body></html>"
    )


def _family(api: Api) -> str:
    endpoints = "".join(_endpoint(api, endpoint) for endpoint in api.endpoints.values())
    return f"<h3>{escape(api.title)}</h3><p>{_ASKS[api.credential]}</p><ul>{endpoints}</ul>"


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
