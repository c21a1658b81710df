"""What the tests of the Discord adapter share: who hears it, and a lesser server to speak with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import orjson
from aiohttp import web
from tests.support.waiting import PATIENCE_S, until

from llmbot.adapters.discord.command_sync import CommandMemory
from llmbot.adapters.discord.gateway import DiscordConnection
from llmbot.adapters.discord.session import LadderSettings
from llmbot.conversation.messages import (
    ChannelMessage,
    CommandDefinition,
    CommandReply,
    CommandRequest,
    Inbound,
    SessionCursor,
)
from llmbot.conversation.ports import KnownChannel
from llmbot.kernel.clock import Random, SystemClock
from llmbot.kernel.events import EventBus

T = TypeVar("T")
TOKEN = "simulated-token"
QUICK = LadderSettings(
    connect_s=3.0,
    resume_answer_s=3.0,
    identify_answer_s=3.0,
    guilds_s=3.0,
    backoff_base_s=0.01,
    backoff_cap_s=0.05,
    invalid_session_s=(0.0, 0.02),
    identify_spacing_s=0.0,
)


@dataclass
class Heard:
    """A `GatewayHandler` that keeps all it is told."""

    messages: asyncio.Queue[tuple[Inbound, SessionCursor | None]] = field(
        default_factory=asyncio.Queue
    )
    seen: asyncio.Queue[ChannelMessage] = field(default_factory=asyncio.Queue)
    edits: asyncio.Queue[tuple[int, int, str]] = field(default_factory=asyncio.Queue)
    deletions: asyncio.Queue[tuple[int, int]] = field(default_factory=asyncio.Queue)
    sessions: asyncio.Queue[tuple[bool, list[KnownChannel]]] = field(default_factory=asyncio.Queue)
    commands: asyncio.Queue[CommandRequest] = field(default_factory=asyncio.Queue)
    answer: Callable[[CommandRequest], Awaitable[CommandReply | None]] | None = None
    breaks: bool = False

    def on_message(self, inbound: Inbound, cursor: SessionCursor | None) -> None:
        if self.breaks:
            raise RuntimeError("a defect of the handler")
        self.messages.put_nowait((inbound, cursor))

    def on_message_seen(self, message: ChannelMessage) -> None:
        self.seen.put_nowait(message)

    def on_message_edited(self, channel_id: int, message_id: int, content: str) -> None:
        self.edits.put_nowait((channel_id, message_id, content))

    def on_message_deleted(self, channel_id: int, message_id: int) -> None:
        self.deletions.put_nowait((channel_id, message_id))

    def on_session(
        self, *, resumed: bool, channels: Sequence[KnownChannel], session_id: str
    ) -> None:
        del session_id
        self.sessions.put_nowait((resumed, list(channels)))

    async def on_command(self, request: CommandRequest) -> CommandReply | None:
        self.commands.put_nowait(request)
        return None if self.answer is None else await self.answer(request)

    async def message(self) -> Inbound:
        """The next message."""
        return (await soon(self.messages.get()))[0]


async def soon(awaited: Awaitable[T]) -> T:
    """What comes within the tests' patience."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaited


@dataclass
class Memory:
    """Keeps what commands were registered, as a database would."""

    kept: dict[int, str] = field(default_factory=dict)

    async def load(self, application_id: int) -> str | None:
        return self.kept.get(application_id)

    async def save(self, application_id: int, digest: str) -> None:
        self.kept[application_id] = digest


@dataclass
class Client:
    """A connection with who hears it and what it tells."""

    connection: DiscordConnection
    heard: Heard
    bus: EventBus

    @property
    def rest(self) -> Any:
        return self.connection.rest

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        await until(holds)


def client(base: str, *, heard: Heard | None = None, **more: Any) -> Client:
    """A connection that is not started yet."""
    clock = SystemClock()
    bus = EventBus(clock)
    heard = heard or Heard()
    memory = more.pop("memory", None) or Memory()
    settings: dict[str, Any] = {
        "token": TOKEN,
        "commands": (),
        "ladder": QUICK,
        "rng": Random(7),
        "start_s": PATIENCE_S,
    }
    connection = DiscordConnection(
        api_base_url=base,
        handler=heard,
        bus=bus,
        clock=clock,
        command_memory=CommandMemory(memory.load, memory.save),
        **(settings | more),
    )
    return Client(connection, heard, bus)


