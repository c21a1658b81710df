"""The bus that hands each published fact to everyone who listens; the facts are in `events.py`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from llmbot.kernel.clock import Clock

E = TypeVar("E")


class Level(StrEnum):
    """How loud an event is in the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@runtime_checkable
class Event(Protocol):
    """What every event offers its readers."""

    level: ClassVar[Level]

    def describe(self) -> str:
        """The event in one line for people."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """An event with its place and time."""

    number: int
    wall_s: float
    monotonic_s: float
    event: Event

    @property
    def name(self) -> str:
        """The event's class name."""
        return type(self.event).__name__

    def facts(self) -> dict[str, object]:
        """The event's fields, for a log line or a stream of JSON."""
        event = self.event
        return {f.name: getattr(event, f.name) for f in fields(event)}  # type: ignore[arg-type] # every event is a dataclass; the Protocol cannot say so


Subscriber = Callable[[Published], None]


class EventBus:
    """Hands each published event to every subscriber, at once and in order.

    Subscribers are plain functions that return at once (they put the event into a queue, or add
    to a counter). One that raises is counted and does not keep the others from hearing.
    """

    def __init__(self, clock: Clock, *, history_max: int = 1000) -> None:
        """Keep the last `history_max` events for those who come later."""
        self._clock = clock
        self._subscribers: list[Subscriber] = []
        self._number = 0
        self.history: deque[Published] = deque(maxlen=history_max)
        self.subscriber_failures = 0

    def publish(self, event: Event) -> Published:
        """State a fact."""
        self._number += 1
        stamped = Published(self._number, self._clock.wall(), self._clock.monotonic(), event)
        self.history.append(stamped)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(stamped)
            except Exception:  # noqa: BLE001 - who publishes must not fail for who listens
                self.subscriber_failures += 1
        return stamped

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Hear all events from now on; returns the function that ends it."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def expect(
        self, kind: type[E], matches: Callable[[E], bool] = lambda _: True
    ) -> asyncio.Future[E]:
        """The next event of this kind that matches, as a future that hears from now on."""
        found: asyncio.Future[E] = asyncio.get_running_loop().create_future()

        def look(stamped: Published) -> None:
            if isinstance(stamped.event, kind) and not found.done() and matches(stamped.event):
                found.set_result(stamped.event)

        unsubscribe = self.subscribe(look)
        found.add_done_callback(lambda _: unsubscribe())
        return found

    async def wait_for(
        self, kind: type[E], matches: Callable[[E], bool] = lambda _: True, *, timeout_s: float
    ) -> E:
        """The next event of this kind that matches; tests wait by this and never sleep.

        Raises:
            TimeoutError: none came within `timeout_s` seconds.
        """
        async with asyncio.timeout(timeout_s):
            return await self.expect(kind, matches)
