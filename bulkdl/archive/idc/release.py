"""A release of IDC: its number, the version of its index, and its date."""

from dataclasses import dataclass
from datetime import date
from typing import Final

_OLD_DAYS: Final = 183  # releases come two to six months apart


@dataclass(frozen=True, slots=True)
class Release:
    """A release of IDC. `version` is that of the index, empty where it does not say; its date may be unknown."""

    number: int
    version: str = ""
    released: date | None = None

    def __str__(self) -> str:
        details = (str(self.released or ""), f"index {self.version}" if self.version else "")
        shown = ", ".join(filter(None, details))
        return f"IDC release {self.number}{f' ({shown})' if shown else ''}"

    def is_old(self, today: date) -> bool:
        """Whether there may be a newer release."""
        return self.released is not None and (today - self.released).days > _OLD_DAYS

    def described(self, today: date) -> str:
        """The release, and what to do if it is old."""
        if self.released is None or not self.is_old(today):
            return str(self)
        days = (today - self.released).days
        return f"{self}: {days} days old, there may be a newer one: bulkdl archives --update-index"