@asynccontextmanager
async def connected(base: str, **more: Any) -> AsyncIterator[Client]:
    """A connection that is ready, closed at the end."""
    made = client(base, **more)
    await made.connection.start()
    try:
        yield made
    finally:
        await made.connection.stop()


def command(name: str, *, deferred: bool = False) -> CommandDefinition:
    """A command without options."""
    return CommandDefinition(name, f"The command {name}", deferred=deferred)


# a lesser server --------------------------------------------------------------------------------


@dataclass
class Lesser:
    """A small server that speaks the protocol and leaves out whatever it may."""

    base: str = ""
    resumes: str = "silent"  # silent, invalid, ready
    acknowledges: bool = True
    names_us: bool = True
    interval_ms: int = 60_000
    gateway_paths: tuple[str, ...] = ("/gateway",)
    session_start_limit: dict[str, int] | None = None
    frames: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    closes: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue)
    calls: list[str] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None
    sequence: int = 0

    async def event(self, name: str, data: Any, *, skip: int = 0) -> None:
        """Send an event."""
        self.sequence += 1 + skip
        await self.raw({"op": 0, "t": name, "s": self.sequence, "d": data})

    async def raw(self, payload: Any) -> None:
        """Send a frame; a string goes out as it is."""
        assert self.socket is not None
        text = payload if isinstance(payload, str) else orjson.dumps(payload).decode()
        await self.socket.send_str(text)

    async def frame(self, op: int) -> dict[str, Any]:
        """The next frame of the bot with this opcode."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                frame = await self.frames.get()
                if frame["op"] == op:
                    return frame

    async def rest(self, request: web.Request) -> web.Response:
        """Answer under a content type that discord.py would not read."""
        path = "/" + request.match_info["tail"]
        self.calls.append(f"{request.method} {path}")
        body: Any = None
        if path == "/users/@me" and self.names_us:
            body = {"id": "42", "username": "lesser-bot"}
        elif path in self.gateway_paths:
            body = {"url": self.base.replace("http", "ws") + "/ws"}
            if self.session_start_limit is not None:
                body["session_start_limit"] = self.session_start_limit
        elif path.endswith("/messages") and request.method == "POST":
            body = {"id": "77", "content": orjson.loads(await request.read())["content"]}
        status = 404 if body is None else 200
        text = orjson.dumps(body or {"message": "404: Not Found"}).decode()
        return web.Response(
            text=text, status=status, content_type="application/json", charset="utf-8"
        )

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One gateway connection."""
        self.socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.raw({"op": 10, "d": {"heartbeat_interval": self.interval_ms}})
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            frame = orjson.loads(message.data)
            self.frames.put_nowait(frame)
            if frame["op"] == 1 and self.acknowledges:
                await self.raw({"op": 11})
            elif frame["op"] == 2 or (frame["op"] == 6 and self.resumes == "ready"):
                await self.ready()
            elif frame["op"] == 6 and self.resumes == "invalid":
                await self.raw({"op": 9, "d": False})
        self.closes.put_nowait(socket.close_code)
        return socket

    async def ready(self) -> None:
        """Say so, with as little as possible."""
        await self.event("READY", {"user": {"id": "42"}, "session_id": f"s{self.sequence}"})


@asynccontextmanager
async def lesser(**settings: Any) -> AsyncIterator[Lesser]:
    """Run a lesser server."""
    server = Lesser(**settings)
    app = web.Application()
    app.router.add_get("/ws", server.serve)
    app.router.add_route("*", "/api/v10/{tail:.+}", server.rest)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    if server.socket is not None:
        await server.socket.close()
    await runner.cleanup()


def said(content: str, **more: Any) -> dict[str, Any]:
    """A message's payload with as little as possible."""
    return {"id": "1001", "channel_id": "5", "author": {"id": "9"}, "content": content} | more
