"""Compare adopted files with what the archive says of their Series, because they were not downloaded from it."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from bulkdl.archive.base import Archive
from bulkdl.archive.nbia.values import md5_of_md5s
from bulkdl.errors import RequestFailed
from bulkdl.journal.rows import HeldInstance, SeriesRow


async def find_differing(
    row: SeriesRow, adopted: Sequence[HeldInstance], archive: Archive
) -> tuple[list[HeldInstance], bool]:
    """Those of the `adopted` files of a listed Series that are not what the archive has.

    Its list counts first, then its checksums of the Series and of instances, and then the size of a complete Series.
    The second value is True where some could only be compared by that, and the Series is not complete yet.
    """
    is_open = False
    differing = [held for held in adopted if _differs(held)]
    unknown = [held for held in adopted if held.entry.md5 is None and held not in differing]
    if differing or not unknown or not await _is_of_series(row, adopted, archive):
        unsure = []
        for held in unknown:
            checksum = await _checksum(held, archive)
            if checksum is None:
                unsure.append(held)
            elif checksum != held.md5:
                differing.append(held)
        is_open = bool(unsure) and _owes(row)
        if unsure and not differing and await _has_another_size(row, archive):
            differing += unsure
    return differing, is_open


def md5_of_series(files: Iterable[HeldInstance]) -> bytes:
    """The MD5 that stands for a whole Series at NBIA, of the files that are held of it."""
    return bytes.fromhex(md5_of_md5s((held.md5 or b"").hex() for held in files))


def _differs(held: HeldInstance) -> bool:
    size_bytes, md5 = held.entry.size_bytes, held.entry.md5
    return size_bytes not in {None, held.size_bytes} or (md5 is not None and md5 != held.md5)


async def _is_of_series(row: SeriesRow, adopted: Sequence[HeldInstance], archive: Archive) -> bool:
    """Whether the adopted files are the whole Series, by the checksum that the archive has of it."""
    if len(adopted) != row.held or _owes(row):
        return False
    with suppress(RequestFailed):
        return await archive.series_checksum(row.series.series_uid) == md5_of_series(adopted)
    return False


async def _checksum(held: HeldInstance, archive: Archive) -> bytes | None:
    if not archive.capabilities.checksums:
        return None
    with suppress(RequestFailed):
        return await archive.checksum(held.series_uid, held.entry)
    return None


async def _has_another_size(row: SeriesRow, archive: Archive) -> bool:
    if _owes(row):
        return False
    size_bytes = row.series.size_bytes
    with suppress(RequestFailed):
        size_bytes = size_bytes or (await archive.size(row.series.series_uid)).size_bytes
    return size_bytes not in {None, 0, row.held_bytes}


def _owes(row: SeriesRow) -> bool:
    return bool(row.owed or row.failed or row.quarantined or row.is_in_part)
