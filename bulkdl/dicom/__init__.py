"""The one importer of pydicom: headers, validation, phantoms. Blocking; called in threads or processes."""
