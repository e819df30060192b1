"""Lists of Studies that are complete, of servers that cut them without a word.

Nothing counts the Studies of an archive. So a list is compared with lists of the time before and after its median day:
if these have Studies that it does not have, the server cuts lists. Those that are as long are split further.

Source: observed with Orthanc 1.10 and `LimitFindResults`: of more results it sends the first ones, whatever the offset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import date, timedelta
from typing import Final, NamedTuple

from bulkdl.archive.dicomweb.records import STUDY_FIELDS, read_study
from bulkdl.archive.dicomweb.search import RowSearch, SearchClient, unreadable
from bulkdl.archive.request import Pairs
from bulkdl.errors import RequestRejected, UnexpectedAnswer
from bulkdl.model.records import Study

_LEAST_COMPARED: Final = 10  # Studies of a list: no server has a lower limit
_MOST_PARTS: Final = 10_000
_DAY: Final = timedelta(days=1)
_YEARS: Final = range(1800, 3000)  # others are mistakes, which lists are not split at


class Days(NamedTuple):
    """A range of days, with both ends; None is an open end."""

    first: date | None = None
    last: date | None = None

    def __str__(self) -> str:
        return "-".join(f"{day:%Y%m%d}" if day is not None else "" for day in self)

    def has(self, day: date) -> bool:
        """Whether a day is in the range."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def parts(self, days: Counter[date]) -> tuple[Days, ...]:
        """The range in two, each with some of these `days`; around a single day; none where it is this day alone."""
        known = sorted(days.elements())
        if not known or self.first == self.last == known[0]:
            return ()
        middle = known[len(known) // 2]
        if known[0] == known[-1]:
            return Days(self.first, middle - _DAY), Days(middle, middle), Days(middle + _DAY, self.last)
        border = middle if middle > known[0] else min(day for day in known if day > middle)
        return Days(self.first, border - _DAY), Days(border, self.last)


class StudyLists:
    """Lists the Studies of one archive. `host`: see `records`. `note` gets a line about lists that are cut."""

    def __init__(self, client: SearchClient, host: str, note: Callable[[str], None]) -> None:
        self._client = client
        self._host = host
        self._note = note

    async def list(self, what: str, query: Pairs) -> AsyncGenerator[Study, None]:
        """Yield the Studies that a query finds, each once. `what` names them in messages.

        Raises:
            RequestFailed: there is no valid answer.
            UnexpectedAnswer: rows cannot be read, or the archive has more Studies of one day than it lists.
        """
        seen: set[str] = set()
        whole = _ListedDays(what)
        async with aclosing(self._pages(query, whole)) as studies:
            async for study in studies:
                seen.add(study.study_uid)
                yield study
        if whole.count < _LEAST_COMPARED or "StudyInstanceUID" in dict(query):
            return
        async with aclosing(self._beyond(query, whole, seen)) as studies:
            async for study in studies:
                yield study

    async def _beyond(self, query: Pairs, whole: _ListedDays, seen: set[str]) -> AsyncGenerator[Study, None]:
        """The Studies that lists of less time have beyond those of the `whole` list."""
        waiting, is_certain = list(Days().parts(whole.days)), True
        for _ in range(_MOST_PARTS):
            if not waiting:
                break
            days, part = waiting.pop(), _ListedDays(whole.what)
            try:
                async with aclosing(self._pages((*query, ("StudyDate", str(days))), part)) as studies:
                    async for study in studies:
                        if study.study_uid not in seen:
                            seen.add(study.study_uid)
                            yield study
            except RequestRejected:  # it does not search days, and whether it cuts lists is not known
                return
            if not all(map(days.has, part.days)):  # it ignores the days
                return
            if part.count >= whole.count:
                is_certain = is_certain and days.first != days.last
                waiting += days.parts(part.days)
        if len(seen) == whole.count and not waiting:
            return
        counts = f"{whole.what}: {whole.count:,} are listed at once, and {len(seen):,} by days"
        self._note(f"{counts}; the archive may cut its lists, and studies without a date may be missing")
        if waiting or not is_certain:
            raise UnexpectedAnswer(f"the archive cuts {whole.what} after {whole.count:,}, and has as many of one day")

    async def _pages(self, query: Pairs, listed: _ListedDays) -> AsyncGenerator[Study, None]:
        search = RowSearch(
            listed.what,
            "studies",
            query,
            STUDY_FIELDS,
            lambda row: read_study(row, self._host),
            lambda study: study.study_uid,
        )
        invalid_rows = 0
        async with aclosing(self._client.pages(search)) as pages:
            async for page in pages:
                invalid_rows += page.invalid_rows
                for study in page.records:
                    listed.add(study)
                    yield study
        if invalid_rows:
            raise unreadable(invalid_rows, listed.what)


class _ListedDays:
    """The days of the Studies of one list."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.count = 0
        self.days: Counter[date] = Counter()

    def add(self, study: Study) -> None:
        self.count += 1
        if study.study_date is not None and study.study_date.year in _YEARS:
            self.days[study.study_date] += 1
