"""`query`: one endpoint of an archive, asked with its own parameters; the answer as the archive sent it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from bulkdl.archive.client import connect
from bulkdl.archive.endpoints import Endpoint
from bulkdl.archive.nbia import find_endpoint
from bulkdl.archive.profiles import DEMO, Profile, find_profile
from bulkdl.errors import ConfigurationError
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_patience
from bulkdl.model.events import ignore
from bulkdl.model.settings import FetchSettings
from bulkdl.operations.common import ArchiveChoice, find_archive


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """An answer as it came. `body` may be empty: that is how NBIA says that nothing was found."""

    content_type: str
    body: bytes


def endpoints(archive: ArchiveChoice) -> tuple[Endpoint, ...]:
    """The endpoints that the archive of that name has, in the order of its documentation.

    Raises:
        ConfigurationError: no such archive.
    """
    name = "nbia+http://localhost/nbia-api/services" if archive.name == DEMO else archive.name
    return tuple(find_profile(name, archive.profiles).dialect().endpoints.values())


async def query(
    endpoint: str,
    parameters: Mapping[str, str],
    *,
    archive: ArchiveChoice,
    settings: FetchSettings | None = None,
) -> QueryAnswer:
    """Ask one endpoint, whose name may be written in any case.

    Raises:
        ConfigurationError: no such archive, endpoint or parameter, or a required parameter is missing.
        ArchiveError: the archive refused, failed, or could not be reached.
    """
    async with find_archive(archive) as profile:
        asked = _find(profile, endpoint)
        _check(asked, parameters)
        worker_settings = WorkerSettings(
            profile=profile,
            access=archive.access,
            root=Path(),
            fetch=settings or FetchSettings(max_attempts=3, give_up_after_seconds=30),
            ceiling=DEFAULT_CEILING,
        )
        patience = make_patience(worker_settings, ignore, asyncio.Event())
        async with connect(profile, patience, access=archive.access) as client:
            content_type, body = await client.query(asked, parameters)
            return QueryAnswer(content_type, body)


def _find(profile: Profile, name: str) -> Endpoint:
    known = profile.dialect().endpoints
    found = find_endpoint(known, name)
    if found is None:
        by_folded = {entry.casefold(): entry for entry in known}
        guesses = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.4)
        hint = f"; did you mean {by_folded[guesses[0]]}?" if guesses else f" (it has {', '.join(known)})"
        raise ConfigurationError(f"{profile.name} has no endpoint {name!r}{hint}")
    return found


def _check(endpoint: Endpoint, parameters: Mapping[str, str]) -> None:
    """Refuse what the archive would silently ignore: a misspelt filter makes NBIA answer with everything."""
    known = {parameter.name for parameter in endpoint.parameters} | {"format"}
    for name in parameters:
        if name not in known:
            guesses = get_close_matches(name, known, n=1)
            hint = f"did you mean {guesses[0]}" if guesses else f"it takes {', '.join(sorted(known))}"
            raise ConfigurationError(f"{endpoint.name} has no parameter {name!r}; {hint} (names are case-sensitive)")
    missing = [name for name in endpoint.required if name not in parameters]
    if missing:
        raise ConfigurationError(f"{endpoint.name} needs {', '.join(f'{name}=…' for name in missing)}")
