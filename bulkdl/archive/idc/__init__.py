"""The Imaging Data Commons: its index answers which Series there are, its buckets hold the instances."""
