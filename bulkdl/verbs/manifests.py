"""Manifests as selections: the bytes of a manifest in, what it asks for out."""

from __future__ import annotations

from bulkdl.manifest import read_manifest
from bulkdl.model.selection import Selection


def select_from(content: bytes, *, source: str) -> Selection:
    """The Series, and where it names them the instances, that a manifest of any known format asks for.

    `source` is its name in messages. What else a manifest says, its download server above all, is not obeyed.

    Raises:
        ManifestError: it cannot be read; carries the line to blame.
    """
    manifest = read_manifest(content, source=source)
    return Selection(series=manifest.series, instances=manifest.instances)
