"""The terminal: options in, one verb called, text or JSON out, an exit code."""
