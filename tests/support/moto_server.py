"""moto's S3 server: an implementation of S3 that none of ours shares a mistake with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.support.bucket_server import BUCKET, key_of
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
            self._client.put_object(Bucket=BUCKET, Key=key_of(one), Body=one.content, ACL="public-read")


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
