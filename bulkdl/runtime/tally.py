"""Counts that go up and down."""

from collections import Counter
from typing import TypeVar

Key = TypeVar("Key")


class Tally(Counter[Key]):
    """Counts by key. A key whose count falls to nothing is not among them."""

    def take(self, key: Key, number: int = 1) -> None:
        """Count `number` down."""
        left = self[key] - number
        if left > 0:
            self[key] = left
        else:
            self.pop(key, None)
