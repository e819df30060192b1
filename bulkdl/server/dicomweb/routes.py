"""The routes of DICOMweb, at `/dicom-web`."""

from typing import Final

from aiohttp import web

from bulkdl.server.context import ServerContext
from bulkdl.server.dicomweb.exchange import ROOT, Guard
from bulkdl.server.dicomweb.retrieve import retrieve
from bulkdl.server.dicomweb.search import LEVELS, answer_search

STUDY: Final = f"{ROOT}/studies/{{study}}"
SERIES: Final = f"{STUDY}/series/{{series}}"
INSTANCE: Final = f"{SERIES}/instances/{{instance}}"


def add_routes(router: web.UrlDispatcher, context: ServerContext) -> None:
    """Add the routes of all services."""
    guard = Guard(context)
    for path, level in LEVELS.items():
        router.add_get(f"{ROOT}{path}", guard.handler(answer_search(level)))
    for path in (STUDY, SERIES, INSTANCE):
        router.add_get(path, guard.handler(retrieve))
