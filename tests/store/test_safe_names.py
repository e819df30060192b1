"""Names that are safe on every file system. `test_layout` has the properties of whole paths."""

from __future__ import annotations

import pytest

from bulkdl.store.safe_names import COMPONENT_BYTES, LONGEST_HASH, cleaned, fold, safe, suffixed, uid_component


@pytest.mark.parametrize(("text", "name"), [("TCGA-GBM", "TCGA-GBM"), ("a/b", "a_b"), ("CON", "_CON"), (" x.", "_x_")])
def test_replaces_what_is_unsafe_and_nothing_else(text: str, name: str) -> None:
    assert cleaned(text) == name
    assert cleaned(name) == name


def test_a_text_that_was_changed_or_looks_like_it_gets_a_hash() -> None:
    assert safe("a/b", 100).startswith("a_b~")
    assert safe("a~b", 100).startswith("a~b~")
    assert len({safe(text, 100) for text in ("a/b", "a_b", "a:b", "a~b", "_", "")}) == 6


@pytest.mark.parametrize("digits", [8, LONGEST_HASH])
def test_a_long_name_is_cut_before_its_hash(digits: int) -> None:
    name = suffixed("\u6f22" * 100, "text", digits=digits)
    assert len(name.encode()) <= COMPONENT_BYTES
    assert len(name.partition("~")[2]) == digits


def test_names_that_a_file_system_may_take_for_one_have_one_key() -> None:
    assert fold("A/Stra\u00dfe") == fold("a/STRASSE")
    assert fold("a") != fold("b")


def test_dots_at_the_ends_of_a_uid_are_replaced_one_for_one() -> None:
    assert [uid_component(uid) for uid in ("1.2", ".1.2", "1.2..", "...")] == ["1.2", "_1.2", "1.2__", "___"]
