"""What every API of the server shares."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from bulkdl.server.access import Authenticator, Viewer
from bulkdl.server.catalogue import Catalogue, CatalogueView
from bulkdl.server.inspection import Inspector
from bulkdl.server.responses import ServerThreads
from bulkdl.server.supply import Supply

_HASHING_THREADS: Final = 2
_LOGIN_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The catalogue, who may see what of it, what reads it and its files, and what downloads those it does not have.

    `hashing` are threads for MD5s of whole files, which may take minutes, `logins` those for hashes of passwords: other
    requests do not wait for them.
    `ending` is set when the server begins to end: what takes seconds is then given up.
    """

    catalogue: Catalogue
    authenticator: Authenticator
    threads: ServerThreads
    inspector: Inspector
    supply: Supply | None = None
    hashing: ServerThreads = field(default_factory=lambda: ServerThreads(_HASHING_THREADS))
    logins: ServerThreads = field(default_factory=lambda: ServerThreads(_LOGIN_THREADS))
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def view_of(self, viewer: Viewer) -> CatalogueView:
        """The catalogue without the Collections that are hidden from `viewer`."""
        return self.catalogue.without(viewer.hidden)
