"""How a run is shown while it works: on a terminal, in a log, in a notebook, as JSON lines."""
