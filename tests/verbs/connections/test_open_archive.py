"""An archive that is opened for work has to exist."""

from __future__ import annotations

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.model.events import RunContext
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.connections.reach import reach


async def test_an_unknown_archive_is_an_error_on_entering() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        async with open_archive(reach("tcai"), RunContext()):
            pass
