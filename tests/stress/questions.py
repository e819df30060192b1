"""Ask a cache of all of IDC many questions with wild criteria, and watch the first byte, the CPU and the memory.

`python -m tests.stress.questions --questions 649` starts `serve --archive idc` over the installed index with an empty
cache, and no archive behind it: what the index can answer needs none. Every endpoint of every API is asked, with values
that the index has, that it has in another case, and that it cannot have. It prints the slowest, and exits with 1 if an
answer took more than a second of CPU to its first byte, was an undocumented error, or if the memory passed 400 MB.

The time on the clock is printed, too; it counts on a quiet machine alone.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlencode, urlsplit

import duckdb
import psutil

from bulkdl.archive.idc.index import installed_index
from bulkdl.archive.nbia.endpoints import Answer, DateForm, Endpoint, Kind, Parameter
from bulkdl.server.nbia.apis import APIS, Api, Credential
from tests.stress.memory import peak_bytes
from tests.support.commands import start

NO_ARCHIVE: Final = "idc+http://127.0.0.1:9"
_TOKEN: Final = "/nbia-api/oauth/token"  # noqa: S105 - an address
_FIRST_BYTES: Final = 1 << 16
_MOST_SECONDS: Final = 1.0
_MOST_BYTES: Final = 400e6
_SERVER_ERROR: Final = 500
_DOCUMENTED: Final = (b"Server was not able to process your request", b'{"errorMessage":')
"""How the bodies of NBIA and of TCIA v3 begin that have the status 500, as for a format that does not exist."""
_SHOWN: Final = 10

_CHANGES: Final = frozenset({"createSharedList", "deleteSharedList"})
_OF_FILES: Final = frozenset({"getSOPInstanceUIDs", "getMD5Hierarchy"})
"""Besides those of other answers than rows, these need the files of a Series that exists."""
_COLUMNS: Final = {
    "collection": "collection_id",
    "patient_id": "PatientID",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "doi": "source_DOI",
}
_CRITERIA: Final = {
    "CollectionCriteria": "collection",
    "ImageModalityCriteria": "modality",
    "AnatomicalSiteCriteria": "body_part",
    "BodyPartExaminedCriteria": "body_part",
    "ManufacturerCriteria": "manufacturer",
    "ModelCriteria": "model",
    "PatientCriteria": "patient_id",
    "StudyCriteria": "study_uid",
    "SeriesCriteria": "series_uid",
    "DescriptionCriteria": "word",
    "SpeciesCriteria": "species",
    "MinNumberOfStudiesCriteria": "number",
    "ModalityAndedSearchCriteria": "all",
}
_RANGES: Final = ("PatientAgeRangeCriteria", "PixelSpacingRangeCriteria", "SliceThicknessRangeCriteria")
_WILD: Final = (
    *("", " ", "*", "%", "_", "'", "' OR 1=1 --", "ct\x00", "\u00c4\u00df\u4e2d", "NaN", "-1", "1e999", "null"),
    *("999999999999999999999", "x" * 4000, "1.2.3", "../../etc", "&lt;", "%25"),
)
_WORDS: Final = ("axial", "a", "T1", "chest w/o", "nothing has this", "%", "e")
_DAYS: Final = ((2011, 1, 1), (2020, 6, 1), (2026, 9, 26), (1900, 1, 1), (2999, 12, 31))

Form: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Question:
    """One request: an endpoint of an API, and what is sent."""

    api: Api
    endpoint: Endpoint
    form: Form

    def __str__(self) -> str:
        return f"{self.api.name} {self.endpoint.name} {urlencode(self.form)[:160]}"


@dataclass(frozen=True)
class Asked:
    """An answer: the status, the seconds to the first byte on the clock, and those of the server's CPU.

    It `has_failed` if the status is an error of the server that its API does not document.
    """

    question: Question
    status: int
    seconds: float
    cpu_seconds: float
    has_failed: bool


# --- what is asked ----------------------------------------------------------------------------------------------------


def values_of(index: Path, count: int = 200) -> dict[str, list[str]]:
    """Values of the index by the fields of criteria: the most frequent ones, and others by chance."""
    found: dict[str, list[str]] = {}
    with duckdb.connect() as database:
        for field, column in _COLUMNS.items():
            rows = f"SELECT {column}, count(*) FROM read_parquet(?) WHERE {column} <> '' GROUP BY 1"  # noqa: S608 - ours
            orders = ("2 DESC, 1", f"hash({column})")
            found[field] = [
                str(row[0])
                for order in orders
                for row in database.execute(f"{rows} ORDER BY {order} LIMIT ?", (str(index), count // 2)).fetchall()
            ]
    return found


class Questions:
    """Makes questions by chance, from `values` by field. Equal seeds make equal questions."""

    def __init__(self, values: Mapping[str, Sequence[str]], seed: int) -> None:
        self._values = values
        self._random = random.Random(seed)  # noqa: S311 - of tests

    def some(self, count: int) -> Iterator[Question]:
        """So many questions: each endpoint in turn, the first time with the parameters that it requires alone."""
        every = [(api, one) for api in APIS for one in api.endpoints.values() if one.name not in _CHANGES]
        self._random.shuffle(every)
        for number in range(count):
            api, endpoint = every[number % len(every)]
            yield Question(api, endpoint, tuple(self._form(endpoint, is_first=number < len(every))))

    def _form(self, endpoint: Endpoint, *, is_first: bool) -> Iterator[tuple[str, str]]:
        if endpoint.parameter("criteriaType0") is not None:
            yield from self._search(endpoint)
            return
        for parameter in endpoint.parameters:
            if parameter.required or not (is_first or self._random.random() < 0.4):
                yield parameter.name, self._value(parameter, endpoint)
        if endpoint.has_format and self._random.random() < 0.3:
            yield "format", self._random.choice((*endpoint.formats, endpoint.formats[0].lower(), "odd"))

    def _search(self, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        given = endpoint.parameter("fromDate0")
        form = given.date_form if given is not None else None
        for number in range(self._random.randrange(4)):
            kind = self._random.choice((*_CRITERIA, *_RANGES, "DateRangeCriteria"))
            yield f"criteriaType{number}", kind
            if kind in _CRITERIA:
                yield f"value{number}", self._one(_CRITERIA[kind])
            elif kind in _RANGES:
                yield from ((f"from{number}", self._one("number")), (f"to{number}", self._one("number")))
            else:
                yield from ((f"fromDate{number}", self._day(form)), (f"toDate{number}", self._day(form)))
        yield from (("start", self._random.choice(("0", "10", "80000"))), ("size", self._random.choice(("10", "9999"))))
        order = self._random.choice(("subject", "studies", "series", "collection"))
        yield from (("sortField", order), ("sortDirection", self._random.choice(("ascending", "descending"))))

    def _value(self, parameter: Parameter, endpoint: Endpoint) -> str:
        if endpoint.name == "getImageDrillDown":
            return str(self._random.randrange(10**8, 10**9))  # no Series has this number
        if parameter.kind is Kind.DATE:
            return self._day(parameter.date_form)
        if parameter.field in {"series_uids", "study_uids", "patient_ids"}:
            one = parameter.field.removesuffix("s")
            return ",".join(self._one(one) for _ in range(self._random.choice((1, 3, 500))))
        needs_files = endpoint.answer not in {Answer.ROWS, Answer.OBJECT, Answer.MANIFEST} or endpoint.name in _OF_FILES
        if parameter.kind is Kind.UID and (needs_files or endpoint.name.startswith("getDicomTags")):
            return f"1.2.3.{self._random.randrange(10**9)}"
        return self._one("number" if parameter.kind is Kind.INTEGER else parameter.field)

    def _one(self, field: str) -> str:
        """A value of a field: one of the index, in another case, or none at all."""
        if field == "number":
            return self._random.choice(("0", "1", "2", "40", "100000", "2.5", "-3", "x"))
        if field == "word":
            return self._random.choice(_WORDS)
        if (chance := self._random.random()) < 0.2 or field not in self._values:
            return self._random.choice(("all", "any", "Yes", "No", "337915000", *_WILD))
        value = self._random.choice(self._values[field])
        return value.swapcase() if chance < 0.4 else value

    def _day(self, form: DateForm | None) -> str:
        if self._random.random() < 0.1:
            return self._random.choice(_WILD)
        year, month, day = self._random.choice(_DAYS)
        pattern = (form or DateForm.ISO).value
        return pattern.replace("%Y", str(year)).replace("%m", f"{month:02}").replace("%d", f"{day:02}")


# --- how it is asked --------------------------------------------------------------------------------------------------


class Asking:
    """Asks one server, whose process is watched."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self._host = urlsplit(url).netloc
        self._process = process
        self._token = self._new_token()

    def ask(self, question: Question) -> Asked:
        """Send a question, and read the begin of its answer. The rest is left, as by a client that goes away."""
        path, form = question.api.base + question.endpoint.path, urlencode(question.form)
        is_form = question.endpoint.method == "POST"
        headers = {"Authorization": f"Bearer {self._token}"} if question.api.credential is Credential.TOKEN else {}
        headers |= {"Content-Type": "application/x-www-form-urlencoded"} if is_form else {}
        target = path if is_form or not form else f"{path}?{form}"
        before, started = self._settled_cpu(), time.perf_counter()
        with self._sent(question.endpoint.method, target, form if is_form else None, headers) as answer:
            begin = answer.read(1)
            seconds = time.perf_counter() - started
            cpu_seconds = self._cpu() - before
            begin += answer.read(_FIRST_BYTES)
        has_failed = answer.status >= _SERVER_ERROR and not begin.startswith(_DOCUMENTED)
        return Asked(question, answer.status, seconds, cpu_seconds, has_failed or answer.status > _SERVER_ERROR)

    def _new_token(self) -> str:
        form = urlencode({"username": "nbia_guest", "password": "", "grant_type": "password"})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._sent("POST", _TOKEN, form, headers) as answer:
            return str(json.loads(answer.read())["access_token"])

    def _sent(self, method: str, target: str, body: str | None, headers: Mapping[str, str]) -> HTTPResponse:
        connection = HTTPConnection(self._host, timeout=120)
        connection.request(method, target, body, {"Connection": "close", **headers})
        return connection.getresponse()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _settled_cpu(self) -> float:
        """The CPU of the server once it has ended what an earlier question left."""
        before, now = -1.0, self._cpu()
        while now > before:
            time.sleep(0.02)  # of another process, which does not tell
            before, now = now, self._cpu()
        return now


