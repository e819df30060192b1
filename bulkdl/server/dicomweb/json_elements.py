"""Elements of the DICOM JSON model, of values that are already Python's (PS3.18 Annex F). Pure."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final, TypeAlias

Element: TypeAlias = dict[str, Any]

_GROUPS_OF_A_NAME: Final = ("Alphabetic", "Ideographic", "Phonetic")


def element(vr: str, values: Iterable[object] = ()) -> Element:
    """An element with these values; one that is empty if there are none."""
    made = [_person_name(str(value)) if vr == "PN" else _value(value) for value in values if value not in {None, ""}]
    return {"vr": vr, "Value": made} if made else {"vr": vr}


def _value(value: object) -> object:
    return value.strftime("%Y%m%d") if isinstance(value, date) else value


def _person_name(text: str) -> dict[str, str]:
    """The groups of a name, which `=` separates (PS3.5 §6.2.1)."""
    groups = zip(_GROUPS_OF_A_NAME, text.split("="), strict=False)
    return {name: group for name, group in groups if group}
