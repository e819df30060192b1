"""What the user requests: criteria and lists of UIDs; whether a Series matches them.

Each criterion is declared once, in the metadata of its field: its option and keyword, the attribute of a Series that it
is compared with, and its rank among the questions that archives are asked. Everything else derives from that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, BinaryIO, Final, Self

from bulkdl.errors import SelectionError
from bulkdl.model.drs_objects import is_drs_location, uri_of
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, parse_series_uid, parse_sop_uid, parse_study_uid
from bulkdl.model.licenses import short_license
from bulkdl.model.options import option_field, options_of, read_fields
from bulkdl.model.quantities import parse_date, parse_size
from bulkdl.model.records import NamedSlide, Series, SeriesKind, SeriesSize

_CRITERION: Final = "criterion"
# They select nothing on their own, or all.
_NO_CRITERIA: Final = frozenset(
    {
        *("since", "everything", "notes", "expected", "locks", "licenses", "denied_licenses", "analysis_results"),
        *("shard", "sop_uids", "order", "sample", "seed", "limit_bytes", "with_annotations"),
        "with_supporting_data",
    }
)
_SHARD: Final = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})", re.ASCII)
_SAMPLE: Final = re.compile(r"([1-9]\d{0,8})(?:/(collection|patient))?", re.ASCII)
_MOST_DIGITS: Final = 9


class AnalysisResults(StrEnum):
    """Whether derived Series (segmentations, annotations, measurements) are selected beside the original ones."""

    INCLUDE = "include"
    EXCLUDE = "exclude"
    ONLY = "only"


class SeriesOrder(StrEnum):
    """The order in which Series are downloaded, and are chosen where a limit leaves some out.

    `breadth` takes one Series of each Patient before the second of any.
    """

    COLLECTION = "collection"
    BREADTH = "breadth"
    SMALLEST_FIRST = "smallest-first"


@dataclass(frozen=True, slots=True)
class SeriesSample:
    """At most `count` Series of each Collection, or of each Patient."""

    count: int
    per_patient: bool = False

    def __str__(self) -> str:
        return f"{self.count}/{'patient' if self.per_patient else 'collection'}"


def parse_sample(text: str) -> SeriesSample:
    """A sample, written N, N/collection or N/patient. ValueError: it is not."""
    found = _SAMPLE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a sample (for example 100, 100/collection or 2/patient)")
    return SeriesSample(int(found[1]), found[2] == "patient")


def parse_seed(text: str) -> int:
    """A seed: an integer from 0 on. ValueError: it is not."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError(f"{text!r} is not a seed (an integer from 0 on)")
    return int(text)


@dataclass(frozen=True, slots=True)
class Criterion:
    """What one field asks of a Series.

    `attribute` is the attribute of `Series` that it is compared with; archives use the same name for the question.
    `narrowness` orders those questions: the criterion with the highest one is sent to the archive, and the answer is
    filtered by all others. 0: archives cannot be asked. `admits` replaces the comparison of names.
    """

    attribute: str | None = None
    narrowness: int = 0
    admits: Callable[[Any, Series], bool] | None = None

    def matches(self, wanted: Any, series: Series) -> bool:
        """Whether `series` passes; a criterion with nothing to compare passes every Series."""
        if self.admits is not None:
            return self.admits(wanted, series)
        if self.attribute is None:
            return True
        return (getattr(series, self.attribute) or "").casefold() in {text.casefold() for text in wanted}


def criterion(*option: str, asks: Any = (None, 0), admits: Any = None, default: Any = (), **further: Any) -> Any:
    """A field of `Selection`: its option, as for `option_field`, and its `Criterion`, which `asks` begins."""
    return option_field(*option, default=default, metadata={_CRITERION: Criterion(asks[0], asks[1], admits)}, **further)


def _is_released_since(since: date, series: Series) -> bool:
    """A Series without a release or submission date passes, because it may be new."""
    dated = series.released or (series.submitted.date() if series.submitted else None)
    return dated is None or dated >= since


def parse_shard(text: str) -> str:
    """A part of the Series, written K/N: the Kth of N. ValueError: it is not, or K is not one of 1 to N."""
    found = _SHARD.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"{text!r} is not K/N with K from 1 to N, for example 1/4")
    return text


def _is_in_shard(shard: str, series: Series) -> bool:
    """Whether the SHA-256 of the Series UID falls into the part: every machine divides an archive in the same way."""
    number, parts = map(int, shard.split("/"))
    return int.from_bytes(sha256(series.series_uid.encode()).digest()[:8], "big") % parts == number - 1


