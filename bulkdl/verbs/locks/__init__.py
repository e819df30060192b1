"""Lock files: read, and compared with what a mirror holds and with what its archive has now."""
