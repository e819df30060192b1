"""The APIs of APIs that the embedded archive answers: where each is, who may ask, how values are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V2, NBIA_V4, TCIA_V3, Attribute, Endpoint
from bulkdl.archive.nbia.values import Value
from bulkdl.server.nbia.renderings import (
    RENDERINGS,
    JsonValue,
    Rendering,
    to_wire,
    to_wire_tcia_v3,
    to_wire_text,
    to_wire_v4,
)
from bulkdl.server.nbia.renderings_v3 import RENDERINGS_V3

SERVICES_PATH: Final = "/nbia-api/services"

Writer: TypeAlias = Callable[[Attribute, Value], JsonValue]


class Credential(Enum):
    """What a api wants to be shown."""

    NONE = auto()  # whoever asks is the guest
    KEY = auto()
    TOKEN = auto()
    OPTIONAL_TOKEN = auto()  # the guest, where there is none


@dataclass(frozen=True, slots=True)
class Api:
    """A api. `base` is the path that those of its endpoints are relative to, with a slash at its end."""

    name: str
    title: str
    base: str
    endpoints: Mapping[str, Endpoint]
    credential: Credential
    to_wire: Writer
    renderings: Mapping[str, Rendering]

    @property
    def is_tcia(self) -> bool:
        """Whether it is TCIA's own API, on Bindaas, and not NBIA's."""
        return self.renderings is RENDERINGS_V3

    def writer(self, endpoint: Endpoint) -> Writer:
        """How values of an endpoint's answer are written."""
        if endpoint.name == "getSeriesMetaData":
            return _metadata_text
        if endpoint.name == "getDicomTags" or endpoint.name.endswith("AndCounts"):
            return _counted if self.credential is Credential.TOKEN else self.to_wire
        return _metadata_days if endpoint.name.startswith("getSeriesMetadata") else self.to_wire


def _metadata_text(attribute: Attribute, value: Value) -> JsonValue:
    """As `to_wire_text`, but that the day of the Study is month first."""
    wired = to_wire_v4(attribute, value) if attribute.field == "study_date" else to_wire_text(attribute, value)
    return wired if wired is None else str(wired)


def _metadata_days(attribute: Attribute, value: Value) -> JsonValue:
    """The attachments of CSV write flags as numbers, and days month first."""
    return int(value) if isinstance(value, bool) and attribute.field == "annotations" else to_wire_v4(attribute, value)


def _counted(attribute: Attribute, value: Value) -> JsonValue:
    return str(value) if attribute.name == "count" else to_wire(attribute, value)


_TCIA_PATHS: Final = "/services/v3/"

APIS: Final = (
    Api("nbia-v4", "NBIA v4", f"{SERVICES_PATH}/v4/", NBIA_V4, Credential.OPTIONAL_TOKEN, to_wire_v4, RENDERINGS),
    Api("nbia-v1", "NBIA Search, v1", f"{SERVICES_PATH}/v1/", NBIA_V1, Credential.NONE, to_wire, RENDERINGS),
    Api(
        "nbia-v2",
        "NBIA Search with Authentication, v2",
        f"{SERVICES_PATH}/v2/",
        NBIA_V2,
        Credential.TOKEN,
        to_wire,
        RENDERINGS,
    ),
    Api("nbia-advanced", "NBIA Advanced", f"{SERVICES_PATH}/", NBIA_ADVANCED, Credential.TOKEN, to_wire, RENDERINGS),
    Api("tcia-v3", "TCIA v3", _TCIA_PATHS, TCIA_V3, Credential.KEY, to_wire_tcia_v3, RENDERINGS_V3),
    Api(
        "tcia-v4",
        "TCIA v4, which is v3 without a key",
        "/services/v4/",
        TCIA_V3,
        Credential.NONE,
        to_wire_tcia_v3,
        RENDERINGS_V3,
    ),
)
"""All of them, today's first."""
