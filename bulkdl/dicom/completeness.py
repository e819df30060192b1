"""Find what a Series lacks by its images: numbers, slices, and what differs between them; pure.

Source: PS3.3 §C.7.6.2.1.1 (position and orientation of a slice).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from bulkdl.dicom.image_facts import ImageFacts, Vector

_GAP: Final = 1.5  # times the usual distance of slices
_FEWEST_SLICES: Final = 3
_SAME_MM: Final = 1e-3
_NAMED: Final = 8


class FindingKind(StrEnum):
    """What is wrong with a Series."""

    MISSING_NUMBERS = "missing-instance-numbers"
    MISSING_SLICES = "missing-slices"
    MIXED_ORIENTATION = "mixed-orientation"
    MIXED_SPACING = "mixed-spacing"
    MIXED_SHAPE = "mixed-shape"
    DANGLING_REFERENCE = "dangling-reference"
    NOT_READABLE = "not-readable"
    NOT_HELD = "not-held"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of one Series, in words."""

    kind: FindingKind
    text: str


def find_gaps(images: Sequence[ImageFacts]) -> list[Finding]:
    """What the images of one Series show as missing or different; nothing for objects that are not images."""
    slices = [image for image in images if image.shape is not None]
    found = [*_missing_numbers(slices)]
    by_orientation = _groups(slices)
    if len(by_orientation) > 1:
        found.append(Finding(FindingKind.MIXED_ORIENTATION, f"{len(by_orientation)} orientations"))
    for orientation, group in by_orientation.items():
        found += _missing_slices(orientation, group)
    if len(spacings := {tuple(round(each, 4) for each in image.spacing) for image in slices if image.spacing}) > 1:
        shown = " and ".join(sorted(" by ".join(f"{each:g}" for each in one) for one in spacings)[:_NAMED])
        found.append(Finding(FindingKind.MIXED_SPACING, f"pixels of {shown} mm"))
    if len(shapes := {image.shape for image in slices if image.shape}) > 1:
        shown = " and ".join(f"{rows} by {columns}" for rows, columns in sorted(shapes)[:_NAMED])
        found.append(Finding(FindingKind.MIXED_SHAPE, f"images of {shown} pixels"))
    return found


def _missing_numbers(images: Sequence[ImageFacts]) -> list[Finding]:
    """Instance Numbers between the lowest and the highest; nothing where they do not count the images."""
    numbers = {image.instance_number for image in images if image.instance_number is not None}
    if len(numbers) < len(images) or not numbers or max(numbers) - min(numbers) >= 2 * len(numbers):
        return []
    missing = sorted(set(range(min(numbers), max(numbers))) - numbers)
    return [Finding(FindingKind.MISSING_NUMBERS, f"instance numbers {_listed(missing)}")] if missing else []


def _groups(images: Iterable[ImageFacts]) -> dict[Vector, list[ImageFacts]]:
    groups: dict[Vector, list[ImageFacts]] = {}
    for image in images:
        if image.orientation and image.position:
            groups.setdefault(tuple(round(each, 2) for each in image.orientation), []).append(image)
    return groups


def _missing_slices(orientation: Vector, images: Sequence[ImageFacts]) -> list[Finding]:
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = b * f - c * e, c * d - a * f, a * e - b * d
    along = sorted(sum(n * p for n, p in zip(normal, image.position, strict=True)) for image in images)
    places = [place for index, place in enumerate(along) if not index or place - along[index - 1] > _SAME_MM]
    steps = [after - before for before, after in pairwise(places)]
    if len(places) < _FEWEST_SLICES:
        return []
    usual = sorted(steps)[len(steps) // 2]
    gaps = [(place, step) for place, step in zip(places, steps, strict=False) if step > _GAP * usual]
    shown = "; ".join(f"{step:.4g} mm from {place:.5g} to {place + step:.5g} mm" for place, step in gaps[:_NAMED])
    more = f"; and {len(gaps) - _NAMED} more" if len(gaps) > _NAMED else ""
    text = f"slices lie {usual:.4g} mm apart, but {shown}{more}"
    return [Finding(FindingKind.MISSING_SLICES, text)] if gaps else []


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NAMED]))
    return f"{shown} and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else shown
