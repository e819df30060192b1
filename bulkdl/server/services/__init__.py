"""The services beside the archive, for the data sets that it holds: DataCite, and the Collection Manager of TCIA."""
