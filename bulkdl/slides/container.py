"""Check the container of a slide: the directories of a TIFF, and that the tiles they name are in the file.

tifffile reads the directories, whatever the variant: classic, BigTIFF, SVS, NDPI, SCN. It only logs some damages, such
as an offset behind the end of the file, so what it logs as an error counts. Pixels are not decoded.

A file may be hostile: directories in a ring, counts of billions. The number of directories and tiles is limited here;
time and memory are limited by `check_main`, whose process this runs in.

Source: TIFF 6.0, sections 2 and 15; the documentation of tifffile, "Notes"; codes of compression as registered.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.text import error_text, one_line, shortened

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

SLIDE_TYPES: Final = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".btf", ".qptiff")
"""The ends of the names of slides that are TIFF files, in lower case."""

_MAGICS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAGIC_BYTES: Final = 4
_MOST_DIRECTORIES: Final = 10_000
_MOST_TILES: Final = 20_000_000
_MARKS: Final = {
    **dict.fromkeys((6, 7, 33007, 34892), b"\xff\xd8"),  # JPEG
    **dict.fromkeys((33003, 33004, 33005), b"\xff\x4f"),  # JPEG 2000 as Aperio writes it: a bare stream
}
"""How a tile begins, by the code of its compression."""
_SHOWN: Final = 160


def is_tiff(head: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return head[:MAGIC_BYTES] in _MAGICS


def names_slide(name: str) -> bool:
    """Whether a file name is that of a slide that is a TIFF."""
    return name.casefold().endswith(SLIDE_TYPES)


def can_check() -> bool:
    """Whether tifffile and numpy are installed; nothing is imported."""
    return all(PathFinder.find_spec(name) is not None for name in ("tifffile", "numpy"))


def require_tifffile() -> None:
    """Raise ConfigurationError: tifffile is not installed."""
    if not can_check():
        raise ConfigurationError("validating slides needs tifffile, not installed: pip install 'bulkdl[slides]'")


def check_container(source: bytes | Path) -> None:
    """Check a slide, given as its bytes or as a file.

    Raises:
        InvalidInstance: it is not a TIFF, is truncated, or its directories are damaged or hostile.
    """
    import tifffile  # noqa: PLC0415 - an extra, and numpy is slow to import

    try:
        with (
            _errors_of(tifffile.logger()) as logged,
            tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source) as slide,
        ):
            _check_pages(slide, logged)
    except (InvalidInstance, MemoryError):
        raise
    except Exception as error:  # tifffile raises many kinds for damaged files
        text = shortened(one_line(error_text(error)), _SHOWN)
        raise InvalidInstance(f"not a TIFF that can be read: {text}") from error


@contextmanager
def _errors_of(logger: logging.Logger) -> Iterator[list[str]]:
    """What tifffile logs as errors, without any names of places in memory or on the disk."""
    found: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(shortened(one_line(record.getMessage()), _SHOWN))

    keeper = Keeper(logging.ERROR)
    logger.addHandler(keeper)
    was_heard, logger.propagate = logger.propagate, False
    try:
        yield found
    finally:
        logger.removeHandler(keeper)
        logger.propagate = was_heard


def _check_pages(slide: TiffFile, logged: list[str]) -> None:
    size, tiles, count, known = slide.filehandle.size, 0, 0, set[int]()
    waiting: list[Any] = [slide.pages]
    while waiting:
        for page in _each(waiting.pop()):
            count += 1
            if count > _MOST_DIRECTORIES or page.offset in known:
                raise InvalidInstance("the directories of the TIFF form a ring, or have no end")
            known.add(page.offset)
            tiles += _check_page(slide, page, size)
            if tiles > _MOST_TILES:
                raise InvalidInstance(f"the TIFF has more than {_MOST_TILES:,} tiles")
            if page.subifds:
                waiting.append(page.pages)
    if logged:
        raise InvalidInstance(f"the directories of the TIFF are damaged: {logged[0]}")
    if not count:
        raise InvalidInstance("the TIFF has no image")


def _each(pages: Any) -> Iterator[TiffPage]:
    """The pages in their order. All at once they would be found before a ring of them is noticed."""
    pages.useframes = False
    index = 0
    while True:
        try:
            page: TiffPage = pages[index]
        except IndexError:
            return
        yield page
        index += 1


def _check_page(slide: TiffFile, page: TiffPage, size: int) -> int:
    """Check that the tiles or strips of a page are as many as they should be, and in the file; their number."""
    import numpy as np  # noqa: PLC0415 - as above

    where = f"image {page.index + 1} ({page.imagewidth} x {page.imagelength})"
    offsets, lengths = (
        np.asarray(each, dtype="uint64").reshape(-1) for each in (page.dataoffsets, page.databytecounts)
    )
    expected = 1
    for each in page.chunked:
        expected *= max(1, int(each))
    if len(offsets) != len(lengths) or len(offsets) < expected:
        raise InvalidInstance(f"{where} names {len(offsets):,} of {expected:,} tiles")
    ends = offsets + lengths
    if len(ends) and (int(ends.max()) > size or bool((ends < offsets).any())):
        which = int((ends > size).argmax())
        raise InvalidInstance(
            f"truncated: tile {which + 1:,} of {where} ends at {int(ends[which]):,} of {size:,} bytes"
        )
    if (mark := _MARKS.get(int(page.compression))) is not None:
        given = np.flatnonzero(lengths)
        for which in {int(given[0]), int(given[-1])} if len(given) else ():
            slide.filehandle.seek(int(offsets[which]))
            if slide.filehandle.read(len(mark)) != mark:
                raise InvalidInstance(f"tile {which + 1:,} of {where} does not begin as its compression does")
    return len(offsets)
