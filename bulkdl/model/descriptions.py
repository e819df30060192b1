"""What an archive says beside its Series: Patients, Studies, Collections, analysis results, and what they publish."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bulkdl.model.records import Patient, Series, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Data with a DOI, such as `10.7937/k9/tcia.2016.eln8ygle`.

    `citation` is the reference as the archive words it, without markup.
    """

    doi: str | None = None
    title: str | None = None
    citation: str | None = None
    url: str | None = None
    license_name: str | None = None
    license_uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionDescription:
    """What an archive says of a Collection. Absent values are None.

    `description` is plain text; `html` is the description as the archive writes it, where it writes HTML. `citation`,
    `license_name` and `license_uri` are those of the Collection as a whole, `uri` is its address, usually a DOI.
    `publications` are the parts that it was published in. The counts are the archive's own, `updated` its own wording.
    """

    collection: str
    description: str | None = None
    html: str | None = None
    citation: str | None = None
    uri: str | None = None
    license_name: str | None = None
    license_uri: str | None = None
    species: str | None = None
    cancer_types: str | None = None
    locations: str | None = None
    supporting_data: str | None = None
    program: str | None = None
    updated: str | None = None
    patients: int | None = None
    publications: tuple[Publication, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultDescription:
    """What an archive says of an analysis result: data that others derived from those of `collections`."""

    result: str
    title: str | None = None
    description: str | None = None
    citation: str | None = None
    uri: str | None = None
    license_name: str | None = None
    license_uri: str | None = None
    collections: tuple[str, ...] = ()
    modalities: str | None = None
    updated: str | None = None
    patients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptions:
    """A batch of what an archive says beside its Series."""

    patients: tuple[Patient, ...] = ()
    studies: tuple[Study, ...] = ()
    collections: tuple[CollectionDescription, ...] = ()
    results: tuple[ResultDescription, ...] = ()

    @staticmethod
    def joined(parts: "Iterable[Descriptions]") -> "Descriptions":
        """All that several batches have."""
        found = list(parts)
        return Descriptions(
            patients=tuple(each for part in found for each in part.patients),
            studies=tuple(each for part in found for each in part.studies),
            collections=tuple(each for part in found for each in part.collections),
            results=tuple(each for part in found for each in part.results),
        )

    def of(self, series: Iterable[Series]) -> "Descriptions":
        """Without the Patients and Studies that none of these Series has."""
        found = list(series)
        patients = {(each.collection, each.patient_id) for each in found}
        studies = {each.study_uid for each in found}
        return Descriptions(
            patients=tuple(each for each in self.patients if (each.collection, each.patient_id) in patients),
            studies=tuple(each for each in self.studies if each.study_uid in studies),
            collections=self.collections,
            results=self.results,
        )


NO_DESCRIPTIONS: Final = Descriptions()
