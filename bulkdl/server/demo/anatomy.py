"""The anatomy of the phantom: ellipsoids of tissue, and slices through them as labels.

Everything is computed in integers, so that every machine and every version of numpy makes the same slices. Internal
lengths are in units of 1/512 mm, in which the pixel spacings are integers. Coordinates are the Patient's (x to the
left, y to the back, z to the head; PS3.3 §C.7.6.2.1.1) with the origin at the base of the skull. The shapes are
estimates, not measurements.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

UNITS_PER_MM = 512
_ONE = 1 << 12  # the radius of an ellipsoid, when its coordinates are divided by its radii


Tissue = IntEnum(
    "Tissue",
    "AIR SOFT FAT MUSCLE BONE SPONGIOSA BRAIN WHITE_MATTER FLUID "
    "LUNG BLOOD HEART LIVER SPLEEN KIDNEY STOMACH COUCH TUMOUR",
    start=0,
)
"""The label of a voxel."""


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A centre and three radii in mm, and the tissue inside."""

    tissue: Tissue
    x: int
    y: int
    z: int
    rx: int
    ry: int
    rz: int

    def scaled(self, percent: int) -> "Ellipsoid":
        """The same ellipsoid in a larger or smaller body."""
        numbers = (self.x, self.y, self.z, self.rx, self.ry, self.rz)
        return Ellipsoid(self.tissue, *(number * percent // 100 for number in numbers))


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixels of a slice: `size` rows and columns, centred at x = y = 0."""

    size: int
    spacing_units: int

    @property
    def first_units(self) -> int:
        """The x, and the y, of the centre of the first pixel."""
        return -(self.size - 1) * self.spacing_units // 2


def _both_sides(shape: Ellipsoid) -> tuple[Ellipsoid, Ellipsoid]:
    return shape, replace(shape, x=-shape.x)


LIVER = Ellipsoid(Tissue.LIVER, -62, -5, -352, 80, 72, 66)

_BODY = (
    Ellipsoid(Tissue.FAT, 0, 12, -300, 186, 118, 270),
    *_both_sides(Ellipsoid(Tissue.FAT, -132, 22, -128, 66, 52, 62)),
    Ellipsoid(Tissue.MUSCLE, 0, 12, -300, 168, 102, 258),
    *_both_sides(Ellipsoid(Tissue.MUSCLE, -130, 22, -130, 56, 42, 54)),
    *_both_sides(Ellipsoid(Tissue.BONE, -146, 22, -132, 24, 24, 30)),
    *_both_sides(Ellipsoid(Tissue.SPONGIOSA, -146, 22, -132, 19, 19, 25)),
    Ellipsoid(Tissue.SOFT, 0, 14, -62, 60, 62, 80),
)
_CHEST = (
    *_both_sides(Ellipsoid(Tissue.LUNG, -72, 8, -228, 60, 80, 128)),
    Ellipsoid(Tissue.SOFT, 0, 6, -232, 27, 62, 140),
    Ellipsoid(Tissue.BLOOD, 14, 44, -280, 13, 13, 160),
    Ellipsoid(Tissue.BLOOD, 4, -6, -172, 30, 15, 15),
    Ellipsoid(Tissue.HEART, 24, -28, -262, 54, 46, 56),
    Ellipsoid(Tissue.BLOOD, 32, -32, -268, 28, 24, 34),
    Ellipsoid(Tissue.BLOOD, -4, -20, -246, 20, 22, 26),
    Ellipsoid(Tissue.AIR, 0, -2, -100, 9, 9, 100),
    LIVER,
    Ellipsoid(Tissue.SPLEEN, 98, 40, -352, 36, 40, 44),
    Ellipsoid(Tissue.STOMACH, 56, -30, -362, 46, 38, 44),
    Ellipsoid(Tissue.AIR, 52, -48, -352, 24, 13, 22),
    Ellipsoid(Tissue.KIDNEY, -60, 58, -412, 27, 26, 48),
    Ellipsoid(Tissue.KIDNEY, 62, 58, -404, 27, 26, 48),
    Ellipsoid(Tissue.BONE, 0, -88, -210, 20, 7, 78),
    Ellipsoid(Tissue.SPONGIOSA, 0, -88, -210, 16, 4, 72),
)
_HEAD = (
    Ellipsoid(Tissue.SOFT, 0, 0, 60, 80, 99, 114),
    Ellipsoid(Tissue.BONE, 0, 4, 66, 74, 92, 105),
    Ellipsoid(Tissue.FLUID, 0, 4, 68, 68, 86, 98),
    Ellipsoid(Tissue.BRAIN, 0, 4, 68, 65, 83, 95),
    *_both_sides(Ellipsoid(Tissue.WHITE_MATTER, -29, 4, 72, 26, 66, 66)),
    Ellipsoid(Tissue.FLUID, 0, 4, 140, 2, 84, 40),
    *_both_sides(Ellipsoid(Tissue.FLUID, -13, -8, 78, 7, 30, 15)),
    *_both_sides(Ellipsoid(Tissue.BRAIN, -15, 0, 60, 9, 14, 10)),
    Ellipsoid(Tissue.BRAIN, 0, 50, 2, 46, 30, 24),
    Ellipsoid(Tissue.WHITE_MATTER, 0, 26, 8, 14, 14, 34),
    Ellipsoid(Tissue.SOFT, 0, -54, -8, 62, 46, 42),
    Ellipsoid(Tissue.BONE, 0, -46, -34, 52, 44, 13),
    Ellipsoid(Tissue.SOFT, 0, -36, -34, 42, 42, 16),
    *_both_sides(Ellipsoid(Tissue.FAT, -33, -72, 26, 19, 20, 18)),
    *_both_sides(Ellipsoid(Tissue.FLUID, -33, -78, 26, 12, 12, 12)),
    Ellipsoid(Tissue.AIR, 0, -72, 8, 11, 22, 24),
    *_both_sides(Ellipsoid(Tissue.AIR, -28, -66, -2, 13, 14, 14)),
    Ellipsoid(Tissue.AIR, 0, -14, -40, 9, 10, 50),
)
_SPINE = (
    Ellipsoid(Tissue.BONE, 0, 66, -310, 22, 19, 280),
    Ellipsoid(Tissue.BONE, 0, 98, -340, 14, 14, 225),
    Ellipsoid(Tissue.BONE, 0, 34, -60, 19, 16, 70),
    Ellipsoid(Tissue.BONE, 0, 56, -60, 13, 15, 64),
)
_MARROW = (
    Ellipsoid(Tissue.SPONGIOSA, 0, 66, -310, 18, 15, 276),
    Ellipsoid(Tissue.SPONGIOSA, 0, 34, -60, 15, 12, 66),
    Ellipsoid(Tissue.FLUID, 0, 92, -335, 9, 8, 245),
    Ellipsoid(Tissue.FLUID, 0, 56, -58, 8, 7, 66),
)
_CAGE = Ellipsoid(Tissue.BONE, 0, 10, -275, 156, 97, 215)  # the ribs are in its shell
_CAGE_INSIDE = Ellipsoid(Tissue.BONE, 0, 10, -275, 148, 89, 209)
_RIB_PERIOD_MM = 34
_RIB_MM = 15
_VERTEBRA_PERIOD_MM = 30
_DISC_MM = 7
_COUCH_MM = (134, 146, 205)  # from and to in y, half the width in x


class Anatomy:
    """A Patient at one time point: a size in percent and a tumour."""

    def __init__(self, percent: int, tumour: Ellipsoid) -> None:
        self.tumour = tumour.scaled(percent)
        self.liver = LIVER.scaled(percent)
        self._before_spine = tuple(shape.scaled(percent) for shape in _BODY + _CHEST + _HEAD)
        self._spine = tuple(shape.scaled(percent) for shape in _SPINE)
        self._marrow = tuple(shape.scaled(percent) for shape in _MARROW)
        self._cage = _CAGE.scaled(percent)
        self._cage_inside = _CAGE_INSIDE.scaled(percent)

    def slice_at(self, z_units: int, grid: Grid) -> NDArray[np.uint8]:
        """The labels (`Tissue`) of the slice at `z_units`, rows by columns."""
        along = np.arange(grid.size, dtype=np.int64) * grid.spacing_units + grid.first_units
        labels = np.zeros((grid.size, grid.size), dtype=np.uint8)
        top, bottom, half = (number * UNITS_PER_MM for number in _COUCH_MM)
        labels[np.ix_((along >= top) & (along < bottom), abs(along) < half)] = Tissue.COUCH
        for shape in self._before_spine:
            _paint(labels, shape, along, z_units)
        self._paint_ribs(labels, along, z_units)
        for shape in self._spine:
            _paint(labels, shape, along, z_units)
        disc = z_units % (_VERTEBRA_PERIOD_MM * UNITS_PER_MM) < _DISC_MM * UNITS_PER_MM
        for shape in self._marrow:
            _paint(labels, shape, along, z_units, Tissue.SOFT if disc and shape.tissue is Tissue.SPONGIOSA else None)
        _paint(labels, self.tumour, along, z_units)
        return labels

    def tumour_at(self, z_units: int, grid: Grid) -> NDArray[np.bool_]:
        """Where the tumour is in the slice at `z_units`, rows by columns."""
        labels: NDArray[np.bool_] = self.slice_at(z_units, grid) == Tissue.TUMOUR
        return labels

    def _paint_ribs(self, labels: NDArray[np.uint8], along: NDArray[np.int64], z_units: int) -> None:
        outside, inside = _mask(self._cage, along, z_units), _mask(self._cage_inside, along, z_units)
        if outside is None:
            return
        shell = outside if inside is None else outside & ~inside
        phase = (z_units - along // 2) % (_RIB_PERIOD_MM * UNITS_PER_MM)  # ribs slope to the front
        labels[shell & (phase < _RIB_MM * UNITS_PER_MM)[:, None]] = Tissue.BONE


def _mask(shape: Ellipsoid, along: NDArray[np.int64], z_units: int) -> NDArray[np.bool_] | None:
    """The pixels inside an ellipsoid; None if it is outside the slice."""
    z = (z_units - shape.z * UNITS_PER_MM) * _ONE // (shape.rz * UNITS_PER_MM)
    if abs(z) >= _ONE:
        return None
    x = (along - shape.x * UNITS_PER_MM) * _ONE // (shape.rx * UNITS_PER_MM)
    y = (along - shape.y * UNITS_PER_MM) * _ONE // (shape.ry * UNITS_PER_MM)
    inside: NDArray[np.bool_] = (x * x)[None, :] + (y * y)[:, None] < _ONE * _ONE - z * z
    return inside


def _paint(
    labels: NDArray[np.uint8], shape: Ellipsoid, along: NDArray[np.int64], z_units: int, tissue: Tissue | None = None
) -> None:
    mask = _mask(shape, along, z_units)
    if mask is not None:
        labels[mask] = shape.tissue if tissue is None else tissue
