from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdl.errors import LayoutError
from bulkdl.model.ids import parse_series_uid, parse_sop_uid, parse_study_uid
from bulkdl.model.records import Series
from bulkdl.store.layout import (
    DEFAULT_LAYOUT,
    FORMER_LAYOUTS,
    LAYOUTS,
    InstanceNumbers,
    Layout,
    instance_name,
    parse_layout,
    special_name,
)
from bulkdl.store.safe_names import fold, uid_component

NASTY = [
    "",
    " ",
    ".",
    "..",
    "...",
    "_",
    "__",
    "~",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "../../up",
    ".bulkdl",
    "BULKDL~1",
    "C:",
    "a:stream",
    "nul\0byte",
    "new\nline",
    "CON",
    "con",
    "Con.dcm",
    "com1",
    "COM\u00b9",
    "LPT9.tar.gz",
    "AUX ",
    "ends.",
    "ends ",
    " begins",
    "abc",
    "ABC",
    "a_b",
    "e\u0301",
    "\u00e9",
    "\ufb01",
    "fi",
    "Stra\u00dfe",
    "STRASSE",
    "\u0131",
    "I",
    "i",
    "\u212a",
    "k",
    "ab\u202egpj",
    "a\u200bb",
    "a\u00adb",
    "a\ufe0fb",
    "a\u00a0b",
    "\uff0e\uff0e",
    "a\uff0fb",
    "\u2026",
    "\ud800",
    "\U000e0041",
    "\uffff",
    "x" * 300,
    "x" * 299 + "y",
    "\u6f22" * 100,
    "a\uff5e12345678",
]
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.text(max_size=300))
UIDS = st.text(alphabet="0123456789.", min_size=1, max_size=64)
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}


def series(
    collection: str = "TCGA-GBM", patient: str = "TCGA-06-0119", study: str = "1.2.3", uid: str = "1.2.3.4"
) -> Series:
    return Series(
        series_uid=parse_series_uid(uid), study_uid=parse_study_uid(study), patient_id=patient, collection=collection
    )


def suffixed(layout: Layout, series: Series) -> str:
    """The folder of a Series if every name on the way is taken by another."""
    return layout.folder(series, taken=lambda _key, _owner: True)


def assert_portable(path: str) -> None:
    for component in path.split("/"):
        assert component not in {"", ".", ".."}
        assert len(component.encode()) <= 255
        assert unicodedata.is_normalized("NFC", component)
        assert component == component.strip(" .")
        assert component.split(".")[0].rstrip(" ").upper() not in DEVICES
        assert not any(c in '\\:*?"<>|' or unicodedata.category(c)[0] == "C" for c in component)


