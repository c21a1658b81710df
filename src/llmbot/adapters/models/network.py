"""The network below the models' HTTP client: TCP and TLS as the event loop itself offers them.

httpx2's own way goes through anyio, which on every read and write makes a cancel scope and on every
look at an idle connection walks a table of attributes down to a `poll`; a third of an answer's
processor time went there. On uvloop these transports are C. Figures: docs/figures.md.

Time-outs of reads and writes are not kept here: nobody sets any, `model_stream.Patience` keeps the
deadlines.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Iterator
from socket import SOCK_STREAM
from typing import Any, Final, cast

import httpcore2
from aiohappyeyeballs import start_connection

HELD_BYTES_MAX: Final = 256 * 1024
"""Received and not yet read; above it the sender has to wait."""

_NEXT_ADDRESS_AFTER_S: Final = 0.25
"""Recommended "Connection Attempt Delay". Source: RFC 8305, "Happy Eyeballs", section 8."""

_CLOSE_S: Final = 1.0


class _Wire(asyncio.Protocol):
    """What came and was not read yet, and who waits for more."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.held = bytearray()
        self.ended = False
        self.failure: Exception | None = None
        self.lost = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has not that base

    def data_received(self, data: bytes) -> None:
        self.held += data
        if len(self.held) > HELD_BYTES_MAX and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> None:
        self.ended = True
        _wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.failure = exc
        _wake(self._reader)
        self.resume_writing()
        _wake(self.lost)

    def pause_writing(self) -> None:
        self._writer = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        writer, self._writer = self._writer, None
        _wake(writer)

    async def more(self) -> None:
        """Wait until something came, or the end did."""
        if self.held or self.ended:
            return
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    async def room(self) -> None:
        """Wait until what was written has gone far enough for more to be welcome."""
        if self._writer is not None:
            # Shielded: whoever is cancelled here must not resolve it for another.
            await asyncio.shield(self._writer)

    def take(self, bytes_max: int) -> bytes:
        """Hand out what came, oldest first."""
        taken = bytes(self.held[:bytes_max])
        del self.held[:bytes_max]
        if self._paused and len(self.held) < HELD_BYTES_MAX // 2 and self.transport is not None:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return taken


class _Stream(httpcore2.AsyncNetworkStream):
    """One connection; a subclass because httpcore2 asks for its own type."""

    def __init__(self, wire: _Wire, transport: asyncio.Transport) -> None:
        self._wire = wire
        self._transport = transport

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore2's name
        del timeout
        wire = self._wire
        await wire.more()
        if wire.held:
            return wire.take(max_bytes)
        if wire.failure is not None:
            raise httpcore2.ReadError(type(wire.failure).__name__)
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore2's name
        del timeout
        if self._transport.is_closing():
            raise httpcore2.WriteError("the connection is closed")
        self._transport.write(buffer)
        await self._wire.room()

    async def aclose(self) -> None:
        # What was not sent is not waited for: a connection in good order is kept, not closed.
        self._transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.shield(self._wire.lost)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's name
    ) -> httpcore2.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        try:
            with _connecting():
                async with asyncio.timeout(timeout):
                    transport = await loop.start_tls(
                        self._transport, self._wire, ssl_context, server_hostname=server_hostname
                    )
        finally:
            if transport is None:
                self._transport.abort()
        if transport is None:
            raise httpcore2.ConnectError("the connection was lost")
        self._wire.transport = transport
        return _Stream(self._wire, transport)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # Of an idle connection: it has ended, or is out of step.
            return self._wire.ended or bool(self._wire.held)
        return self._transport.get_extra_info(_ATTRIBUTES.get(info, info))


_ATTRIBUTES: Final = {"client_addr": "sockname", "server_addr": "peername"}


class LoopBackend(httpcore2.AsyncNetworkBackend):
    """Connects by the running event loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of the host that answers.

        Raises:
            httpcore2.ConnectTimeout: none did in time.
            httpcore2.ConnectError: none can.
        """
        del local_address  # nobody sets one
        loop = asyncio.get_running_loop()
        with _connecting():
            async with asyncio.timeout(timeout):
                addresses = await loop.getaddrinfo(host, port, type=SOCK_STREAM)
                socket = await start_connection(
                    addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S, interleave=1
                )
                for option in socket_options or ():
                    socket.setsockopt(*option)
                transport, wire = await loop.create_connection(_Wire, sock=socket)
        return _Stream(wire, transport)

    async def sleep(self, seconds: float) -> None:
        """Never called: httpcore2 sleeps only between its own retries, and there are none."""
        raise NotImplementedError


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    """Failures in the words that httpx2 understands."""
    try:
        yield
    except TimeoutError as late:
        raise httpcore2.ConnectTimeout from late
    except OSError as failure:
        # ssl.SSLError is one too.
        raise httpcore2.ConnectError(type(failure).__name__) from failure


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
