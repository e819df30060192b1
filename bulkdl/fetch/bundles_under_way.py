"""How many bundles a worker downloads at once: few where they are large, because each needs memory to its end. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST: Final = 16
_MOST_LARGE: Final = 4  # once they have more instances than this: each takes 2 KB until its bundle is committed
_INSTANCES: Final = 4_000
_MOST_OF_BUSY: Final = 2  # one in work and one in transit: a busy worker leaves others to idle ones


class BundlesUnderWay:
    """The bundles that one worker has begun, or will begin as soon as it has a permit, and their instances."""

    def __init__(self) -> None:
        self._bundles = 0
        self._instances = 0

    def begin(self, instances: int) -> None:
        """Count one of so many instances."""
        self._bundles += 1
        self._instances += instances

    @contextmanager
    def ends(self, instances: int) -> Iterator[None]:
        """One of so many instances, which was begun, ends with the block."""
        try:
            yield
        finally:
            self._bundles -= 1
            self._instances -= instances

    def has_room(self, *, is_busy: bool) -> bool:
        """Whether a worker may begin one more; `is_busy` if it uses all of its core."""
        if is_busy:
            return self._bundles < _MOST_OF_BUSY
        return self._bundles < (_MOST if self._instances < _INSTANCES else _MOST_LARGE)
