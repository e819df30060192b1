"""The tree of errors: its drawing is true, codes are unique, and every error survives pickling."""

from __future__ import annotations

import multiprocessing
import pickle
import re
from collections.abc import Iterator

import pytest

from bulkdl import errors
from bulkdl.errors import BulkdlError, FileDiffers, ManifestError, RequestFailed


def _tree(root: type[BulkdlError] = BulkdlError) -> Iterator[type[BulkdlError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


CLASSES = list(_tree())


def _made(kind: type[BulkdlError]) -> BulkdlError:
    """An error of this class with all its attributes set."""
    if issubclass(kind, ManifestError):
        error: BulkdlError = kind("not a UID", source="cohort.tcia", line=7)
    elif issubclass(kind, RequestFailed):
        error = kind("the archive answered 503", status=503, retry_after_seconds=4.5)
    elif issubclass(kind, FileDiffers):
        error = kind("its file is missing", sop_uid="1.2.3")
    else:
        error = kind("what happened")
    error.attempts = 3
    error.report = {"run": 1}
    return error


def test_the_drawing_at_the_top_is_the_tree() -> None:
    drawn = re.findall(r"^ +(?:[│ ]*[├└]── )?([A-Z]\w+)(?: |$)", errors.__doc__ or "", re.MULTILINE)
    assert drawn == [kind.__name__ for kind in CLASSES]


def test_codes_are_unique_and_kebab_case() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling(kind: type[BulkdlError], protocol: int) -> None:
    error = _made(kind)
    again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def _fail(_: int) -> None:
    raise ManifestError("not a UID", source="cohort.tcia", line=7)


def test_an_error_reaches_the_caller_of_a_process_pool() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(ManifestError, match="line 7"):
        pool.apply_async(_fail, (0,)).get(timeout=30)
