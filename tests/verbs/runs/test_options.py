"""The options of a verb become the context of its run."""

from __future__ import annotations

from bulkdl.model.events import ignore
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.runs.options import context_of


def test_options_become_a_context() -> None:
    context = context_of({"settings": FetchSettings(workers=3)})
    assert (context.settings.workers, context.sink, context.stop.is_set()) == (3, ignore, False)
