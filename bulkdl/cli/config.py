"""The configuration file: TOML with `[profiles]` (names of archives) and `[defaults]` (values of options).

    [profiles]
    mylab = "nbia-v1+https://archive.example.org/nbia-api/services"

    [defaults]
    archive = "mylab"
    rate-limit = "50MB/s"

The command line and the environment override it. An unknown key is an error, because it is probably misspelt.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import platformdirs

from bulkdl.errors import ConfigurationError
from bulkdl.model.access import DEMO
from bulkdl.model.text import decoded, nearest

_TABLES: Final = ("profiles", "defaults")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The content of a configuration file. `defaults` maps long option names, with `_`, to values as TOML gives them.

    `source` is the name of the file, None where there is no file.
    """

    profiles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str | None = None


def default_path() -> Path:
    """Where the configuration is unless another file is named."""
    return platformdirs.user_config_path("bulkdl") / "config.toml"


def load_configuration(path: Path | None, *, options: Collection[str]) -> Configuration:
    """Read the configuration at `path`, or the default one, which need not exist.

    Raises:
        ConfigurationError: it cannot be read, or `parse_configuration` refuses it.
    """
    place = path or default_path()
    try:
        text = decoded(place.read_bytes())
    except FileNotFoundError as error:
        if path is None:
            return Configuration()
        raise ConfigurationError(f"there is no configuration file {str(place)!r}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{place}: not a TOML file: it is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be read: {error.strerror or error}") from error
    return parse_configuration(text, source=str(place), options=options)


def parse_configuration(text: str, *, source: str, options: Collection[str]) -> Configuration:
    """Read a configuration. `options` are the keys that `[defaults]` may have, written with `_`.

    Raises:
        ConfigurationError: the text is not TOML, a table or key is unknown, or a value has the wrong type. Names
            `source` and, where it is known, the line.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: {error}") from error

    reader = _Reader(text, source)
    for name, table in document.items():
        if name not in _TABLES:
            raise reader.wrong(f"unknown table {name!r}; {_known(name, _TABLES)}", name)
        if not isinstance(table, dict):
            raise reader.wrong(f"{name!r} is not a table: write [{name}]", name)
    profiles = {name: reader.profile(name, value) for name, value in document.get("profiles", {}).items()}
    defaults = {
        key.replace("-", "_"): reader.default(key, value, options)
        for key, value in document.get("defaults", {}).items()
    }
    return Configuration(profiles, defaults, source)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks the entries of one file, and names the line of an error."""

    text: str
    source: str

    def profile(self, name: str, address: Any) -> str:
        if not isinstance(address, str):
            raise self.wrong(f"the profile {name!r} is not text: write {name} = 'https://…'", name)
        if name == DEMO:
            raise self.wrong(f"{DEMO!r} always means the demonstration archive; choose another name", name)
        return address

    def default(self, key: str, value: Any, options: Collection[str]) -> str | float:
        option = key.replace("-", "_")
        if option not in options:
            raise self.wrong(f"unknown option {key!r}; {_known(option, options)}", key)
        if not isinstance(value, str | int | float):
            raise self.wrong(f"the value of {key!r} is not text, a number, true or false", key)
        return value

    def wrong(self, message: str, key: str) -> ConfigurationError:
        line = _line_of(key, self.text)
        return ConfigurationError(f"{self.source}{f', line {line}' if line else ''}: {message}")


def _known(name: str, names: Collection[str]) -> str:
    if guess := nearest(name, names):
        return f"did you mean {guess}?"
    return f"known are {', '.join(sorted(names))}"


def _line_of(key: str, text: str) -> int | None:
    """The first line that sets `key` or opens the table of that name. tomllib does not report the lines of keys."""
    written = re.compile(rf"""\s*(?:\[+\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if written.match(line)), None)
