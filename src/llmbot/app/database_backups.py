"""Copies of the database, taken once a day and when an operator asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.app.parts import Documents, House
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import Noted
from llmbot.storage.database.backups import DatabaseBackups
from llmbot.storage.database.opening import Database
from llmbot.storage.documents.kinds import BACKUPS
from llmbot.storage.documents.store import DocumentStore

_FIRST_AFTER_S = 600.0
_EVERY_S = 86_400.0


def build_backups(house: House, store: DocumentStore) -> DatabaseBackups | None:
    """The copies of an SQLite file; None where the database has backups of its own."""
    storage = house.settings.storage
    if storage.sqlite_file is None or not store.on_real_disk:
        return None
    return DatabaseBackups(storage.data_dir / BACKUPS, house.clock)


@dataclass(slots=True)
class BackupService:
    """Takes a copy every day, while there is room on the disk."""

    documents: Documents
    database: Database
    house: House
    supervisor: Callable[[], Supervisor]
    name: str = "database-backups"
    needs: tuple[str, ...] = ("database", "documents")

    async def start(self) -> None:
        """Begin the rounds."""
        if self.documents.backups is not None:
            run = partial(self._run, self.documents.backups)
            self.supervisor().watch("database-backups", run, owner=self.name)

    async def stop(self) -> None:
        """The supervisor ends the task."""

    def trouble(self) -> str:
        """None of its own."""
        return ""

    async def _run(self, backups: DatabaseBackups) -> None:
        clock = self.house.clock
        await clock.sleep(_FIRST_AFTER_S)
        while True:
            if self.documents.store.facts().room == "ample":
                try:
                    copy = await backups.take(self.database)
                    said = f"{copy.path.name}, {copy.bytes} bytes"
                except LlmbotError as error:
                    said = f"not taken: {error.code}"
                self.house.bus.publish(Noted("Backup of the database", said))
            await clock.sleep(_EVERY_S)