class Registry:
    """A registry as the journal keeps it: the first owner of a folded path keeps the path."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}

    def taken(self, key: str, owner: str) -> bool:
        return self.owners.setdefault(key, owner) != owner


def test_default_is_collection_patient_study_series() -> None:
    assert DEFAULT_LAYOUT.folder(series()) == "TCGA-GBM/TCGA-06-0119/1.2.3/1.2.3.4"
    assert instance_name("1.2.3.4.5") == "1.2.3.4.5.dcm"
    assert special_name("1.2.3.4.5") is None
    assert instance_name("1.2.") == special_name("1.2.") == "1.2_.dcm"


@pytest.mark.parametrize(
    "name",
    [
        "TCGA-GBM",
        "NSCLC-Radiomics",
        "CPTAC",
        "Head-Neck Cetuximab",
        "0522c0001",
        "QIN_LUNG.v2",
        "Köln",
        "漢字",
        "O'Neil+1",
    ],
)
def test_common_names_stay_as_they_are(name: str) -> None:
    assert DEFAULT_LAYOUT.folder(series(collection=name)).split("/")[0] == name


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a/b", "a_b~"),
        ("..", "__~"),
        (".bulkdl", "_bulkdl~"),
        ("CON.dcm", "_CON.dcm~"),
        ("ends.", "ends_~"),
        ("ab\u202egpj", "ab_gpj~"),
        ("_", "_~"),
        ("a~1", "a~1~"),
        ("a\u00a0b", "a_b~"),
        ("a\u2028b", "a_b~"),
        ("a\ufe0fb", "a_b~"),
        ("a\u3164b", "a_b~"),
        ("a\uff0fb", "a_b~"),
        ("a\u2026b", "a_b~"),
        ("e\u0301", "\u00e9~"),
    ],
)
def test_an_unsafe_name_is_cleaned_and_marked(name: str, begins: str) -> None:
    component = DEFAULT_LAYOUT.folder(series(collection=name)).split("/")[0]
    assert component.startswith(begins)
    assert len(component) == len(begins) + 8


def test_a_missing_name_has_a_folder_too() -> None:
    nameless = Series(series_uid=parse_series_uid("1.2"))
    assert DEFAULT_LAYOUT.folder(nameless) == "_/_/unknown/1.2"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abc", "ABC"),
        ("e\u0301", "\u00c9"),
        ("Stra\u00dfe", "STRASSE"),
        ("\ufb01", "FI"),
        ("\u0131", "i"),
        ("\u212a", "k"),
        ("\u03c3", "\u03c2"),
    ],
)
def test_names_that_are_equal_on_some_file_system_share_a_key(one: str, other: str) -> None:
    assert fold(f"x/{one}") == fold(f"X/{other}")


@given(TEXTS, TEXTS, UIDS, UIDS)
def test_a_folder_is_portable_and_inside(collection: str, patient: str, study: str, uid: str) -> None:
    one = series(collection, patient, study, uid)
    for layout in map(parse_layout, (*LAYOUTS, "{modality}{collection}-{patient}/{series}", "{PatientID}")):
        for folder in (layout.folder(one), suffixed(layout, one)):
            assert_portable(folder)
            assert not folder.startswith(".")
            assert fold(folder.split("/")[0]) != fold(".bulkdl")


@given(TEXTS, TEXTS)
@example("CO", "N")
def test_parts_that_are_safe_alone_are_safe_together(collection: str, patient: str) -> None:
    assert_portable(parse_layout("{collection}{patient}/{series}").folder(series(collection, patient)))


@given(TEXTS, TEXTS)
def test_two_names_never_share_a_path(one: str, other: str) -> None:
    """Either their paths differ on every file system, or the second one gets another path."""
    first, second = series(collection=one), series(collection=other)
    apart = fold(DEFAULT_LAYOUT.folder(first)) != fold(DEFAULT_LAYOUT.folder(second))
    assert apart or one == other or fold(suffixed(DEFAULT_LAYOUT, second)) != fold(DEFAULT_LAYOUT.folder(first))
    assert one == other or suffixed(DEFAULT_LAYOUT, first) != suffixed(DEFAULT_LAYOUT, second)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12, unique=True))
def test_with_a_registry_every_patient_has_a_separate_folder(names: list[tuple[str, str]]) -> None:
    registry = Registry()
    layout = parse_layout("{collection}/{patient}/{series}")

    def folders() -> list[str]:
        return [layout.folder(series(*name), taken=registry.taken).rpartition("/")[0] for name in names]

    first = folders()
    assert len({fold(folder) for folder in first}) == len(names)
    assert folders() == first  # and it stays there


def test_a_collision_moves_only_the_name_that_collides() -> None:
    registry = Registry()
    assert DEFAULT_LAYOUT.folder(series("abc", "p1"), taken=registry.taken).startswith("abc/p1/")
    assert DEFAULT_LAYOUT.folder(series("abc", "P1"), taken=registry.taken).startswith("abc/P1~")
    assert DEFAULT_LAYOUT.folder(series("abc", "p2"), taken=registry.taken).startswith("abc/p2/")


@given(UIDS, UIDS)
@example("1.2", "1.2.")
@example(".", "..")
@example(".1", "1.")
def test_two_uids_never_share_a_name(one: str, other: str) -> None:
    assert (uid_component(one) == uid_component(other)) == (one == other)
    assert_portable(instance_name(one))


@given(UIDS, UIDS, TEXTS, TEXTS)
def test_two_series_never_share_a_folder(one: str, other: str, patient: str, other_patient: str) -> None:
    for layout in map(parse_layout, ("flat", "{patient}-{series}", "{series} {patient}/{modality}")):
        folders = {layout.folder(series(patient=p, uid=u)) for p, u in ((patient, one), (other_patient, other))}
        assert one == other or len(folders) == 2


NAMES = st.sampled_from(["a", "A", "b/c", "b_c", "CON", "CO", "N", "", "\u212a", "k"])


@settings(max_examples=20)
@given(st.lists(st.tuples(NAMES, NAMES, UIDS), min_size=2, max_size=8, unique_by=lambda each: each[2]))
@pytest.mark.parametrize("template", [*LAYOUTS, "{PatientID}/{Modality}", "{PatientID}_{series}"])
def test_with_a_registry_every_series_has_a_separate_folder(template: str, names: list[tuple[str, str, str]]) -> None:
    registry, layout = Registry(), parse_layout(template)

    def folders() -> list[str]:
        ones = [replace(series(collection, patient, "1.2", uid), modality="CT") for collection, patient, uid in names]
        return [layout.folder(one, taken=registry.taken) for one in ones]

    first = folders()
    assert len({fold(folder) for folder in first}) == len(names)
    assert folders() == first
    for folder in first:
        assert_portable(folder)


@settings(max_examples=20)
@given(st.lists(UIDS, min_size=2, max_size=8, unique=True), TEXTS, st.sampled_from([None, 1, 17, -3, 10**9]))
@pytest.mark.parametrize("template", [*LAYOUTS, "{series}/{Modality}{PatientID}.dcm", "a/{SeriesDescription}.dcm"])
def test_every_instance_of_a_series_has_a_separate_name(
    template: str, uids: list[str], text: str, number: int | None
) -> None:
    layout, taken = parse_layout(template), set[str]()
    one = replace(series(patient=text), modality="CO", description=text, image_count=99)
    for uid in uids:
        names = layout.file_names(one, InstanceNumbers(parse_sop_uid(uid), None, number))
        name = next(name for name in names if fold(name) not in taken)
        assert_portable(name)
        assert name.endswith(".dcm")
        assert len(name.encode()) <= 240
        taken.add(fold(name))


@pytest.mark.parametrize(
    ("layout", "folder", "file"),
    [
        ("bulkdl", "TCGA-GBM/P1/1.2.77.12345/1.2.840.98765", "1.9.dcm"),
        ("nbia-classic", "TCGA-GBM/P1/1.2.77.12345/1.2.840.98765", "1.9.dcm"),
        ("nbia-descriptive", "TCGA-GBM/P1/02-03-2001-S 7-AbdPelv-chest-12345/3-98765", "1.9.dcm"),
        (FORMER_LAYOUTS["nbia-classic"], "TCGA-GBM/P1/1.2.77.12345/1.2.840.98765", "1-005.dcm"),
        ("idc", "tcga_gbm/P1/1.2.77.12345/CT_1.2.840.98765", "6b5c.dcm"),
        ("flat", "1.2.840.98765", "1.9.dcm"),
        ("%collection_id/%PatientID/%Modality_%SeriesInstanceUID", "tcga_gbm/P1/CT_1.2.840.98765", "1.9.dcm"),
        ("{PatientID}/{StudyDate}/{Modality} {InstanceNumber}.dcm", "P1/2001-02-03", "CT 005.dcm"),
        ("{series}/{SOPInstanceUID}.dcm", "1.2.840.98765", "1.9.dcm"),
    ],
)
def test_names_as_other_programs_do(layout: str, folder: str, file: str) -> None:
    one = replace(
        series(patient="P1", study="1.2.77.12345", uid="1.2.840.98765"),
        modality="CT",
        study_date=date(2001, 2, 3),
        study_id="S 7",
        study_description="Abd*Pelv/chest",
        description="/",
        series_number=3,
        image_count=120,
    )
    instance = InstanceNumbers(parse_sop_uid("1.9"), "bucket/1b2c/6b5c.dcm", 5)
    chosen = parse_layout(layout)
    assert (chosen.folder(one), next(chosen.file_names(one, instance))) == (folder, file)


def test_two_series_that_the_retriever_would_mix_are_apart() -> None:
    registry, layout = Registry(), parse_layout("nbia-descriptive")
    one, other = (replace(series(uid=f"1.{n}.12345", study=f"2.{n}.54321"), description="x") for n in (1, 2))
    assert layout.folder(one, taken=registry.taken).endswith("/54321/x-12345")
    assert "/54321~" in layout.folder(other, taken=registry.taken)
    same_study = replace(one, series_uid=parse_series_uid("1.3.12345"))
    assert "/54321/x-12345~" in layout.folder(same_study, taken=registry.taken)


def test_says_which_values_of_the_header_a_folder_lacks() -> None:
    one = replace(series(), study_date=date(2001, 2, 3), series_number=0)
    assert parse_layout("nbia-descriptive").unknown(one) == {"study_id", "study_description", "description"}
    assert parse_layout("idc").unknown(one) == {"modality"}
    assert parse_layout("bulkdl").unknown(one) == frozenset()


def test_a_template_consists_of_fields_and_literal_text() -> None:
    one = Series(
        series_uid=parse_series_uid("1.2"),
        patient_id="P1",
        modality="CT",
        study_date=date(2001, 2, 3),
        series_number=7,
        description="T1/axial",
    )
    folder = parse_layout("by patient/{patient}/{study_date}/{modality}-{series_number}-{description}-{series}").folder(
        one
    )
    assert folder.startswith("by patient/P1/2001-02-03/CT-7-T1_axial~")
    assert folder.endswith("-1.2")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("nonsense", "known are bulkdl"),
        ("{subject}/{series}", "{subject} is not a field"),
        ("{series!r}", "{series!r} is not a field"),
        ("{series:>80}", "{series:>80} is not a field"),
        ("{series.__class__}", "not a field"),
        ("{}", "{} is not a field"),
        ("{series", "cannot be read"),
        ("{PatientID}/{SOPInstanceUID}", "{SOPInstanceUID} is a field of file names, not of folders"),
        ("{InstanceNumber}.dcm", "names files and no folder"),
        ("{series}/.dcm", "not safe"),
        ("{series}/CON.dcm", "not safe"),
        ("%Modality/{PatientName}", "{PatientName} is not a field"),
        ("/{series}", "not safe"),
        ("{series}/", "not safe"),
        ("{patient}//{series}", "not safe"),
        ("../{series}", "not safe"),
        (".bulkdl/{series}", "not safe"),
        ("CON/{series}", "not safe"),
        ("a~b/{series}", "not safe"),
        ("{patient}\\{series}", "not safe"),
        ("{patient}./{series}", "not safe"),
        ("{collection}-{patient}-{modality}-{model}-{protocol}-{description}-{body_part}-{series}", "too long"),
        ("{study}-{series}-{study}-{series}", "too long"),
    ],
)
def test_rejects_a_template_that_cannot_be_used(template: str, says: str) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout(template)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
