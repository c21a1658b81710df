"""One connection to the gateway: discord.py's WebSocket with raw events and its own heartbeat.

What is replaced and why: discord.py ends the client on a payload it cannot parse, looks for any
traffic rather than for heartbeat acknowledgements, and closes an invalidated session with 1000.
Its handshake, rate limiter, inflating, resuming and sending are used as they are.

Source of the rules: Discord API reference, "Gateway".
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import aiohttp
import orjson
from discord.errors import DiscordException
from discord.gateway import DiscordWebSocket, ReconnectWebSocket

from llmbot.kernel.clock import Clock

RESUMABLE_CLOSE = 4000
"""Any code but 1000 and 1001 leaves the session open for a resume."""

_CLOSE_S = 3.0
_ACK_PATIENCE_S = 20.0
_ACK_GRACE_S = 1.0
_INFLATED_BYTES_MAX = 64 * 1024 * 1024


class GatewayListener(Protocol):
    """Who hears one connection."""

    def on_dispatch(self, name: str, data: Any, sequence: int | None) -> None:
        """An event came."""
        ...

    def on_garbled(self, reason: str) -> None:
        """A frame came that is no gateway payload; it was skipped."""
        ...

    def on_gap(self, after: int, *, unreadable: bool) -> bool:
        """The event after this one never came, or was `unreadable`: whether to resume for it."""
        ...

    def on_invalid_session(self, *, resumable: bool) -> None:
        """Opcode 9; the connection is about to close."""
        ...

    def on_reconnect_asked(self) -> None:
        """Opcode 7; the connection is about to close."""
        ...


class GatewaySocket(DiscordWebSocket):
    """Made by `from_client`, which returns once hello came and identify or resume is sent."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(socket, loop=loop)
        self.interval_s: float | None = None
        self.listener: GatewayListener | None = None
        self.presence: dict[str, Any] | None = None
        self.last_ack: float | None = None  # monotonic
        self.latency_s: float | None = None
        self.zombie = False
        self._skipped = False
        self._acked = asyncio.Event()
        self._beat_sent = 0.0
        self._now: Callable[[], float] = loop.time

    async def poll_event(self) -> None:
        """Wait for one frame and handle it.

        Raises:
            ReconnectWebSocket: the connection has ended; `socket.close_code` says how.
        """
        message = await self.socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            await self.received_message(message.data)
            return
        # discord.py always answers with 4000 here, also where 1000 is meant to end the session.
        await self.socket.close(code=self._close_code or RESUMABLE_CLOSE)
        raise ReconnectWebSocket(self.shard_id)

    async def identify(self) -> None:
        """Ask for a new session; no payload compression, so that every frame stands alone."""
        details: dict[str, Any] = {
            "token": self.token,
            "properties": {"os": sys.platform, "browser": "llmbot", "device": "llmbot"},
            "compress": False,
            "large_threshold": 50,
            "intents": self._connection.intents.value,
        }
        if self.shard_id is not None and self.shard_count is not None:
            details["shard"] = [self.shard_id, self.shard_count]
        await self.send_as_json({"op": self.IDENTIFY, "d": details})

    async def received_message(self, msg: Any, /) -> None:
        """Handle one frame; only a lost connection raises (`ReconnectWebSocket`)."""
        text = self._inflated(msg) if isinstance(msg, bytes) else msg
        if text is None:
            return
        try:
            payload = orjson.loads(text)
            op = payload["op"]
        except (ValueError, KeyError, TypeError) as unreadable:
            self._garbled(type(unreadable).__name__)
            return
        if op == self.DISPATCH:
            await self._dispatch_event(payload)
        else:
            await self._control(op, payload.get("d"))

    async def _dispatch_event(self, payload: dict[str, Any]) -> None:
        sequence = payload.get("s")
        if isinstance(sequence, int):
            if await self._lost_an_event(sequence):
                raise ReconnectWebSocket(self.shard_id)
            self.sequence = sequence
        else:
            sequence = None
        if self.listener is not None:
            self.listener.on_dispatch(str(payload.get("t")), payload.get("d"), sequence)

    async def _lost_an_event(self, sequence: int) -> bool:
        """Whether an event is missing before this one that a resume may bring; then hangs up."""
        unreadable, self._skipped = self._skipped, False
        last, listener = self.sequence, self.listener
        if last is None or listener is None or sequence <= last + 1:
            return False
        if not listener.on_gap(last, unreadable=unreadable):
            return False
        await self.hang_up()
        return True

    async def _control(self, op: Any, data: Any) -> None:
        if op == self.HEARTBEAT_ACK:
            self.last_ack = self._now()
            self.latency_s = max(0.0, self.last_ack - self._beat_sent)
            self._acked.set()
        elif op == self.HEARTBEAT:
            await self._beat()
        elif op == self.HELLO:
            interval = data.get("heartbeat_interval") if isinstance(data, dict) else None
            if isinstance(interval, (int, float)) and interval > 0:
                self.interval_s = interval / 1000
        elif op == self.RECONNECT:
            if self.listener is not None:
                self.listener.on_reconnect_asked()
            await self.hang_up()
            raise ReconnectWebSocket(self.shard_id)
        elif op == self.INVALIDATE_SESSION:
            if self.listener is not None:
                self.listener.on_invalid_session(resumable=data is True)
            await self.hang_up()
            raise ReconnectWebSocket(self.shard_id, resume=data is True)

    async def keep_alive(self, clock: Clock) -> None:
        """Send heartbeats until one is not acknowledged, then hang up; needs its own task.

        A server that is silent for longer than 20 s after a heartbeat, or until the next one is
        due, is a zombie: the socket looks open and carries nothing.
        """
        self._now = clock.monotonic
        interval = self.interval_s or 41.25
        patience = min(interval, _ACK_PATIENCE_S)
        while True:
            self._acked.clear()
            try:
                await self._beat()
            except (OSError, aiohttp.ClientError, DiscordException):
                # The connection is gone; the reader may not have heard of it yet.
                await self.hang_up()
                return
            if not await self._acked_within(patience):
                # A stalled loop may have left the acknowledgement unread: let the reader run.
                await clock.sleep(min(_ACK_GRACE_S, interval))
                if not self._acked.is_set():
                    self.zombie = True
                    await self.hang_up()
                    return
            rest = self._beat_sent + interval - clock.monotonic()
            await clock.sleep(max(0.01, rest))

    async def _acked_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._acked.wait()
        except TimeoutError:
            return False
        return True

    async def _beat(self) -> None:
        self._beat_sent = self._now()
        await self.send_heartbeat({"op": self.HEARTBEAT, "d": self.sequence})

    async def hang_up(self, code: int = RESUMABLE_CLOSE) -> None:
        """Close in bounded time, also where the other side keeps talking or never answers."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.close(code=code)
        except (TimeoutError, OSError, aiohttp.ClientError, RuntimeError):
            # The transport is dropped with the connection; Discord keeps the session by its code.
            pass

    def _inflated(self, frame: bytes) -> str | bytes | None:
        """The frame as text; None for a part of one or for rubbish (which is counted)."""
        try:
            if frame[:1] in (b"{", b"["):
                return frame
            if self._stream_compressed:
                return self._decompressor.decompress(frame)
            inflater = zlib.decompressobj()
            return inflater.decompress(frame, _INFLATED_BYTES_MAX)
        except (zlib.error, UnicodeDecodeError, EOFError) as broken:
            # A broken stream stays broken: what follows can only be read on a new connection.
            self._garbled(type(broken).__name__)
            if self._stream_compressed:
                raise ReconnectWebSocket(self.shard_id) from broken
            return None

    @property
    def _stream_compressed(self) -> bool:
        return "compress" in self.socket._response.url.query  # noqa: SLF001 - aiohttp keeps the address only there

    def _garbled(self, reason: str) -> None:
        self._skipped = True
        if self.listener is not None:
            self.listener.on_garbled(reason)
