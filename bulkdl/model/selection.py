"""What the user asked for: criteria and lists; which questions to put to an archive; does this Series match?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any

from bulkdl.errors import SelectionError
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, parse_series_uid, parse_sop_uid, parse_study_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkdl.model.records import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Criteria for Series. The values of one field are alternatives; different fields narrow.

    `series` holds the UIDs asked for by name, by option or by manifest, in that order. `instances` narrows a Series of
    `series` to some of its instances: a mapping of Series UID to SOP Instance UIDs, kept as a tuple of pairs so that a
    selection stays hashable. `since` keeps Series released, or submitted, on that day or later.
    """

    collections: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    studies: tuple[StudyUid, ...] = ()
    series: tuple[SeriesUid, ...] = ()
    instances: tuple[tuple[SeriesUid, tuple[SopInstanceUid, ...]], ...] = ()
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    manufacturers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    shared_lists: tuple[str, ...] = ()
    since: date | None = None
    everything: bool = False

    def check(self) -> None:
        """Refuse a selection of nothing, and `everything` together with criteria that name Series.

        Raises:
            SelectionError: no criterion but `since`, and not `everything`.
        """
        criteria = [f.name for f in fields(self) if f.name not in {"since", "everything"} and getattr(self, f.name)]
        if not criteria and not self.everything:
            raise SelectionError("nothing is selected: name a collection, patient, study, series, … or --everything")
        if criteria and self.everything:
            raise SelectionError(f"--everything cannot go with other criteria ({', '.join(criteria)})")

    def matches(self, series: Series) -> bool:
        """Whether `series` passes every criterion that its record can be held against.

        Names of Collections, Patients, modalities, body parts, manufacturers and models are compared without case, as
        NBIA does. Shared lists are not looked at: only the archive knows what is in them. With `since`, a Series that
        carries neither a release nor a submission date passes: it cannot be told to be old.
        """
        named: tuple[tuple[tuple[str, ...], str | None], ...] = (
            (self.collections, series.collection),
            (self.patients, series.patient_id),
            (self.modalities, series.modality),
            (self.body_parts, series.body_part),
            (self.manufacturers, series.manufacturer),
            (self.models, series.model),
        )
        if any(wanted and (value or "").casefold() not in {w.casefold() for w in wanted} for wanted, value in named):
            return False
        if self.studies and series.study_uid not in self.studies:
            return False
        if self.series and series.series_uid not in self.series:
            return False
        if self.since is not None:
            dated = series.released or (series.submitted.date() if series.submitted else None)
            return dated is None or dated >= self.since
        return True

    def as_json(self) -> dict[str, Any]:
        """The selection as JSON values, empty criteria left out; `from_json` reads it back."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {name: value for name, value in found.items() if value}
        if self.since is not None:
            kept["since"] = self.since.isoformat()
        return kept

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Selection:
        """Read what `as_json` wrote.

        Raises:
            InvalidUid: a UID that is none.
        """
        texts = {
            name: tuple(str(value) for value in document.get(name, ()))
            for name in ("collections", "patients", "modalities", "body_parts", "manufacturers", "models")
        }
        return cls(
            **texts,
            shared_lists=tuple(document.get("shared_lists", ())),
            studies=tuple(parse_study_uid(uid) for uid in document.get("studies", ())),
            series=tuple(parse_series_uid(uid) for uid in document.get("series", ())),
            instances=tuple(
                (parse_series_uid(series_uid), tuple(parse_sop_uid(uid) for uid in sop_uids))
                for series_uid, sop_uids in document.get("instances", ())
            ),
            since=date.fromisoformat(document["since"]) if document.get("since") else None,
            everything=bool(document.get("everything", False)),
        )


def merge_series(selections: Sequence[Selection]) -> Selection:
    """The first selection, with the Series of all: in order, each once.

    A Series that one names whole is whole; one that all narrow keeps the instances of each.
    """
    narrowed: dict[SeriesUid, dict[SopInstanceUid, None] | None] = {}  # dicts, because sets would lose the order
    for selection in selections:
        instances = dict(selection.instances)
        for uid in selection.series:
            before = narrowed.get(uid, {})
            here = instances.get(uid)
            narrowed[uid] = None if before is None or here is None else {**before, **dict.fromkeys(here)}
    first = selections[0]
    return Selection(
        collections=first.collections,
        patients=first.patients,
        studies=first.studies,
        series=tuple(narrowed),
        instances=tuple((uid, tuple(sops)) for uid, sops in narrowed.items() if sops is not None),
        modalities=first.modalities,
        body_parts=first.body_parts,
        manufacturers=first.manufacturers,
        models=first.models,
        shared_lists=first.shared_lists,
        since=first.since,
        everything=first.everything,
    )
