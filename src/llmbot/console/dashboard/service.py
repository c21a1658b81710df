"""Keeps the board fresh while somebody looks, and the history always."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from llmbot.console.dashboard.board import Board
from llmbot.console.dashboard.feed import FeedResponse, Readers
from llmbot.console.dashboard.flow import Flow
from llmbot.console.dashboard.history import EVERY_S, History, Series
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus

if TYPE_CHECKING:
    # It comes with FastAPI, which a start leaves for later: see `console.api.server`.
    from llmbot.console.dashboard.sections import Sections

__all__ = ["Dashboard"]

LOOK_EVERY_S = 1.0

SERIES: Series = {
    "perMinute": ("performance", "perMinute"),
    "p95": ("performance", "responseTime", "p95"),
    "waiting": ("status", "parts", "waiting", "facts", "waiting"),
    "memory": ("status", "parts", "memory", "facts", "residentBytes"),
    "loop": ("status", "parts", "loop", "facts", "lagWorstMs"),
    "disk": ("status", "parts", "disk", "facts", "freeBytes"),
    "gateway": ("discord", "gateway", "heartbeatLatencyMs"),
}


class Dashboard:
    """A service of the supervisor: it needs nothing, as the API that it shows."""

    name = "dashboard"
    needs: tuple[str, ...] = ()

    def __init__(self, bus: EventBus, clock: Clock, simulator: str = "") -> None:
        """Hear the bus from now on; `attach` tells what to read.

        `simulator` is the address of the simulated Discord's page, where there is one.
        """
        self.simulator = simulator
        self._clock = clock
        self._board = Board()
        self._readers = Readers()
        self._history = History(SERIES)
        self._sections: Sections | None = None
        self._status = ("", clock.wall())
        # By this a page knows that another life of the bot answers, which remembers nothing.
        self._life = f"{clock.wall():.3f}"
        self._task: asyncio.Task[None] | None = None
        self.flow = Flow(bus, self._moved)

    def attach(self, sections: Sections) -> None:
        """Read these from now on; called from the thread that puts the routes together."""
        self._sections = sections

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._keep_fresh(), name="dashboard")

    async def stop(self) -> None:
        """Let every page go, and end."""
        task, self._task = self._task, None
        self._readers.end_all()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def trouble(self) -> str:
        """Why nothing is fresh any more, if so."""
        return "" if self._task is not None and not self._task.done() else "does not look"

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._readers)

    def open_feed(self) -> FeedResponse:
        """The stream for one more page."""
        return FeedResponse(self._board, self.flow, self._readers, self._clock, self._stamp)

    # ── keeping fresh ───────────────────────────────────────────────────────────────────────────

    async def _keep_fresh(self) -> None:
        point_at = self._clock.monotonic()
        while True:
            sections = await self._look(self._sections)
            if self._clock.monotonic() >= point_at:
                point_at += EVERY_S
                self._history.add(self._clock.wall(), sections)
                self._board.put("history", orjson.dumps(self._history.view()))
            await self._until_due(point_at)

    async def _look(self, known: Sections | None) -> dict[str, object]:
        """Read every section and put it on the board; nothing while the routes are to come."""
        sections, failed = ({}, []) if known is None else await known.read()
        for name, section in sections.items():
            self._board.put(name, orjson.dumps(section))
        self._board.put("page", orjson.dumps({"unreadable": failed, **self._since(sections)}))
        return sections

    def _since(self, sections: dict[str, object]) -> dict[str, object]:
        """When the bot came into the state that it is in."""
        section = sections.get("status")
        status = section.get("status") if isinstance(section, dict) else None
        if isinstance(status, str) and status != self._status[0]:
            self._status = (status, self._clock.wall())
        return {"statusSince": self._status[1]}

    async def _until_due(self, point_at: float) -> None:
        """Until the next look: a second while a page is open, else until the next point."""
        self._readers.came.clear()
        left_s = point_at - self._clock.monotonic()
        pause_s = min(LOOK_EVERY_S, left_s) if len(self._readers) else left_s
        timer = asyncio.create_task(self._clock.sleep(pause_s), name="dashboard pause")
        came = asyncio.create_task(self._readers.came.wait(), name="dashboard page opened")
        try:
            await asyncio.wait({timer, came}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            came.cancel()
            await asyncio.gather(timer, came, return_exceptions=True)

    def _moved(self) -> int:
        """A message moved or something happened: number it, and wake the pages."""
        self._board.ring()
        return self._board.next_version()

    def _stamp(self) -> bytes:
        now = {"at": self._clock.wall(), "life": self._life}
        return b"event: now\ndata: %b\n\n" % orjson.dumps(now)
