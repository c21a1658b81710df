"""The documents that a running bot holds: what is on the disk, and what is to be."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from llmbot.storage.documents.kinds import Ref

ENTRY_COST = 800
"""Bytes that a held document costs beside what it holds."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who waits until a version, or a later one, is durable."""

    version: int
    future: asyncio.Future[None]
    patient: bool = False
    """Whether a refusal of the disk is no answer yet."""


@dataclass(slots=True, eq=False)
class Entry:
    """One document; `value` is None where it is known that there is none."""

    ref: Ref[Any]
    value: Any
    durable: Any
    """The last value that is known to be on the disk; None where none is."""
    saved_at_s: float = 0.0
    bytes: int = 0
    version: int = 0
    """Grows with every new value."""
    dirty_since: float = 0.0
    """Monotonic seconds; 0 while the newest value is durable."""
    due: float = 0.0
    """Monotonic time at which it is to be saved."""
    optional: bool = False
    gone: bool = False
    """Removed; a save that was on its way says nothing about it any more."""
    waiters: list[Waiter] = field(default_factory=list)

    @property
    def dirty(self) -> bool:
        """Whether the newest value is not on the disk yet."""
        return self.dirty_since > 0


class HeldDocuments:
    """Bounded by bytes; what is not on the disk yet is never dropped."""

    def __init__(self, bytes_max: int) -> None:
        """Hold about `bytes_max` bytes of documents."""
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.dirty: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> Entry | None:
        """A held document, which thereby was used last."""
        entry = self._entries.get(name)
        if entry is not None:
            self._entries.move_to_end(name)
        return entry

    def hold(self, entry: Entry) -> None:
        """Hold a document, in place of an earlier entry of its name."""
        self.drop(entry.ref.name)
        self._entries[entry.ref.name] = entry
        self.bytes += entry.bytes + ENTRY_COST
        self._bound()

    def resized(self, entry: Entry, size: int) -> None:
        """A held document has another size now."""
        if self._entries.get(entry.ref.name) is entry:
            self.bytes += size - entry.bytes
        entry.bytes = size
        self._bound()

    def drop(self, name: str) -> Entry | None:
        """Hold it no more."""
        entry = self._entries.pop(name, None)
        self.dirty.pop(name, None)
        if entry is not None:
            entry.gone = True
            self.bytes -= entry.bytes + ENTRY_COST
        return entry

    def drop_clean(self) -> tuple[int, int]:
        """Hold only what is not on the disk yet; how many were dropped, and their bytes."""
        before, count = self.bytes, len(self._entries)
        for name in [name for name, entry in self._entries.items() if not entry.dirty]:
            self.drop(name)
        return count - len(self._entries), before - self.bytes

    def _bound(self) -> None:
        if self.bytes <= self._bytes_max:
            return
        for name in [name for name, entry in self._entries.items() if not entry.dirty]:
            if self.bytes <= self._bytes_max:
                return
            self.drop(name)
