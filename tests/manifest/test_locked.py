"""A lock is read back as it was written, and no change of it goes unnoticed."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import read_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import LockedGroup, LockedInstance, LockedSeries, Proof, lock_lines, read_lock
from bulkdl.model.ids import SeriesUid, SopInstanceUid

UIDS = st.lists(st.integers(0, 99_999).map(str), min_size=4, max_size=8).map(".".join)
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(["-", "\\", "\\-", "a\tb", "a\nb", "\r\n", "\\t"])).filter(
    lambda text: not any(0xD800 <= ord(character) < 0xE000 for character in text)
)
SERIES = st.builds(
    LockedSeries,
    UIDS.map(SeriesUid),
    *(UIDS | st.just(""), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS),
)
INSTANCES = st.builds(
    LockedInstance,
    UIDS.map(SopInstanceUid),
    st.none() | st.integers(0, 2**40),
    st.none() | st.binary(min_size=16, max_size=16),
    st.none() | st.binary(min_size=32, max_size=32),
    st.none() | UIDS,
    st.none() | st.just("bucket/series/instance.dcm"),
)
UNNAMED = st.builds(LockedInstance, st.none(), st.integers(0, 9), st.none(), st.none(), key=st.just("b/s/i.dcm"))
GROUPS = st.lists(
    st.tuples(SERIES, st.lists(INSTANCES | UNNAMED, max_size=4)),
    min_size=1,
    max_size=4,
    unique_by=lambda group: group[0].series_uid,
).map(lambda groups: sorted(groups, key=lambda group: group[0].series_uid))
ONE: LockedGroup = (
    LockedSeries(SeriesUid("1.2.3"), "1.2", "P", "A", license_name="CC BY 4.0"),
    [LockedInstance(SopInstanceUid(f"1.2.3.{number}"), 10, None, bytes([number]) * 32) for number in range(3)],
)
TWO: LockedGroup = (LockedSeries(SeriesUid("1.2.4")), ONE[1])


def written(groups: list[LockedGroup]) -> str:
    return "".join(lock_lines(lambda: groups, archive="nbia https://a.test", date="2026-01-31T12:00:00+00:00"))


def read(text: str) -> list[LockedGroup]:
    _, groups = read_lock(text.splitlines(keepends=True), Remarks("a.lock"))
    return [(series, list(instances)) for series, instances in groups]


def lines_of(text: str) -> list[str]:
    return text.split("\n")


@given(GROUPS)
def test_a_lock_is_read_as_it_was_written(groups: list[LockedGroup]) -> None:
    text = written(groups)
    head, found = read_lock((f"{line}\n" for line in lines_of(text)[:-1]), Remarks("a.lock"))
    assert [(series, list(instances)) for series, instances in found] == groups
    assert (head.series, head.instances) == (len(groups), sum(len(each) for _, each in groups))
    assert head.size_bytes == sum(one.size_bytes or 0 for _, each in groups for one in each)
    proofs = Counter(one.proof for _, each in groups for one in each)
    assert head.weaker == {proof: count for proof, count in proofs.items() if proof is not Proof.SHA256}


def test_a_lock_is_a_manifest_of_its_instances() -> None:
    manifest = read_manifest(written([ONE]).encode(), source="a.lock")
    assert (manifest.format, manifest.series) == ("lock", ("1.2.3",))
    assert manifest.instances == (("1.2.3", ("1.2.3.0", "1.2.3.1", "1.2.3.2")),)
    assert manifest.settings["archive"] == "nbia https://a.test"


def test_the_head_says_what_the_lock_cannot_prove() -> None:
    weak = [
        LockedInstance(SopInstanceUid("1.2"), None, None, None),
        LockedInstance(None, 3, b"m" * 16, None, key="b/c"),
    ]
    settings = read_manifest(written([(ONE[0], weak)]).encode(), source="a.lock").settings
    assert {name: settings[name] for name in ("bytes", "only-md5", "only-uid")} == {
        "bytes": "3",
        "only-md5": "1",
        "only-uid": "1",
    }
    assert settings["note"].startswith("only the UID or key of 1 instance is known: the archive states neither")
    assert not any(name.startswith("only") for name in read_manifest(written([ONE]).encode(), source="-").settings)


def test_the_ends_of_lines_do_not_matter() -> None:
    text = written([ONE])
    assert read_manifest(text.replace("\n", "\r\n").encode(), source="-").series == ("1.2.3",)


def test_two_locks_of_the_same_data_differ_in_the_date_alone() -> None:
    other = "".join(lock_lines(lambda: [ONE], archive="nbia https://a.test", date="2027-01-31T12:00:00+00:00"))
    differing = [pair for pair in zip(lines_of(written([ONE])), lines_of(other), strict=True) if pair[0] != pair[1]]
    assert [one.partition("\t")[0] for one, _ in differing] == ["date"]


@given(st.data())
def test_a_changed_or_truncated_lock_is_refused(data: st.DataObject) -> None:
    text = written([ONE, TWO])
    body = text.index("\n\n") + 2
    if data.draw(st.booleans()):
        changed = text[: data.draw(st.integers(0, len(text) - 2))]
    else:
        at = data.draw(st.integers(body, len(text) - 1))
        changed = text[:at] + data.draw(st.sampled_from([c for c in "0a\t\n-" if c != text[at]])) + text[at + 1 :]
    with pytest.raises(ManifestError):
        read(changed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bulkdl-lock\t2\n\n", "version 2; this bulkdl reads version 1"),
        ("bulkdl-lock\t1\n\n", "the head of the lock is invalid: it has no archive"),
        (
            written([ONE]).replace("instances\t3", "instances\t" + "9" * 5000),
            "lock is invalid: .9+. is not",
        ),
        (
            written([ONE]).replace("instances\t3", "instances\t4"),
            "changed .*: it has 1 series, 3 instances",
        ),
        (written([ONE]).replace("bytes\t30", "bytes\t3"), "it has 1 series, 3 instances and 30 bytes"),
        (written([ONE]).replace("1.2.3.1\t10", "1.2.3.1"), "line 11: .* has 6 values with tabs between, not 5"),
        (
            written([ONE]).replace("series\t1.2.3\t", "series\t1.2.3\tx\t"),
            "line 9: .* has 10 values with tabs between, not 11",
        ),
        (written([ONE]).replace("series\t1.2.3\t", "xx\t1.2.3\t"), "line 9: this is not a line of a lock"),
        (written([TWO, ONE]), "line 13: .* not in the order of their UIDs"),
        (written([ONE, ONE]), "line 13: .* or one is there twice"),
        (written([ONE]).replace("1.2.3.1\t10", "1.2.3.1\tten"), "a.lock, line 11: this is not a line of a lock"),
        (written([ONE]).replace("1.2.3.1\t10", "1.2.3.1\t-1"), "line 11: .* '-1' is not a number of at most 18 digits"),
        (written([ONE]).replace("1.2.3.1\t10", "-\t10"), "line 11: .* neither a SOP Instance UID nor a key"),
        (
            re.sub("sha256\t.*", "sha256\t../../../x", written([ONE])),
            "the head of the lock is invalid: .* not a SHA",
        ),
        (written([ONE])[:-1], None),
        (written([ONE]) + "1.2.3.9\n", "line 13: this is not a line of a lock"),
    ],
)
def test_says_what_is_wrong_with_a_lock(text: str, says: str | None) -> None:
    if says is None:
        assert read(text) == [ONE]
        return
    with pytest.raises(ManifestError, match=says):
        read(text)
