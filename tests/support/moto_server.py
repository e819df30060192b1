"""moto's S3 server: an implementation of S3 that none of ours shares a mistake with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.support.bucket_server import BUCKET, Stored, key_of
from tests.support.dicom_files import MadeUp


class MotoBucket:
    """One bucket that everyone may read, with the made-up instances that were put into it."""

    def __init__(self, url: str) -> None:
        keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "any")
        self.url = url
        self._client: Any = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        self._client.create_bucket(Bucket=BUCKET, ACL="public-read")

    def put(self, made_up: Iterable[MadeUp]) -> None:
        for one in made_up:
            self._put(key_of(one), one.content)

    def _put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")

    def put_in_parts(self, made_up: Iterable[MadeUp]) -> None:
        """Upload each instance in parts, of which it has one: its entity tag is not its MD5."""
        for one in made_up:
            place = {"Bucket": BUCKET, "Key": key_of(one)}
            upload = self._client.create_multipart_upload(**place, ACL="public-read")["UploadId"]
            part = self._client.upload_part(**place, UploadId=upload, PartNumber=1, Body=one.content)
            parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            self._client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts)

    @contextmanager
    def changed(self, objects: Mapping[str, Stored]) -> Iterator[None]:
        """Have these objects instead of those that are there, until the block ends."""
        listed = self._client.list_objects_v2(Bucket=BUCKET)["Contents"]
        before = {
            each["Key"]: self._client.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in listed
        }
        after = {key: stored.content for key, stored in objects.items()}
        self._replace(before, after)
        try:
            yield
        finally:
            self._replace(after, before)

    def _replace(self, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
        for key in before.keys() - after.keys():
            self._client.delete_object(Bucket=BUCKET, Key=key)
        for key, content in after.items():
            if before.get(key) != content:
                self._put(key, content)


@contextmanager
def moto_bucket() -> Iterator[MotoBucket]:
    """The bucket, while its server runs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield MotoBucket(f"http://{host}:{port}/")
    finally:
        server.stop()
