"""One gateway connection: what is queued for it, how it is packed, how it ends."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from dataclasses import dataclass

import orjson
from aiohttp import WSCloseCode, web

from llmbot.simulators.discord.compression import Packer
from llmbot.simulators.discord.sessions import Session
from llmbot.simulators.discord.statistics import Statistics
from llmbot.simulators.faults import FaultBoard

HEARTBEAT = 1
IDENTIFY = 2
PRESENCE = 3
VOICE_STATE = 4
RESUME = 6
RECONNECT = 7
REQUEST_MEMBERS = 8
INVALID_SESSION = 9
HELLO = 10
HEARTBEAT_ACK = 11

ABNORMAL = 1006
_RECONNECT_GRACE_S = 5.0
_PAYLOAD_COMPRESSION_FROM = 1024  # bytes; smaller ones are not worth it
_GARBAGE = b'{"t":"MESSAGE_CREATE","s":'


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


class Connection:
    """Frames go out in order through one writer task; a client that does not read is dropped."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        base: str,
        packer: Packer | None,
        board: FaultBoard,
        statistics: Statistics,
        frames_max: int,
        now: float,
    ) -> None:
        self.base = base
        self.session: Session | None = None
        self.heartbeat_at = now
        self.reconnect_by: float | None = None
        self.zombie = False
        self.payload_compression = False
        self._socket = socket
        self._request = request
        self._packer = packer
        self._board = board
        self._statistics = statistics
        self._frames_max = frames_max
        self._queue: deque[bytes | _Close] = deque()
        self._wake = asyncio.Event()
        self._ended = False

    # what a session or the gateway asks for ----------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Queue an event; a fault may strike first, then the event is left to a resume."""
        if not self._board.quiet and self.strike():
            return
        self._put(frame)

    def send_control(self, op: int, data: object = None) -> None:
        """Queue a frame that is no event."""
        self._put(orjson.dumps({"t": None, "s": None, "op": op, "d": data}))

    def ask_to_reconnect(self, now: float) -> None:
        """Send op 7; a client that stays nevertheless is closed after a grace."""
        self.send_control(RECONNECT)
        self.reconnect_by = now + _RECONNECT_GRACE_S

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then close with a code."""
        if not self._ended:
            self._ended = True
            self._statistics.closed(code)
            self._queue.append(_Close(code, reason))
            self._wake.set()

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        if not self._ended:
            self._ended = True
            self._statistics.closed(ABNORMAL)
        self._queue.clear()
        self._queue.append(_Close(ABNORMAL, ""))
        self._wake.set()
        if self._request.transport is not None:
            self._request.transport.abort()

    @property
    def ended(self) -> bool:
        """Whether it is closed or about to be."""
        return self._ended

    # faults ------------------------------------------------------------------------------------

    def strike(self) -> bool:
        """Let the gateway's faults happen if they strike now; True if nothing more is to be sent.

        Asked before each event, at each heartbeat, and every tick of the service.
        """
        board = self._board
        if self._ended or self.zombie:
            return True
        if board.strikes("gateway.drop"):
            self.abort()
            return True
        closing = board.strikes("gateway.close")
        if closing is not None:
            self.close(int(closing.number("code", 4000)), "A fault was switched on.")
            return True
        if board.strikes("gateway.zombie"):
            self.zombie = True
            return True
        if self.session is not None and self.reconnect_by is None:
            if board.strikes("gateway.reconnect"):
                self.ask_to_reconnect(asyncio.get_running_loop().time())
            if board.strikes("gateway.garbage"):
                self._put(_GARBAGE)
        return False

    # the writer --------------------------------------------------------------------------------

    async def write(self) -> None:
        """Send queued frames until the connection ends; the owner runs this as a task."""
        while True:
            while self._queue:
                item = self._queue.popleft()
                if isinstance(item, _Close):
                    if item.code != ABNORMAL:
                        await self._socket.close(code=item.code, message=item.reason.encode())
                    return
                try:
                    await self._send(item)
                except (ConnectionError, RuntimeError):
                    # The client has gone; the reading side notices and ends the connection.
                    self._ended = True
                    return
            self._wake.clear()
            await self._wake.wait()

    async def _send(self, frame: bytes) -> None:
        if self._packer is not None:
            await self._socket.send_bytes(self._packer(frame))
        elif self.payload_compression and len(frame) >= _PAYLOAD_COMPRESSION_FROM:
            await self._socket.send_bytes(zlib.compress(frame, 1))
        else:
            await self._socket.send_str(frame.decode())

    def _put(self, frame: bytes) -> None:
        if self._ended or self.zombie:
            return
        if len(self._queue) >= self._frames_max:
            self._statistics.count("slow_clients_dropped")
            self.abort()
            return
        self._queue.append(frame)
        self._wake.set()

    async def finish(self) -> None:
        """Close from our side as the service goes away."""
        self.close(WSCloseCode.GOING_AWAY, "The simulator stops.")
