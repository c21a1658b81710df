"""Keeps the answer to a view for a moment, so that many who look cost as little as one.

A page, a process manager and three scripts that all ask for the status get one that is at most
fractions of a second old. Nobody reads what an action has changed meanwhile: whatever is not a
reading makes what is kept worthless, when it comes and when it has been answered.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmbot.kernel.clock import Clock

__all__ = ["Fresh"]

_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class _Kept:
    at_s: float
    messages: tuple[Message, ...]


class Fresh:
    """The ASGI middleware behind the gate: who may not look never gets here."""

    def __init__(
        self, app: ASGIApp, clock: Clock, paths: Collection[str], age_max_s: float
    ) -> None:
        """Keep the answers of `paths`; they read from memory and differ for nobody."""
        self._app = app
        self._clock = clock
        self._paths = frozenset(paths)
        self._age_max_s = age_max_s
        self._kept: dict[str, _Kept] = {}
        self._changes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, or keep what is answered."""
        if scope["type"] != "http" or scope["method"] not in _READING:
            self._forget()
            try:
                await self._app(scope, receive, send)
            finally:
                self._forget()
            return
        path = scope["path"]
        if scope["method"] != "GET" or path not in self._paths or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        kept = self._kept.get(path)
        if kept is not None and self._clock.monotonic() - kept.at_s < self._age_max_s:
            for message in kept.messages:
                await send(message)
            return
        await self._ask(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        at_s, changes = self._clock.monotonic(), self._changes
        messages: list[Message] = []

        async def keeping(message: Message) -> None:
            messages.append(message)
            await send(message)

        await self._app(scope, receive, keeping)
        if changes == self._changes and messages and messages[0].get("status") == HTTPStatus.OK:
            self._kept[scope["path"]] = _Kept(at_s, tuple(messages))

    def _forget(self) -> None:
        self._changes += 1
        self._kept.clear()
