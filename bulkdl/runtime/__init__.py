"""How work flows: machinery that knows nothing of DICOM or HTTP."""
