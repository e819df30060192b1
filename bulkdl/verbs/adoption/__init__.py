"""The parts of `adopt`: where it finds files, how processes examine them, and where they belong in the mirror."""
