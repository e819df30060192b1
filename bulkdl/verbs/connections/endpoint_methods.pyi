"""The methods of a connected archive: every endpoint of every API, with its criteria and what it returns.

Generated from the endpoint tables by `python -m tests.docs.generate`. An archive has those of the API that it speaks.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, TypeAlias

from bulkdl.verbs.connections.connected_archive import EndpointCall
from bulkdl.verbs.tables.records import Record, Records

Criterion: TypeAlias = str | int | float | bool | date | Iterable[str] | None

class EndpointMethods:
    def contents_by_name(
        self,
        *,
        shared_list: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Series of a shared list; always JSON."""

    def create_shared_list(
        self,
        *,
        series_uids: str | Iterable[str],
        shared_list: str,
        description: str | None = None,
        url: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """Make a shared list of some Series."""

    def delete_shared_list(
        self,
        *,
        shared_list: str,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """Delete a shared list that you own."""

    def get_all_sop_class_definition(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """Names of SOP classes, a line UID=name for each."""

    def get_body_part_values(
        self,
        *,
        collection: str | None = None,
        modality: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Body parts, of one Collection or modality or of all."""

    def get_body_part_values_and_counts(
        self,
        *,
        collection: str | None = None,
        modality: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Body parts, with the number of Patients of each."""

    def get_collection_descriptions(
        self,
        *,
        collection: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """What the archive says about its Collections."""

    def get_collection_or_series_for_doi(
        self,
        *,
        doi: str,
        level: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """What a DOI names."""

    def get_collection_values(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """All Collections."""

    def get_collection_values_and_counts(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Collections, with the number of Patients of each."""

    def get_contents_by_name(
        self,
        *,
        shared_list: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Series of a shared list; always JSON."""

    def get_dcm_image(
        self,
        *,
        series_uid: str,
        with_annotations: str | None = None,
        with_md5: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[bytes, bytes]:
        """All instances of a Series, as a zip of names such as 1-01.dcm."""

    def get_denied_series(
        self,
        *,
        series_uids: str | None = None,
        user: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Those of some Series that a user may not see."""

    def get_dicom_tags(
        self,
        *,
        series_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The DICOM attributes of the first instance of a Series."""

    def get_dicom_tags_by_image_id(
        self,
        *,
        image_id: int | str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The DICOM attributes of one instance."""

    def get_image(
        self,
        *,
        series_uid: str,
        new_file_names: str | None = None,
        with_md5: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[bytes, bytes]:
        """All instances of a Series, as a zip that begins with a LICENSE, with md5hashes.csv at its end if asked for."""

    def get_image_drill_down(
        self,
        *,
        series_ids: int | str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The instances of some Series."""

    def get_image_other(
        self,
        *,
        series_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[bytes, bytes]:
        """The files of a Series that are not DICOM, as a zip with the original names."""

    def get_image_with_md5_hash(
        self,
        *,
        series_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[bytes, bytes]:
        """All instances of a Series, as a zip that ends with md5hashes.csv."""

    def get_licenses(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The licences of the archive's data."""

    def get_m5_hash_for_image(
        self,
        *,
        sop_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """The MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one."""

    def get_manifest_for_collection(
        self,
        *,
        collection: str,
        visibility: int | str | None = None,
        with_annotations: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """A manifest of the Series of a Collection."""

    def get_manifest_for_simple_search(
        self,
        *,
        criteria_type: str | Iterable[str] | None = None,
        criteria_value: str | Iterable[str] | None = None,
        from_date: date | str | Iterable[str] | None = None,
        to_date: date | str | Iterable[str] | None = None,
        from_value: float | str | Iterable[str] | None = None,
        to_value: float | str | Iterable[str] | None = None,
        start: int | str | None = None,
        size: int | str | None = None,
        sort_field: str | None = None,
        sort_direction: str | None = None,
        tool: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """A manifest of what a simple search finds."""

    def get_manifest_from_patient_study_series(
        self,
        *,
        patient_ids: str | None = None,
        study_uids: str | None = None,
        series_uids: str | None = None,
        any_or_all: str | None = None,
        with_annotations: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """A manifest of the Series of some Patients, Studies and Series."""

    def get_manifest_text(
        self,
        *,
        series_uids: str | Iterable[str],
        with_annotations: str,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """A manifest of some Series."""

    def get_manifest_text_v2(
        self,
        *,
        series_uids: str | Iterable[str],
        with_annotations: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """A manifest of some Series."""

    def get_manufacturer_values(
        self,
        *,
        collection: str | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Manufacturers of equipment, narrowed by Collection, modality and body part."""

    def get_manufacturer_values_and_counts(
        self,
        *,
        collection: str | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Manufacturers, with the number of Patients of each."""

    def get_md5_hash_for_image(
        self,
        *,
        sop_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """The MD5 of one instance, 32 hexadecimal digits; nothing for an unknown one."""

    def get_md5_hierarchy(
        self,
        *,
        series_uid: str | None = None,
        study_uid: str | None = None,
        patient_id: str | None = None,
        collection: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """One MD5 over those of all instances of a Series, Study, Patient or Collection; nothing for an unknown one."""

    def get_modality_values(
        self,
        *,
        collection: str | None = None,
        body_part: str | None = None,
        modality: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Modalities, of one Collection or body part or of all."""

    def get_modality_values_and_counts(
        self,
        *,
        collection: str | None = None,
        body_part: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Modalities, with the number of Patients of each."""

    def get_patient(
        self,
        *,
        collection: str | None = None,
        patient_id: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Patients, of one Collection or of all."""

    def get_patient_by_collection_and_modality(
        self,
        *,
        collection: str,
        modality: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Patients of a Collection who have a Series of that modality."""

    def get_patient_study(
        self,
        *,
        collection: str | None = None,
        patient_id: str | None = None,
        study_uid: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Studies, narrowed by Collection, Patient or UID."""

    def get_series(
        self,
        *,
        collection: str | None = None,
        patient_id: str | None = None,
        study_uid: str | None = None,
        series_uid: str | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        manufacturer: str | None = None,
        model: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Series that meet every criterion given."""

    def get_series_meta_data(
        self,
        *,
        series_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The metadata of one Series as in the metadata.csv of downloads; every value is text."""

    def get_series_metadata(
        self,
        *,
        series_uids: str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """All metadata of some Series, up to 10,000 of them; an attachment of CSV if no format is named."""

    def get_series_metadata2(
        self,
        *,
        series_uids: str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Metadata of some Series, as an attachment of CSV."""

    def get_series_metadata3(
        self,
        *,
        series_uids: str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """All metadata of some Series, as an attachment of CSV."""

    def get_series_metadata_combined(
        self,
        *,
        series_uids: str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """GetSeriesMetadata with blanks in the names, as an attachment of CSV."""

    def get_series_qc_info(
        self,
        *,
        series_uids: str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """GetSeriesMetadata with the visibility of each Series."""

    def get_series_size(
        self,
        *,
        series_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Size and number of instances of one Series; slow on large archives."""

    def get_shared_list(
        self,
        *,
        shared_list: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Any, Record]:
        """A shared list; null for an unknown one."""

    def get_simple_search(
        self,
        *,
        criteria_type: str | Iterable[str] | None = None,
        criteria_value: str | Iterable[str] | None = None,
        from_date: date | str | Iterable[str] | None = None,
        to_date: date | str | Iterable[str] | None = None,
        from_value: float | str | Iterable[str] | None = None,
        to_value: float | str | Iterable[str] | None = None,
        start: int | str | None = None,
        size: int | str | None = None,
        sort_field: str | None = None,
        sort_direction: str | None = None,
        tool: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Any, Record]:
        """Patients that meet all criteria, a page of them, with counts of what they have."""

    def get_simple_search_with_modality_and_body_part_paged(
        self,
        *,
        criteria_type: str | Iterable[str] | None = None,
        criteria_value: str | Iterable[str] | None = None,
        from_date: date | str | Iterable[str] | None = None,
        to_date: date | str | Iterable[str] | None = None,
        from_value: float | str | Iterable[str] | None = None,
        to_value: float | str | Iterable[str] | None = None,
        start: int | str | None = None,
        size: int | str | None = None,
        sort_field: str | None = None,
        sort_direction: str | None = None,
        tool: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Any, Record]:
        """Patients that meet all criteria, a page of them, with counts of what they have."""

    def get_single_image(
        self,
        *,
        series_uid: str,
        sop_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[bytes, bytes]:
        """One instance, as a DICOM file."""

    def get_sop_instance_uids(
        self,
        *,
        series_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The instances of one Series."""

    def get_species_tax(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The species that there are."""

    def get_species_values_and_counts(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """Species, with the number of Patients of each."""

    def get_study_drill_down(
        self,
        *,
        series_ids: int | str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Studies of some Series, nested."""

    def get_study_drill_down_with_series_ids(
        self,
        *,
        series_uids: str | Iterable[str],
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Studies of some Series, nested."""

    def get_thumbnail(
        self,
        *,
        series_uid: str,
        sop_uid: str,
        **wire_names: Criterion,
    ) -> EndpointCall[bytes, bytes]:
        """A small picture of one instance."""

    def get_updated_series(
        self,
        *,
        since: date | str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The public Series that were released after a day."""

    def get_user_agreement_txt(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """The agreement for users of the data."""

    def host_name(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """Name of the server."""

    def new_patients_in_collection(
        self,
        *,
        collection: str,
        since: date | str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Patients of a Collection who are new since a day."""

    def new_studies_in_patient_collection(
        self,
        *,
        collection: str,
        since: date | str,
        patient_id: str | None = None,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Studies of a Collection, or of one Patient of it, that are new since a day."""

    def patients_by_modality(
        self,
        *,
        collection: str,
        modality: str,
        **wire_names: Criterion,
    ) -> EndpointCall[Records, Record]:
        """The Patients of a Collection who have a Series of that modality."""

    def status(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """Whether the API is up."""

    def status_version(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """The version of the API."""

    def up(
        self,
        **wire_names: Criterion,
    ) -> EndpointCall[str, bytes]:
        """The word up."""
