"""Runs on a mirror: one that downloads, what it does beside that, and the record of those that download nothing."""
