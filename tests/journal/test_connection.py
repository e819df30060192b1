from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bulkdl.errors import DiskFull, JournalError, JournalTooNew, JournalUnreadable, MirrorLocked, MirrorUnwritable
from bulkdl.journal import connection, schema
from bulkdl.journal.connection import open_to_write, read_application_id, translated
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceState
from bulkdl.model.records import Entry
from tests.support.journals import NOW, begin, filled, folder, list_instances, listed, outcome, record, record_listed

Damage = Callable[[Path], object]
Opening = Callable[[Path], Journal]

ROOT = Path(__file__).parents[2]
QUESTIONS: list[Callable[[Journal], object]] = [
    lambda journal: journal.counts(None),
    lambda journal: journal.failures(None, limit=10),
    lambda journal: list(journal.all_series()),
    lambda journal: journal.held(limit=1000),
    lambda journal: journal.collections(None),
    Journal.last_run,
    Journal.selections,
    Journal.runs,
    Journal.unanswered,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def is_intact(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def held_by_series(path: Path) -> dict[str, int]:
    with Journal.open_readonly(path) as journal:
        return {row.series.series_uid: row.held for row in journal.series(limit=1_000_000) if row.held}


# --- making and opening -----------------------------------------------------------------------------------------------


def test_makes_a_journal_that_other_programs_can_tell(path: Path) -> None:
    Journal.create_or_open(path).close()
    assert [entry.name for entry in path.parent.iterdir()] == ["journal.sqlite"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x42444C4A,)
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_new_journal_is_complete_without_its_log(path: Path) -> None:
    """SQLite moves a log into the file when it closes it, and does not say when that fails."""
    connection.create(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["journal.sqlite"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert is_intact(path)


def test_takes_the_log_that_an_earlier_version_left_beside_a_new_journal(path: Path) -> None:
    """It renamed the file of a journal whose content was still in the log, when the disk was full."""
    new = path.with_name("journal.sqlite.new")
    born = sqlite3.connect(new, isolation_level=None)
    born.execute("PRAGMA journal_mode = WAL")
    marks = f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 1;"
    born.executescript(f"BEGIN; {schema.MIGRATIONS[0]} {marks} COMMIT")
    shutil.copy(new, path)
    shutil.copy(new.with_name("journal.sqlite.new-wal"), path.with_name("kept"))
    born.close()
    new.unlink()
    path.with_name("kept").rename(path.with_name("journal.sqlite.new-wal"))
    with Journal.create_or_open(path) as journal:
        begin(journal)
    assert is_intact(path)
    assert not path.with_name("journal.sqlite.new-wal").exists()


def test_syncs_each_transaction(path: Path) -> None:
    Journal.create_or_open(path).close()
    with closing(open_to_write(path)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)


def test_finds_everything_when_opened_again(path: Path) -> None:
    filled(path, series=2, instances=3).close()
    with Journal.create_or_open(path) as journal:
        assert journal.counts(None).held == 6


def test_starts_afresh_where_making_was_cut_short(path: Path) -> None:
    path.with_name("journal.sqlite.new").write_bytes(b"half of it")
    Journal.create_or_open(path).close()
    assert is_intact(path)


def test_says_that_the_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises((MirrorUnwritable, DiskFull), match="journal"):
        Journal.create_or_open(tmp_path / "nowhere" / "journal.sqlite")


def test_copes_with_names_that_mean_something_in_an_address(tmp_path: Path) -> None:
    folder = tmp_path / "50% ?mode=memory#é"
    folder.mkdir()
    Journal.create_or_open(folder / "journal.sqlite").close()
    assert (folder / "journal.sqlite").stat().st_size > 0
    Journal.open_readonly(folder / "journal.sqlite").close()


# --- refusing ---------------------------------------------------------------------------------------------------------


def another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mail (id)")
        connection.commit()


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("VACUUM")


def cut(path: Path, keep: float) -> None:
    filled(path, series=20, instances=20).close()
    os.truncate(path, int(path.stat().st_size * keep))


def cut_in_the_last_page(path: Path) -> None:
    filled(path, series=20, instances=20).close()
    os.truncate(path, path.stat().st_size - 1)


def damaged_schema(path: Path) -> None:
    filled(path, series=1, instances=1).close()
    content = bytearray(path.read_bytes())
    content[100:400] = b"\xff" * 300
    path.write_bytes(content)


def schema_that_is_not_utf_8(path: Path) -> None:
    filled(path, series=1, instances=1).close()
    path.write_bytes(path.read_bytes().replace(b"v_series", b"v_\x9deries", 1))


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no journal at all\n" * 100),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "only-the-magic": lambda path: path.write_bytes(b"SQLite format 3\x00"),
    "header-of-noise": lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\xa5" * 8000),
    "another-program": another_program,
    "without-tables": without_tables,
    "cut-in-half": lambda path: cut(path, 0.5),
    "cut-near-the-end": lambda path: cut(path, 0.97),
    "cut-in-the-last-page": cut_in_the_last_page,
    "cut-to-the-header": lambda path: cut(path, 0.0005),
    "damaged-schema": damaged_schema,
    "schema-that-is-not-utf-8": schema_that_is_not_utf_8,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("opening", [Journal.create_or_open, Journal.open_readonly], ids=["write", "read"])
def test_refuses_a_damaged_journal_and_does_not_change_it(path: Path, damage: Damage, opening: Opening) -> None:
    damage(path)
    before = path.read_bytes()
    with pytest.raises(JournalUnreadable, match="nothing was overwritten") as caught:
        opening(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("bytes_changed", [1, 20, 100])
def test_reports_any_damage_as_such(path: Path, bytes_changed: int) -> None:
    filled(path, series=10, instances=10).close()
    whole = path.read_bytes()
    for seed in range(60):
        chance = random.Random(seed)  # noqa: S311 - no secret
        damaged = bytearray(whole)
        for _ in range(bytes_changed):
            damaged[chance.randrange(100, len(whole))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(JournalUnreadable, JournalError), Journal.open_readonly(path) as journal:
            for question in QUESTIONS:
                with suppress(JournalUnreadable, JournalError):
                    question(journal)


@pytest.mark.parametrize("record", ["{", "[1]", '{"nothing": 1}', '{"series_date": "2026-03- 1"}', "null"])
def test_a_record_that_cannot_be_read_is_damage(path: Path, record: str) -> None:
    filled(path, series=1, instances=1).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE series SET record = ?", (record,))
        connection.commit()
    with Journal.open_readonly(path) as journal, pytest.raises(JournalUnreadable, match="adopt --rebuild"):
        list(journal.all_series())


def test_says_that_there_is_no_journal(path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="does not exist"):
        Journal.open_readonly(path)
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("opening", [Journal.create_or_open, Journal.open_readonly], ids=["write", "read"])
def test_does_not_wait_for_a_named_pipe(path: Path, opening: Opening) -> None:
    os.mkfifo(path)
    with pytest.raises(JournalUnreadable, match="not a journal"):
        opening(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("opening", [Journal.create_or_open, Journal.open_readonly], ids=["write", "read"])
def test_too_many_open_files_are_not_taken_for_damage(path: Path, opening: Opening) -> None:
    import resource  # noqa: PLC0415 - Windows does not have it

    Journal.create_or_open(path).close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 8, before[1]))
        with suppress(OSError):
            while True:
                stack.enter_context(Path(os.devnull).open("rb"))
        with pytest.raises(MirrorUnwritable, match="open files"), opening(path):
            pass


@pytest.mark.parametrize("opening", [Journal.create_or_open, Journal.open_readonly], ids=["write", "read"])
def test_a_journal_that_may_not_be_read_is_not_taken_for_damage(
    path: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal.create_or_open(path).close()
    open_any = os.open

    def refuse(name: Any, *rest: Any, **options: Any) -> int:
        if str(name).endswith(path.name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))
        return open_any(name, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JournalUnreadable, match=r"cannot be opened \(Permission denied\)$"):
        opening(path)


def test_does_not_take_a_folder_for_a_journal(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalUnreadable, match="cannot be opened"):
        Journal.create_or_open(path)


@pytest.mark.parametrize("opening", [Journal.create_or_open, Journal.open_readonly], ids=["write", "read"])
def test_refuses_the_journal_of_a_later_version(path: Path, opening: Opening) -> None:
    Journal.create_or_open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(JournalTooNew, match=f"version {schema.VERSION + 1}"):
        opening(path)


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        (sqlite3.SQLITE_CORRUPT, JournalUnreadable),
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_READONLY, MirrorUnwritable),
        (sqlite3.SQLITE_IOERR_FSYNC, MirrorUnwritable),
        (sqlite3.SQLITE_BUSY, MirrorLocked),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, JournalError),
    ],
)
def test_lets_no_error_of_sqlite_out(path: Path, code: int, ours: type[Exception]) -> None:
    error = sqlite3.OperationalError("of SQLite")
    error.sqlite_errorcode = code
    with pytest.raises(ours) as caught, translated(path):
        raise error
    assert type(caught.value) is ours
    assert caught.value.__cause__ is error


def test_says_that_the_disk_is_full_and_keeps_what_it_has(path: Path) -> None:
    filled(path, series=1, instances=2).close()
    connection = open_to_write(path)
    with Journal(path, connection) as journal:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        run = begin(journal)
        journal.record_series(run, [(record(1), folder(1))], now=NOW)
        with pytest.raises(DiskFull, match="kept"):
            list_instances(journal, run, 1, range(5000))
        assert journal.counts(None).held == 2
    assert is_intact(path)


# --- migrating --------------------------------------------------------------------------------------------------------


def journal_of_version_1(path: Path) -> None:
    """A journal from before entries: two instances are held, one failed, one is owed."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"{schema.MIGRATIONS[0]} PRAGMA application_id = {schema.APPLICATION_ID};")
        connection.executescript("""
            CREATE VIEW v_instances AS SELECT sop_uid FROM instance;
            INSERT INTO archive (name, url) VALUES ('tcia', 'https://archive.example');
            INSERT INTO selection (archive_id, criteria, digest) VALUES (1, '{"everything": true}', 'x');
            INSERT INTO run (verb, archive_id, selection_id, settings, started_at)
              VALUES ('mirror', 1, 1, '{}', '2026-03-01T12:00:00+00:00');
            INSERT INTO series (series_uid, folder, listing, archive_id, updated_at)
              VALUES ('1.2', 'PHANTOM/1.2', 2, 1, '2026-03-01T12:00:00+00:00');
            INSERT INTO selection_series VALUES (1, 1, 0, 1);
            INSERT INTO instance (series_id, sop_uid, run_id) VALUES (1, '1.2.1', 1), (1, '1.2.2', 1), (1, '1.2.3', 1),
              (1, '1.2.4', 1);
            UPDATE instance SET state = 1, size_bytes = 7, md5 = x'00', sha256 = x'01', mtime_ns = 5
              WHERE sop_uid IN ('1.2.1', '1.2.2');
            UPDATE instance SET state = 2 WHERE sop_uid = '1.2.3';
            INSERT INTO failure VALUES (1, '1.2.3', 'timed-out', 'late', 8, 1);
            PRAGMA user_version = 1;
        """)


def test_reads_a_journal_of_version_1_without_changing_it(path: Path) -> None:
    journal_of_version_1(path)
    before = path.read_bytes()
    with Journal.open_readonly(path) as journal:
        assert (journal.counts(None).held, journal.counts(None).owed) == (2, 1)
        assert [held.entry for held in journal.held(limit=5)] == [
            listed(SopInstanceUid(uid)) for uid in ("1.2.1", "1.2.2")
        ]
        assert [failure.instance for failure in journal.failures(limit=5)] == ["1.2.3"]
        owed = [row.sop_uid for row in journal.entries(SeriesUid("1.2")) if row.state is InstanceState.OWED]
        assert owed == ["1.2.4"]
        assert journal.not_decoded(None) == 0
    assert path.read_bytes() == before


def test_continues_with_a_journal_of_version_1(path: Path) -> None:
    journal_of_version_1(path)
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        journal.owe_again(Run(run.id, run.archive_id))
        (work,), _ = journal.owed_work(None, after=None, limit=5)
        assert work.entries == (listed(SopInstanceUid("1.2.3")), listed(SopInstanceUid("1.2.4")))
        journal.record_instances(run, SeriesUid("1.2"), [Entry("k.dcm")], [None])
        outcomes = [
            outcome(1, 0)._replace(series_uid=SeriesUid("1.2"), key=key, sop_uid=SopInstanceUid(uid))
            for key, uid in (("1.2.3", "1.2.3"), ("1.2.4", "1.2.4"), ("k.dcm", "1.2.5"))
        ]
        journal.record_outcomes(run, outcomes)
        assert (journal.counts(None).held, journal.counts(None).owed, journal.counts(None).failed) == (5, 0, 0)
        assert [held.entry.key for held in journal.held(limit=5)] == ["1.2.1", "1.2.2", "1.2.3", "1.2.4", "k.dcm"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        shown = connection.execute("SELECT sop_uid, key FROM v_instances ORDER BY sop_uid").fetchall()
        assert shown[-1] == ("1.2.5", "k.dcm")
    assert is_intact(path)


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_journal_of_an_earlier_version_is_read_with_every_table_of_this_one(version: int) -> None:
    def tables(*scripts: str) -> set[str]:
        with closing(sqlite3.connect(":memory:")) as connection:
            for script in scripts:
                connection.executescript(script)
            both = "SELECT name, type FROM sqlite_master UNION SELECT name, type FROM sqlite_temp_master"
            return {name for name, kind in connection.execute(both) if kind == "table"}

    assert tables(*schema.MIGRATIONS) <= tables(*schema.MIGRATIONS[:version], schema.stand_ins(version))


_PRUNED = """
INSERT INTO series (series_uid, folder, listing, archive_id, updated_at)
VALUES ('1.9', 'PHANTOM/1.9', 2, 1, '2026-03-01T12:00:00+00:00')
"""


def test_forgets_series_of_which_nothing_is_left(path: Path) -> None:
    journal_of_version_1(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(_PRUNED)
        connection.execute(_PRUNED.replace("1.9", "1.10").replace("2, 1", "0, 1"))  # of which nothing is known yet
        connection.commit()
    with Journal.open_readonly(path) as journal:
        assert [row.series.series_uid for row in journal.all_series()] == ["1.2", "1.10"]
    with Journal.create_or_open(path) as journal:
        assert [row.series.series_uid for row in journal.all_series()] == ["1.2", "1.10"]
        assert (journal.series_count(), journal.find_series(SeriesUid("1.9"))) == (2, None)
        assert journal.counts(None).held == 2
    assert is_intact(path)


def test_undoes_a_migration_that_fails(path: Path) -> None:
    journal_of_version_1(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(_PRUNED)
        connection.commit()
        connection.execute("CREATE TABLE v_runs (x)")  # the last step replaces the view after everything else
    with pytest.raises(JournalError):
        Journal.create_or_open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION - 1,)
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sent'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'v_series'").fetchone() == (0,)
        connection.execute("DROP TABLE v_runs")
    with Journal.create_or_open(path) as journal:
        assert journal.counts(None).held == 2


# --- reading beside a writer ------------------------------------------------------------------------------------------


def test_reads_beside_a_writer(path: Path) -> None:
    with filled(path, series=1, instances=2) as writer, Journal.open_readonly(path) as reader:
        assert reader.counts(None).held == 2
        run = begin(writer)
        record_listed(writer, run, 1, range(3))
        assert reader.counts(None).owed == 3


def test_answers_a_whole_report_from_one_moment(path: Path) -> None:
    with filled(path, series=1, instances=2) as writer, Journal.open_readonly(path) as reader:
        run = begin(writer)
        with reader.snapshot():
            before = reader.counts(None)
            record_listed(writer, run, 1, range(3))
            assert reader.counts(None) == before
        assert reader.counts(None).owed == 3


def test_a_reader_cannot_write(path: Path) -> None:
    filled(path, series=1, instances=1).close()
    with Journal.open_readonly(path) as reader, pytest.raises(MirrorUnwritable):
        begin(reader)


def test_reads_where_nothing_can_be_made_beside_the_journal(path: Path) -> None:
    filled(path, series=1, instances=2).close()
    path.with_name("journal.sqlite-wal").mkdir()  # holds for root too, whom a read-only folder does not stop
    with Journal.open_readonly(path) as reader:
        assert reader.counts(None).held == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="a read-only folder does not stop root")
def test_reads_a_mirror_in_a_read_only_folder(path: Path) -> None:
    filled(path, series=1, instances=2).close()
    path.parent.chmod(0o555)
    try:
        with Journal.open_readonly(path) as reader:
            assert reader.counts(None).held == 2
        assert [entry.name for entry in path.parent.iterdir()] == ["journal.sqlite"]
    finally:
        path.parent.chmod(0o755)


# --- the power goes ---------------------------------------------------------------------------------------------------


def test_holds_only_whole_groups_wherever_its_log_is_cut(path: Path, tmp_path: Path) -> None:
    """As when the power goes: of the log, any beginning may have reached the disk."""
    size, groups = 7, 12
    seen = set()
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        for number in range(groups):
            record_listed(journal, run, number, range(size))
            journal.record_outcomes(run, [outcome(number, i) for i in range(size)])
        log = path.with_name("journal.sqlite-wal").read_bytes()
        for step in range(40):
            copy = tmp_path / f"{step}" / "journal.sqlite"
            copy.parent.mkdir()
            shutil.copy(path, copy)
            copy.with_name("journal.sqlite-wal").write_bytes(log[: len(log) * step // 40])
            Journal.create_or_open(copy).close()
            assert is_intact(copy)
            held = held_by_series(copy)
            assert set(held.values()) <= {size}
            seen.add(len(held))
    assert len(seen) > groups // 2


_CLOSED_WHILE_READ = """
import sys, threading
from pathlib import Path
from bulkdl.journal.journal import Journal

for _ in range(300):
    journal = Journal.open_readonly(Path(sys.argv[1]))
    began = threading.Event()

    def read():
        try:
            while True:
                began.set()
                journal.counts(None)
        except Exception:
            pass  # it is closed

    thread = threading.Thread(target=read)
    thread.start()
    began.wait()
    journal.close()
    thread.join()
"""


def test_is_closed_after_the_question_that_another_thread_asks(path: Path) -> None:
    """A task that is cancelled leaves its thread behind. SQLite crashes if its connection goes away meanwhile."""
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        for number in range(20):
            record_listed(journal, run, number, range(20))
    ended = subprocess.run([sys.executable, "-c", _CLOSED_WHILE_READ, str(path)], check=False, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("groups_before", [1, 2, 5, 13, 34])
def test_keeps_what_it_committed_when_its_process_is_killed(path: Path, groups_before: int) -> None:
    size = 40
    command = [sys.executable, str(ROOT / "tests/support/journal_writer.py"), str(path), str(size)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for _ in range(groups_before):
            process.stdout.readline()
        process.kill()
        said = [int(line) for line in process.stdout if line.endswith("\n")]
    with Journal.create_or_open(path) as journal:
        committed = journal.counts(None)
    assert committed.held % size == 0
    assert committed.held >= max([groups_before, *said]) * size
    assert is_intact(path)
    assert set(held_by_series(path).values()) == {size}


# --- headers of SQLite files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("application_id", [0, 0x62646361])
def test_reads_the_application_id(tmp_path: Path, application_id: int) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA application_id = {application_id}")
        database.execute("CREATE TABLE t (x)")
    database.close()
    assert read_application_id(path) == application_id


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"%PDF-1.7" * 20], ids=["empty", "truncated", "other"])
def test_anything_else_has_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert read_application_id(path) is None


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_application_id(tmp_path / "x")
