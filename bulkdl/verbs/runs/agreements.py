"""Agreements: terms that an archive demands from those who download, accepted once for each mirror.

Data commons of controlled data demand one: a manifest, a key or an approval that was given to somebody else is not
enough. Open data need none, so without a key no agreement is demanded.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bulkdl.archive.profiles import DRS, Profile
from bulkdl.errors import ArchiveRefused, JournalError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import DEMOS, ArchiveChoice
from bulkdl.model.events import ignore
from bulkdl.model.selection import Selection
from bulkdl.verbs.connections.data_commons import choose_commons, profile_of_choice
from bulkdl.verbs.mirrors.folders import require_mirror

POLICY: Final = "https://www.cancerimagingarchive.net/nih-controlled-data-access-policy/"

_PROPERTY: Final = "agreements"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the archive `archive` at the address `url` demands: agreement with the terms at `terms`."""

    archive: str
    url: str
    terms: str

    @property
    def question(self) -> str:
        """What to ask the user."""
        return f"{self.archive} has controlled data. Do you agree to its data access policy ({self.terms})?"

    @property
    def refusal(self) -> str:
        """What to say where it is not given."""
        return f"{self.archive} demands agreement to its data access policy: read {self.terms}, and add --yes to agree"


def agreement_of(profile: Profile, choice: ArchiveChoice) -> Agreement | None:
    """What an archive demands; None if it demands nothing."""
    if profile.kind != DRS or choice.gen3_credentials is None:
        return None
    return Agreement(profile.name, profile.url, POLICY)


def missing_agreement(
    choice: ArchiveChoice, mirror: Path | None, selection: Selection | None = None
) -> Agreement | None:
    """What has to be agreed to before a verb downloads into `mirror`; None if it is agreed already. Blocking.

    Raises as `choose_commons`.
    """
    if selection is not None:
        choice = choose_commons(selection, choice, ignore)
    if choice.agrees or choice.name in DEMOS:
        return None
    agreement = agreement_of(profile_of_choice(choice), choice)
    if agreement is None or mirror is None:
        return agreement
    with suppress(JournalError), Journal.open_readonly(require_mirror(mirror)) as journal:
        return None if is_agreed(journal, agreement) else agreement
    return agreement


def is_agreed(journal: Journal, agreement: Agreement) -> bool:
    """Whether a mirror remembers it."""
    return any(each.get("url") == agreement.url and each.get("terms") == agreement.terms for each in _kept(journal))


def require_agreement(journal: Journal, agreement: Agreement, now: datetime, *, agrees: bool) -> None:
    """Remember an agreement in the mirror. Raises ArchiveRefused: it was not given, now or before."""
    if is_agreed(journal, agreement):
        return
    if not agrees:
        raise ArchiveRefused(agreement.refusal)
    entry = {"url": agreement.url, "terms": agreement.terms, "agreed_at": now.isoformat(timespec="seconds")}
    journal.set_property(_PROPERTY, json.dumps([*_kept(journal), entry]))


def _kept(journal: Journal) -> list[dict[str, Any]]:
    found = json.loads(journal.property(_PROPERTY) or "[]")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
