"""The configuration file: TOML with `[profiles]` (names of archives) and `[defaults]` (values of options).

    [profiles]
    mylab = "nbia-v1+https://archive.example.org/nbia-api/services"

    [defaults]
    archive = "mylab"
    rate-limit = "50MB/s"

The command line and the environment override it. An unknown key is an error, because it is probably misspelt.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import platformdirs

from bulkdl.errors import ConfigurationError
from bulkdl.model.access import DEMOS
from bulkdl.model.text import decoded, did_you_mean
from bulkdl.runtime.bounded_files import read_file

_TABLES: Final = ("profiles", "defaults")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The content of a configuration file. `defaults` maps long option names, with `_`, to values as TOML gives them.

    `source` is the name of the file, None where there is no file.
    """

    profiles: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str | float] = field(default_factory=dict)
    source: str | None = None


def default_path() -> Path:
    """Where the configuration is unless another file is named."""
    return platformdirs.user_config_path("bulkdl") / "config.toml"


def load_configuration(path: Path | None, *, options: Collection[str]) -> Configuration:
    """Read the configuration at `path`, or the default one, which need not exist; raises as `parse_configuration`."""
    place = path or default_path()
    try:
        text = decoded(read_file(place))
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

    Raises ConfigurationError for what is not valid; it names `source` and, where it is known, the line.
    """
    import tomllib  # noqa: PLC0415 - late: most commands run without a configuration file

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: {error}") from error

    for message, key in _problems(document, options):
        line = _line_of(key, text)
        raise ConfigurationError(f"{source}{f', line {line}' if line else ''}: {message}")
    defaults = {key.replace("-", "_"): value for key, value in document.get("defaults", {}).items()}
    return Configuration(document.get("profiles", {}), defaults, source)


def _problems(document: Mapping[str, Any], options: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is invalid, each with its key; only the first one counts."""
    for name, table in document.items():
        if name not in _TABLES:
            yield f"unknown table {name!r}{_known(name, _TABLES)}", name
        if not isinstance(table, dict):
            yield f"{name!r} is not a table: write [{name}]", name
    for name, address in document.get("profiles", {}).items():
        if not isinstance(address, str):
            yield f"the profile {name!r} is not text: write {name} = 'https://…'", name
        if name in DEMOS:
            yield f"{name!r} always means the demonstration archive; choose another name", name
    for key, value in document.get("defaults", {}).items():
        if (option := key.replace("-", "_")) not in options:
            yield f"unknown option {key!r}{_known(option, options)}", key
        if not isinstance(value, str | int | float):
            yield f"the value of {key!r} is not text, a number, true or false", key


def _known(name: str, names: Collection[str]) -> str:
    return did_you_mean(name, names, otherwise=f"; known are {', '.join(sorted(names))}")


def _line_of(key: str, text: str) -> int | None:
    """The first line that sets `key` or opens the table of that name. tomllib does not report the lines of keys."""
    written = re.compile(rf"""\s*(?:\[+\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if written.match(line)), None)
