"""Read the XML of workbooks (SpreadsheetML, ECMA-376 part 1 §18) by expat, while it arrives.

Names are compared without their prefix, because files choose it. Declarations of types and entities are refused, as
defusedxml does. An element, the text of a cell, and a row are limited; nothing else is held.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import IO, Final, Protocol, TypeAlias
from xml.parsers import expat

_CHUNK_BYTES: Final = 1 << 16
_LONGEST_TOKEN: Final = 1 << 20
_LONGEST_TEXT: Final = 1 << 20  # characters; Excel allows 32,767
_MOST_COLUMNS: Final = 1 << 14  # of Excel: A to XFD
_MOST_LETTERS: Final = 3
_DIGITS: Final = "0123456789"

Attributes: TypeAlias = Mapping[str, str]


class Texts(Protocol):
    """Texts by number."""

    def __getitem__(self, number: int, /) -> str: ...


def attributes_of(file: IO[bytes], name: str) -> list[Attributes]:
    """The attributes of all elements of that name. Raises ValueError or ExpatError."""
    found: list[Attributes] = []

    def start(element: str, attributes: Attributes) -> None:
        if _local(element) == name:
            found.append(attributes)

    parser = _parser()
    parser.StartElementHandler = start
    for _ in _fed(parser, file):
        pass
    return found


def strings_in(file: IO[bytes]) -> Iterator[str]:
    """The shared texts, in their order (§18.4.9); how they are pronounced is left out. Raises as `attributes_of`."""
    strings = _Strings()
    for _ in _fed(strings.parser, file):
        found, strings.found = strings.found, []
        yield from found


def rows_in(file: IO[bytes], strings: Texts) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet that are not empty, each with its number and its cells as text. Raises as `attributes_of`."""
    sheet = _Sheet(strings)
    for _ in _fed(sheet.parser, file):
        rows, sheet.rows = sheet.rows, []
        yield from rows


class _TextParser:
    """Collects the text of single elements."""

    def __init__(self) -> None:
        self.parser = _parser()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.text = ""

    def start(self, element: str, attributes: Attributes) -> None:
        raise NotImplementedError

    def end(self, element: str) -> None:
        raise NotImplementedError

    def listen(self) -> None:
        """Collect from here on, behind what there is."""
        self.parser.CharacterDataHandler = self._take

    def stop(self) -> None:
        """Collect no longer."""
        self.parser.CharacterDataHandler = None

    def _take(self, data: str) -> None:
        self.text += data
        if len(self.text) > _LONGEST_TEXT:
            raise ValueError(f"a text has more than {_LONGEST_TEXT:,} characters")


class _Strings(_TextParser):
    """`<si>` has one `<t>`, or one in each `<r>` (§18.4.8)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_pronounced = False

    def start(self, element: str, attributes: Attributes) -> None:
        del attributes
        match _local(element):
            case "si":
                self.text = ""
            case "rPh":
                self._is_pronounced = True
            case "t" if not self._is_pronounced:
                self.listen()

    def end(self, element: str) -> None:
        match _local(element):
            case "t":
                self.stop()
            case "rPh":
                self._is_pronounced = False
            case "si":
                self.found.append(self.text)


class _Sheet(_TextParser):
    """`<row r="2">` with `<c r="B2" t="s"><v>0</v></c>` (§18.3.1.73, §18.3.1.4); a missing `r` is the next place."""

    def __init__(self, strings: Texts) -> None:
        super().__init__()
        self.rows: list[tuple[int, list[str]]] = []
        self._strings = strings
        self._line, self._column, self._kind = 0, -1, "n"
        self._cells: list[str] = []

    def start(self, element: str, attributes: Attributes) -> None:
        name = element if ":" not in element else _local(element)
        if name == "c":
            place = attributes.get("r")
            self._column = _column(place.rstrip(_DIGITS)) if place is not None else self._column + 1
            self._kind = attributes.get("t", "n")
            self.text = ""
        elif name in {"v", "t"}:
            self.listen()
        elif name == "row":
            self._line = int(attributes.get("r", self._line + 1))
            self._cells, self._column = [], -1

    def end(self, element: str) -> None:
        name = element if ":" not in element else _local(element)
        if name in {"v", "t"}:
            self.stop()
        elif name == "c" and self.text:
            self._put(_VALUES.get(self._kind, str.strip)(self.text) if self._kind != "s" else self._shared())
        elif name == "row" and any(self._cells):
            self.rows.append((self._line, self._cells))

    def _shared(self) -> str:
        return self._strings[int(self.text)].strip()

    def _put(self, value: str) -> None:
        missing = self._column - len(self._cells)
        if missing >= 0:
            if self._column >= _MOST_COLUMNS:
                raise ValueError(f"a row has more than {_MOST_COLUMNS:,} cells")
            self._cells += [""] * missing
            self._cells.append(value)
        else:
            self._cells[self._column] = value


def _number(text: str) -> str:
    """A number as text; a whole one without a fraction, which programs write for all numbers of a column."""
    if "." not in text and "E" not in text.upper():
        return text.strip()
    number = float(text)
    return str(int(number)) if number.is_integer() else text.strip()


_VALUES: Final[Mapping[str, Callable[[str], str]]] = {"n": _number}


@lru_cache(maxsize=1 << 10)
def _column(letters: str) -> int:
    """The number of a column, from 0. ValueError: it is not one to three letters."""
    if not (letters.isascii() and letters.isalpha() and len(letters) <= _MOST_LETTERS):
        raise ValueError(f"{letters[:20]!r} is not a column")
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


@lru_cache(maxsize=1 << 8)
def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    return parser


def _refuse(*_: object) -> None:
    raise ValueError("its XML declares types or entities")


def _fed(parser: expat.XMLParserType, file: IO[bytes]) -> Iterator[None]:
    """Feed a file to a parser; a step is one piece of it."""
    size = 0
    while True:
        chunk = file.read(_CHUNK_BYTES)
        parser.Parse(chunk, not chunk)
        yield
        if not chunk:
            return
        size += len(chunk)
        if size - parser.CurrentByteIndex > _LONGEST_TOKEN:
            raise ValueError(f"an element of its XML has more than {_LONGEST_TOKEN:,} bytes")
