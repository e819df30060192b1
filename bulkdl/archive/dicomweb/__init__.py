"""DICOMweb (PS3.18): searches for what a server has, the retrieval of it, and the storing of more."""
