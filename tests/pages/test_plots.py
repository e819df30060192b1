"""Plots are SVG without scripts, in the colours of the page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest
from defusedxml.ElementTree import fromstring

from bulkdl.pages.plots import bars, steps

HOSTILE = "</text><script>alert(1)</script>$x$"


@pytest.mark.parametrize("draw", [bars, steps])
def test_names_are_texts_and_there_is_no_script(draw: Callable[..., str]) -> None:
    svg = draw({HOSTILE: 2.0, "B": 1.0}, lambda value: f"{value:g} units", title="Sizes")
    root = fromstring(svg)
    assert not [element for element in root.iter() if str(element.tag).endswith("script")]
    assert any((element.text or "") == "B" for element in root.iter())
    assert "var(--accent)" in svg
    assert "2 units" in svg


def test_the_largest_come_first_and_the_rest_are_one_bar() -> None:
    svg = bars({f"value {number}": float(number) for number in range(1, 31)}, str, title="Sizes")
    texts = [element.text for element in fromstring(svg).iter() if element.text]
    assert "15 others" in texts
    assert "value 30" in texts
    assert "value 15" not in texts


def test_long_names_are_cut() -> None:
    assert f"{'x' * 39}…" in bars({"x" * 80: 1.0}, str, title="Sizes")


def test_the_finder_of_pygal_is_removed() -> None:
    steps({"a": 1.0}, str, title="Sizes")
    assert not [finder for finder in sys.meta_path if type(finder).__module__ == "pygal"]
    assert version("pydicom")  # its dependencies add one that is needed
