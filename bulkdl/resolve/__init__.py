"""A selection becomes Series, and Series become entries to download: the first two stages of a run."""
