"""The parts of `push`: which files it sends, how it groups them into requests, and what becomes of each."""
