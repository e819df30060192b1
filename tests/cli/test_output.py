"""The document of a command that an error ended."""

from __future__ import annotations

import pytest

from bulkdl.cli import output
from bulkdl.errors import ArchiveUnreachable, Interrupted


@pytest.mark.parametrize(
    ("error", "outcome"), [(ArchiveUnreachable("away"), "failed"), (Interrupted("stopped"), "interrupted")]
)
def test_an_error_is_one_json_document_too(error: ArchiveUnreachable | Interrupted, outcome: str) -> None:
    document = output.error_values(error)
    assert document == {"outcome": outcome, "error": error.code, "message": str(error)}
