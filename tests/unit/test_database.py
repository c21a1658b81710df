# ruff: noqa: ASYNC240 - the tests look at small files of their own between their awaits
"""What a SQLite database does beyond the contract: its files, their damage, full disks, copies."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import (
    DataDirectoryError,
    DefectError,
    ServiceStartError,
    SettingsError,
    ShuttingDownError,
    StoreUnavailableError,
)
from llmbot.kernel.events import Event, EventBus, Level
from llmbot.storage.database.opening import (
    Database,
    DatabaseRebuilt,
    Migration,
    Row,
    Session,
    TableSalvage,
    open_database,
)

SCHEMA = (
    Migration(
        1,
        (
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",
            """CREATE TABLE claims (id INTEGER NOT NULL PRIMARY KEY, note TEXT)
            STRICT, WITHOUT ROWID""",
        ),
    ),
)
SNOWFLAKE = 1_290_000_000_000_000_000
ROWS = 3000


class Announced(list[Event]):
    """Facts that a database stated."""

    def rebuilt(self) -> DatabaseRebuilt:
        """The only fact, a rebuild."""
        (event,) = self
        assert isinstance(event, DatabaseRebuilt)
        return event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is kept."""
    return tmp_path / "bot.db"


@pytest.fixture
def announced() -> Announced:
    """Facts that the databases of the test stated."""
    return Announced()


def opened(path: Path, announced: Announced | None = None) -> Database:
    """A database that is not started yet."""
    return open_database(
        str(path),
        migrations=SCHEMA,
        clock=SystemClock(),
        announce=(announced if announced is not None else Announced()).append,
    )


def statement(sql: str, *params: int | str | None) -> Callable[[Session], list[Row]]:
    """A unit of one statement."""
    return lambda session: session.execute(sql, params)


def add(number: int, text: str = "text") -> Callable[[Session], list[Row]]:
    """A unit that adds a job."""
    return statement("INSERT INTO jobs VALUES (?, ?)", number, text)


COUNT = statement("SELECT count(*) FROM jobs")


async def fill(path: Path, *, long_row: int = -1) -> None:
    """A database of `ROWS` jobs and claims, ended cleanly; one text may need many pages."""
    database = opened(path)
    await database.start()

    def work(session: Session) -> None:
        texts = ((n, "x" * (40_000 if n == long_row else 50)) for n in range(ROWS))
        session.execute_many(
            "INSERT INTO jobs VALUES (?, ?)", ((SNOWFLAKE + (n << 22), text) for n, text in texts)
        )
        session.execute_many(
            "INSERT INTO claims VALUES (?, ?)", ((n, "y" * 50) for n in range(ROWS))
        )

    await database.write(work)
    await database.stop()


def end_uncleanly(path: Path) -> None:
    """Leave the mark of a life that did not end by `stop`, and no checksums of the pages."""
    path.with_name(f"{path.name}-sums").unlink()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE llmbot_meta SET value = '0' WHERE key = 'clean'")


def leaves(path: Path, marker: bytes) -> list[int]:
    """The numbers of the leaf pages that hold many of these bytes, in the order of the file."""
    content = path.read_bytes()
    pages = [content[n : n + 4096] for n in range(0, len(content), 4096)]
    return [n for n, page in enumerate(pages) if page[0] in {10, 13} and marker * 30 in page]


def smash(path: Path, page: int) -> None:
    """Overwrite a page with what is no page."""
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096)


def salvage(event: DatabaseRebuilt, table: str) -> TableSalvage:
    """What became of a table."""
    return next(salvage for salvage in event.tables if salvage.table == table)


# ── files ───────────────────────────────────────────────────────────────────────────────────────


async def test_private_file(tmp_path: Path) -> None:
    """The database, its log and its directories are made, readable by their owner alone."""
    path = tmp_path / "a" / "b" / "bot.db"
    database = open_database(f"sqlite:///{path}", migrations=SCHEMA, clock=SystemClock())
    await database.start()
    await database.write(add(1))
    files = [path, path.with_name("bot.db-wal"), path.with_name("bot.db-shm")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    assert database.facts().disk_bytes > 0
    await database.stop()
    assert {file.name for file in path.parent.iterdir()} == {"bot.db", "bot.db-sums"}


async def test_loose_file(path: Path) -> None:
    """A database file that others may read is made private."""
    path.touch(mode=0o644)
    path.chmod(0o644)
    database = opened(path)
    await database.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await database.stop()


async def test_no_directory(tmp_path: Path) -> None:
    """A place where no directory can be made is told in one sentence, with the path."""
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match=r"file/bot\.db cannot be written: Not a"):
        await opened(tmp_path / "file" / "bot.db").start()


