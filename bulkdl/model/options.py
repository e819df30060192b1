"""Options declared beside the field that they set, so that the command and the library derive from one declaration.

`cli.options` makes the option of the command from the `Option` in a field's metadata, the library takes the keyword.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from types import MappingProxyType
from typing import Any, Final

_KEY: Final = "option"


@dataclass(frozen=True, slots=True)
class Option:
    """How one field is set: `keyword` in the library, `--keyword` in the command.

    `read` makes the value from text and raises `ValueError` or `InvalidUid`; an enum offers its members as choices. The
    default of the field gives the form: a tuple takes several values, False is a flag, anything else takes one value.
    `shown_default` is for a default that `--help` must not show as it is. `write` makes the text that `read` reads.
    `letter` is the short form of the option: `q` for `-q`.
    """

    keyword: str
    help: str
    metavar: str | None = None
    read: Callable[[str], Any] = str
    shown_default: str | None = None
    write: Callable[[Any], str] = str
    letter: str | None = None

    def default_text(self, default: Any) -> str | None:
        """The default as `--help` shows it and `read` reads it; None where there is nothing to show."""
        if self.shown_default is None and default is None and (self.metavar or "").startswith("auto|"):
            return "auto"
        return self.shown_default or (str(default) if isinstance(default, str | int) and default else None)

    @property
    def flag(self) -> str:
        """The option of the command: `--body-part`."""
        return f"--{self.keyword.replace('_', '-')}"

    @property
    def flags(self) -> tuple[str, ...]:
        """The option of the command, with its short form first: `-q`, `--quiet`."""
        return (f"-{self.letter}", self.flag) if self.letter else (self.flag,)


def option_field(
    keyword: str,
    help: str,  # noqa: A002 - the name that `Option` and click have for it
    metavar: str | None = None,
    *,
    default: Any = None,
    read: Callable[[str], Any] = str,
    shown_default: str | None = None,
    write: Callable[[Any], str] = str,
    letter: str | None = None,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """A field of a dataclass with its default and its `Option`; further `metadata` are kept beside it."""
    option = Option(keyword, help, metavar, read, shown_default, write, letter)
    return field(default=default, metadata={_KEY: option, **metadata})


def options_of(kind: type[Any]) -> dict[str, Option]:
    """The options of a dataclass by the names of their fields, in the order of the fields."""
    return {each.name: each.metadata[_KEY] for each in fields(kind) if _KEY in each.metadata}


def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """The defaults of the fields that have an option, by name."""
    return {each.name: each.default for each in fields(kind) if _KEY in each.metadata}


def read_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the names of fields, each text read by its field's option, which may raise ValueError or InvalidUid.

    A field that takes several values may be given one. Names that are not options are left out.
    """
    options, found = options_of(kind), dict[str, Any]()
    for name, default in defaults_of(kind).items():
        if (value := values.get(name)) is None:
            continue
        if default is False:
            found[name] = bool(value)
        elif default == ():
            found[name] = tuple(_read_one(options[name], each) for each in several(value))
        else:
            found[name] = _read_one(options[name], value)
    return found


def _read_one(option: Option, value: Any) -> Any:
    return option.read(value) if isinstance(value, str) else value


def several(values: Any) -> tuple[Any, ...]:
    """The values as a tuple; one text or one path is a single value."""
    return (values,) if isinstance(values, str | PathLike) else tuple(values)


def as_words(values: Any, names: Iterable[str]) -> list[str]:
    """The options of the command that set the fields `names` of a dataclass to their values: `--rate-limit 20kB/s`."""
    options = options_of(type(values))
    given = [(options[name], getattr(values, name)) for name in options if name in names]
    return [option.flag if value is True else f"{option.flag} {option.write(value)}" for option, value in given]
