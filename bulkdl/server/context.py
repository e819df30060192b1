"""What every API of the server shares."""

from dataclasses import dataclass

from bulkdl.server.access import Authenticator, Viewer
from bulkdl.server.catalogue import Catalogue, CatalogueView
from bulkdl.server.inspection import Inspector
from bulkdl.server.responses import ServerThreads
from bulkdl.server.supply import Supply


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The catalogue, who may see what of it, what reads it and its files, and what downloads those it does not have."""

    catalogue: Catalogue
    authenticator: Authenticator
    threads: ServerThreads
    inspector: Inspector
    supply: Supply | None = None

    def view_of(self, viewer: Viewer) -> CatalogueView:
        """The catalogue without the Collections that are hidden from `viewer`."""
        return self.catalogue.without(viewer.hidden)
