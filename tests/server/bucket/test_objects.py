"""Objects of the bucket: MD5s that are computed once, and how much of them a page waits for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from bulkdl.server.catalogue import Root
from tests.server.bucket.conftest import ServedBucket, key_of, texts
from tests.support.dicom_files import instances, write_folder
from tests.support.served import served


async def test_an_md5_is_computed_once_and_kept(bucket: ServedBucket) -> None:
    made = bucket.made[0]
    before = texts((await bucket.page(prefix=key_of(made))).body, "ETag")
    catalogue = bucket.server.catalogue
    kept = {file.sop_uid: file.md5 for file in await asyncio.to_thread(catalogue.files, made.series_uid)}
    md5 = kept[made.sop_uid]
    assert md5 is not None
    assert before == [f'"{md5.hex()}"']
    assert list(kept.values()).count(None) == 3
    path = bucket.folder / made.path
    status = path.stat()
    await asyncio.to_thread(path.write_bytes, bytes(len(made.content)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert texts((await bucket.page(prefix=key_of(made))).body, "ETag") == before


async def test_a_file_that_is_gone_is_listed_without_an_md5(bucket: ServedBucket) -> None:
    made = bucket.made[0]
    await asyncio.to_thread((bucket.folder / made.path).unlink)
    body = (await bucket.page()).body
    assert key_of(made) in texts(body, "Key")
    tags = dict(zip(texts(body, "Key"), texts(body, "ETag"), strict=True))
    assert "-" in tags[key_of(made)]
    assert (await bucket.ask(key_of(made))).status == 500


async def test_a_page_ends_early_where_much_is_to_be_hashed(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    for made in write_folder(folder, instances(series=1, per_series=3)):
        os.truncate(folder / made.path, 300 << 20)  # sparse
    async with served(Root(folder), catalogue=tmp_path / "catalogue.sqlite") as running:
        bucket = ServedBucket(running, [], folder)
        first = (await bucket.page(max_keys="3")).body
        assert (texts(first, "KeyCount"), texts(first, "IsTruncated")) == (["1"], ["true"])
        token = texts(first, "NextContinuationToken")[0]
        rest = [(await bucket.page(continuation_token=token)).body for _ in range(2)]
        assert [texts(body, "KeyCount") for body in rest] == [["1"], ["2"]]
        assert not set(texts(rest[1], "Key")) & set(texts(first, "Key"))


async def test_a_new_scan_is_seen(bucket: ServedBucket) -> None:
    more = write_folder(bucket.folder, instances(series=1, per_series=2, collection="MORE"))
    assert (await bucket.ask(key_of(more[0]))).status == 404
    await asyncio.to_thread(bucket.server.catalogue.scan, [Root(bucket.folder)])
    assert (await bucket.ask(key_of(more[0]))).body == more[0].content
