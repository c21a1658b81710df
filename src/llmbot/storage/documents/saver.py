"""Saving what was put: together with what else waits, again where the disk refuses, never lost.

One task of the store. What the disk refuses stays dirty in memory, is tried again after growing
pauses, and raises a condition that ends with the first save that succeeds. Room on the disk is
watched: below one mark nothing optional is kept, below the other what may wait is not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, StoreUnavailableError, TransientError
from llmbot.kernel.events import Event
from llmbot.storage.documents.facts import StoreCondition
from llmbot.storage.documents.kinds import Ref
from llmbot.storage.documents.memory import Entry, HeldDocuments, Waiter
from llmbot.storage.documents.recovery import DocumentShelf
from llmbot.storage.documents.thread import DiskWorker
from llmbot.storage.documents.writer import Saved, Saving

Announce = Callable[[Event], object]

MIB = 1024 * 1024
ROOM_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Limits of the store."""

    held_bytes_max: int = 4 * MIB
    unsaved_max: int = 5000
    """Documents whose newest version the disk has not taken; beyond them new ones are refused."""
    batch_max: int = 64
    retry_first_s: float = 0.5
    retry_max_s: float = 10.0
    low_bytes: int = 256 * MIB
    """Below so much room no further generations are kept."""
    critical_bytes: int = 32 * MIB
    """Below so much room what may wait is not written."""
    stop_s: float = 10.0
    """Patience with the disk at a stop."""


@dataclass(frozen=True, slots=True)
class _Going:
    """A version of a document on its way to the disk."""

    entry: Entry
    version: int
    value: Any


