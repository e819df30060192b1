"""How far the run on a mirror is, in `.bulkdl/progress.json`, for other processes to show."""

import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from bulkdl.model.events import Progress
from bulkdl.runtime.disk import PROGRESS
from bulkdl.store.state_files import forget_state, load_state, save_state

_VALID_SECONDS: Final = 15.0
"""A run saves its progress every second; one that has not done so for so long is stopped, or dead."""


def save_progress(root: Path, event: Progress, *, private: bool) -> None:
    """Save the progress of the run on the mirror at `root`, with the time."""
    save_state(root, PROGRESS, {"time": time.time(), **asdict(event)}, private=private)


def read_progress(root: Path, now: Callable[[], float] = time.time) -> Progress | None:
    """The progress of the run on the mirror at `root`; None if no run has saved it in the last seconds."""
    content = load_state(root, PROGRESS)
    if content is None or not isinstance(saved := content.pop("time", None), int | float):
        return None
    return _progress(content) if abs(now() - saved) <= _VALID_SECONDS else None


def forget_progress(root: Path) -> None:
    """Remove the file: the run has ended."""
    forget_state(root, PROGRESS)


def _progress(content: dict[str, Any]) -> Progress | None:
    """The event; None where the file is of another version, or was changed."""
    folders = content.pop("at_work", ())
    names = {field.name for field in fields(Progress)} - {"at_work"}
    numbers = all(isinstance(value, int | float) or value is None for value in content.values())
    if content.keys() != names or not numbers or not isinstance(folders, list | tuple):
        return None
    return Progress(**content, at_work=tuple(map(str, folders)))
