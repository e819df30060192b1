"""Listings of the bucket, page by page, beside a plain computation of what they should be."""

from __future__ import annotations

import hashlib
from itertools import pairwise, product

import pytest

from bulkdl.server.bucket.listing import InvalidArgument, read_list_request, token_for
from tests.server.bucket.conftest import ServedBucket, key_of, texts

INDEX = [f"index/{name}_index.parquet{checksum}" for name in ("collections", "idc") for checksum in ("", ".sha256")]


def expected(keys: list[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """Keys and common prefixes, by the definition."""
    found = []
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            found.append(key if end < 0 else key[: end + len(delimiter)])
    return [item for item in dict.fromkeys(found) if item > after]


async def all_pages(bucket: ServedBucket, version: str, **parameters: str) -> list[str]:
    """All keys and common prefixes, following the pages."""
    found: list[str] = []
    names = {"list-type": "2"} if version == "2" else {}
    follow: dict[str, str] = {}
    while True:
        sent = {**names, **{name.replace("_", "-"): value for name, value in parameters.items()}, **follow}
        answer = await bucket.ask(params=sent)
        assert answer.status == 200
        keys, prefixes = texts(answer.body, "Key"), texts(answer.body, "Prefix")[1:]
        assert keys == sorted(keys)
        assert len(keys) + len(prefixes) <= int(parameters.get("max_keys", "1000"))
        assert not found or min(keys + prefixes) > found[-1]
        found += sorted(keys + prefixes)
        if texts(answer.body, "IsTruncated") == ["false"]:
            return found
        if version == "2":
            follow = {"continuation-token": texts(answer.body, "NextContinuationToken")[0]}
        else:
            follow = {"marker": texts(answer.body, "NextMarker")[0]}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("most", ["1", "3", "1000"])
async def test_lists_what_the_definition_says(bucket: ServedBucket, most: str, version: str) -> None:
    key = bucket.keys[5]
    folder = key.partition("/")[0]
    prefixes = ("", folder, f"{folder}/", key, "i", "index/", f"{folder}/0", "zz", "0000")
    for prefix, delimiter in product(prefixes, ("", "/", "-", "/index", "zz")):
        found = await all_pages(bucket, version, prefix=prefix, delimiter=delimiter, max_keys=most)
        assert found == expected(bucket.keys + INDEX, prefix, delimiter, ""), (prefix, delimiter)


@pytest.mark.parametrize("after", ["", "KEY", "FOLDER", "FOLDER/", "FOLDER/zz", "f", "index/idc_index.parquet", "zz"])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_starts_after_a_key(bucket: ServedBucket, delimiter: str, after: str) -> None:
    key = bucket.keys[5]
    after = after.replace("FOLDER", key.partition("/")[0]).replace("KEY", key)
    wanted = expected(bucket.keys + INDEX, "", delimiter, after)
    assert await all_pages(bucket, "2", start_after=after, delimiter=delimiter, max_keys="4") == wanted
    assert await all_pages(bucket, "1", marker=after, delimiter=delimiter, max_keys="4") == wanted


async def test_an_object_has_size_and_md5(bucket: ServedBucket) -> None:
    made = bucket.made[3]
    body = (await bucket.page(prefix=key_of(made))).body
    assert texts(body, "Key") == [key_of(made)]
    assert texts(body, "Size") == [str(len(made.content))]
    assert texts(body, "ETag") == [f'"{hashlib.md5(made.content, usedforsecurity=False).hexdigest()}"']
    assert texts(body, "KeyCount") == ["1"]


async def test_an_unknown_prefix_is_an_empty_listing(bucket: ServedBucket) -> None:
    answer = await bucket.page(prefix="ffffffff-0000-4000-8000-000000000000/")
    assert (answer.status, texts(answer.body, "KeyCount"), texts(answer.body, "Key")) == (200, ["0"], [])


async def test_no_keys_are_an_empty_page_that_ends(bucket: ServedBucket) -> None:
    body = (await bucket.page(max_keys="0")).body
    assert (texts(body, "KeyCount"), texts(body, "IsTruncated")) == (["0"], ["false"])


async def test_encodes_keys_where_it_is_asked(bucket: ServedBucket) -> None:
    body = (await bucket.page(prefix="a b&<\x01é", encoding_type="url")).body
    assert texts(body, "Prefix") == ["a%20b%26%3C%01%C3%A9"]
    assert texts((await bucket.page(prefix="a b&<\x01é")).body, "Prefix") == ["a b&< é"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"list-type": "3"},
        {"list-type": "2", "max-keys": "-1"},
        {"list-type": "2", "max-keys": "many"},
        {"max-keys": "9" * 30},
        {"encoding-type": "base64"},
        {"list-type": "2", "continuation-token": "no token"},
        {"list-type": "2", "continuation-token": "gA=="},
    ],
)
async def test_an_invalid_parameter_is_an_error(bucket: ServedBucket, parameters: dict[str, str]) -> None:
    answer = await bucket.ask(params=parameters)
    assert (answer.status, texts(answer.body, "Code")) == (400, ["InvalidArgument"])


def test_at_most_a_thousand_keys_are_in_a_page() -> None:
    assert read_list_request({"list-type": "2", "max-keys": "5000"}).most == 1000


def test_a_token_wins_over_start_after() -> None:
    wanted = {"list-type": "2", "continuation-token": token_for("m"), "start-after": "a"}
    assert read_list_request(wanted).after == "m"
    with pytest.raises(InvalidArgument):
        read_list_request({**wanted, "continuation-token": "*"})


async def test_pages_do_not_overlap(bucket: ServedBucket) -> None:
    found = await all_pages(bucket, "2", max_keys="2")
    assert all(before < after for before, after in pairwise(found))
