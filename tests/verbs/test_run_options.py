"""The options of a verb become the context of its run."""

from __future__ import annotations

from bulkdl.model.events import ignore
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.run_options import context_of


def test_options_become_a_context() -> None:
    context = context_of({"settings": FetchSettings(workers=3)})
    assert (context.settings.workers, context.sink, context.stop.is_set()) == (3, ignore, False)


def test_without_options_a_run_has_the_defaults() -> None:
    assert context_of({}).settings == FetchSettings()
