"""What is known of data sets outside of the archives: DataCite, and the Collection Manager of TCIA."""
