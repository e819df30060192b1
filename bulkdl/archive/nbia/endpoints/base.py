"""What a table of endpoints is made of.

An attribute or parameter has two names: the one on the wire (`SeriesInstanceUID`), and the `field` of our own words
(`series_uid`). How a value of a `Kind` is written on the wire is the affair of the dialect, but for the forms of dates
in parameters, which differ from one endpoint to the next and so stand in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(Enum):
    """The type of a value, apart from how a dialect writes it."""

    TEXT = auto()
    UID = auto()
    INTEGER = auto()
    NUMBER = auto()
    FLAG = auto()  # true, false
    YES_NO = auto()  # YES, NO
    DATE = auto()
    TIMESTAMP = auto()
    NESTED = auto()  # an array or object of JSON, as it is


class Answer(Enum):
    """What an endpoint sends."""

    ROWS = auto()
    OBJECT = auto()  # one JSON object
    INSTANCE = auto()  # one DICOM file
    BUNDLE = auto()  # the zip of a Series
    TEXT = auto()
    MANIFEST = auto()  # a .tcia file
    FILE = auto()  # some other attachment
    PICTURE = auto()  # a JPEG


class DateForm(StrEnum):
    """How a parameter writes a date: the pattern of strftime."""

    ISO = "%Y-%m-%d"
    SLASHED = "%Y/%m/%d"
    DAY_FIRST = "%d/%m/%Y"
    MONTH_FIRST = "%m-%d-%Y"


class Place(Enum):
    """Where a parameter goes: into the address, or into the form of a POST."""

    QUERY = auto()
    FORM = auto()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. `field` is the criterion of our own words that it carries.

    `any_case`: its value is compared without case. A parameter `is_repeatable` when it may be sent several times with
    different values, or once with a `separator` between them where there is one; `is_numbered` when its name goes over
    the wire with 0, 1, 2, … behind it.
    """

    name: str
    field: str
    kind: Kind = Kind.TEXT
    required: bool = False
    description: str = ""
    any_case: bool = False
    date_form: DateForm | None = None
    place: Place = Place.QUERY
    is_repeatable: bool = False
    separator: str = ""
    is_numbered: bool = False


@dataclass(frozen=True, slots=True)
class Attribute:
    """A returned attribute; `tag` is its DICOM tag as eight hexadecimal digits, or empty."""

    name: str
    field: str
    kind: Kind = Kind.TEXT
    tag: str = ""
    description: str = ""


FORMATS: Final = ("JSON", "CSV", "XML", "HTML")
"""The formats of search answers, by the words of the `format` parameter."""

JSON_ONLY: Final = ("JSON",)
CSV_FILE: Final = ("CSV-DOWNLOAD",)
NO_FORMATS: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `path` is relative to the base address of its family; `attributes` are in the wire's order.

    `formats` are those of an answer of rows, the default first; it `has_format` when the parameter `format`, which the
    parameters do not list, chooses among them. `is_strict`: unknown parameters are refused instead of passed over.
    """

    name: str
    path: str
    parameters: tuple[Parameter, ...]
    attributes: tuple[Attribute, ...]
    answer: Answer
    description: str
    method: str = "GET"
    formats: tuple[str, ...] = FORMATS
    has_format: bool = True
    is_strict: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """The wire names of the required parameters."""
        return tuple(parameter.name for parameter in self.parameters if parameter.required)

    @property
    def default_format(self) -> str:
        """The format that comes where none is asked for; empty for what is no list of rows."""
        return self.formats[0] if self.formats else ""

    def parameter(self, name: str) -> Parameter | None:
        """The parameter that goes over the wire as `name`, numbers behind it taken off where it is numbered."""
        stem = name.rstrip("0123456789")
        for parameter in self.parameters:
            if parameter.name == (stem if parameter.is_numbered and stem != name else name):
                return parameter
        return None


def by_name(endpoints: Iterable[Endpoint]) -> Mapping[str, Endpoint]:
    """The endpoints of a family, keyed by their names as documented."""
    return {endpoint.name: endpoint for endpoint in endpoints}
