"""s5cmd manifests: which lines name a folder or an object of IDC, which are refused, and what real ones name."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import Manifest, read_manifest
from bulkdl.manifest.s5cmd import _words, recognises

DATA = Path(__file__).parents[1] / "data" / "manifests"
FOLDER = "73e600e5-1d95-4b81-980c-b4d6a6f4f968"
OBJECT = "0a1b2c3d-1111-4222-8333-444455556666.dcm"
AT = f"idc-open-data/{FOLDER}"


def read(text: str, *, skip_bad_lines: bool = False) -> Manifest:
    return read_manifest(text.encode(), source="m", skip_bad_lines=skip_bad_lines)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("idc-s3-aws-manifest-test.s5cmd", 10),
        ("prior_version_manifest.s5cmd", 5),
        ("study_manifest_aws.s5cmd", 3),
        ("study_manifest_gcs.s5cmd", 3),
        ("study_manifest_gcs-public-datasets-idc.s5cmd", 3),
        ("study_manifest_bogus.s5cmd", 3),
    ],
)
def test_reads_every_real_manifest(name: str, count: int) -> None:
    manifest = read_manifest((DATA / name).read_bytes(), source=name)
    assert (manifest.format, len(manifest.locations), manifest.series) == ("s5cmd", count, ())
    bucket = "invalid-idc-open-data" if "bogus" in name else "idc-open-data"
    assert {location.partition("/")[0] for location in manifest.locations} == {bucket}


@pytest.mark.parametrize(
    ("line", "location"),
    [
        (f"cp s3://{AT}/* .", AT),
        (f"cp s3://{AT}/*  .", AT),
        (f'cp "s3://{AT}/*" "a folder/b"', AT),
        (f"cp 's3://{AT}/*' .", AT),
        (f"  sync s3://{AT}/* .  ", AT),
        (f"cp --sp --concurrency 4 s3://{AT}/* .", AT),
        (f"s5cmd cp s3://{AT}/* .", AT),
        (f"cp S3://{AT.upper()}/* .", AT),
        (f"s3://{AT}/*", AT),
        (f"s3://{AT}/", AT),
        (f"s3://{AT}", AT),
        (f"gs://public-datasets-idc/{FOLDER}/*", AT),
        (f"cp s3://idc-open-idc1/{FOLDER}/* .", f"idc-open-data-two/{FOLDER}"),
        (f"cp s3://idc-open-cr/{FOLDER}/* .", f"idc-open-data-cr/{FOLDER}"),
        (f"cp s3://bulkdl/{FOLDER}/* .", f"bulkdl/{FOLDER}"),
        (f"cp s3://{AT}/{OBJECT} dir", f"{AT}/{OBJECT}"),
        (f"s3://{AT}/{OBJECT}", f"{AT}/{OBJECT}"),
    ],
)
def test_reads_each_form_of_a_line(line: str, location: str) -> None:
    assert read(f"# a comment\n\n{line}\n").locations == (location,)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"cp s3://idc-open-data/{OBJECT} .", "which is not served any more"),
        ("cp s3://idc-open-data/* .", "not a folder of a series"),
        ("cp s3://idc-open-data/../x/* .", "not a folder of a series"),
        (f"cp s3://{AT}/../{FOLDER}/* .", "not a folder of a series"),
        (f"cp s3://a/{FOLDER}/* .", "not a folder of a series"),
        (f"cp s3://{AT}/*.dcm .", "not a folder of a series"),
        ("cp a b", "'cp' copies nothing from a bucket"),
        (f"rm s3://{AT}/*", "'rm' copies nothing from a bucket"),
        ("run other.s5cmd", "'run' copies nothing from a bucket"),
        ('cp "s3://x', "No closing quotation"),
    ],
)
def test_refuses_a_line_that_names_nothing_of_idc(line: str, why: str) -> None:
    text = f"cp s3://{AT}/* .\n{line}\n"
    with pytest.raises(ManifestError, match="line 2") as caught:
        read(text)
    assert why in str(caught.value)
    assert read(text, skip_bad_lines=True).locations == (AT,)


def test_names_a_folder_once() -> None:
    assert read(f"cp s3://{AT}/* .\ncp s3://{AT}/{OBJECT} .\ncp s3://{AT}/* x\n").locations == (AT, f"{AT}/{OBJECT}")


@pytest.mark.parametrize("text", ["1.2.3.4\n", "cp is a word\n", "# s3://\nA,B\n1,2\n", "cp,s3\n"])
def test_leaves_other_texts_to_other_readers(text: str) -> None:
    assert not recognises(text)


@given(
    st.lists(
        st.sampled_from(["cp", " ", "\t", "a", '"', "'", "\\", "#", "\xa0", "\x0b", "s3://b/*", '"a/*"']), max_size=8
    )
)
def test_words_are_those_of_a_shell(parts: list[str]) -> None:
    command = "".join(parts).strip()
    try:
        expected = shlex.split(command)
    except ValueError:
        with pytest.raises(ValueError, match=r"quotation|escape"):
            _words(command)
    else:
        assert _words(command) == expected
