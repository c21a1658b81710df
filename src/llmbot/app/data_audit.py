"""What became of stored data, recorded in the audit beside what people did.

Damage, repairs, losses, edits by hand and migrations are told as events; each becomes one record,
so that whoever reads the audit sees why a file is not what it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import Event, EventBus, Noted, Published
from llmbot.operations.audit.trail import AuditTrail, Ended
from llmbot.storage.database.contract import DatabaseMended, DatabasePagesWrong, DatabaseRebuilt
from llmbot.storage.documents.facts import (
    DataEdited,
    DataInvalid,
    DataLost,
    DataMigrated,
    DataRecovered,
)

__all__ = ["DataAudit"]

WAITING_MAX = 1000
"""Records that wait for the disk; a whole data directory that rots is told by its first ones."""


@dataclass(frozen=True, slots=True)
class _Record:
    action: str
    target: str
    ended: Ended


def _record_of(event: Event) -> _Record | None:
    """What the audit says of an event; None for one that is none of its business."""
    said = event.describe()
    match event:
        case DataInvalid():
            aside = {"quarantined": event.quarantined}
            ended = Ended("failed", "data_invalid", said, after=aside)
            return _Record("datastore/validate", event.file, ended)
        case DataRecovered():
            after = {"source": event.source, "from": event.file, "missing": len(event.missing)}
            return _Record("datastore/recover", event.name, Ended("done", "", said, after=after))
        case DataLost():
            return _Record("datastore/recover", event.name, Ended("failed", "data_lost", said))
        case DataEdited():
            return _Record("datastore/accept", event.name, Ended("done", "", said))
        case DataMigrated():
            return _Record("datastore/migrate", event.name, Ended("done", "", said))
        case DatabaseMended() | DatabasePagesWrong():
            return _Record("database/mend", "", Ended("done", "", said))
        case DatabaseRebuilt():
            return _Record("database/rebuild", event.kept_as, Ended("done", "", said))
        case _:
            return None


@dataclass(slots=True)
class DataAudit:
    """A service that hears the bus from the start and writes as soon as it runs."""

    audit: AuditTrail
    bus: EventBus
    supervisor: Callable[[], Supervisor]
    name: str = "data-audit"
    needs: tuple[str, ...] = ()
    _waiting: deque[_Record] = field(default_factory=deque, init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        """Hear everything."""
        self.bus.subscribe(self._hear)

    async def start(self) -> None:
        """Begin to write."""
        self.supervisor().watch("data-audit", self._run, owner=self.name)

    async def stop(self) -> None:
        """Write what is left."""
        await self._write()

    def trouble(self) -> str:
        """None of its own: the audit tells what it cannot write."""
        return ""

    def _hear(self, published: Published) -> None:
        record = _record_of(published.event)
        if record is not None and len(self._waiting) < WAITING_MAX:
            self._waiting.append(record)
            self._news.set()

    async def _run(self) -> None:
        while True:
            self._news.clear()
            await self._write()
            await self._news.wait()

    async def _write(self) -> None:
        async with self._writing:  # one after the other, also while the service is being stopped
            while self._waiting:
                await self._record(self._waiting.popleft())

    async def _record(self, record: _Record) -> None:
        try:
            act = await self.audit.begin("llmbot", "automation", record.action, record.target)
            await self.audit.end(act, record.ended)
        except LlmbotError as error:
            words = f"{record.action} {record.target} not recorded: {error.code}"
            self.bus.publish(Noted("audit", words))
