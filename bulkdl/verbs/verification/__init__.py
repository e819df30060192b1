"""The parts of `verify`: the files of a mirror against its journal, and any folder against a lock file."""
