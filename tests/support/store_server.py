"""A made-up archive that instances are stored at: it keeps them, and says what a test wants it to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bulkdl.archive.dicomweb.multipart import MultipartReader
from bulkdl.model.bundles import EntryData, EntryEnded
from tests.support.faults import Action, FaultyServer, Seen, answer

Reply: TypeAlias = "Callable[[Seen, list[bytes]], Action | None]"
"""The answer to a request that stores instances; None for a correct one, of an archive that keeps them."""

DICOM_JSON = {"Content-Type": "application/dicom+json"}


def parts_of(seen: Seen) -> list[bytes]:
    """The instances in a request, which has to be complete."""
    reader, parts, part = MultipartReader(seen.headers["content-type"]), list[bytes](), b""
    for event in (*reader.feed(seen.body), *reader.close()):
        if isinstance(event, EntryData):
            part += bytes(event.data)
        elif isinstance(event, EntryEnded):
            parts.append(part)
            part = b""
    return parts


def sequences(stored: Sequence[str] = (), failed: dict[str, int] | None = None) -> bytes:
    """The body of an answer: UIDs, and those of failures with their reasons."""
    values: dict[str, list[dict[str, Any]]] = {
        "00081199": [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in stored],
        "00081198": [
            {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [code]}}
            for uid, code in (failed or {}).items()
        ],
    }
    return json.dumps({tag: {"vr": "SQ", "Value": items} for tag, items in values.items()}).encode()


class StoreServer(FaultyServer):
    """An archive of DICOMweb. `uids` are the SOP Instance UIDs of the contents that tests send."""

    def __init__(self, uids: dict[bytes, str], reply: Reply = lambda *_: None) -> None:
        super().__init__(self._act)
        self.uids = uids
        self.reply = reply
        self.held: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        """What `push` is given."""
        return f"dicomweb+{self.url}dicom-web"

    @property
    def sizes(self) -> list[int]:
        """How many instances each request to store some has."""
        return [len(parts_of(seen)) for seen in self.requests if seen.method == "POST"]

    def _act(self, seen: Seen) -> Action:
        if seen.method == "GET":
            uid = seen.path.split("/")[-2]
            found = json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}}]).encode()
            return answer(found, headers=DICOM_JSON) if uid in self.held else answer(status=404)
        parts = parts_of(seen)
        if (action := self.reply(seen, parts)) is not None:
            return action
        self.keep(parts)
        return answer(sequences([self.uids[part] for part in parts]), headers=DICOM_JSON)

    def keep(self, parts: Sequence[bytes]) -> None:
        """Store instances."""
        self.held |= {self.uids[part]: part for part in parts}
