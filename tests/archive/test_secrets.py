from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.secrets import redacted

SECRET = "kQ7x&Zp2<mWv9r'T4\"bN/é"  # noqa: S105 - made up
FORMS = [SECRET, quote(SECRET, safe=""), html.escape(SECRET), json.dumps(SECRET)[1:-1], SECRET.lower()]


@pytest.mark.parametrize("form", FORMS)
@given(before=st.text(max_size=5), after=st.text(max_size=5))
def test_a_secret_is_removed_in_every_form(form: str, before: str, after: str) -> None:
    shown = redacted(f"{before}|{form}|{after}", [SECRET])
    assert form[:8] not in shown
    assert shown.startswith(f"{before}|…|")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mark", ["", "…"])
def test_the_beginning_of_a_secret_at_the_end_of_a_text_is_removed(form: str, mark: str) -> None:
    for length in range(4, len(form)):
        assert redacted(f"a text {form[:length]}{mark}", [SECRET]) == "a text …"


@given(st.text())
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redacted(text, []) == text
