"""DICOMweb (PS3.18): how its responses are read."""
