"""How many bundles and large instances a worker downloads at once. Pure.

A busy worker has one in work and one in transit, and leaves further ones to idle workers. Bundles need memory to their
end, so there are few of them where they are large.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST_OF_BUSY: Final = 2
_MOST_BUNDLES: Final = 16
_MOST_LARGE_BUNDLES: Final = 4  # once they have more instances than this: each takes 2 KB until its bundle is committed
_INSTANCES: Final = 4_000


class LongWork:
    """The bundles and large instances that one worker has begun, or will begin as soon as it has a permit."""

    def __init__(self) -> None:
        self._bundles: list[int] = []  # the instances of each
        self._large = 0

    @contextmanager
    def bundle(self, instances: int) -> Iterator[None]:
        """A bundle of so many instances, until the end of the block."""
        self._bundles.append(instances)
        try:
            yield
        finally:
            self._bundles.remove(instances)

    @contextmanager
    def large(self) -> Iterator[None]:
        """A large instance, until the end of the block."""
        self._large += 1
        try:
            yield
        finally:
            self._large -= 1

    def has_room(self, *, is_busy: bool, is_far: bool, is_alone: bool) -> bool:
        """Whether a worker may begin one more; `is_busy` if it uses all of its core, `is_alone` if it is the only one.

        Over a long way (`is_far`) bundles have to be on their way while others are unpacked. Large instances are
        processed in threads, so a busy worker that is alone may have cores left for them.
        """
        if is_busy and (0 if is_far else len(self._bundles)) + (0 if is_alone else self._large) >= _MOST_OF_BUSY:
            return False
        return len(self._bundles) < (_MOST_BUNDLES if sum(self._bundles) < _INSTANCES else _MOST_LARGE_BUNDLES)
