"""Where an instance is below the mirror's folder: Series → folder, and its instances → file names in it. Pure.

A path is made one component at a time, and `safe_names` makes each safe. Two texts that are safe may still be the same
name on a file system that ignores case (`abc`, `ABC`), and many templates give two Series one name. A function of one
name cannot know that, so the keeper of the names (the journal) answers the question `taken`, with the key `fold`; the
second name then gets `~` and a hash of what it stands for.

Every Series has a separate folder, and every instance a separate file in it. Files that are not DICOM, such as slides,
keep their names, in folders that no template changes.

Sources of the named layouts: LocalSeriesDownloader.java and ImageDAO2Impl.java of NBIA; `download_from_manifest` of
idc-index.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from bulkdl.errors import LayoutError
from bulkdl.model.ids import SopInstanceUid, default_file_name
from bulkdl.model.records import Series, SeriesKind
from bulkdl.model.text import folded
from bulkdl.store.safe_names import (
    COMPONENT_BYTES,
    LONGEST_HASH,
    SHORTEST_HASH,
    cleaned,
    fold,
    safe,
    suffixed,
    uid_component,
)
from bulkdl.store.side_names import SUPPORTING, kept_free

Taken: TypeAlias = Callable[[str, str], bool]

_FILE_TYPE: Final = ".dcm"
_TEXT_BYTES = 100
_LEAST_TEXT_BYTES = 24
_UID_BYTES = 64
_NUMBER_BYTES = 12
_STEM_BYTES = 180
_TYPE: Final = re.compile(r"(?:\.[A-Za-z]{1,8})?\.[A-Za-z0-9]{1,8}\Z", re.ASCII)
_NO_UID = "unknown"
_NBIA_TEXT = 53
_NBIA_UID = 5
_NOT_NBIA: Final = re.compile("[^A-Za-z0-9 .-]")  # what the server takes out of descriptions


@dataclass(frozen=True, slots=True)
class InstanceNumbers:
    """What a file name may be made of, beside the values of the Series.

    `key` is that of the entry at the archive, None where it is the SOP Instance UID; `number` is the Instance Number.
    """

    sop_uid: SopInstanceUid
    key: str | None = None
    number: int | None = None
    acquisition: int | None = None


def _text(attribute: str) -> Callable[[Series], str]:
    def read(series: Series) -> str:
        value = getattr(series, attribute)
        return "" if value is None else str(value)

    return read


def _collection_id(series: Series) -> str:
    return folded(series.collection)


def _nbia_study(series: Series) -> str:
    date = series.study_date.strftime("%m-%d-%Y") if series.study_date else ""
    return _joined(date, series.study_id or "", _cut(series.study_description), (series.study_uid or "")[-_NBIA_UID:])


def _nbia_series(series: Series) -> str:
    number = "" if series.series_number is None else str(series.series_number)
    return _joined(number, _cut(series.description), series.series_uid[-_NBIA_UID:])


def _cut(description: str | None) -> str:
    text = _NOT_NBIA.sub("", (description or "").replace("/", "-"))[:_NBIA_TEXT]
    return "" if text == "-" else text


def _joined(*parts: str) -> str:
    return "-".join(part for part in parts if part and part != "null")


def _number(number: int | None, series: Series) -> str:
    return f"{number or 0:0{len(str(series.image_count or 0))}}"


_ATTRIBUTES: Final = {
    "SeriesInstanceUID": "series_uid",
    "StudyInstanceUID": "study_uid",
    "Collection": "collection",
    "PatientID": "patient_id",
    "Modality": "modality",
    "BodyPartExamined": "body_part",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model",
    "ProtocolName": "protocol",
    "SeriesNumber": "series_number",
    "SeriesDescription": "description",
    "SeriesDate": "series_date",
    "StudyID": "study_id",
    "StudyDescription": "study_description",
    "StudyDate": "study_date",
}
_SHORT: Final = {"series": "SeriesInstanceUID", "study": "StudyInstanceUID", "patient": "PatientID"}
_DERIVED: Final[Mapping[str, tuple[Callable[[Series], str], tuple[str, ...]]]] = {
    "collection_id": (_collection_id, ()),
    "nbia_study": (_nbia_study, ("study_date", "study_id", "study_description")),
    "nbia_series": (_nbia_series, ("series_number", "description")),
}
_OF_SERIES: Final[Mapping[str, Callable[[Series], str]]] = {
    **{keyword: _text(attribute) for keyword, attribute in _ATTRIBUTES.items()},
    **{attribute: _text(attribute) for attribute in _ATTRIBUTES.values()},
    **{name: _text(_ATTRIBUTES[keyword]) for name, keyword in _SHORT.items()},
    **{name: read for name, (read, _) in _DERIVED.items()},
}
_NUMBERS: Final[Mapping[str, Callable[[InstanceNumbers, Series], str]]] = {
    "InstanceNumber": lambda instance, series: _number(instance.number, series),
    "AcquisitionNumber": lambda instance, _: str(instance.acquisition or 0),
}
_COUNTED: Final = "nbia_image"
_OF_INSTANCE: Final[Mapping[str, Callable[[InstanceNumbers, Series], str]]] = {
    "SOPInstanceUID": lambda instance, _: instance.sop_uid,
    "crdc_instance_uuid": lambda instance, _: _stem(instance.key) or instance.sop_uid,
    _COUNTED: lambda instance, _: instance.sop_uid,  # until all instances of the Series are there
    **_NUMBERS,
}
# What a field stands for, where its text alone does not tell two of them apart.
_STANDS_FOR: Final = {"collection_id": "collection", "nbia_study": "study_uid", "nbia_series": "series_uid"}
_UIDS: Final = frozenset({"SeriesInstanceUID", "series_uid", "series", "StudyInstanceUID", "study_uid", "study"})
_COLLECTIONS: Final = frozenset({"Collection", "collection", "collection_id"})
_SERIES_UIDS: Final = frozenset({"SeriesInstanceUID", "series_uid", "series"})

FIELDS: Final[Mapping[str, str]] = {
    **{keyword: " ".join(attribute.split("_")).replace("uid", "UID") for keyword, attribute in _ATTRIBUTES.items()},
    "collection_id": "the Collection as the Imaging Data Commons (IDC) names it: `tcga_gbm`",
    "nbia_study": "the folder of a Study as the NBIA Data Retriever names it",
    "nbia_series": "the folder of a Series as the NBIA Data Retriever names it",
    "SOPInstanceUID": "SOP Instance UID; in file names alone, as all that follow",
    "InstanceNumber": "Instance Number, with zeros to the width of the number of instances",
    "AcquisitionNumber": "Acquisition Number",
    "crdc_instance_uuid": "the name of the object in a bucket of the IDC; the SOP Instance UID elsewhere",
    _COUNTED: "`1-01`, `1-02`, `2-01`: counted in the series as the NBIA Data Retriever does; a file name by itself",
}
"""The fields of a template, and what each is. `series_uid`, `patient`, … are short for the keywords, too."""

LAYOUTS: Final = {
    "bulkdl": "{collection}/{patient}/{study}/{series}",
    "nbia-classic": "{Collection}/{PatientID}/{StudyInstanceUID}/{SeriesInstanceUID}/{nbia_image}.dcm",
    "nbia-descriptive": "{Collection}/{PatientID}/{nbia_study}/{nbia_series}/{nbia_image}.dcm",
    "idc": ("{collection_id}/{PatientID}/{StudyInstanceUID}/{Modality}_{SeriesInstanceUID}/{crdc_instance_uuid}.dcm"),
    "descriptive": (
        "{collection}/{patient}/{study_date}-{study_description}-{study}/{series_number}-{description}-{series}"
    ),
    "flat": "{series}",
}
"""The named templates."""

FORMER_LAYOUTS: Final = {
    "nbia-classic": "{Collection}/{PatientID}/{StudyInstanceUID}/{SeriesInstanceUID}/1-{InstanceNumber}.dcm",
    "nbia-descriptive": "{Collection}/{PatientID}/{nbia_study}/{nbia_series}/1-{InstanceNumber}.dcm",
}
"""What names stood for in earlier versions: a mirror of that time keeps its template until `relayout`."""

_PERCENT: Final = re.compile("%(" + "|".join(sorted({*_OF_SERIES, *_OF_INSTANCE}, key=len, reverse=True)) + ")")


def _stem(key: str | None) -> str:
    """The name of the object in a bucket that a key names, without its type; empty for other keys."""
    return key.rpartition("/")[2].removesuffix(_FILE_TYPE) if key is not None and "/" in key else ""


def layout_name(template: str) -> str:
    """The name of a layout, or else its template: what `parse_layout` reads."""
    return next((name for name, known in LAYOUTS.items() if known == template), template)


def instance_name(sop_uid: str) -> str:
    """The file name of an instance in a layout that names folders only."""
    return default_file_name(uid_component(sop_uid))


def plain_names(entries: Sequence[tuple[str, str]]) -> list[str]:
    """The file names of files that are not DICOM, in one folder: each has a name at its source, and a key.

    A name keeps its type, `.nii.gz` as a whole; it never ends in `.dcm`, which only instances have.
    """
    taken: set[str] = set()
    names = []
    for text, key in entries:
        name = _plain_name(text)
        if fold(name) in taken:
            stem, end = _split_type(name)
            name = f"{suffixed(stem, key, limit_bytes=_STEM_BYTES)}{end}"
        taken.add(fold(name))
        names.append(name)
    return names


def _plain_name(text: str) -> str:
    stem, end = _split_type(text)
    clean = cleaned(stem + end) if stem else ""
    if clean == text and clean != "_" and len(stem.encode()) <= _STEM_BYTES and end.casefold() != _FILE_TYPE:
        return text
    end = f"{end}.file" if end.casefold() == _FILE_TYPE else end
    return f"{suffixed(cleaned(stem) or '_', text, limit_bytes=_STEM_BYTES)}{end}"


def _split_type(name: str) -> tuple[str, str]:
    """A file name without its type, and the type: nothing where the end of the name is not one."""
    found = _TYPE.search(name)
    return (name[: found.start()], found[0]) if found is not None and found.start() else (name, "")


def beside_name(sop_uid: str, key: str) -> str:
    """The file name of an entry that another one shares its UID with, in a layout that names folders only."""
    label = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:SHORTEST_HASH]
    return f"{instance_name(sop_uid).removesuffix(_FILE_TYPE)}.x{label}{_FILE_TYPE}"


def special_name(sop_uid: str) -> str | None:
    """The file name of an instance if it differs from `default_file_name`: the journal keeps no other."""
    name = instance_name(sop_uid)
    return name if name != default_file_name(sop_uid) else None


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a template, and how many bytes its text may take."""

    name: str
    limit_bytes: int = _TEXT_BYTES

    @property
    def is_uid(self) -> bool:
        return self.name in _UIDS or self.name == "SOPInstanceUID"


