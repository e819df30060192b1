"""Manifest files as verbs use them: read in any form, written, and their rows."""
