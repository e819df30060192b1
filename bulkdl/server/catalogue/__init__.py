"""What is served: an index of folders and mirrors in SQLite, scanned from their files and read by every API."""

from bulkdl.server.catalogue.catalogue import Catalogue
from bulkdl.server.catalogue.files import About, Root
from bulkdl.server.catalogue.scan import Conflict, ScanReport, Totals, Unservable
from bulkdl.server.catalogue.view import ServedFile

__all__ = ["About", "Catalogue", "Conflict", "Root", "ScanReport", "ServedFile", "Totals", "Unservable"]