_Component: TypeAlias = tuple[str | _Field, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A template of folders and perhaps of file names, as `parse_layout` makes it. `template` is its text.

    `file` is None where the files are named by their SOP Instance UIDs.
    """

    template: str
    components: tuple[_Component, ...]
    file: _Component | None = None

    @property
    def tells_series_apart(self) -> bool:
        """Whether the name of a folder tells two Series apart by its form alone."""
        return any(map(_tells_series_apart, self.components))

    @property
    def reads_header(self) -> bool:
        """Whether a file name is made of values that only the header of the file has."""
        return any(isinstance(part, _Field) and part.name in _NUMBERS for part in self.file or ())

    @property
    def is_counted(self) -> bool:
        """Whether file names are counted in the whole Series: `file_names` are those before they can be."""
        return self.file is not None and any(isinstance(part, _Field) and part.name == _COUNTED for part in self.file)

    @property
    def begins_with_collection(self) -> bool:
        """Whether the first folder is that of the Collection, with others below it."""
        first = self.components[0]
        is_collection = len(first) == 1 and isinstance(first[0], _Field) and first[0].name in _COLLECTIONS
        return is_collection and len(self.components) > 1

    def unknown(self, series: Series) -> frozenset[str]:
        """The attributes of a Series that its folder is made of and that the archive did not state."""
        if series.kind is not None:
            return frozenset()
        names = {part.name for component in self.components for part in component if isinstance(part, _Field)}
        needed = {attribute for name in names for attribute in _attributes(name)}
        return frozenset(name for name in needed if getattr(series, name) in {None, ""})

    def folder(self, series: Series, *, taken: Taken | None = None) -> str:
        """The folder of `series`, relative to the mirror, with `/`.

        `taken(key, owner)` is called for each folder on the way down whose name holds text: does another owner have the
        folder whose `fold`ed path is `key`? If so, this name gets the hash of what it stands for. `owner` is an opaque
        key of that. The callee remembers the first owner of each key, so the folders stay the same.
        """
        if series.kind is not None and self is not (fixed := _FIXED[series.kind]):
            return fixed.folder(series, taken=taken)
        path, last = "", None if self.tells_series_apart else len(self.components) - 1
        for at, component in enumerate(self.components):
            name, true_text = _render(component, series)
            if at <= 1 and true_text is not None:
                name = kept_free(name, true_text)
            if at == last:
                true_text = f"{true_text}\0{series.series_uid}"
            if taken is not None and true_text is not None:
                name = _free(path, name, true_text, taken)
            path += f"{name}/"
        return path.removesuffix("/")

    def file_names(self, series: Series, instance: InstanceNumbers) -> Iterator[str]:
        """The file names that an instance may have in the folder of its Series: the first one that is free is its."""
        if self.file is None:
            yield instance_name(instance.sop_uid)
            yield beside_name(instance.sop_uid, instance.key or instance.sop_uid)
            return
        values = {
            part.name: _OF_INSTANCE[part.name](instance, series)
            for part in self.file
            if isinstance(part, _Field) and part.name in _OF_INSTANCE
        }
        stem, _ = _put_together(self.file, series, values)
        yield f"{stem}{_FILE_TYPE}"
        for digits in range(SHORTEST_HASH, LONGEST_HASH + 1, SHORTEST_HASH):
            yield f"{suffixed(stem, instance.key or instance.sop_uid, digits=digits)}{_FILE_TYPE}"


@lru_cache(maxsize=64)
def parse_layout(text: str) -> Layout:
    """Read a layout: the name of one of `LAYOUTS`, or a template.

    A template is folders with `/` between them, made of fields and of plain text: `{PatientID}/{StudyDate}-{Modality}`.
    If it ends in `.dcm`, its last component names the files; otherwise they are named by their SOP Instance UIDs. A
    field may also be written as idc-index does: `%PatientID`.

    Raises:
        LayoutError: an unknown field or name, text that is not safe in a name, or a name that may be too long.
    """
    template = LAYOUTS.get(text, text)
    if "{" not in template:
        template = _PERCENT.sub(r"{\1}", template)
    if "{" not in template:
        raise LayoutError(
            f"{text!r} is not a layout: known are {', '.join(LAYOUTS)}, and templates such as {LAYOUTS['bulkdl']}"
        )
    *folders, last = template.split("/")
    names_files = last.endswith(_FILE_TYPE)
    if names_files and not folders:
        raise LayoutError(f"the layout {template!r} names files and no folder: put one before it, such as {{series}}/")
    if not names_files:
        folders.append(last)
    components = tuple(_parse_component(each, template, frozenset(_OF_SERIES)) for each in folders)
    if not names_files or last == f"{{SOPInstanceUID}}{_FILE_TYPE}":
        return Layout("/".join(folders), components)
    stem = last.removesuffix(_FILE_TYPE)
    if _COUNTED in stem and stem != f"{{{_COUNTED}}}":
        raise LayoutError(f"{{{_COUNTED}}} in the layout {template!r} is a file name by itself: {{{_COUNTED}}}.dcm")
    return Layout(template, components, _parse_component(stem, template, frozenset({*_OF_SERIES, *_OF_INSTANCE})))


def _attributes(name: str) -> tuple[str, ...]:
    """The attributes of a Series that a field is made of, but for those that every archive states."""
    if name in _DERIVED:
        return _DERIVED[name][1]
    attribute = _ATTRIBUTES.get(_SHORT.get(name, name), name)
    return () if attribute in {"series_uid", "collection", "patient_id"} else (attribute,)


def _parse_component(text: str, template: str, known: frozenset[str]) -> _Component:
    parts: list[str | _Field] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            if literal:
                parts.append(literal)
            if name is None:
                continue
            if spec or conversion or name not in known:
                shown = f"{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}"
                where = "of file names, not of folders" if name in _OF_INSTANCE else "of a layout"
                raise LayoutError(
                    f"{{{shown}}} is {'' if name in _OF_INSTANCE else 'not '}a field {where}: known are "
                    + ", ".join(FIELDS)
                )
            parts.append(_Field(name))
    except ValueError as error:
        raise LayoutError(f"the layout {template!r} cannot be read: {error}") from error
    probe = "".join(part if isinstance(part, str) else "x" for part in parts)
    if not probe or cleaned(probe) != probe or "~" in fold(probe):
        raise LayoutError(f"{text!r} in the layout {template!r} is not safe as a name on every file system")
    return _with_limits(parts, text)


def _with_limits(parts: list[str | _Field], text: str) -> _Component:
    """Divide the length of a name among its text fields, after the UIDs, the numbers and the literal text."""
    texts = [part for part in parts if isinstance(part, _Field) and not part.is_uid and part.name not in _NUMBERS]
    fixed = sum(len(part.encode()) if isinstance(part, str) else _fixed_bytes(part) for part in parts)
    room = COMPONENT_BYTES - SHORTEST_HASH - 2 - fixed  # `_render` may add a suffix, and `cleaned` one character
    limit = min(_TEXT_BYTES, room // max(len(texts), 1))
    if room < 0 or limit < _LEAST_TEXT_BYTES:
        raise LayoutError(f"{text!r} is too long for one name: split it with /")
    return tuple(replace(part, limit_bytes=limit) if isinstance(part, _Field) else part for part in parts)


def _fixed_bytes(field: _Field) -> int:
    return _UID_BYTES if field.is_uid else _NUMBER_BYTES * (field.name in _NUMBERS)


def _tells_series_apart(component: _Component) -> bool:
    def is_series(part: str | _Field) -> bool:
        return isinstance(part, _Field) and part.name in _SERIES_UIDS

    def parts_it(text: str | _Field, edge: int) -> bool:
        return isinstance(text, str) and text[edge] not in "0123456789._"

    if len(component) == 1:
        return is_series(component[0])
    return (is_series(component[0]) and parts_it(component[1], 0)) or (
        is_series(component[-1]) and parts_it(component[-2], -1)
    )


def _free(path: str, name: str, true_text: str, taken: Taken) -> str:
    """The first form of a folder's name that no other owner has, from no hash to the whole one."""
    owner = sha256(f"{path}/{true_text}".encode("utf-8", "surrogatepass")).hexdigest()
    if not taken(fold(path + name), owner):
        return name
    plain = cleaned(name)
    longer = ""
    for digits in range(SHORTEST_HASH, LONGEST_HASH + 1, SHORTEST_HASH):
        longer = suffixed(plain, true_text, digits=digits)
        if not taken(fold(path + longer), owner):
            break
    return longer


def _render(component: _Component, series: Series) -> tuple[str, str | None]:
    """The safe name of one folder, and its original text: None if it holds only UIDs."""
    name, true_text = _put_together(component, series, {})
    return name, true_text if any(isinstance(part, _Field) and not part.is_uid for part in component) else None


def _put_together(component: _Component, series: Series, values: Mapping[str, str]) -> tuple[str, str]:
    """The safe name of one component, and its original text. `values` are those of an instance, by field."""
    name, true_text = "", ""
    for part in component:
        if isinstance(part, str):
            name += part
            true_text += part
            continue
        text = values[part.name] if part.name in _OF_INSTANCE else _OF_SERIES[part.name](series)
        if part.is_uid:
            name += uid_component(text) if text else _NO_UID
        else:
            name += safe(text, part.limit_bytes)
        stands_for = _STANDS_FOR.get(part.name)
        true_text += f"\0{text}\0{getattr(series, stands_for) if stands_for else ''}"  # so "a"+"bc" is not "ab"+"c"
    if (clean := cleaned(name)) != name:  # parts that are safe alone may be unsafe together: `CO` and `N`
        name = suffixed(clean, true_text)
    return name, true_text


DEFAULT_LAYOUT: Final = parse_layout("bulkdl")

_FIXED: Final[Mapping[SeriesKind, Layout]] = {
    SeriesKind.SLIDE: parse_layout("{collection}/{patient}/{description}"),
    SeriesKind.FILES: parse_layout(f"{{collection}}/{SUPPORTING}"),
}
"""The folders of what is not DICOM. The description of a slide is its name."""
