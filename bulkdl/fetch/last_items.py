"""The last work of a run, the largest first and in small items, so that no worker waits long for another one. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from bulkdl.model.outcomes import SeriesWork

_FEWEST_INSTANCES: Final = 4  # of an item: fewer cost more than they balance (16 CT slices take 0.05 s)
_ITEMS_OF_A_WORKER: Final = 3  # that are to be left for each, at least


def in_last_items(
    page: Iterable[SeriesWork], workers: Callable[[], int], may_be_split: Callable[[SeriesWork], bool]
) -> Iterator[SeriesWork]:
    """Yield the last `page` of the work, the largest Series first, as far as sizes are known.

    The less of it is left, the smaller are the items of Series that `may_be_split`.

    `workers` tells for how many workers it is, when an item is taken. A Series stays one item if only the worker that
    downloads all of it can find out the file names.
    """
    works = sorted(page, key=_size_bytes, reverse=True)
    left = sum(len(work.entries) for work in works)
    for work in works:
        begin, end = 0, len(work.entries)
        while begin < end:
            size = max(_FEWEST_INSTANCES, left // (_ITEMS_OF_A_WORKER * workers()))
            is_split = size < end - begin and workers() > 1 and None not in work.names and may_be_split(work)
            until = begin + size if is_split else end
            yield _part(work, begin, until)
            left -= until - begin
            begin = until


def _size_bytes(work: SeriesWork) -> float:
    return work.mean_bytes * len(work.entries)


def _part(work: SeriesWork, begin: int, end: int) -> SeriesWork:
    if (begin, end) == (0, len(work.entries)):
        return work
    return replace(work, entries=work.entries[begin:end], names=work.names[begin:end], whole=False)
