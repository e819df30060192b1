"""A pytest plugin for long runs of the property tests: many more examples, no deadline, a new seed each time.

`make fuzz` runs it.

Tests with an explicit number of examples get `FACTOR` times as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

FACTOR: Final = 100

settings.register_profile(
    "long", max_examples=100 * FACTOR, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Multiply the examples of tests with explicit settings, once for all cases of a parametrised test."""
    tests: dict[int, Any] = {}
    for item in items:
        test: Any = getattr(item, "obj", None)
        test = getattr(test, "__func__", test)
        tests[id(test)] = test
    for test in tests.values():
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if isinstance(own, settings) and own.max_examples != 100 * FACTOR:
            stretched = settings(own, max_examples=own.max_examples * FACTOR, deadline=None, derandomize=False)
            test._hypothesis_internal_use_settings = stretched  # noqa: SLF001 - hypothesis offers no other way