def ask_all(folder: Path, questions: Sequence[Question], *options: str | Path) -> tuple[list[Asked], int]:
    """Start a cache in `folder`, ask, and end it: the answers, and the most memory of the server in bytes."""
    command = ["serve", *options, "--cache", folder / "mirror", "--port", "0", "--json"]
    peaks: list[int] = []
    with start(command, cache=folder / "cache") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        watching = threading.Thread(target=lambda: peaks.append(peak_bytes(process)))
        watching.start()
        try:
            asking = Asking(url, psutil.Process(process.pid))
            answers = [asking.ask(question) for question in questions]
        finally:
            process.send_signal(signal.SIGTERM)
            watching.join()
            process.communicate()
    return answers, max(peaks)


def report(answers: Sequence[Asked], peak: int, say: Callable[[str], object]) -> bool:
    """Print the slowest answers, and those that failed; return whether everything is within its limits."""
    failed = [each for each in answers if each.has_failed]
    slow = [each for each in answers if each.cpu_seconds > _MOST_SECONDS]
    for each in sorted(answers, key=lambda one: one.cpu_seconds, reverse=True)[:_SHOWN]:
        say(f"{each.cpu_seconds:.2f} s CPU, {each.seconds:.2f} s: {each.status} {each.question}")
    for each in failed:
        say(f"failed: {each.status} {each.question}")
    statuses = ", ".join(f"{count} of {status}" for status, count in Counter(each.status for each in answers).items())
    say(f"{len(answers)} questions, {len(slow)} slow, {len(failed)} failed; {statuses}; {peak / 1e6:.0f} MB at most")
    return not failed and not slow and peak < _MOST_BYTES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=649)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    files = installed_index()
    if files is None:
        sys.exit("the package idc-index-data is not installed")
    questions = list(Questions(values_of(files.series), given.seed).some(given.questions))
    with tempfile.TemporaryDirectory() as name:
        answers, peak = ask_all(Path(name), questions, "--archive", NO_ARCHIVE)
    sys.exit(0 if report(answers, peak, print) else 1)


if __name__ == "__main__":
    main()
