"""The text of a manifest from a string."""

from __future__ import annotations

from functools import partial
from io import BytesIO

from bulkdl.manifest.base import Remarks
from bulkdl.manifest.text import ManifestText


def text_of(text: str) -> ManifestText:
    """The text, to be read by a reader of manifests."""
    return ManifestText(partial(BytesIO, text.encode()), Remarks("-"))