async def test_failed_start_is_stopped(tmp_path: Path) -> None:
    """A database whose start failed refuses work and may be stopped."""
    (tmp_path / "file").touch()
    database = opened(tmp_path / "file" / "bot.db")
    with pytest.raises(DataDirectoryError):
        await database.start()
    with pytest.raises(ShuttingDownError):
        await database.write(COUNT)
    await database.stop()


async def test_removed_file(path: Path) -> None:
    """A write into a file that has lost its name is never said to be kept."""
    database = opened(path)
    await database.start()
    await database.write(add(1))
    path.rename(path.with_name("moved.db"))
    for number in (2, 3):
        with pytest.raises(StoreUnavailableError):
            await database.write(add(number))
    assert database.facts().failures == 2
    assert not path.exists()
    with pytest.raises(StoreUnavailableError):
        await database.stop()


async def test_missing_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL without its client is refused with the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("llmbot.storage.database.postgres", "llmbot.storage.database.postgres_connection"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SettingsError, match=re.escape("llmbot[postgres]")):
        open_database("postgresql://h/d", migrations=SCHEMA, clock=ManualClock())


# ── a disk that refuses ─────────────────────────────────────────────────────────────────────────


async def test_full_disk(path: Path) -> None:
    """A full disk fails the writes it stops, keeps those before, and serves again once freed."""
    database = opened(path)
    await database.start()
    await database.write(add(1))
    pages = (await database.write(statement("PRAGMA page_count")))[0][0]
    await database.write(statement(f"PRAGMA max_page_count = {pages + 2}"))
    results = await asyncio.gather(
        *(database.write(add(number, "z" * 3000)) for number in range(2, 40)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused
    assert {type(error) for error in refused} == {StoreUnavailableError}
    assert "the disk is full" in str(refused[-1])
    kept = 1 + len(results) - len(refused)
    assert await database.read(COUNT) == [(kept,)]
    assert database.facts().last_error
    await database.write(statement("PRAGMA max_page_count = 1000000"))
    assert not database.facts().last_error
    await database.write(add(100, "z" * 3000))
    assert await database.read(COUNT) == [(kept + 1,)]
    await database.stop()


async def test_failing_disk(path: Path) -> None:
    """A commit that the disk refuses fails all units it carried, and the next is tried afresh."""
    database = opened(path)
    await database.start()
    await database.write(add(1))
    await database.write(statement("CREATE TEMP TABLE of_this_connection (x)"))
    written = path.with_name("bot.db-wal").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses every write of this process beyond that place in a file (EFBIG).
    resource.setrlimit(resource.RLIMIT_FSIZE, (written + 8192, limits[1]))
    try:
        results = await asyncio.gather(
            *(database.write(add(number, "z" * 3000)) for number in range(2, 40)),
            return_exceptions=True,
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused
    assert {type(error) for error in refused} == {StoreUnavailableError}
    facts = database.facts()
    assert facts.failures >= 1
    assert facts.last_error
    await database.write(add(100))
    # After a failed fsync a descriptor may report success for what it lost: it is not used again.
    with pytest.raises(DefectError, match="no such table"):
        await database.write(statement("SELECT * FROM of_this_connection"))
    assert await database.read(COUNT) == [(2 + len(results) - len(refused),)]
    await database.stop()


async def test_one_turn_one_commit(path: Path) -> None:
    """What is written within one turn of the loop shares one commit."""
    database = opened(path)
    await database.start()
    before = database.facts().commits
    await asyncio.gather(*(database.write(add(number)) for number in range(10)))
    assert database.facts().commits == before + 1
    await database.stop()


async def test_trailing_writes(path: Path) -> None:
    """A trailing write goes with the next that is not, in order; alone it goes soon after."""
    database = opened(path)
    await database.start()
    before = database.facts().commits
    trailing = database.write(add(1), trailing=True)
    await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop in which nothing else is written
    await database.write(statement("UPDATE jobs SET text = 'later' WHERE id = 1"))
    assert trailing.done()
    assert database.facts().commits == before + 1
    await database.write(add(2), trailing=True)
    assert database.facts().commits == before + 2
    assert await database.read(COUNT) == [(2,)]
    assert await database.read(statement("SELECT text FROM jobs WHERE id = 1")) == [("later",)]
    await database.stop()


async def test_stop_keeps_trailing_writes(path: Path) -> None:
    """A stop commits the trailing writes before it."""
    database = opened(path)
    await database.start()
    trailing = database.write(add(1), trailing=True)
    await database.stop()
    assert trailing.done()
    assert trailing.exception() is None
    again = opened(path)
    await again.start()
    assert await again.read(COUNT) == [(1,)]
    await again.stop()


async def test_durable_commits(path: Path) -> None:
    """Every commit is synced: the log in full, and before the answer."""
    database = opened(path)
    await database.start()
    assert await database.write(statement("PRAGMA synchronous")) == [(2,)]
    assert await database.write(statement("PRAGMA journal_mode")) == [("wal",)]
    assert await database.write(statement("PRAGMA foreign_keys")) == [(1,)]
    await database.stop()


async def test_endless_statement(path: Path) -> None:
    """A statement past the deadline is interrupted, and what comes after it is served."""
    clock = ManualClock()
    database = open_database(str(path), migrations=SCHEMA, clock=clock)
    await database.start()

    def endless(session: Session) -> None:
        clock.advance(31.0)
        session.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        )

    with pytest.raises(StoreUnavailableError, match="took too long"):
        await database.write(endless)
    with pytest.raises(StoreUnavailableError, match="took too long"):
        await database.read(endless)
    await database.write(add(1))
    assert await database.read(COUNT) == [(1,)]
    await database.stop()


@pytest.mark.slow
async def test_locked(path: Path) -> None:
    """Another process that keeps the lock makes the database unavailable, not the bot stuck."""
    database = opened(path)
    await database.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            await database.write(add(1))
        other.execute("ROLLBACK")
    await database.write(add(1))
    await database.stop()


# ── damage ──────────────────────────────────────────────────────────────────────────────────────


async def test_sound_after_unclean_end(path: Path, announced: Announced) -> None:
    """A sound file is kept as it is after an unclean end."""
    await fill(path)
    end_uncleanly(path)
    database = opened(path, announced)
    await database.start()
    assert database.was_unclean
    assert announced == []
    assert await database.read(COUNT) == [(ROWS,)]
    await database.stop()


@pytest.mark.parametrize("place", [0, 10, -1])
@pytest.mark.parametrize(("table", "marker"), [("jobs", b"x"), ("claims", b"y")])
async def test_damaged_page(
    path: Path, announced: Announced, table: str, marker: bytes, place: int
) -> None:
    """Of a table with one unreadable page, every row on its other pages is saved."""
    await fill(path)
    end_uncleanly(path)
    hurt = leaves(path, marker)[place]
    rows_there = path.read_bytes()[hurt * 4096 : (hurt + 1) * 4096].count(marker * 50)
    smash(path, hurt)
    database = opened(path, announced)
    await database.start()
    kept = (await database.read(statement(f"SELECT count(*) FROM {table}")))[0][0]  # noqa: S608 - a name above
    assert kept == ROWS - rows_there
    event = announced.rebuilt()
    assert salvage(event, table).saved_rows == kept
    assert salvage(event, table).lost_rows != 0
    other = "claims" if table == "jobs" else "jobs"
    assert salvage(event, other) == TableSalvage(other, ROWS, 0)
    assert (path.parent / event.kept_as).stat().st_size > 0
    assert table in event.describe()
    await database.write(add(1))
    assert database.was_unclean
    await database.stop()


async def test_two_damaged_pages(path: Path, announced: Announced) -> None:
    """Rows between two damaged pages are saved too."""
    await fill(path)
    end_uncleanly(path)
    pages = leaves(path, b"x")
    for page in (pages[3], pages[5]):
        smash(path, page)
    database = opened(path, announced)
    await database.start()
    per_page = ROWS // len(pages)
    ((kept,),) = await database.read(COUNT)
    assert ROWS - 2 * per_page - 10 <= kept < ROWS - per_page
    await database.stop()


async def test_damaged_row(path: Path, announced: Announced) -> None:
    """Of a row that lies on pages of its own, the damage costs that row alone."""
    await fill(path, long_row=1500)
    end_uncleanly(path)
    content = path.read_bytes()
    pages = [content[n : n + 4096] for n in range(0, len(content), 4096)]
    own = [n for n, page in enumerate(pages) if page[4:] == b"x" * 4092]
    smash(path, own[2])
    database = opened(path, announced)
    await database.start()
    assert await database.read(COUNT) == [(ROWS - 1,)]
    assert salvage(announced.rebuilt(), "jobs").saved_rows == ROWS - 1
    await database.stop()


@pytest.mark.parametrize("content", [b"no database at all " * 1000, b"\xff" * 4096])
async def test_garbage(path: Path, announced: Announced, content: bytes) -> None:
    """A file that is no database is kept aside, told, and a new one serves."""
    path.write_bytes(content)
    database = opened(path, announced)
    await database.start()
    event = announced.rebuilt()
    assert event.tables == ()
    assert event.level is Level.ERROR
    assert "nothing could be read" in event.describe()
    assert (path.parent / event.kept_as).read_bytes() == content
    await database.write(add(1))
    await database.stop()


async def test_damage_in_use(path: Path, announced: Announced) -> None:
    """Damage met in use is told as unavailable, and repaired by the next start, stopped or not."""
    await fill(path)
    database = opened(path, announced)
    await database.start()
    smash(path, leaves(path, b"x")[10])
    with pytest.raises(StoreUnavailableError, match="damaged"):
        await database.read(statement("SELECT sum(length(text)) FROM jobs"))
    await database.stop()
    assert announced == []
    again = opened(path, announced)
    await again.start()
    assert announced.rebuilt().damage
    assert (await again.read(statement("SELECT sum(length(text)) FROM jobs")))[0][0] > 0
    await again.stop()


@pytest.mark.parametrize("moved", [False, True])
async def test_cut_repair(path: Path, announced: Announced, *, moved: bool) -> None:
    """A repair that was cut after the new file was whole is finished, not begun anew."""
    await fill(path)
    whole = path.rename(path.with_name("bot.db.rebuilt"))
    if not moved:
        path.write_bytes(b"damaged")
    path.with_name("bot.db-wal").write_bytes(b"the damaged file's log")
    path.with_name("bot.db.rebuilding").write_bytes(b"half a file of an earlier try")
    database = opened(path, announced)
    await database.start()
    assert await database.read(COUNT) == [(ROWS,)]
    kept = path.parent / announced.rebuilt().kept_as
    assert kept.exists() is not moved
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"the damaged file's log"
    assert not whole.exists()
    await database.stop()


async def test_kept_files_are_bounded(path: Path, announced: Announced) -> None:
    """Of many damaged files the newest few are kept."""
    for year in range(2010, 2020):
        path.with_name(f"bot.db.damaged-{year}0101T000000Z").touch()
    bystander = path.with_name("bot.db.damaged-notes.txt")
    bystander.touch()
    path.write_bytes(b"garbage" * 1000)
    database = opened(path, announced)
    await database.start()
    await database.stop()
    kept = sorted(file.name for file in path.parent.glob("bot.db.damaged-*Z"))
    assert len(kept) == 5
    assert announced.rebuilt().kept_as in kept
    assert bystander.exists()


async def test_damaged_newer_database(path: Path, announced: Announced) -> None:
    """A damaged file of a newer version is refused and left to that version."""
    await fill(path)
    end_uncleanly(path)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE llmbot_meta SET value = '9' WHERE key = 'schema_version'")
    smash(path, leaves(path, b"x")[10])
    before = path.read_bytes()
    with pytest.raises(ServiceStartError, match="newer llmbot"):
        await opened(path, announced).start()
    assert path.read_bytes() == before
    assert announced == []


def test_rebuild_is_an_event() -> None:
    """The event bus takes a rebuild like every other fact."""
    bus = EventBus(ManualClock())
    bus.publish(DatabaseRebuilt("torn", "bot.db.damaged", (TableSalvage("jobs", 5, None),)))
    assert bus.history[0].event.describe() == (
        "Database rebuilt after damage (torn): 5 row(s) saved, rows lost in jobs; the damaged file "
        "is kept as bot.db.damaged"
    )


@pytest.fixture
def disk_log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synced and renamed from now on, by file name, in its order."""
    log: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def logged_fsync(descriptor: int) -> None:
        log.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def logged_rename(source: Path, target: Path) -> None:
        rename(source, target)
        log.append(("rename", Path(target).name))

    def logged_replace(source: Path, target: Path) -> None:
        replace(source, target)
        log.append(("rename", Path(target).name))

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "rename", logged_rename)
    monkeypatch.setattr(os, "replace", logged_replace)
    return log


async def test_order_of_repair(path: Path, disk_log: list[tuple[str, str]]) -> None:
    """Each step of a repair is on the disk, with its name, before the next one begins."""
    path.write_bytes(b"garbage" * 1000)
    announced = Announced()
    database = opened(path, announced)
    await database.start()
    steps = disk_log[:]
    await database.stop()
    home = path.parent.name
    first = steps.index(("sync", "bot.db.rebuilding"))
    assert steps[first:] == [
        ("sync", "bot.db.rebuilding"),
        ("rename", "bot.db.rebuilt"),
        ("sync", home),
        ("rename", announced.rebuilt().kept_as),
        ("sync", home),
        ("rename", "bot.db"),
        ("sync", home),
    ]


async def test_order_of_backup(path: Path, disk_log: list[tuple[str, str]]) -> None:
    """A backup gets its name when its content is on the disk, and then the name is put there."""
    database = opened(path)
    await database.start()
    await database.backup(path.with_name("copy.db"))
    assert disk_log[-3:] == [
        ("sync", "copy.db.partial"),
        ("rename", "copy.db"),
        ("sync", path.parent.name),
    ]
    await database.stop()


async def test_order_of_creation(tmp_path: Path, disk_log: list[tuple[str, str]]) -> None:
    """A new database's name is on the disk, and those of the directories made for it."""
    database = opened(tmp_path / "a" / "b" / "bot.db")
    await database.start()
    await database.stop()
    assert {("sync", "b"), ("sync", "a"), ("sync", tmp_path.name)} <= set(disk_log)


# ── copies ──────────────────────────────────────────────────────────────────────────────────────


async def test_backup(path: Path, tmp_path: Path) -> None:
    """A backup taken under writes is one whole state, private, in one file, and opens."""
    await fill(path)
    database = opened(path)
    await database.start()
    copy = tmp_path / "backups" / "copy.db"
    backup = asyncio.ensure_future(database.backup(copy))
    number = 0
    while not backup.done():
        number += 1
        await database.write(add(number, "z" * 2000))
    assert await backup == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [file.name for file in copy.parent.iterdir()] == ["copy.db"]
    await database.backup(copy)
    await database.stop()
    restored = opened(copy)
    await restored.start()
    assert await restored.read(COUNT) == [(ROWS + number,)]
    await restored.stop()


async def test_failed_backup(path: Path, tmp_path: Path) -> None:
    """A backup that cannot be written says so, leaves nothing behind, and disturbs no write."""
    database = opened(path)
    await database.start()
    (tmp_path / "taken.db").mkdir()
    with pytest.raises(StoreUnavailableError):
        await database.backup(tmp_path / "taken.db")
    assert not (tmp_path / "taken.db.partial").exists()
    await database.write(add(1))
    await database.stop()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
async def test_cut_file(path: Path, announced: Announced, share: float) -> None:
    """Of a file that was cut anywhere, rows come back as they were or not at all; it is told."""
    await fill(path)
    end_uncleanly(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    database = opened(path, announced)
    await database.start()
    rows = await database.read(statement("SELECT id, text FROM jobs"))
    await database.stop()
    whole = {(SNOWFLAKE + (n << 22), "x" * 50) for n in range(ROWS)}
    assert set(rows) <= whole
    assert announced.rebuilt().kept_as
