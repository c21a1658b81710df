"""A damaged SQLite file: found, read as far as it can be read, and built anew.

Corruption is not absence: the damaged file is kept, and what could not be read is told. The order
of the steps is that of a redo log, so that a power cut between any two of them loses nothing:

1. the new file is built as `.rebuilding`, made durable, and renamed to `.rebuilt`;
2. the damaged file and its log are renamed to `.damaged-TIME`;
3. `.rebuilt` gets the database's name.

A start that finds `.rebuilt` goes on with step 2.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DefectError
from llmbot.storage.database.contract import DatabaseRebuilt, Migration, TableSalvage
from llmbot.storage.database.migrations import migrate
from llmbot.storage.database.sqlite_connection import (
    DAMAGE,
    SqliteConnection,
    classify,
    open_read_only,
    primary_code,
)
from llmbot.storage.database.sqlite_page_sums import Looked
from llmbot.storage.database.sqlite_salvage import Salvager
from llmbot.storage.files import create_private, replace_durably, sync_directory

DAMAGE_WORDS_MAX = 200
KEPT_MAX = 5
"""Damaged files kept; a disk that rots daily must not be filled by them."""

ROWS_A_TRANSACTION = 5000


def inspect(path: Path, looked: Looked) -> str:
    """What is wrong with the file, in SQLite's words; empty where nothing was found.

    After a clean end the checksums of its pages are proof enough. Where there are none, or pages
    are not what was written, its indexes are held against its tables too.

    Raises:
        StoreUnavailableError: the file could not be read at all; that is no proof of damage.
    """
    try:
        if _torn_bytes(path):
            return "the file ends in the middle of a page"
        with contextlib.closing(open_read_only(path)) as raw:
            if _meta(raw, "clean") in {"", "1"} and not looked.strange:
                return ""
            check = "quick_check" if looked.known and not looked.strange else "integrity_check"
            verdict = str(raw.execute(f"PRAGMA {check}(1)").fetchone()[0])
            return "" if verdict == "ok" else _short(verdict)
    except UnicodeDecodeError:
        return "the schema is no text"  # SQLite's own words repeat it
    except sqlite3.Error as error:
        if primary_code(error) in DAMAGE:
            return _short(str(error))
        raise classify(error) from error


def rebuild(
    path: Path, damage: str, migrations: Sequence[Migration], clock: Clock
) -> DatabaseRebuilt | None:
    """Build the database anew from what can be read; None for one of a newer llmbot, left alone.

    Raises:
        OSError: the disk refused; the damaged file is where it was.
        LlmbotError: the new file could not be written.
    """
    building = path.with_name(f"{path.name}.rebuilding")
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{building}{suffix}").unlink(missing_ok=True)
    _put_torn_page_aside(path)
    with contextlib.closing(open_read_only(path)) as raw:
        wanted = _wanted(raw, migrations)
        if wanted is None:
            return None
        create_private(building)
        target = SqliteConnection(building, clock)
        try:
            migrate(target, wanted)
            # A row may come before the row that it refers to.
            target.execute("PRAGMA foreign_keys = OFF")
            tables = tuple(_copy(raw, target, table) for table in _tables(target))
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # One file, so that one rename moves all of it.
            target.execute("PRAGMA journal_mode = DELETE")
        finally:
            target.close()
    rebuilt = path.with_name(f"{path.name}.rebuilt")
    replace_durably(building, rebuilt)
    kept = _switch(path, rebuilt)
    if sum(table.saved_rows for table in tables) == 0:
        tables = ()
    return DatabaseRebuilt(damage=damage, kept_as=kept, tables=tables)


def _torn_bytes(path: Path) -> int:
    """Bytes of a last page that is not there to its end; SQLite would read zeros for the rest.

    A log beside it has such a page whole. Source: https://sqlite.org/fileformat2.html, 1.3.2.
    """
    try:
        if Path(f"{path}-wal").stat().st_size:
            return 0
    except FileNotFoundError:
        pass
    with path.open("rb") as file:
        head = file.read(18)
        size = file.seek(0, 2)
    if len(head) < 18 or not head.startswith(b"SQLite format 3\0"):  # noqa: PLR2004 - of the header
        return 0
    page = int.from_bytes(head[16:18], "big")
    return size % (65_536 if page == 1 else page or 4096)


def _put_torn_page_aside(path: Path) -> None:
    """Cut a torn page off, so that no row is read whose end would be zeros; its bytes are kept."""
    torn = _torn_bytes(path)
    if not torn:
        return
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - torn)
        tail = path.with_name(f"{path.name}.damaged-tail")
        create_private(tail)
        tail.write_bytes(file.read(torn))
        file.truncate(size - torn)
        os.fsync(file.fileno())


def resume(path: Path, clock: Clock) -> DatabaseRebuilt | None:
    """Finish a rebuild that was cut after its first step; None where there was none.

    Raises:
        OSError: the disk refused; nothing is lost.
    """
    rebuilt = path.with_name(f"{path.name}.rebuilt")
    if not rebuilt.exists():
        return None
    connection = SqliteConnection(rebuilt, clock)
    try:
        tables = tuple(
            TableSalvage(table.strip('"'), _count(connection, table), None)
            for table in _tables(connection)
        )
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()
    return DatabaseRebuilt(
        damage="its repair had been cut short", kept_as=_switch(path, rebuilt), tables=tables
    )


def _switch(path: Path, rebuilt: Path) -> str:
    """Steps 2 and 3; the name under which the damaged file is kept."""
    # The time of the rebuilt file, not of now: a switch that was cut goes on with the same name.
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(rebuilt.stat().st_mtime))
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
    for suffix in ("-shm", "-sums"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    sync_directory(path.parent)
    rebuilt.rename(path)
    sync_directory(path.parent)
    prefix = f"{path.name}.damaged-"
    stamps = sorted(
        file.name
        for file in path.parent.iterdir()
        if file.name.startswith(prefix) and file.name.endswith("Z")
    )
    for name in stamps[:-KEPT_MAX]:
        for suffix in ("", "-wal"):
            path.with_name(f"{name}{suffix}").unlink(missing_ok=True)
    return kept.name


def _wanted(
    raw: sqlite3.Connection, migrations: Sequence[Migration]
) -> tuple[Migration, ...] | None:
    """The migrations that the damaged file had seen; all of them where it does not tell."""
    try:
        version = int(_meta(raw, "schema_version") or 0)
    except (sqlite3.Error, ValueError):
        version = 0
    newest = migrations[-1].version if migrations else 0
    if version > newest:
        return None
    return tuple(m for m in migrations if not version or m.version <= version)


def _meta(raw: sqlite3.Connection, key: str) -> str:
    if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'llmbot_meta'").fetchall():
        return ""
    rows = raw.execute("SELECT value FROM llmbot_meta WHERE key = ?", (key,)).fetchall()
    return str(rows[0][0]) if rows else ""


def _tables(target: SqliteConnection) -> list[str]:
    """All tables of the schema, quoted; not our own notes, which the new file has already."""
    rows = target.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'llmbot_meta' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    )
    return ['"' + row[0].replace('"', '""') + '"' for row in rows]


def _copy(raw: sqlite3.Connection, target: SqliteConnection, table: str) -> TableSalvage:
    salvager = Salvager(raw, target, table)
    insert = salvager.insert
    saved = refused = 0
    target.begin()
    for row in salvager.rows():
        try:
            target.execute(insert, row)
            saved += 1
        except DefectError:
            # Its bytes could be read, but they break a rule of the table: damaged as well.
            refused += 1
        if (saved + refused) % ROWS_A_TRANSACTION == 0:
            target.commit()
            target.begin()
    target.commit()
    kept = _count(target, table)
    lost: int | None = 0
    if salvager.gaps or refused:
        expected = salvager.expected()
        lost = None if expected is None else max(0, expected - kept)
    return TableSalvage(table.strip('"'), kept, lost)


def _count(target: SqliteConnection, table: str) -> int:
    return int(target.execute(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - a name of our schema


def _short(words: str) -> str:
    return " ".join(words.split())[:DAMAGE_WORDS_MAX]
