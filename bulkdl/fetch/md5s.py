"""The MD5s of files that were downloaded from an archive without checksums, once another archive has them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bulkdl.fetch.digests import digests_of_file
from bulkdl.journal.rows import HeldInstance
from bulkdl.store.files import MirrorFiles


def with_md5s(held: Sequence[HeldInstance], files: MirrorFiles) -> list[HeldInstance]:
    """The same files, each with its MD5. Blocking: it reads the files whose MD5 is not known.

    A file that cannot be read, or does not have its SHA-256 any more, stays without one.
    """
    return [_with_md5(one, files) if one.md5 is None else one for one in held]


def _with_md5(held: HeldInstance, files: MirrorFiles) -> HeldInstance:
    with suppress(OSError):
        digests = digests_of_file(files.absolute(held.path))
        if held.sha256 in {None, digests.sha256}:
            return replace(held, md5=digests.md5)
    return held
