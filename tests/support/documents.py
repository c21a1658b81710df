"""Documents for tests: two kinds, a shelf on any disk, and what was told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import Event
from llmbot.storage.documents.kinds import Kind, Kinds, Ref, model_kind
from llmbot.storage.documents.reader import DocumentReader
from llmbot.storage.documents.recovery import DocumentShelf
from llmbot.storage.documents.writer import unavailable
from llmbot.storage.filesystem import FileSystem

T = TypeVar("T")


class Note(BaseModel):
    """A document with something of everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    count: int = Field(default=0, ge=0, le=1000)
    tags: tuple[str, ...] = ()
    parts: dict[str, int] = Field(default_factory=dict)


NOTE: Kind[Note] = model_kind("note", Note, folder="notes", generation_every_s=10.0)
PLAIN: Kind[Note] = model_kind("plain", Note, key="plain")
KINDS = Kinds([NOTE, PLAIN])
ONE: Ref[Note] = NOTE.ref(1)


def note(count: int) -> Note:
    """A value that differs from that of every other number."""
    return Note(
        text=f"Nummer {count}: schön",
        count=count,
        tags=("a", f"b{count}"),
        parts={"x": count, "y": 2},
    )


def shelf(files: FileSystem, clock: ManualClock | None = None, root: str = "/") -> DocumentShelf:
    """A shelf on a disk, as a life of the process begins with it."""
    return DocumentShelf(DocumentReader(Path(root), KINDS, files), clock or ManualClock())


class InlineWorker:
    """Does disk work at once on the event loop: for disks that are no disks (`DiskWorker`)."""

    def __init__(self, name: str) -> None:
        """Names matter to threads only."""
        del name

    def start(self) -> None:
        """See `DiskWorker.start`."""

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """See `DiskWorker.do`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(work())
        except OSError as error:
            future.set_exception(unavailable(error))
        except LlmbotError as error:
            future.set_exception(error)
        return future

    async def stop(self) -> None:
        """See `DiskWorker.stop`."""


@dataclass(slots=True)
class Heard:
    """What a store has told."""

    events: list[Event] = field(default_factory=list)
    then: Callable[[Event], None] = lambda _: None

    def __call__(self, event: Event) -> None:
        """Hear one."""
        self.events.append(event)
        self.then(event)

    def of(self, kind: type[Any]) -> list[Any]:
        """Those of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def lines(self) -> str:
        """All of them as the log has them."""
        return "\n".join(event.describe() for event in self.events)
