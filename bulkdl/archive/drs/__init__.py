"""Data commons of Gen3, whose objects are named by DRS identifiers and sent from signed addresses, as an archive."""
