"""The document store of a running bot: values in memory, durable in their files when told so.

`put` is seen by the next `get` at once and resolves when the disk has it. Saves that wait at the
same moment are written together, of several versions of one document only the newest, and all who
waited for any of them are told. What the disk refuses is kept and tried again until it takes it.
Nothing here blocks the event loop; `admin.py` has what operators ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    FencedError,
    LockTimeoutError,
    ShuttingDownError,
    StoreUnavailableError,
)
from llmbot.storage.atomic import clear_aside
from llmbot.storage.documents.facts import DataUnsaved, StoreFacts
from llmbot.storage.documents.kinds import BACKUPS, Kind, Kinds, Ref
from llmbot.storage.documents.memory import Entry, HeldDocuments
from llmbot.storage.documents.reader import DocumentReader
from llmbot.storage.documents.recovery import DocumentShelf, Loaded
from llmbot.storage.documents.saver import Announce, DocumentSaver, StoreSettings, settle
from llmbot.storage.documents.thread import DiskThread, DiskWorker
from llmbot.storage.filesystem import FileSystem, RealFileSystem

__all__ = ["DocumentStore", "StoreSettings"]

T = TypeVar("T")


class Locks(Protocol):
    """Named locks, as far as the store needs them."""

    def hold(self, name: str, *, reason: str) -> AbstractAsyncContextManager[object]:
        """Let the body of an `async with` run alone under this name."""
        ...


Changed = Callable[[Ref[Any], Any], None]


class DocumentStore:
    """The documents below one root."""

    def __init__(
        self,
        root: Path,
        kinds: Kinds,
        clock: Clock,
        announce: Announce,
        *,
        files: FileSystem | None = None,
        settings: StoreSettings | None = None,
        worker: Callable[[str], DiskWorker] = DiskThread,
        locks: Locks | None = None,
    ) -> None:
        """Keep documents below `root`, which must exist; opened by `start`.

        `files` is the disk, the machine's where none is given; `worker` makes, by its name, what
        does the work on it. Who changes a document holds its lock among `locks`, where others see
        it and may take it away.
        """
        self._locks = locks
        self._clock = clock
        self._announce = announce
        self._settings = settings or StoreSettings()
        self.reader = DocumentReader(root, kinds, files or RealFileSystem())
        self.shelf = DocumentShelf(self.reader, clock)
        self._readings = worker("llmbot-documents-reader")
        self._writings = worker("llmbot-documents-writer")
        self._held = HeldDocuments(self._settings.held_bytes_max)
        self._saver = DocumentSaver(
            self._held,
            self.shelf,
            self._writings,
            clock,
            announce,
            self._settings,
            self._tell,
        )
        self._loading: dict[str, asyncio.Task[Entry]] = {}
        self._listeners: dict[str, list[Changed]] = {}
        self._saving: asyncio.Task[None] | None = None
        self._open = False
        self.on_real_disk = files is None
        """Whether the files can be watched for edits by hand."""

    # ── its life ────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Begin to serve; clears away what an earlier life was writing when it ended.

        Raises:
            StoreUnavailableError: the root cannot be read.
        """
        if self._open:
            return
        self._readings.start()
        self._writings.start()
        self._open = True
        await self._writings.do(self._clear_aside)
        await self._saver.look_at_room()
        self._saving = asyncio.create_task(self._saver.run(), name="document-saver")

    async def stop(self) -> None:
        """Save what is not saved, within a deadline, and end; says what could not be."""
        if not self._open:
            return
        self._open = False
        saving, self._saving = self._saving, None
        try:
            async with asyncio.timeout(self._settings.stop_s):
                if saving is not None:
                    saving.cancel()
                    await asyncio.wait((saving,))
                await self._saver.save_all()
                await self._readings.stop()
                await self._writings.stop()
        except TimeoutError:
            # The threads are daemons: a disk that hangs keeps nobody from ending.
            pass
        for entry in list(self._held.dirty.values()):
            self._announce(DataUnsaved(entry.ref.name))
            self._held.drop(entry.ref.name)
            error = ShuttingDownError("The document store was stopped.")
            settle(entry.waiters, error)
        self._held.drop_clean()

    # ── values ──────────────────────────────────────────────────────────────────────────────────

    async def get(self, ref: Ref[T]) -> T | None:
        """A document's value, newest as put; None where there is none. Do not change it.

        A damaged one is mended on the way; see `recovery.py`.

        Raises:
            StoreUnavailableError: it is there, or may be, and cannot be read now.
            NewerDocumentError: a newer llmbot wrote it.
            ShuttingDownError: the store is not open.
        """
        entry = self._held.find(ref.name)
        if entry is None:
            entry = await self._load(ref)
        value: T | None = entry.value
        return value

    def peek(self, ref: Ref[T]) -> T | None:
        """The value if it is held in memory."""
        entry = self._held.find(ref.name)
        value: T | None = None if entry is None else entry.value
        return value

    def is_held(self, ref: Ref[Any]) -> bool:
        """Whether `peek` knows of it, even if that there is none."""
        return self._held.find(ref.name) is not None

    def put(
        self,
        ref: Ref[T],
        value: T,
        *,
        within_s: float = 0.0,
        optional: bool = False,
        patient: bool = False,
    ) -> asyncio.Future[None]:
        """Give a document a new value; the future resolves when that, or a later one, is durable.

        `within_s` is how long it may wait for further versions; `optional` says that it may wait
        until there is room again. The future raises StoreUnavailableError where the disk refused:
        the value is kept and tried again, but nothing should be promised on it; a `patient` one
        goes on waiting instead. A defect, or a newer llmbot's document in its place, gives the
        former value back and is raised too.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_look_at)
        entry = self._held.find(ref.name)
        if not self._open:
            future.set_exception(ShuttingDownError("The document store is not open."))
            return future
        fresh = entry is None or not entry.dirty
        if fresh and len(self._held.dirty) >= self._settings.unsaved_max:
            future.set_exception(StoreUnavailableError("Too many documents wait for the disk."))
            return future
        if entry is None:
            entry = Entry(ref, None, None)
            self._held.hold(entry)
        self._saver.take(
            entry, value, future, within_s=within_s, optional=optional, patient=patient
        )
        self._tell(ref, value)
        return future

    async def update(self, ref: Ref[T], change: Callable[[T], T]) -> T:
        """Change a document, starting from its default where there is none; durable on return.

        `change` runs on the loop, after every earlier change and before every later one.

        Raises:
            StoreUnavailableError: it could not be read, or the new value is not durable yet.
            NewerDocumentError: a newer llmbot wrote it.
        """
        async with self.alone(ref, "update"):
            await self.get(ref)
            # Others may have put meanwhile; from here to `put` nothing can.
            current = self.peek(ref)
            value = change(ref.kind.default() if current is None else current)
            await self.put(ref, value)
            return value

    async def remove(self, ref: Ref[Any]) -> int:
        """Remove a document with every copy of it, durably; how many files that were.

        Raises:
            StoreUnavailableError: the disk refused; some copies may be there still.
        """
        async with self.alone(ref, "remove"):
            entry = self._held.drop(ref.name)
            if entry is not None:
                error = StoreUnavailableError("The document was removed meanwhile.")
                settle(entry.waiters, error)
            self._tell(ref, None)
            return await self.on_disk(lambda: self.shelf.writer.remove(ref))

    async def keys(self, kind: Kind[Any]) -> list[str]:
        """The keys of all documents of a kind, saved or not; also where only copies are left.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        refs = await self._readings.do(lambda: self.reader.refs(kind))
        on_disk = [ref.key for ref in refs]
        unsaved = [e.ref.key for e in self._held.dirty.values() if e.ref.kind.name == kind.name]
        return list(dict.fromkeys([*on_disk, *unsaved]))

    def listen(self, kind: Kind[T], changed: Callable[[Ref[T], T | None], None]) -> None:
        """Hear of each new value of a kind's documents, whoever wrote it; None for a removal."""
        self._listeners.setdefault(kind.name, []).append(changed)

    async def saved(self) -> None:
        """Return when all that was put before is durable.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
        waiters = []
        for entry in list(self._held.dirty.values()):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiter.add_done_callback(_look_at)
            self._saver.hasten(entry, waiter)
            waiters.append(waiter)
        for waiter in waiters:
            await waiter

    def drop_clean(self) -> tuple[int, int]:
        """Give memory back: hold only what is not on the disk yet; (documents, bytes) dropped."""
        return self._held.drop_clean()

    def facts(self) -> StoreFacts:
        """How the store does."""
        now, saver = self._clock.monotonic(), self._saver
        oldest = min((e.dirty_since for e in self._held.dirty.values()), default=now)
        return StoreFacts(
            documents_in_memory=len(self._held),
            bytes_in_memory=self._held.bytes,
            unsaved=len(self._held.dirty),
            oldest_unsaved_s=max(0.0, now - oldest),
            saves=saver.saves,
            batches=saver.batches,
            failures=saver.failures,
            last_save_ms=saver.last_save_ms,
            condition=saver.condition,
            last_error=saver.last_error,
            free_bytes=saver.free_bytes,
            room=saver.room,
        )

    # ── for the store's own house ───────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def alone(self, ref: Ref[Any], reason: str) -> AsyncIterator[None]:
        """Hold a document's lock.

        Raises:
            StoreUnavailableError: others hold it for too long, or it was taken away meanwhile.
        """
        if self._locks is None:
            yield
            return
        try:
            async with self._locks.hold(f"document:{ref.name}", reason=reason):
                yield
        except (LockTimeoutError, FencedError) as error:
            raise StoreUnavailableError(str(error)) from error

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Do work that may change files, after all saves that were begun; tells its events.

        Raises:
            StoreUnavailableError: the disk refused.
            ShuttingDownError: the store is not open.
        """
        try:
            return await self._writings.do(work)
        finally:
            self._saver.tell_events()

    async def look_at_disk(self, work: Callable[[], T]) -> T:
        """Do work that changes nothing; raises as `on_disk`."""
        return await self._readings.do(work)

    def durable(self, ref: Ref[T]) -> T | None:
        """The last version that is known to be on the disk, if it is held."""
        entry = self._held.find(ref.name)
        value: T | None = None if entry is None else entry.durable
        return value

    def is_dirty(self, ref: Ref[Any]) -> bool:
        """Whether a newer version is about to be saved."""
        entry = self._held.find(ref.name)
        return entry is not None and entry.dirty

    def took_over(self, ref: Ref[Any], loaded: Loaded[Any] | None) -> None:
        """Hold what stands on the disk now, unless a newer version is about to be saved."""
        entry = self._held.find(ref.name)
        if entry is not None and entry.dirty:
            return
        new = _entry(ref, loaded)
        known = entry is not None and entry.saved_at_s == new.saved_at_s
        self._held.hold(new)
        if not known:
            self._tell(ref, new.value)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    async def _load(self, ref: Ref[Any]) -> Entry:
        """Load once, however many ask for it."""
        task = self._loading.get(ref.name)
        if task is None:
            task = asyncio.create_task(self._from_disk(ref), name=f"load-{ref.name}")
            self._loading[ref.name] = task
            task.add_done_callback(_look_at)
            task.add_done_callback(lambda _: self._loading.pop(ref.name, None))
        return await asyncio.shield(task)

    async def _from_disk(self, ref: Ref[Any]) -> Entry:
        if not self._open:
            raise ShuttingDownError("The document store is not open.")
        known, loaded = await self._readings.do(lambda: self.shelf.load_sound(ref))
        if not known:
            loaded = await self.on_disk(lambda: self.shelf.load(ref))
        entry = self._held.find(ref.name)
        if entry is None:  # else it was put meanwhile
            entry = _entry(ref, loaded)
            self._held.hold(entry)
        return entry

    def _tell(self, ref: Ref[Any], value: Any) -> None:
        for changed in self._listeners.get(ref.kind.name, ()):
            changed(ref, value)

    def _clear_aside(self) -> None:
        root = self.reader.root
        folders = [root / folder for folder in self.reader.kinds.folders]
        folders += [root / BACKUPS / folder for folder in self.reader.kinds.folders]
        clear_aside(self.reader.files, folders)


def _entry(ref: Ref[Any], loaded: Loaded[Any] | None) -> Entry:
    if loaded is None:
        return Entry(ref, None, None)
    return Entry(ref, loaded.value, loaded.value, loaded.saved_at_s, loaded.bytes)


def _look_at(done: asyncio.Future[Any]) -> None:
    """A failure that nobody awaits is told by the store's condition, not by the loop."""
    if not done.cancelled():
        done.exception()
