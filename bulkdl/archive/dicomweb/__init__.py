"""DICOMweb (PS3.18): searches for what a server has, and the retrieval of it."""
