"""The file names that the NBIA Data Retriever gives to the images of a Series: `1-01.dcm`, `1-02.dcm`, `2-01.dcm`.

The server makes them of all images of the Series: it sorts them by Instance Number and counts from 1. Where the
Acquisition Number differs from that of the image before, the first part counts up, and the second one begins with 1
again. Both parts have zeros to a fixed width: that of the number of acquisitions, and that of the number of different
Instance Numbers. An image without an Instance Number comes first. Images with the same one come in the order of the
database there, which no client knows, and by SOP Instance UID here.

Source: `setNewFileNames` of ImageDAO2Impl.java and `compareTo` of ImageDTO2.java, NBIA.
"""

from collections.abc import Sequence

from bulkdl.store.layout import InstanceNumbers


def image_names(images: Sequence[InstanceNumbers]) -> list[str]:
    """The name of each image of a Series, without its type. No two are the same."""
    order = sorted(range(len(images)), key=lambda at: _place(images[at]))
    acquisitions = [images[at].acquisition for at in order]
    first_width = len(str(1 + _changes(acquisitions)))
    second_width = len(str(1 + _changes([images[at].number for at in order])))
    names, first, second = [""] * len(images), 1, 0
    before: int | None = (acquisitions[0] if order else None) or 0
    for at, acquisition in zip(order, acquisitions, strict=True):
        second += 1
        if (acquisition or 0) != before:
            before, first, second = (
                acquisition,
                first + 1,
                1,
            )  # a missing number stays so, and differs from the next one
        names[at] = f"{first:0{first_width}}-{second:0{second_width}}"
    return names


def _place(image: InstanceNumbers) -> tuple[bool, int, str]:
    return image.number is not None, image.number or 0, image.sop_uid


def _changes(numbers: Sequence[int | None]) -> int:
    """How often a number differs from the one before; those that are missing are passed over."""
    before, changes = (numbers[0] if numbers else None) or 0, 0
    for number in numbers:
        if number is not None and number != before:
            before, changes = number, changes + 1
    return changes
