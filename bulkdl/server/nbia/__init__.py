"""The APIs of NBIA (v1, v2, v4, Advanced) and TCIA v3 over the catalogue."""
