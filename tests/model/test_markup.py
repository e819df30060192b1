from __future__ import annotations

import pytest

from bulkdl.model.markup import html_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<p>One  two</p>\n<p>Three &amp; four</p>", "One two\nThree & four"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<i>Data</i> from <a href='x'>here</a>", "Data from here"),
        ("<script>alert(1)</script>seen<style>p{}</style>", "seen"),
        ("a < b and c > d", "a < b and c > d"),
        ("</script></p>x", "x"),
        ("", ""),
    ],
)
def test_shows_what_is_read(html: str, text: str) -> None:
    assert html_text(html) == text
