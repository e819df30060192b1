"""What an answer to stored instances says: as servers answer, and as none should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.dicomweb.store_answers import (
    StoredInstance,
    StoreVerdict,
    is_of_instance,
    none_stored,
    read_answer,
    reason_text,
)

SENT = ("1.1", "1.2", "1.3")


def item(uid: str, **reason: int) -> dict[str, Any]:
    tags = {"failed": "00081197", "warned": "00081196"}
    found = {tags[name]: {"vr": "US", "Value": [code]} for name, code in reason.items()}
    return {"00081150": {"vr": "UI", "Value": ["1.2.840"]}, "00081155": {"vr": "UI", "Value": [uid]}, **found}


def answer(stored: list[Any], failed: list[Any]) -> dict[str, Any]:
    """As Orthanc answers: an empty sequence has no value."""
    sequences = {"00081199": stored, "00081198": failed}
    return {tag: {"vr": "SQ", **({"Value": items} if items else {})} for tag, items in sequences.items()}


def verdicts(content: bytes) -> list[str]:
    return [said.verdict.value for said in read_answer(content, SENT).values()]


ALL = answer([item(uid) for uid in SENT], [])
MIXED = answer([item("1.1"), item("1.2", warned=0xB000)], [item("1.3", failed=272)])
XML = b"""<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081199" vr="SQ"><Item number="1">
<DicomAttribute tag="00081155" vr="UI"><Value number="1">1.1</Value></DicomAttribute></Item></DicomAttribute>
<DicomAttribute tag="00081198" vr="SQ"><Item number="1">
<DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2</Value></DicomAttribute>
<DicomAttribute tag="00081197" vr="US"><Value number="1">43264</Value></DicomAttribute></Item></DicomAttribute>
</NativeDicomModel>"""

CASES: dict[str, tuple[bytes, list[str]]] = {
    "all": (json.dumps(ALL).encode(), ["stored", "stored", "stored"]),
    "in a list": (json.dumps([ALL]).encode(), ["stored", "stored", "stored"]),
    "mixed": (json.dumps(MIXED).encode(), ["stored", "stored", "failed"]),
    "in both sequences": (
        json.dumps(answer([item("1.1")], [item("1.1", failed=1)])).encode(),
        ["failed", "unconfirmed", "unconfirmed"],
    ),
    "others": (json.dumps(answer([item("9.9")], [])).encode(), ["unconfirmed"] * 3),
    "there already, at Microsoft": (
        json.dumps(answer([], [item("1.1", failed=45070)])).encode(),
        ["already", "unconfirmed", "unconfirmed"],
    ),
    "xml": (XML, ["stored", "failed", "unconfirmed"]),
    "empty": (b"", ["unconfirmed"] * 3),
    "a page": (b"<html><body>Log in</body></html>", ["unconfirmed"] * 3),
    "no data set": (b'"stored"', ["unconfirmed"] * 3),
    "an entity": (b'<!DOCTYPE x [<!ENTITY a "1.1">]><x>&a;</x>', ["unconfirmed"] * 3),
    "deep": (b"[" * 100_000, ["unconfirmed"] * 3),
}


@pytest.mark.parametrize(("content", "expected"), CASES.values(), ids=CASES.keys())
def test_an_instance_is_stored_where_the_answer_names_it(content: bytes, expected: list[str]) -> None:
    assert verdicts(content) == expected


def test_a_failure_has_its_reason_and_what_the_archive_says() -> None:
    failed = item("1.1", failed=0xA900) | {"00741048": {"vr": "LO", "Value": ["Patient ID\nis too long"]}}
    said = read_answer(json.dumps(answer([], [failed])).encode(), ["1.1"])["1.1"]
    assert said.message == "the data set does not match (A900): Patient ID is too long"


@pytest.mark.parametrize("code", ["9" * 5_000, -1, 1 << 70, 272.0, True, "\u00b2", "x", "", None, [[272]], {}])
def test_a_failure_without_a_valid_code_is_a_failure(code: object) -> None:
    failed = item("1.1") | {"00081197": {"vr": "US", "Value": [code]}}
    said = read_answer(json.dumps(answer([], [failed])).encode(), ["1.1"])["1.1"]
    assert said == StoredInstance(StoreVerdict.FAILED, "no reason was given")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x0110, "processing failure (0110)"),
        (0xA7F1, "out of resources (A7F1)"),
        (0xC122, "transfer syntax not supported (C122)"),
        (0xC3FF, "cannot understand (C3FF)"),
        (7, "a reason of the archive (0007)"),
    ],
)
def test_a_reason_is_a_name_and_a_code(code: int, text: str) -> None:
    assert reason_text(code) == text


def test_nothing_is_stored_by_a_conflict_that_names_no_instance() -> None:
    said = {"1.1": StoredInstance(StoreVerdict.UNCONFIRMED), "1.2": StoredInstance(StoreVerdict.ALREADY)}
    assert [each.verdict.value for each in none_stored(said).values()] == ["failed", "already"]


def test_attributes_are_those_of_one_instance() -> None:
    found = json.dumps([{"00080018": {"vr": "UI", "Value": ["1.1"]}}]).encode()
    assert is_of_instance(found, "1.1")
    assert not is_of_instance(found, "1.2")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("1.1"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["00081199", "00081198", "00081155", "00081197", "Value", "vr"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_is_answered_has_a_verdict_on_each(document: Any) -> None:
    assert list(read_answer(json.dumps(document).encode(), SENT)) == list(SENT)
