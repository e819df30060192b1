"""The routes of DICOMweb, at `/dicom-web`, and of WADO-URI, at `/wado`."""

from typing import Final

from aiohttp import web

from bulkdl.server.context import ServerContext
from bulkdl.server.dicomweb.exchange import ROOT, Guard
from bulkdl.server.dicomweb.frames import bulk_data, frames
from bulkdl.server.dicomweb.metadata import BULK_DATA, metadata
from bulkdl.server.dicomweb.rendered import rendered, thumbnail
from bulkdl.server.dicomweb.retrieve import retrieve
from bulkdl.server.dicomweb.search import LEVELS, answer_search
from bulkdl.server.dicomweb.store import Storing
from bulkdl.server.dicomweb.wado_uri import WADO_URI, wado_uri
from bulkdl.server.reception import Reception

STUDY: Final = f"{ROOT}/studies/{{study}}"
SERIES: Final = f"{STUDY}/series/{{series}}"
INSTANCE: Final = f"{SERIES}/instances/{{instance}}"
FRAMES: Final = f"{INSTANCE}/frames/{{frames}}"


def add_routes(router: web.UrlDispatcher, context: ServerContext, reception: Reception | None) -> None:
    """Add the routes of all services. Without a `reception` those that store say that nothing can be stored."""
    guard = Guard(context)
    router.add_get(WADO_URI, guard.handler(wado_uri))
    for path, level in LEVELS.items():
        router.add_get(f"{ROOT}{path}", guard.handler(answer_search(level)))
    for path in (STUDY, SERIES, INSTANCE):
        router.add_get(path, guard.handler(retrieve))
        router.add_get(f"{path}/metadata", guard.handler(metadata))
    for path in (SERIES, INSTANCE, FRAMES):
        router.add_get(f"{path}/rendered", guard.handler(rendered))
        router.add_get(f"{path}/thumbnail", guard.handler(thumbnail))
    router.add_get(FRAMES, guard.handler(frames))
    storing = Storing(reception)
    for path in (f"{ROOT}/studies", STUDY):
        router.add_post(path, guard.handler(storing.answer))
    router.add_get(f"{INSTANCE}/{BULK_DATA}/{{place:.+}}", guard.handler(bulk_data))
