"""What is served: an index of folders and mirrors in SQLite, filled by a scan and read by every API."""

from bulkdl.server.catalogue.catalogue import Catalogue, snapshot
from bulkdl.server.catalogue.files import About, Root, ServedFile, open_served, read_served
from bulkdl.server.catalogue.grouping import GroupedView
from bulkdl.server.catalogue.reports import Conflict, Contradiction, ScanReport, Totals, Unservable
from bulkdl.server.catalogue.view import CatalogueView, SeriesDetail, Since

__all__ = [
    "About",
    "Catalogue",
    "CatalogueView",
    "Conflict",
    "Contradiction",
    "GroupedView",
    "Root",
    "ScanReport",
    "SeriesDetail",
    "ServedFile",
    "Since",
    "Totals",
    "Unservable",
    "open_served",
    "read_served",
    "snapshot",
]
