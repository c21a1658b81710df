"""The models' network on real sockets and both event loops: TCP, TLS, ends, resets, pressure."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpcore2
import pytest
import uvloop
from tests.support.waiting import PATIENCE_S

from llmbot.adapters.models.network import HELD_BYTES_MAX, LoopBackend

Run = Callable[[Coroutine[Any, Any, None]], None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# Made for this file alone, for "localhost", until 2126.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOMnKxpFSo2CUKDcF
f4XgJcqKhZ45Jk/D+Z+mz3m16gChRANCAASpYH9xPVg59X0VBezvb+HIjI01rXAC
2wqPHH6TXXJo4uY373TYWgkFogHX/0F3nzWS6eboKVIX4+blIz4o5Muj
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUPhiUeWoEQZAc5gfMY+BMv6ehcQ0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE5MDIzMloYDzIxMjYxMDMw
MTkwMjMyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASpYH9xPVg59X0VBezvb+HIjI01rXAC2wqPHH6TXXJo4uY373TYWgkF
ogHX/0F3nzWS6eboKVIX4+blIz4o5Mujo2kwZzAdBgNVHQ4EFgQUbjd8gBeGSLQi
MMOuiud57FQRjlcwHwYDVR0jBBgwFoAUbjd8gBeGSLQiMMOuiud57FQRjlcwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgTscdfpMV2EUq1IqI8lWvpP+Tx4ml691gUdzD2znodg0CIQDzP3DMSLK0
e83ARh1JZeTABAgb6KovN8MGH+jChbLZKQ==
-----END CERTIFICATE-----
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """What runs a coroutine on one kind of loop."""
    return asyncio.run if request.param == "asyncio" else uvloop.run


@pytest.fixture
def identity(tmp_path: Path) -> ssl.SSLContext:
    """The server's side of TLS."""
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "certificate.pem").write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    return context


@contextlib.asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on this machine; the port. Its connections have ended when the block has."""
    begun, ended = 0, asyncio.Semaphore(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            ended.release()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(begun):
                await ended.acquire()
            await server.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes until the other side ends."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def read_exactly(stream: httpcore2.AsyncNetworkStream, count: int) -> bytes:
    """So many bytes, in as many reads as it takes."""
    got = b""
    while len(got) < count:
        got += await stream.read(1000)
    return got


def test_round_trip(run: Run) -> None:
    """What is written arrives whole and in order."""

    async def scenario() -> None:
        async with serving(echo) as port:
            stream = await LoopBackend().connect_tcp("localhost", port, timeout=5.0)
            await stream.write(b"one ")
            await stream.write(b"two")
            assert await read_exactly(stream, 7) == b"one two"
            assert not stream.get_extra_info("is_readable")
            await stream.aclose()

    run(scenario())


def test_tls(run: Run, identity: ssl.SSLContext) -> None:
    """TLS is spoken with the name and the certificates that the caller names."""

    async def scenario() -> None:
        context = ssl.create_default_context(cadata=CERTIFICATE)
        async with serving(echo, identity) as port:
            plain = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            stream = await plain.start_tls(context, "localhost", timeout=5.0)
            await stream.write(b"secret")
            assert await read_exactly(stream, 6) == b"secret"
            assert stream.get_extra_info("ssl_object").version().startswith("TLS")
            await stream.aclose()

    run(scenario())


@pytest.mark.parametrize("trusted", [True, False])
def test_wrong_certificate(run: Run, identity: ssl.SSLContext, *, trusted: bool) -> None:
    """A certificate of nobody we trust, or of another name, is a connection that cannot be made."""

    async def scenario() -> None:
        context = ssl.create_default_context(cadata=CERTIFICATE if trusted else None)
        async with serving(echo, identity) as port:
            plain = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            with pytest.raises(httpcore2.ConnectError):
                await plain.start_tls(
                    context, "elsewhere.test" if trusted else "localhost", timeout=5.0
                )

    run(scenario())


def test_refused(run: Run) -> None:
    """A port where nobody listens cannot be connected to."""

    async def scenario() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            with pytest.raises(httpcore2.ConnectError):
                await LoopBackend().connect_tcp("127.0.0.1", free.getsockname()[1], timeout=5.0)

    run(scenario())


def test_silent_handshake(run: Run) -> None:
    """A server that never answers the handshake costs the time-out, and the connection is gone."""

    async def scenario() -> None:
        gone = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del writer
            while await reader.read(65_536):
                pass
            gone.set()

        async with serving(silent) as port:
            plain = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            with pytest.raises(httpcore2.ConnectTimeout):
                await plain.start_tls(ssl.create_default_context(), "localhost", timeout=0.05)
            async with asyncio.timeout(PATIENCE_S):
                await gone.wait()

    run(scenario())


def test_end_and_reset(run: Run) -> None:
    """What came before the end can still be read; then an end is no bytes, a reset an error."""

    async def scenario(*, reset: bool) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"last")
            await writer.drain()
            await reader.read(1)
            if reset:
                linger = struct.pack("ii", 1, 0)
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

        async with serving(serve) as port:
            stream = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            assert await read_exactly(stream, 4) == b"last"
            await stream.write(b"x")
            if reset:
                with pytest.raises(httpcore2.ReadError):
                    await stream.read(10)
            else:
                assert await stream.read(10) == b""
            assert stream.get_extra_info("is_readable")
            await stream.aclose()

    run(scenario(reset=False))
    run(scenario(reset=True))


def test_writing_to_a_closed_one(run: Run) -> None:
    """Nothing can be written to a connection that was closed."""

    async def scenario() -> None:
        async with serving(echo) as port:
            stream = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            await stream.aclose()
            with pytest.raises(httpcore2.WriteError):
                await stream.write(b"x")

    run(scenario())


def test_back_pressure(run: Run) -> None:
    """A sender that is not read has to wait, and everything it sent arrives once it is."""
    sent = 32 * 1024 * 1024

    async def scenario() -> None:
        waited = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"x" * sent)
            waited.set()
            await writer.drain()
            writer.write_eof()
            await reader.read()

        async with serving(serve) as port:
            stream = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            await waited.wait()
            held = await stream.read(sent)
            # One delivery of the loop may go beyond the mark, no second one.
            assert len(held) <= 2 * HELD_BYTES_MAX
            got = len(held)
            while part := await stream.read(sent):
                assert len(part) <= 2 * HELD_BYTES_MAX
                got += len(part)
            assert got == sent
            await stream.aclose()

    run(scenario())


def test_writing_waits(run: Run) -> None:
    """Whoever sends more than the other side takes has to wait, and may give up."""

    async def scenario() -> None:
        finish = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del writer
            await finish.wait()
            while await reader.read(1024 * 1024):
                pass

        async def fill(stream: httpcore2.AsyncNetworkStream) -> None:
            async with asyncio.timeout(0.1):
                while True:
                    await stream.write(b"x" * 1024 * 1024)

        async with serving(serve) as port:
            stream = await LoopBackend().connect_tcp("127.0.0.1", port, timeout=5.0)
            with pytest.raises(TimeoutError):
                await fill(stream)
            finish.set()
            await stream.write(b"x")
            await stream.aclose()

    run(scenario())
