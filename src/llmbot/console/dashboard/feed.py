"""The stream of news to one open page: server-sent events, paced, bounded, latest wins."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmbot.console.dashboard.board import Board
from llmbot.console.dashboard.flow import Flow
from llmbot.kernel.clock import Clock

__all__ = ["READERS_MAX", "FeedResponse", "Readers"]

READERS_MAX = 32
PACE_S = 0.25
"""At most four times a second to each page, however much happens."""

SEND_DEADLINE_S = 20.0
"""A page that takes nothing for so long is let go; it comes back by itself and catches up."""

ROWS_AT_ONCE = 60


class Readers:
    """The pages that are open now."""

    def __init__(self) -> None:
        """None yet."""
        self._ends: set[asyncio.Event] = set()
        self.came = asyncio.Event()
        """Set when a page opened; who keeps the board fresh clears it."""

    def __len__(self) -> int:
        """How many."""
        return len(self._ends)

    def enter(self) -> asyncio.Event:
        """One more; the event that is returned tells it to end."""
        end = asyncio.Event()
        self._ends.add(end)
        self.came.set()
        return end

    def leave(self, end: asyncio.Event) -> None:
        """One less."""
        self._ends.discard(end)

    def end_all(self) -> None:
        """Tell every page that this life of the bot ends."""
        for end in self._ends:
            end.set()


class FeedResponse(Response):
    """Sends what is newer than what the page has seen, until it goes away."""

    media_type = "text/event-stream"

    def __init__(
        self, board: Board, flow: Flow, readers: Readers, clock: Clock, stamp: Callable[[], bytes]
    ) -> None:
        """`stamp` makes the frame that begins every piece of news: the server's time."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._board = board
        self._flow = flow
        self._readers = readers
        self._clock = clock
        self._stamp = stamp
        self._seen = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream; returns when the page is gone, too slow, or the bot stops."""
        del scope
        end = self._readers.enter()
        gone = asyncio.create_task(_gone(receive), name="dashboard page is gone")
        ended = asyncio.create_task(end.wait(), name="dashboard page is to end")
        try:
            await self._send(send, self._head())
            await self._send(send, _body(b"retry: 1000\n\n"))
            while not gone.done() and not ended.done():
                bell = self._board.bell
                await self._send(send, _body(self._take()))
                await self._pause(bell, gone, ended)
            if not gone.done():
                await self._send(send, _body(b"", more=False))
        except TimeoutError:
            pass  # it is too slow; letting go of the connection makes it come anew
        finally:
            self._readers.leave(end)
            gone.cancel()
            ended.cancel()
            await asyncio.gather(gone, ended, return_exceptions=True)

    def _head(self) -> dict[str, Any]:
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }

    def _take(self) -> bytes:
        """Everything newer than what was seen, as one piece."""
        seen, self._seen = self._seen, self._board.version
        frames = [self._stamp()]
        frames += [_frame(name, body) for name, body in self._board.newer(seen)]
        if rows := self._flow.rows(seen, ROWS_AT_ONCE):
            frames.append(_frame("rows", orjson.dumps(rows)))
        if happenings := self._flow.happenings(seen):
            frames.append(_frame("happenings", orjson.dumps(happenings)))
        return b"".join(frames)

    async def _pause(self, bell: asyncio.Event, *ends: asyncio.Task[Any]) -> None:
        """Wait for news, but not less than the pace."""
        pace = asyncio.create_task(self._clock.sleep(PACE_S), name="dashboard pace")
        news = asyncio.create_task(bell.wait(), name="dashboard news")
        try:
            await asyncio.wait({*ends, pace}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({*ends, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pace.cancel()
            news.cancel()
            await asyncio.gather(pace, news, return_exceptions=True)

    @staticmethod
    async def _send(send: Send, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_DEADLINE_S):
            await send(message)


async def _gone(receive: Receive) -> None:
    """Return when the page has closed the connection."""
    with contextlib.suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            continue


def _frame(name: str, body: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), body)


def _body(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
