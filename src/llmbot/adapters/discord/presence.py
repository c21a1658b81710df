"""`conversation.ports.Presence` over the gateway: the newest wish wins, at Discord's pace."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

import aiohttp
from discord.errors import DiscordException

from llmbot.kernel.clock import Clock

_OPCODE = 3
_UPDATES_MAX = 4
_WINDOW_S = 20.0
"""Discord takes five presence updates in twenty seconds; one is left for clocks that disagree."""
_TEXT_LENGTH_MAX = 128
_CUSTOM_STATUS = 4


class Frames(Protocol):
    """Where frames go: the socket of a connection."""

    async def send_as_json(self, data: Any) -> None:
        """Send one frame."""
        ...


class GatewayPresence:
    """Shows the last wish, and shows it anew on each connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wish: tuple[str, str] | None = None
        self._shown: tuple[str, str] | None = None
        self._socket: Frames | None = None
        self._changed = asyncio.Event()
        self._sent: deque[float] = deque(maxlen=_UPDATES_MAX)

    async def show(self, status: str, text: str) -> None:
        """See `Presence.show`; only notes the wish, so it returns at once."""
        self._wish = (status, text[:_TEXT_LENGTH_MAX])
        self._changed.set()

    def attach(self, socket: Frames | None) -> None:
        """A connection is ready (or gone): what it shows is nothing yet."""
        self._socket, self._shown = socket, None
        self._changed.set()

    async def run(self) -> None:
        """Send what is wished; ends only by cancellation."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            socket, wish = self._socket, self._wish
            if socket is None or wish is None or wish == self._shown:
                continue
            now = self._clock.monotonic()
            if len(self._sent) == _UPDATES_MAX and self._sent[0] + _WINDOW_S > now:
                await self._clock.sleep(self._sent[0] + _WINDOW_S - now)
                self._changed.set()  # by now there may be another wish, or another connection
                continue
            self._sent.append(now)
            try:
                await socket.send_as_json({"op": _OPCODE, "d": _presence(*wish)})
            except (OSError, aiohttp.ClientError, DiscordException):
                continue  # shown again on the next connection
            if socket is self._socket:
                self._shown = wish


def _presence(status: str, text: str) -> dict[str, object]:
    activities = [{"name": "Custom Status", "type": _CUSTOM_STATUS, "state": text}] if text else []
    return {"since": None, "activities": activities, "status": status, "afk": False}
