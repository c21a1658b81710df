"""The stream of what happens in the world, for the page beside it, the CLI and tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson

from llmbot.simulators.discord.snowflake import iso

Event = tuple[int, bytes]


class Subscriber:
    """One reader and its bounded queue."""

    def __init__(self, limit: int, drop: Callable[[], None]) -> None:
        """Begin with an empty queue; `drop` cuts the reader off when it is too slow."""
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(limit + 1)
        self._limit = limit
        self._drop = drop

    def offer(self, event: Event) -> bool:
        """Queue an event; False if the reader is too far behind."""
        if self._queue.qsize() >= self._limit:
            self.end()
            self._drop()
            return False
        self._queue.put_nowait(event)
        return True

    def end(self) -> None:
        """Tell the reader that nothing more comes."""
        while self._queue.qsize() > self._limit:
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self) -> Event | None:
        """Wait for the next event; None at the end."""
        return await self._queue.get()


class Feed:
    """Keeps the last events and hands new ones to every reader."""

    def __init__(self, events_max: int, queue_max: int) -> None:
        self._events: deque[Event] = deque(maxlen=events_max)
        self._queue_max = queue_max
        self._subscribers: set[Subscriber] = set()
        self._closed = False
        self.last_id = 0

    def publish(self, kind: str, at_ms: int, **facts: Any) -> int:
        """Publish an event of a kind; returns how many readers were dropped for being slow."""
        self.last_id += 1
        body = orjson.dumps({"id": self.last_id, "type": kind, "at": iso(at_ms), **facts})
        event = (self.last_id, body)
        self._events.append(event)
        slow = [reader for reader in self._subscribers if not reader.offer(event)]
        self._subscribers.difference_update(slow)
        return len(slow)

    def since(self, event_id: int) -> list[Event]:
        """Return the kept events after an id, oldest first."""
        due = self.last_id - event_id
        if due <= 0:
            return []
        return list(self._events)[-due:]

    def subscribe(self, drop: Callable[[], None]) -> Subscriber:
        """Add a reader; it must be given to `unsubscribe` at last."""
        reader = Subscriber(self._queue_max, drop)
        if self._closed:
            reader.end()
        else:
            self._subscribers.add(reader)
        return reader

    def unsubscribe(self, reader: Subscriber) -> None:
        """Remove a reader."""
        self._subscribers.discard(reader)

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return len(self._subscribers)

    def close(self) -> None:
        """End every reader's stream, now and later."""
        self._closed = True
        for reader in self._subscribers:
            reader.end()
        self._subscribers.clear()