class DocumentSaver:
    """Brings dirty documents to the disk."""

    def __init__(
        self,
        held: HeldDocuments,
        shelf: DocumentShelf,
        thread: DiskWorker,
        clock: Clock,
        announce: Announce,
        settings: StoreSettings,
        told: Callable[[Ref[Any], Any], None],
    ) -> None:
        """Save on `thread`; `told` hears of a value that had to be taken back."""
        self._held = held
        self._shelf = shelf
        self._thread = thread
        self._clock = clock
        self._announce = announce
        self._settings = settings
        self._told = told
        self._news = asyncio.Event()
        self._pause_s = 0.0
        self.saves = self.batches = self.failures = self.last_save_ms = 0
        self.condition = self.last_error = ""
        self.free_bytes = 0
        self.room = "ample"

    # ── in ──────────────────────────────────────────────────────────────────────────────────────

    def take(
        self,
        entry: Entry,
        value: Any,
        waiter: asyncio.Future[None],
        *,
        within_s: float,
        optional: bool,
        patient: bool,
    ) -> None:
        """Give a held document a value that is to be saved."""
        now = self._clock.monotonic()
        entry.value = value
        entry.version += 1
        entry.optional = optional and (entry.optional or not entry.dirty)
        entry.due = min(entry.due, now + within_s) if entry.dirty else now + within_s
        entry.dirty_since = entry.dirty_since or now
        entry.waiters.append(Waiter(entry.version, waiter, patient))
        self._held.dirty[entry.ref.name] = entry
        self._news.set()

    def hasten(self, entry: Entry, waiter: asyncio.Future[None]) -> None:
        """Save a dirty document now; whoever waits hears of it."""
        entry.due, entry.optional = 0.0, False
        entry.waiters.append(Waiter(entry.version, waiter))
        self._news.set()

    # ── out ─────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Save for ever."""
        looked_at = self._clock.monotonic()
        while True:
            self._news.clear()
            batch = self._due()
            if batch:
                await self.save(batch)
            else:
                await self._wait()
            if self._clock.monotonic() - looked_at >= ROOM_EVERY_S:
                await self.look_at_room()
                looked_at = self._clock.monotonic()

    async def save_all(self) -> None:
        """Save whatever is dirty, once each; what the disk refuses stays dirty."""
        batch_max = self._settings.batch_max
        waiting = list(self._held.dirty.values())
        for start in range(0, len(waiting), batch_max):
            await self.save(waiting[start : start + batch_max])

    async def save(self, batch: Sequence[Entry]) -> None:
        """Save some documents as they are now, and tell who waits for them."""
        going = [_Going(entry, entry.version, entry.value) for entry in batch]
        started = self._clock.monotonic()
        savings = [Saving(one.entry.ref, one.value) for one in going]
        try:
            outcomes = await self._thread.do(lambda: self._shelf.writer.save(savings))
        except TransientError as error:
            outcomes = [Saved(None, 0, error)] * len(going)
        refusals = [
            saved.error for saved in outcomes if isinstance(saved.error, StoreUnavailableError)
        ]
        self._pause(refusals)
        for one, saved in zip(going, outcomes, strict=True):
            self._settle(one, saved)
        self.batches += 1
        self.last_save_ms = round((self._clock.monotonic() - started) * 1000)
        self.tell_events()

    def tell_events(self) -> None:
        """Publish what happened on the disk."""
        events = self._shelf.writer.events
        while events:
            self._announce(events.pop(0))

    async def look_at_room(self) -> None:
        """See how much room the disk has."""
        root = self._shelf.reader.root
        try:
            space = await self._thread.do(lambda: self._shelf.reader.files.space(root))
        except LlmbotError as error:
            self.last_error = str(error)
            return
        self.free_bytes = space.free
        given = self._settings
        # A small disk is not "low" from the first day on: the marks are a share of it at most.
        low = min(given.low_bytes, space.total // 4)
        critical = min(given.critical_bytes, space.total // 16)
        room = "ample"
        if space.free < critical:
            room = "critical"
        elif space.free < low:
            room = "low"
        if room != self.room:
            self.room = room
            self._shelf.writer.thrifty = room != "ample"
            state = "well" if room == "ample" else room
            detail = f"{space.free // MIB} MiB are free"
            self._announce(StoreCondition(state, detail, len(self._held.dirty)))
            self._news.set()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _due(self) -> list[Entry]:
        now = self._clock.monotonic()
        found = []
        for entry in self._held.dirty.values():
            if entry.due <= now and not self._must_wait(entry):
                found.append(entry)
                if len(found) == self._settings.batch_max:
                    break
        return found

    def _must_wait(self, entry: Entry) -> bool:
        return entry.optional and self.room == "critical"

    async def _wait(self) -> None:
        now = self._clock.monotonic()
        dues = [e.due for e in self._held.dirty.values() if not self._must_wait(e)]
        pause_s = min([max(0.0, due - now) for due in dues], default=ROOM_EVERY_S)
        timer = asyncio.create_task(
            self._clock.sleep(min(pause_s, ROOM_EVERY_S)), name="saver-pause"
        )
        news = asyncio.create_task(self._news.wait(), name="saver-news")
        try:
            await asyncio.wait((timer, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            news.cancel()
            await asyncio.gather(timer, news, return_exceptions=True)

    def _pause(self, refusals: Sequence[LlmbotError]) -> None:
        """Begin, lengthen or end the condition."""
        unsaved = len(self._held.dirty)
        if refusals:
            self.failures += 1
            self.last_error = str(refusals[0])
            given = self._settings
            self._pause_s = min(max(self._pause_s * 2, given.retry_first_s), given.retry_max_s)
            if not self.condition:
                self._announce(StoreCondition("failing", self.last_error, unsaved))
            self.condition = self.last_error
        elif self.condition:
            self.condition, self._pause_s = "", 0.0
            self._announce(StoreCondition("well", "it can be written again", 0))
            for entry in self._held.dirty.values():
                entry.due = 0.0

    def _settle(self, one: _Going, saved: Saved) -> None:
        entry = one.entry
        if entry.gone:
            return  # it was removed meanwhile
        refused = isinstance(saved.error, TransientError)
        told = [
            w for w in entry.waiters if w.version <= one.version and not (refused and w.patient)
        ]
        entry.waiters = [w for w in entry.waiters if w not in told]
        if saved.error is None:
            self.saves += 1
            entry.durable = one.value
            entry.saved_at_s = saved.stamp.saved_at_s if saved.stamp is not None else 0.0
            self._held.resized(entry, saved.bytes)
            if entry.version == one.version:
                self._clean(entry)
        elif refused:
            entry.due = self._clock.monotonic() + self._pause_s
        elif entry.version == one.version:
            # It can never be saved: what is durable is the truth.
            entry.value = entry.durable
            self._clean(entry)
            self._told(entry.ref, entry.value)
        settle(told, saved.error)

    def _clean(self, entry: Entry) -> None:
        entry.dirty_since = entry.due = 0.0
        self._held.dirty.pop(entry.ref.name, None)


def settle(waiters: Sequence[Waiter], error: LlmbotError | None) -> None:
    """Tell who waited; each gets an error of its own, since every raise adds to its traceback."""
    for waiter in waiters:
        future = waiter.future
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(type(error)(str(error)))
