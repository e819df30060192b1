"""How an archive talks. The same tables serve the client and, in the other direction, the embedded archive."""
