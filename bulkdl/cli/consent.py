"""Ask before something unusual: at a terminal with a question, elsewhere by refusing without `--yes`."""

from __future__ import annotations

import sys
from typing import Final

import click

from bulkdl.errors import ConfigurationError, Interrupted
from bulkdl.model.settings import FetchSettings

_SLOW_BYTES_PER_SECOND: Final = 1000.0

yes_option: Final = click.option("--yes", is_flag=True, help="Do not ask before a whole archive or a very low rate.")


def confirm(question: str, *, yes: bool) -> None:
    """Return if the user agrees. Raises Interrupted: they refuse; ConfigurationError: there is no terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask at; to confirm it, add --yes")
    if not click.confirm(question, err=True):
        raise Interrupted("nothing was downloaded")


def confirm_rate(settings: FetchSettings, *, yes: bool) -> None:
    """Confirm a rate so low that its unit is probably missing."""
    rate = settings.rate_limit_bytes
    if rate is not None and rate < _SLOW_BYTES_PER_SECOND:
        confirm(f"Download at most {rate:g} bytes per second (not kB/s or MB/s)?", yes=yes)
