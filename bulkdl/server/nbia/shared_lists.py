"""Shared lists: named sets of Series that users make for each other, kept in one JSON file beside the catalogue.

The catalogue may be thrown away and made again at any time; what people made may not, so it has a file of its own.
Names are each owner's own: whoever makes a list must not learn which names others took for what is hidden from them.
What of a list somebody may see is decided where the request is answered.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from bulkdl.errors import DiskError
from bulkdl.runtime.disk import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST_LISTS: Final = 1_000
_MOST_SERIES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedList:
    """One list. `made` is in milliseconds since 1970; `series_uids` are as they were given, each once."""

    id: int
    name: str
    owner: str
    series_uids: tuple[str, ...]
    made: int
    description: str = ""
    url: str = ""


class SharedLists:
    """All lists. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        """Read the lists at `path`; none, where there is no file yet.

        Raises:
            DiskError: the file cannot be read, or is no file of lists.
        """
        self._path = path
        self._lock = threading.Lock()
        self._lists = {(one.owner, one.name): one for one in _read(path)}

    def named(self, name: str) -> list[SharedList]:
        """The lists of that very name, one of an owner, the oldest first."""
        return sorted((one for one in self._lists.values() if one.name == name), key=lambda one: one.id)

    def create(
        self, name: str, series_uids: Sequence[str], *, owner: str, made: int, description: str = "", url: str = ""
    ) -> str | None:
        """Make a list, and keep it. None when it stands; else a sentence that says why it does not.

        Raises:
            DiskError: it cannot be kept.
        """
        with self._lock:
            if (owner, name) in self._lists:
                return "Duplicate list name"
            unique = tuple(dict.fromkeys(series_uids))
            if not name or not unique:
                return "A list needs a name and Series"
            held = sum(len(one.series_uids) for one in self._lists.values())
            if len(self._lists) >= _MOST_LISTS or held + len(unique) > _MOST_SERIES:
                return "There are too many lists: delete some first"
            number = 1 + max((one.id for one in self._lists.values()), default=0)
            made_now = SharedList(
                id=number, name=name, owner=owner, series_uids=unique, made=made, description=description, url=url
            )
            self._keep({**self._lists, (owner, name): made_now})
            return None

    def delete(self, name: str, *, owner: str) -> str | None:
        """Delete a list of one's own. None when it is gone; else a sentence that says why it is not.

        Raises:
            DiskError: the change cannot be kept.
        """
        with self._lock:
            if (owner, name) not in self._lists:
                return "List not found"
            self._keep({key: one for key, one in self._lists.items() if key != (owner, name)})
            return None

    def _keep(self, lists: dict[tuple[str, str], SharedList]) -> None:
        """Write first, believe afterwards; a crash leaves the file as it was or as it is to be."""
        replace_file(self._path, json.dumps([asdict(one) for one in lists.values()]).encode())
        self._lists = lists


def _read(path: Path) -> list[SharedList]:
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [SharedList(**{**entry, "series_uids": tuple(entry["series_uids"])}) for entry in entries]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DiskError(
            f"{path} holds no shared lists that can be read; move it away to begin anew: {error}"
        ) from error
