"""DICOMweb: search, retrieval and rendering of what is served (PS3.18)."""
