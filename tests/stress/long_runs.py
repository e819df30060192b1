"""A pytest plugin for long runs of the property tests: many more examples, no deadline, a new seed each time.

`make fuzz` runs it.

Tests get `FACTOR` times as many examples; those that state their number, because an example takes long, get
`SLOW_FACTOR` times as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

FACTOR: Final = 100
SLOW_FACTOR: Final = 10

settings.register_profile(
    "long", max_examples=100 * FACTOR, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Multiply the examples of tests with explicit settings."""
    for item in items:
        test: Any = getattr(item, "obj", None)
        test = getattr(test, "__func__", test)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if isinstance(own, settings) and own.max_examples != 100 * FACTOR:
            stretched = settings(own, max_examples=own.max_examples * SLOW_FACTOR, deadline=None, derandomize=False)
            test._hypothesis_internal_use_settings = stretched  # noqa: SLF001 - hypothesis offers no other way
