"""Shared lists: named sets of Series that users create, stored in one JSON file beside the catalogue.

The catalogue can be deleted and created again, the lists cannot, so they have a separate file. Each owner has a
separate set of names, so that creating a list does not reveal the names of hidden lists. The caller decides which lists
a viewer may see.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bulkdl.errors import DiskError
from bulkdl.runtime.disk import replace_file

_MAX_LISTS: Final = 1_000
_MAX_SERIES: Final = 1_000_000
_MAX_CHARACTERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class SharedList:
    """One list. `made` is in milliseconds since 1970; `series_uids` keep their order, each once."""

    id: int
    name: str
    owner: str
    series_uids: tuple[str, ...]
    made: int
    description: str = ""
    url: str = ""


class SharedLists:
    """The lists at `path`; none, if there is no such file. Thread-safe.

    `create` and `delete` return None, or a sentence that says why nothing was changed.

    Raises:
        DiskError: the file cannot be read or is invalid, or a change cannot be stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lists = {(one.owner, one.name): one for one in _read(path)}

    def named(self, name: str) -> list[SharedList]:
        """The lists with this name, at most one per owner, the oldest first."""
        return sorted((one for one in self._lists.values() if one.name == name), key=lambda one: one.id)

    def create(
        self, name: str, series_uids: Sequence[str], *, owner: str, made: int, description: str = "", url: str = ""
    ) -> str | None:
        """Create and store a list."""
        with self._lock:
            if (owner, name) in self._lists:
                return "Duplicate list name"
            unique = tuple(dict.fromkeys(series_uids))
            if not name or not unique:
                return "A list needs a name and Series"
            if len(name) + len(description) + len(url) > _MAX_CHARACTERS:
                return f"The texts of a list have more than {_MAX_CHARACTERS:,} characters"
            held = sum(len(one.series_uids) for one in self._lists.values())
            if len(self._lists) >= _MAX_LISTS or held + len(unique) > _MAX_SERIES:
                return "There are too many lists: delete some first"
            number = 1 + max((one.id for one in self._lists.values()), default=0)
            created = SharedList(number, name, owner, unique, made, description, url)
            self._keep({**self._lists, (owner, name): created})
            return None

    def delete(self, name: str, *, owner: str) -> str | None:
        """Delete a list of this owner."""
        with self._lock:
            if (owner, name) not in self._lists:
                return "List not found"
            self._keep({key: one for key, one in self._lists.items() if key != (owner, name)})
            return None

    def _keep(self, lists: dict[tuple[str, str], SharedList]) -> None:
        """Write the file before using the lists. A crash leaves the old or the new file."""
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
            f"the shared lists in {path} cannot be read; move the file away to start without lists: {error}"
        ) from error
