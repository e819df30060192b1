"""Which supporting data the Collection Manager offers for Collections, and what only other programs download."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.archive.profiles import Profile
from bulkdl.archive.supporting_files import Offers, SupportedArchive
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.data_sets import DataSet, DownloadWay, name_key
from bulkdl.model.events import Noted, RunContext
from bulkdl.verbs.connections.service_clients import COLLECTION_MANAGER, open_collection_manager, service_addresses

_ELSEWHERE: Final = {
    DownloadWay.ASPERA: "it is an Aspera package, for IBM Aspera Connect",
    DownloadWay.CONTROLLED: "its access is controlled",
    DownloadWay.PORTAL: "its address is a page, not a file",
    DownloadWay.SLIDES: "slides come with --archive pathdb",
    DownloadWay.UNKNOWN: "it has no address",
}


def offer_supporting_data(client: Archive, choice: ArchiveChoice, profile: Profile, context: RunContext) -> None:
    """Have an archive ask the Collection Manager for what supports its Collections.

    Raises:
        ConfigurationError: it is not known which Collection Manager to ask.
    """
    if not isinstance(client, SupportedArchive):
        return
    address = service_addresses(profile, choice.profiles).get(COLLECTION_MANAGER)
    if address is None:
        raise ConfigurationError(
            f"--with-supporting-data: no Collection Manager is known for {profile.name}; give its address as "
            f"{COLLECTION_MANAGER} in [profiles] of the configuration"
        )

    async def offered(collections: Collection[str]) -> Offers:
        async with open_collection_manager(address, access=choice.access, stop=context.stop) as manager:
            known = {name_key(each.name): each for each in await manager.data_sets()}
        found = {name: known.get(name_key(name)) for name in collections}
        for name, data_set in found.items():
            for text in _elsewhere(data_set):
                context.sink(Noted(f"not downloaded for {name}: {text}"))
        return {name: _files_of(data_set) for name, data_set in found.items()}

    client.offered = offered


def _files_of(data_set: DataSet | None) -> tuple[str, ...]:
    downloads = data_set.downloads if data_set is not None else ()
    return tuple(each.address for each in downloads if each.way is DownloadWay.FILE and each.address is not None)


def _elsewhere(data_set: DataSet | None) -> Iterable[str]:
    for each in data_set.downloads if data_set is not None else ():
        if (why := _ELSEWHERE.get(each.way)) is not None:
            yield f"{each.title}: {why}{f': {each.address}' if each.address else ''}"