def _is_licensed(patterns: tuple[str, ...], series: Series) -> bool:
    """Whether a name of the licence matches a pattern: the one that the archive gives, or that of Creative Commons."""
    names = {series.license_name, short_license(series.license_name, series.license_uri)}
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in names if name for pattern in patterns)


def _is_not_licensed(patterns: tuple[str, ...], series: Series) -> bool:
    return not _is_licensed(patterns, series)


def _is_of_kind(kind: AnalysisResults, series: Series) -> bool:
    """A Series of which the archive does not say whether it is derived counts as original."""
    return kind is AnalysisResults.INCLUDE or bool(series.third_party) is (kind is AnalysisResults.ONLY)


def _is_there(locations: tuple[str, ...], series: Series) -> bool:
    location = series.location or ""
    if is_drs_location(location):
        return not set(uri_of(location).split()).isdisjoint(map(uri_of, locations))
    return folder_of(location) in set(map(folder_of, locations))


def _is_slide(slides: tuple[NamedSlide, ...], series: Series) -> bool:
    """The archive takes the named slides from the selection itself; nothing else is one of them."""
    return bool(slides) and series.kind is SeriesKind.SLIDE


def folder_of(location: str) -> str:
    """The name of the folder in a location, without its bucket and the objects in it: the UUID of a Series.

    A location in a data commons has no folder: it is its identifiers.
    """
    if is_drs_location(location):
        return uri_of(location)
    return location.split("/")[1] if "/" in location else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Criteria for Series. The values of one field are alternatives; different fields narrow.

    `data_sets` are named plainly, and become other criteria once an archive is asked (`verbs.selections`).
    `series` holds the UIDs requested by name, by option or by manifest, in that order. `instances` narrows a Series of
    `series` to some of its instances: a mapping of Series UID to SOP Instance UIDs, kept as a tuple of pairs so that a
    selection stays hashable; `sop_uids` are instances whose Series is not known yet, or that no Series of the selection
    has (`verbs.selections`). `locations` are folders of Series at an archive with buckets, or objects in them; see
    `Series.location`. `slides` are those that a manifest names by their addresses. `alternatives` are selections of
    which a Series must match one: what a manifest names that is not Series alone. `since` keeps Series released, or
    submitted, on that day or later. `notes` tell the user what was left out on the way to the selection, and `expected`
    maps a Series to the size and number of instances that a manifest states; they select nothing. `locks` are the lock
    files among the manifests, or their contents, whose checksums `mirror` compares. `sample`, `seed`, `limit_bytes` and
    `order` choose among the Series that match. `with_annotations` adds what refers to the chosen ones, and what they
    refer to (`bulkdl.resolve.annotations`).
    """

    collections: tuple[str, ...] = criterion("collection", "A collection, in any case.", "NAME", asks=("collection", 5))
    patients: tuple[str, ...] = criterion("patient", "A Patient ID.", "ID", asks=("patient_id", 6))
    studies: tuple[StudyUid, ...] = criterion(
        "study", "A Study Instance UID.", "UID", read=parse_study_uid, asks=("study_uid", 7)
    )
    series: tuple[SeriesUid, ...] = criterion(
        "series", "A Series Instance UID.", "UID", read=parse_series_uid, asks=("series_uid", 0)
    )
    instances: tuple[tuple[SeriesUid, tuple[SopInstanceUid, ...]], ...] = ()
    sop_uids: tuple[SopInstanceUid, ...] = option_field(
        "instance",
        "A SOP Instance UID; only these instances of the series that the other options select.",
        "UID",
        default=(),
        read=parse_sop_uid,
    )
    modalities: tuple[str, ...] = criterion("modality", "A modality, for example CT.", "CODE", asks=("modality", 1))
    body_parts: tuple[str, ...] = criterion(
        "body_part", "A body part examined, for example CHEST.", "NAME", asks=("body_part", 2)
    )
    manufacturers: tuple[str, ...] = criterion(
        "manufacturer", "A manufacturer of the equipment.", "NAME", asks=("manufacturer", 3)
    )
    models: tuple[str, ...] = criterion("model", "A manufacturer's model name.", "NAME", asks=("model", 4))
    shared_lists: tuple[str, ...] = criterion("shared_list", "A shared list of the archive.", "NAME")
    since: date | None = criterion(
        "since",
        "Released on that day or later.",
        "YYYY-MM-DD",
        read=parse_date,
        admits=_is_released_since,
        default=None,
    )
    data_sets: tuple[str, ...] = ()
    licenses: tuple[str, ...] = criterion(
        "license",
        "A licence, for example 'CC BY *'; a name that archives use, or that of Creative Commons.",
        "GLOB",
        admits=_is_licensed,
    )
    denied_licenses: tuple[str, ...] = criterion(
        "deny_license", "A licence to leave out, for example '*NC*'.", "GLOB", admits=_is_not_licensed
    )
    shard: str | None = criterion(
        "shard",
        "The Kth of N parts of the series, so that N machines share a job.",
        "K/N",
        read=parse_shard,
        admits=_is_in_shard,
        default=None,
    )
    analysis_results: AnalysisResults | None = criterion(
        "analysis_results",
        "Whether derived series are selected, such as segmentations; the default is include.",
        read=AnalysisResults,
        admits=_is_of_kind,
        default=None,
    )
    sample: SeriesSample | None = option_field(
        "sample",
        "At most N series of each collection, or of each patient, chosen at random by the seed.",
        "N[/patient]",
        read=parse_sample,
    )
    seed: int = option_field(
        "seed", "The seed of the sample; the same seed chooses the same series.", "N", default=0, read=parse_seed
    )
    limit_bytes: int | None = option_field(
        "limit_bytes", "Stop selecting before the series that would exceed this size.", "SIZE", read=parse_size
    )
    order: SeriesOrder | None = option_field(
        "order", "Which series come first; the default is collection.", read=SeriesOrder
    )
    with_annotations: bool = option_field(
        "with_annotations",
        "Also the segmentations, structure sets, doses, plans, reports and presentation states that refer to the "
        "selected series, and the series that selected ones refer to.",
        default=False,
    )
    with_supporting_data: bool = option_field(
        "with_supporting_data",
        "Also the plain files (zips, tables, NIfTI) that TCIA's Collection Manager links for the collections.",
        default=False,
    )
    locations: tuple[str, ...] = field(default=(), metadata={_CRITERION: Criterion(admits=_is_there)})
    slides: tuple[NamedSlide, ...] = field(default=(), metadata={_CRITERION: Criterion(admits=_is_slide)})
    alternatives: tuple[Selection, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    expected: Mapping[SeriesUid, SeriesSize] = field(default_factory=dict, compare=False, repr=False)
    locks: tuple[str | bytes | Callable[[], BinaryIO], ...] = field(default=(), compare=False, repr=False)
    everything: bool = criterion("everything", "The whole archive.", default=False)

    def check(self) -> None:
        """Raise SelectionError for a selection of nothing, and for `everything` together with other criteria."""
        criteria = [f.name for f in fields(self) if f.name not in _NO_CRITERIA and getattr(self, f.name)]
        if self.sop_uids and not criteria:
            raise SelectionError(
                "no archive finds an instance by its SOP Instance UID alone: name its --series, --study, --patient or "
                "--collection, too"
            )
        if self.with_supporting_data and (self.sample is not None or self.limit_bytes is not None):
            raise SelectionError("--with-supporting-data cannot be combined with --sample or --limit-bytes")
        if not criteria and not self.everything:
            raise SelectionError("nothing is selected: name a collection, patient, study, series, … or --everything")
        if criteria and self.everything:
            raise SelectionError(f"--everything cannot be combined with other criteria ({', '.join(criteria)})")

    @property
    def is_shortlisted(self) -> bool:
        """Whether all Series that match must be known before the first is chosen: see `bulkdl.resolve.shortlist`."""
        is_ordered = self.order not in {None, SeriesOrder.COLLECTION}
        return is_ordered or self.sample is not None or self.limit_bytes is not None

    def matches(self, series: Series) -> bool:
        """Whether `series` passes every criterion that can be compared with its record.

        Names are compared without case, as NBIA does; only the archive knows what is in a shared list.
        """
        return all(
            asks.matches(wanted, series) for name, asks in _criteria(type(self)) if (wanted := getattr(self, name))
        ) and (not self.alternatives or any(each.matches(series) for each in self.alternatives))

    def parts(self) -> tuple[Self, ...]:
        """Selections without alternatives that together have all Series of this one, and perhaps more: see `matches`.

        A criterion of an alternative replaces that of this selection.
        """
        if not self.alternatives:
            return (self,)
        names = [name for name, _ in _criteria(type(self))]
        return tuple(
            replace(self, alternatives=(), **{name: value for name in names if (value := getattr(each, name))})
            for each in self.alternatives
        )

    def named(self) -> dict[str, tuple[str, ...]]:
        """The values that are compared with an attribute of a Series, by its name; those that were given."""
        asked = ((asks.attribute, getattr(self, name)) for name, asks in _criteria(type(self)))
        return {attribute: values for attribute, values in asked if attribute and values}

    def narrowest(self) -> tuple[str, tuple[str, ...]] | None:
        """The attribute and the values of the narrowest criterion that archives can be asked for; None without one."""
        given = [(asks.narrowness, name, asks.attribute) for name, asks in _criteria(type(self)) if getattr(self, name)]
        narrowness, name, attribute = max(given, default=(0, "", None))
        return (attribute, getattr(self, name)) if narrowness and attribute else None

    def narrowest_alone(self) -> Self:
        """The selection of the narrowest criterion that archives can be asked for, without any other."""
        attribute, _ = self.narrowest() or (None, ())
        kept = {name: getattr(self, name) for name, asks in _criteria(type(self)) if asks.attribute == attribute}
        return type(self)(**kept)

    def attributes(self) -> list[str]:
        """The attributes of `Series` that the criteria compare, without that of the narrowest."""
        narrowest, _ = self.narrowest() or (None, ())
        compared = (asks.attribute for name, asks in _criteria(type(self)) if getattr(self, name))
        return [attribute for attribute in compared if attribute not in {None, narrowest}]

    def as_json(self) -> dict[str, Any]:
        """The selection as JSON values, empty criteria left out; `from_json` reads it back."""
        left_out = {"notes", "expected", "locks", "alternatives"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        values["alternatives"] = [each.as_json() for each in self.alternatives]
        return {name: _json_value(value) for name, value in values.items() if value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        instances = tuple(
            (parse_series_uid(series_uid), tuple(parse_sop_uid(uid) for uid in sop_uids))
            for series_uid, sop_uids in document.get("instances", ())
        )
        alternatives = tuple(map(cls.from_json, document.get("alternatives", ())))
        locations = tuple(map(str, document.get("locations", ())))
        slides = tuple(NamedSlide(*map(str, slide)) for slide in document.get("slides", ()))
        given = read_fields(cls, document)
        return cls(instances=instances, alternatives=alternatives, locations=locations, slides=slides, **given)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> Self:
        """A selection of criteria by the keywords of the library: `{"collection": "A", "modality": ["CT", "MR"]}`.

        Raises:
            SelectionError: an unknown keyword, or a value that is not valid.
            InvalidUid: a UID is not valid.
        """
        names = {option.keyword: name for name, option in options_of(cls).items()}
        if unknown := sorted(keywords.keys() - names.keys()):
            raise SelectionError(f"unknown criterion: {', '.join(unknown)} (known: {', '.join(names)})")
        try:
            return cls(**read_fields(cls, {names[keyword]: value for keyword, value in keywords.items()}))
        except ValueError as error:
            raise SelectionError(str(error)) from error


def _criteria(kind: type[Selection]) -> tuple[tuple[str, Criterion], ...]:
    return tuple((f.name, f.metadata[_CRITERION]) for f in fields(kind) if _CRITERION in f.metadata)


def keywords_of_records() -> frozenset[str]:
    """The keywords of the criteria that `Selection.matches` compares with the record of a Series."""
    compared = {name for name, asks in _criteria(Selection) if asks.attribute or asks.admits}
    return frozenset(option.keyword for name, option in options_of(Selection).items() if name in compared)


def _json_value(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, SeriesSample) else value


def merge_series(selections: Sequence[Selection]) -> Selection:
    """The first selection with the Series of all, each once; narrowed to instances only where all of them narrow it."""
    narrowed: dict[SeriesUid, dict[SopInstanceUid, None] | None] = {}  # dicts, because sets would lose the order
    for selection in selections:
        instances = dict(selection.instances)
        for uid in selection.series:
            before = narrowed.get(uid, {})
            here = instances.get(uid)
            narrowed[uid] = None if before is None or here is None else {**before, **dict.fromkeys(here)}
    series, alternatives = tuple(narrowed), tuple(each for selection in selections for each in selection.alternatives)
    if alternatives and series:
        series, alternatives = (), (Selection(series=series), *alternatives)
    return replace(
        selections[0],
        series=series,
        instances=tuple((uid, tuple(sops)) for uid, sops in narrowed.items() if sops is not None),
        alternatives=alternatives,
        notes=tuple(note for selection in selections for note in selection.notes),
        expected={uid: size for selection in selections for uid, size in selection.expected.items()},
        locks=tuple(lock for selection in selections for lock in selection.locks),
    )
