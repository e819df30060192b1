"""The findings of a Series are those of its images: what is missing, double or different, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.dicom.completeness import FindingKind, find_gaps
from bulkdl.dicom.image_facts import ImageFacts

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def stack(count: int, orientation: tuple[float, ...] = AXIAL) -> list[ImageFacts]:
    """Slices 2.5 mm apart along the normal of `orientation`, numbered from 1."""
    x, y, z = orientation[:3]
    normal = (y * orientation[5] - z * orientation[4], z * orientation[3] - x * orientation[5], x * orientation[4] - y * orientation[3])  # fmt: skip # noqa: E501
    return [
        ImageFacts(
            sop_uid=f"1.2.{index}",
            instance_number=index + 1,
            position=tuple(2.5 * index * part for part in normal),
            orientation=orientation,
            spacing=(0.7, 0.7),
            shape=(512, 512),
        )
        for index in range(count)
    ]


def kinds(images: list[ImageFacts]) -> list[FindingKind]:
    return [finding.kind for finding in find_gaps(images)]


@given(count=st.integers(0, 40), orientation=st.sampled_from([AXIAL, OBLIQUE]), order=st.randoms())
def test_a_whole_stack_in_any_order_has_no_findings(count: int, orientation: tuple[float, ...], order: object) -> None:
    images = stack(count, orientation)
    order.shuffle(images)  # type: ignore[attr-defined]
    assert find_gaps(images) == []


@given(st.data())
def test_a_missing_slice_is_found_by_number_and_by_position(data: st.DataObject) -> None:
    images = stack(data.draw(st.integers(6, 40)), data.draw(st.sampled_from([AXIAL, OBLIQUE])))
    missing = images.pop(data.draw(st.integers(1, len(images) - 2)))
    first, second = find_gaps(images)
    assert (first.kind, first.text) == (FindingKind.MISSING_NUMBERS, f"instance numbers {missing.instance_number}")
    assert second.kind is FindingKind.MISSING_SLICES
    assert "slices lie 2.5 mm apart, but 5 mm from" in second.text


def test_time_points_at_the_same_positions_are_whole() -> None:
    later = [replace(image, sop_uid=f"{image.sop_uid}.1", instance_number=None) for image in stack(5)]
    assert find_gaps([*stack(5), *later]) == []


def test_numbers_that_do_not_count_images_are_not_missing() -> None:
    images = [replace(image, instance_number=(image.instance_number or 0) * 100) for image in stack(5)]
    assert find_gaps(images) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"orientation": OBLIQUE}, [FindingKind.MIXED_ORIENTATION]),
        ({"spacing": (0.7, 0.9)}, [FindingKind.MIXED_SPACING]),
        ({"shape": (512, 256)}, [FindingKind.MIXED_SHAPE]),
        ({"orientation": (), "position": ()}, []),
    ],
)
def test_what_differs_is_named(changed: dict[str, tuple[float, ...]], expected: list[FindingKind]) -> None:
    images = stack(5)
    images[0] = replace(images[0], **changed)  # type: ignore[arg-type]
    assert kinds(images) == expected


def test_objects_without_images_have_no_findings() -> None:
    objects = [
        replace(image, shape=None, instance_number=number) for image, number in zip(stack(2), (1, 9), strict=True)
    ]
    assert find_gaps(objects) == []


def test_long_lists_are_shortened() -> None:
    images = [image for image in stack(60) if (image.instance_number or 0) % 2]
    assert find_gaps(images)[0].text.endswith("and 21 more")
