"""The parts of `serve`: the cache of an archive, and what other processes do to a mirror that is served."""
