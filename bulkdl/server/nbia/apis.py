"""The NBIA and TCIA APIs: the path of each, the credentials that it takes, and how it writes values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V2, NBIA_V4, TCIA_V3, Attribute, Endpoint
from bulkdl.archive.nbia.values import Value
from bulkdl.server.nbia.renderings import JsonValue, to_wire, to_wire_tcia_v3, to_wire_text, to_wire_v4

SERVICES_PATH: Final = "/nbia-api/services"

Writer: TypeAlias = Callable[[Attribute, Value], JsonValue]


class Credential(Enum):
    """The credentials that an API takes, in words for people who read the page of the APIs."""

    NONE = "Takes no login: every client is the guest."
    KEY = "Takes an API key, as header or parameter api_key, if the server has keys."
    TOKEN = (
        "Takes a login: POST username, password and grant_type=password to /nbia-api/oauth/token, "  # noqa: S105 - words
        "then send Authorization: Bearer TOKEN. The guest, nbia_guest, needs no password."
    )
    OPTIONAL_TOKEN = "Takes a login. Without one, the client is the guest."  # noqa: S105 - words


@dataclass(frozen=True, slots=True)
class Api:
    """One API. `base` is the path before the paths of its endpoints, and ends with a slash."""

    name: str
    title: str
    base: str
    endpoints: Mapping[str, Endpoint]
    credential: Credential
    to_wire: Writer

    @property
    def is_tcia(self) -> bool:
        """Whether it is TCIA's API on Bindaas, not one of NBIA's."""
        return self.endpoints is TCIA_V3

    @property
    def is_v4(self) -> bool:
        """Whether it is NBIA's v4, the only API where a token is optional."""
        return self.credential is Credential.OPTIONAL_TOKEN

    def writer(self, endpoint: Endpoint) -> Writer:
        """The function that writes the values of an endpoint's answer."""
        if endpoint.name == "getSeriesMetaData":
            return to_wire_text
        if endpoint.name == "getDicomTags" or endpoint.name.endswith("AndCounts"):
            return _counted if self.credential is Credential.TOKEN else self.to_wire
        return _metadata_days if endpoint.name.startswith("getSeriesMetadata") else self.to_wire


def _metadata_days(attribute: Attribute, value: Value) -> JsonValue:
    """Write a value for a CSV attachment: flags as numbers, dates with the month first."""
    return int(value) if isinstance(value, bool) and attribute.field == "annotations" else to_wire_v4(attribute, value)


def _counted(attribute: Attribute, value: Value) -> JsonValue:
    return str(value) if attribute.name == "count" else to_wire(attribute, value)


APIS: Final = (
    Api("nbia-v4", "NBIA v4", f"{SERVICES_PATH}/v4/", NBIA_V4, Credential.OPTIONAL_TOKEN, to_wire_v4),
    Api("nbia-v1", "NBIA Search, v1", f"{SERVICES_PATH}/v1/", NBIA_V1, Credential.NONE, to_wire),
    Api("nbia-v2", "NBIA Search with login, v2", f"{SERVICES_PATH}/v2/", NBIA_V2, Credential.TOKEN, to_wire),
    Api("nbia-advanced", "NBIA Advanced", f"{SERVICES_PATH}/", NBIA_ADVANCED, Credential.TOKEN, to_wire),
    Api("tcia-v3", "TCIA v3", "/services/v3/", TCIA_V3, Credential.KEY, to_wire_tcia_v3),
    Api("tcia-v4", "TCIA v3 without a key", "/services/v4/", TCIA_V3, Credential.NONE, to_wire_tcia_v3),
)
"""All APIs, the current one first."""
