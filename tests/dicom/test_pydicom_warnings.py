from __future__ import annotations

import threading
import warnings

import pytest

from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings


def _warn(module: str) -> None:
    """Issue a warning from the module with this name."""
    warnings.warn_explicit("odd", UserWarning, "file.py", 1, module=module)


@pytest.mark.parametrize("module", ["pydicom", "pydicom.charset"])
def test_shows_no_warnings_of_pydicom(module: str) -> None:
    with suppressed_pydicom_warnings:
        _warn(module)
    with pytest.warns(UserWarning, match="odd"):
        _warn(module)


@pytest.mark.parametrize("module", ["bulkdl.dicom.header", "pydicom_data"])
def test_shows_warnings_of_other_packages(module: str) -> None:
    with pytest.warns(UserWarning, match="odd"), suppressed_pydicom_warnings:
        _warn(module)


def test_overlapping_threads_restore_the_filters() -> None:
    """`warnings.catch_warnings` in each thread would leave one filter installed."""
    before = list(warnings.filters)
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def first() -> None:
        with suppressed_pydicom_warnings:
            first_is_in.set()
            second_is_in.wait()
        first_is_out.set()

    def second() -> None:
        first_is_in.wait()
        with suppressed_pydicom_warnings:
            second_is_in.set()
            first_is_out.wait()
            _warn("pydicom")

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
