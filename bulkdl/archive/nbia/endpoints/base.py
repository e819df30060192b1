"""What a table of endpoints is made of.

An attribute or parameter has two names: the one on the wire (`SeriesInstanceUID`), and our own, the `field`
(`series_uid`). The dialect decides how a value of a `Kind` is written; only the forms of dates in parameters, which
differ between endpoints, are in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final


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
    NESTED = auto()  # an array or object of JSON, unchanged


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


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. `field` is our own name of the criterion.

    `any_case`: its value is compared without case. A parameter `is_repeatable` when it may be sent several times with
    different values, or once with a `separator` between them where there is one; `is_numbered` when its name is sent
    with 0, 1, 2, … behind it.
    """

    name: str
    field: str
    kind: Kind = Kind.TEXT
    description: str = ""
    required: bool = False
    any_case: bool = False
    date_form: DateForm | None = None
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
"""The formats of search answers, as values of the `format` parameter."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `path` is relative to the base address of its family; `attributes` are in the wire's order.

    `formats` are those of an answer of rows, the default first. The parameters of a POST are sent as a form. With
    `is_strict`, unknown parameters are refused, otherwise ignored.
    """

    name: str
    path: str
    parameters: tuple[Parameter, ...]
    attributes: tuple[Attribute, ...]
    answer: Answer
    description: str
    method: str = "GET"
    formats: tuple[str, ...] = FORMATS
    is_strict: bool = False

    @property
    def has_format(self) -> bool:
        """Whether the parameter `format`, which `parameters` does not list, chooses among several formats."""
        return len(self.formats) > 1

    @property
    def required(self) -> tuple[str, ...]:
        """The wire names of the required parameters."""
        return tuple(parameter.name for parameter in self.parameters if parameter.required)

    @property
    def default_format(self) -> str:
        """The format that is sent if none is requested; empty where the answer is not a list of rows."""
        return self.formats[0] if self.formats else ""

    def parameter(self, name: str) -> Parameter | None:
        """The parameter that is sent as `name`; a number at its end is ignored where the parameter is numbered."""
        stem = name.rstrip("0123456789")
        for parameter in self.parameters:
            if parameter.name == (stem if parameter.is_numbered and stem != name else name):
                return parameter
        return None
