"""A copy of a live SQLite database: one state, in slices, verified, and durable under its name."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.storage.database.sqlite_connection import classify
from llmbot.storage.files import create_private, replace_durably

PAGES_A_SLICE = 256
"""One mebibyte: other threads run between two slices."""

BACKUP_DEADLINE_S = 600.0


def back_up(source: Path, target: Path, clock: Clock) -> int:
    """Copy the state of this moment into a new file; its size in bytes.

    The copy is written under another name and gets its own when it is complete and verified, so a
    file called `target` is a whole one. An earlier file of that name is replaced.

    Raises:
        StoreUnavailableError: it could not be read, written or verified in time.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        create_private(partial)
        _copy(source, partial, clock)
        size = partial.stat().st_size
        replace_durably(partial, target)
    except (sqlite3.Error, OSError) as error:
        raise classify(error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return size


def _copy(source: Path, partial: Path, clock: Clock) -> None:
    deadline = clock.monotonic() + BACKUP_DEADLINE_S

    def look(_status: int, _remaining: int, _total: int) -> None:
        if clock.monotonic() > deadline:
            raise StoreUnavailableError("The backup took too long and was given up.")

    origin = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(origin), contextlib.closing(sqlite3.connect(partial)) as copy:
        # A read transaction holds one state; without it every commit would start the copy anew.
        origin.execute("BEGIN")
        origin.execute("SELECT count(*) FROM sqlite_master").fetchone()
        origin.backup(copy, pages=PAGES_A_SLICE, progress=look)
        # The copy inherited the write-ahead mode; a backup is one file, with nothing beside it.
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()
        verdict = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreUnavailableError("The backup is damaged; the database itself may be.")
