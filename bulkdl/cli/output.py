"""What output has in common: JSON documents, and the width of a terminal. Nothing prints."""

import json
import os
from typing import Any, TextIO

from bulkdl.errors import BulkdlError, Interrupted
from bulkdl.model.reports import RunOutcome
from bulkdl.model.text import one_line


def document(values: dict[str, Any]) -> str:
    """One JSON document."""
    return json.dumps(values, indent=1)


def error_values(error: BulkdlError) -> dict[str, Any]:
    """The JSON document of a command that an error ended: its report as far as it came, and the error."""
    outcome = RunOutcome.INTERRUPTED if isinstance(error, Interrupted) else RunOutcome.FAILED
    ended = {"outcome": outcome.value, "error": error.code, "message": one_line(str(error))}
    return {**(error.report or {}), **ended}


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal behind `stream`; None if it is not a terminal, or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None
