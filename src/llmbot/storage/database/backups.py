"""Copies of the SQLite database under the backups: taken while it is in use, few, and brought back.

To bring one back, with the bot down, goes the way of a repair (`sqlite_repair.py`): the copy is
made whole beside the database and then takes its name, while the present file is kept; a power cut
between two steps is finished by the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.storage.database.contract import Database, DatabaseRebuilt
from llmbot.storage.database.sqlite_connection import classify
from llmbot.storage.database.sqlite_repair import resume
from llmbot.storage.documents.recovery import NoGenerationError
from llmbot.storage.files import create_private, replace_durably

__all__ = ["DATABASE", "DatabaseBackups", "DatabaseCopy", "bring_back"]

DATABASE = "llmbot.db"
"""What the copies are called after; `documents/sweep.py` finds a forgotten user's copies by it."""

Statement = tuple[str, tuple[str | int | float, ...]]

KEPT_MAX = 7
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(re.escape(DATABASE) + r"\.bak-(\d{8}T\d{6}Z)")


@dataclass(frozen=True, slots=True)
class DatabaseCopy:
    """One copy."""

    path: Path
    saved_at_s: float
    """Seconds since the Unix epoch."""
    bytes: int


class DatabaseBackups:
    """The copies in one folder."""

    def __init__(self, folder: Path, clock: Clock, *, kept_max: int = KEPT_MAX) -> None:
        """Keep the `kept_max` newest in `folder`, which is made where it is missing."""
        self._folder = folder
        self._clock = clock
        self._kept_max = kept_max

    async def take(self, database: Database) -> DatabaseCopy:
        """Copy a database that is in use, then remove the copies that are too many.

        Raises:
            StoreUnavailableError: the disk refused, or the copy is not sound.
        """
        now = self._clock.wall()
        path = self._folder / f"{DATABASE}.bak-{datetime.fromtimestamp(now, UTC):{_STAMP}}"
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True, mode=0o700)
            size = await database.backup(path)
            await asyncio.to_thread(self._prune)
        except OSError as error:
            raise StoreUnavailableError(f"The disk refused: {error.strerror}.") from error
        return DatabaseCopy(path, now, size)

    def copies(self) -> list[DatabaseCopy]:
        """All copies, newest first. Blocks.

        Raises:
            OSError: the disk refused.
        """
        found: list[DatabaseCopy] = []
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                name = _NAME.fullmatch(path.name)
                if name is not None:
                    at = datetime.strptime(name[1], _STAMP).replace(tzinfo=UTC)
                    found.append(DatabaseCopy(path, at.timestamp(), path.stat().st_size))
        return sorted(found, key=lambda copy: copy.saved_at_s, reverse=True)

    def _prune(self) -> None:
        for copy in self.copies()[self._kept_max :]:
            copy.path.unlink(missing_ok=True)


def bring_back(
    path: Path, backups: DatabaseBackups, at_s: float, then: Sequence[Statement], clock: Clock
) -> tuple[DatabaseCopy, DatabaseRebuilt | None]:
    """Put the copy in place of the database that was the newest at a time. Blocks; the bot is down.

    `then` is what its next life must find changed. What became of the present file is told too.

    Raises:
        NoGenerationError: no copy is that old.
        StoreUnavailableError: the copy is damaged, or the disk refused.
    """
    old_enough = [copy for copy in backups.copies() if copy.saved_at_s <= at_s]
    if not old_enough:
        raise NoGenerationError("No copy of the database is that old.")
    chosen = old_enough[0]
    building, rebuilt = (path.with_name(f"{path.name}.{end}") for end in ("rebuilding", "rebuilt"))
    try:
        building.unlink(missing_ok=True)
        create_private(building)
        _copy(chosen.path, building, then)
        replace_durably(building, rebuilt)
        return chosen, resume(path, clock)
    except (OSError, sqlite3.Error) as error:
        raise classify(error) from error
    finally:
        with contextlib.suppress(OSError):
            building.unlink(missing_ok=True)


def _copy(source: Path, target: Path, then: Sequence[Statement]) -> None:
    origin = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(origin), contextlib.closing(sqlite3.connect(target)) as copy:
        origin.backup(copy)
        if copy.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise StoreUnavailableError(f"The copy {source.name} is damaged.")
        with copy:
            copy.execute("UPDATE llmbot_meta SET value = '0' WHERE key = 'clean'")
            for sql, params in then:
                copy.execute(sql, params)
