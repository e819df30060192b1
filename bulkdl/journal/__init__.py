"""What we know of a mirror: the one importer of sqlite3 beside the served catalogue."""
