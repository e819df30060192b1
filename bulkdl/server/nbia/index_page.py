"""The index page for people who open the address in a browser: what is served, and through which endpoints.

It shows what a guest may see, and the differences from the real archives, which `docs/serve.md` lists.
"""

from html import escape
from typing import Final

from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.docs import read_page
from bulkdl.server.catalogue.view import CatalogueView
from bulkdl.server.nbia.apis import APIS, SERVICES_PATH, Api, Credential
from bulkdl.server.nbia.quirks import DESCRIPTIONS

_MAX_COLLECTIONS: Final = 1_000


def index_page(view: CatalogueView, origin: str, note: str = "") -> str:
    """The page in HTML. `origin` is the address that the browser used."""
    totals = view.totals()
    collections = []
    for name in view.collections()[:_MAX_COLLECTIONS]:
        about = view.about(name)
        known = filter(None, (about.description, about.citation, about.license_name))
        collections.append(f"<li><b>{escape(name)}</b><br>{'<br>'.join(map(escape, known))}</li>")
    section = read_page("serve").text.partition("\n## Differences from the real archives\n")[2].partition("\n## ")[0]
    texts = (" ".join(text.replace("`", "").split()) for text in section.split("\n- ")[1:])
    differences = "".join(f"<li>{escape(text)}</li>" for text in texts)
    families = "".join(
        f"<h3>{escape(api.title)}</h3><p>{api.credential.value}</p>"
        f"<ul>{''.join(_endpoint(api, endpoint) for endpoint in api.endpoints.values())}</ul>"
        for api in APIS
    )
    quirks = "".join(f"<li><code>{quirk.value}</code>: {escape(text)}</li>" for quirk, text in DESCRIPTIONS.items())
    return (
        "<!DOCTYPE html><html lang='en'><head><title>bulkdl archive</title></head><body><h1>A bulkdl archive</h1>"
        f"<p>{totals.collections:,} Collections, {totals.patients:,} Patients, {totals.series:,} Series, "
        f"{totals.instances:,} instances, {totals.size_bytes:,} bytes, served through the APIs of TCIA and NBIA. "
        f"Mirror it with <code>bulkdl mirror --archive {escape(origin)}{SERVICES_PATH} --everything --to DIR</code>."
        f"</p><p>{escape(note)}</p>"
        f"<h2>Collections</h2><ul>{''.join(collections)}</ul>"
        f"<h2>Endpoints</h2>{families}"
        f"<h2>What differs from the real archives</h2><ul>{differences}</ul>"
        f"<p>Quirks of the real archives, for testing clients, are switched on with --quirks:</p><ul>{quirks}</ul>"
        "</body></html>"
    )


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
