"""What the tests of the simulated Discord share: a running one, and clients that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import discord
import orjson
import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket
from discord.http import Route
from tests.support.waiting import PATIENCE_S

from llmbot.simulators.discord.server import DiscordSettings, SimulatedDiscord
from llmbot.simulators.faults import FaultBoard

Json = dict[str, Any]
TOKEN = "simulated-token"
ALL_INTENTS = (1 << 15) | (1 << 12) | (1 << 9) | (1 << 0) | (1 << 10) | (1 << 11) | (1 << 14)
CONTROL = "/_sim/discord/"


@dataclass(frozen=True, slots=True)
class Reply:
    """A REST answer."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """Discord's own error code."""
        return int(self.body["code"])


@dataclass(slots=True)
class Exchange:
    """One REST call as it went over the wire, for checks against the published document."""

    method: str
    path: str
    request: Any
    status: int
    response: Any


@dataclass(slots=True)
class Running:
    """A simulated Discord on a port of its own."""

    simulated: SimulatedDiscord
    board: FaultBoard
    base: str
    http: aiohttp.ClientSession
    exchanges: list[Exchange] = field(default_factory=list)

    async def control(self, method: str, path: str, expected: int = 200, **body: Any) -> Any:
        """Call the control API; a query for GET, else a JSON body."""
        given: Json = {"params": body} if method == "GET" else {"json": body}
        async with self.http.request(method, self.base + CONTROL + path, **given) as response:
            answer = await response.json()
            assert response.status == expected, answer
            return answer

    async def say(self, content: str, **more: Any) -> Json:
        """Say something, by default as alice in #general of the first server."""
        said: Json = await self.control(
            "POST", "say", **({"user": "alice", "content": content} | more)
        )
        return said

    async def messages(self, **where: Any) -> list[Json]:
        """Read a channel with its history."""
        answer = await self.control("GET", "messages", **where)
        found: list[Json] = answer["messages"]
        return found

    async def count(self, name: str) -> int:
        """Return one of the simulator's counts."""
        statistics = await self.control("GET", "statistics")
        return int(statistics["counts"][name])

    async def channel_id(self, name: str = "general") -> str:
        """Return the id of a channel of the first server."""
        answer = await self.control("GET", "messages", channel=name)
        return str(answer["channel_id"])

    async def rest(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **more: Any
    ) -> Reply:
        """Make a REST call as the bot."""
        headers = {} if token is None else {"Authorization": f"Bot {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            more["data"] = body if isinstance(body, bytes) else orjson.dumps(body)
        url = f"{self.base}/api/v10{path}"
        async with self.http.request(method, url, headers=headers, **more) as response:
            data = await response.read()
            is_json = response.headers.get("Content-Type") == "application/json"
            parsed = orjson.loads(data) if is_json else data
            return Reply(response.status, parsed, dict(response.headers))

    @asynccontextmanager
    async def events(self, after: int | None = None) -> AsyncIterator[Events]:
        """Read the stream of events, from now on or after an id."""
        query = {} if after is None else {"after": str(after)}
        timeout = aiohttp.ClientTimeout(total=None)
        url = self.base + CONTROL + "events"
        async with self.http.get(url, params=query, timeout=timeout) as response:
            events = Events(response)
            if after is None:
                await events.next()  # the greeting: from here on nothing is missed
            yield events


@dataclass(slots=True)
class Events:
    """The stream of server-sent events of the control API."""

    response: aiohttp.ClientResponse

    async def next(self) -> Json:
        """Return the next event."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = await self.response.content.readline()
                if not line:
                    raise EOFError
                if line.startswith(b"data: "):
                    event: Json = orjson.loads(line[6:])
                    return event

    async def wait(self, kind: str, fits: Callable[[Json], bool] = lambda _event: True) -> Json:
        """Return the next event of a kind that fits."""
        while True:
            event = await self.next()
            if event["type"] == kind and fits(event):
                return event

    async def answer_to(self, message_id: str, *, content: str | None = None) -> Json:
        """Return the bot's message that replies to a message (with a certain content)."""

        def fits(event: Json) -> bool:
            message = event["message"]
            return message["reply_to"] == message_id and content in (None, message["content"])

        while True:
            event = await self.next()
            if event["type"] in ("message_create", "message_update") and fits(event):
                found: Json = event["message"]
                return found


@asynccontextmanager
async def running(
    settings: DiscordSettings | None = None, *, prefix: str = "", record: bool = False
) -> AsyncIterator[Running]:
    """Run a simulated Discord; without rate limits unless the settings say so."""
    board = FaultBoard()
    chosen = settings or DiscordSettings(rate_limits=False)
    simulated = SimulatedDiscord(board, chosen)
    exchanges: list[Exchange] = []
    app = web.Application(middlewares=[_recorder(exchanges)] if record else [])
    simulated.attach(app, prefix)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}"
    try:
        async with aiohttp.ClientSession() as http:
            yield Running(simulated, board, base, http, exchanges)
    finally:
        await runner.cleanup()


def _recorder(exchanges: list[Exchange]) -> Any:
    @web.middleware
    async def record(
        request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        body = None
        if "/api/" not in request.path:
            return await _served(handler, request)
        if request.content_type == "application/json" and request.can_read_body:
            data = await request.read()
            with contextlib.suppress(orjson.JSONDecodeError):
                body = orjson.loads(data)
        response = await _served(handler, request)
        if isinstance(response, web.Response):
            is_json = response.headers.get("Content-Type") == "application/json"
            raw = response.body
            answer = orjson.loads(raw) if is_json and isinstance(raw, bytes) else None
            path = request.path.split("/api/", 1)[1].partition("/")[2]
            exchanges.append(Exchange(request.method, f"/{path}", body, response.status, answer))
        return response

    return record


async def _served(
    handler: Callable[[web.Request], Any], request: web.Request
) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    return response


# discord.py -----------------------------------------------------------------------------------


class Bot(discord.Client):
    """An ordinary discord.py client that notes what it hears."""

    def __init__(self, *, intents: discord.Intents | None = None, **options: Any) -> None:
        super().__init__(intents=intents or _intents(), guild_ready_timeout=0.05, **options)
        self.heard: asyncio.Queue[discord.Message] = asyncio.Queue()
        self.is_up = asyncio.Event()
        self.resumed = asyncio.Event()
        self.running: asyncio.Task[None] | None = None

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Identify at once; by default discord.py waits five seconds before a second time."""

    async def on_ready(self) -> None:
        self.is_up.set()

    async def on_resumed(self) -> None:
        self.resumed.set()

    async def on_message(self, message: discord.Message) -> None:
        if message.author != self.user:
            self.heard.put_nowait(message)

    async def ending(self) -> BaseException | None:
        """Wait until the client has ended by itself, and return with what error."""
        assert self.running is not None
        await asyncio.wait({self.running}, timeout=PATIENCE_S)
        return self.running.exception()

    async def hear(self) -> discord.Message:
        """Return the next message of somebody else."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.heard.get()


def _intents() -> discord.Intents:
    intents = discord.Intents.default()
    intents.message_content = True
    return intents


@contextlib.contextmanager
def pointed_at(base: str) -> Any:
    """Let discord.py use another base for a while."""
    former, former_gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE = f"{base}/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws{base.removeprefix('http')}/gateway")
    try:
        yield
    finally:
        Route.BASE = former
        DiscordWebSocket.DEFAULT_GATEWAY = former_gateway


@asynccontextmanager
async def logged_in(at: Running, bot: Bot | None = None) -> AsyncIterator[Bot]:
    """Log a discord.py client in, and out again at the end."""
    bot = bot or Bot()
    with pointed_at(at.base):
        task = bot.running = asyncio.create_task(bot.start(TOKEN), name="discord-py")
        try:
            async with asyncio.timeout(PATIENCE_S):
                await bot.is_up.wait()
            yield bot
        finally:
            await bot.close()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # a test that wants a client to end asks `ending`


# the bare protocol ----------------------------------------------------------------------------


class Wire:
    """A gateway client that does nothing by itself."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.sequence = 0
        self.session_id = ""
        self._inflate = zlib.decompressobj()

    async def frame(self) -> Json:
        """Return the next frame.

        Raises:
            ConnectionError: the connection ended; `close_code` says how.
        """
        message = await self.socket.receive(timeout=PATIENCE_S)
        if message.type is aiohttp.WSMsgType.TEXT:
            frame = orjson.loads(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            frame = orjson.loads(self._inflate.decompress(message.data))
        else:
            raise ConnectionError(str(message))
        if frame["s"] is not None:
            self.sequence = frame["s"]
        return dict(frame)

    async def op(self, op: int) -> Json:
        """Return the next frame with an opcode."""
        while True:
            frame = await self.frame()
            if frame["op"] == op:
                return frame

    async def event(self, name: str) -> Json:
        """Return the data of the next event of a name."""
        while True:
            frame = await self.frame()
            if frame["t"] == name:
                data: Json = frame["d"]
                return data

    async def send(self, op: int, data: Any) -> None:
        """Send a frame."""
        await self.socket.send_bytes(orjson.dumps({"op": op, "d": data}))

    async def identify(self, intents: int = ALL_INTENTS, **more: Any) -> Self:
        """Identify, and wait for READY and the first server."""
        await self.send(2, {"token": TOKEN, "intents": intents, "properties": {}} | more)
        ready = await self.event("READY")
        self.session_id = ready["session_id"]
        return self

    async def resume(self, session_id: str, sequence: int) -> None:
        """Ask to resume."""
        await self.send(6, {"token": TOKEN, "session_id": session_id, "seq": sequence})

    async def close_code(self) -> int | None:
        """Wait until the connection ends, and return its close code."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.frame()
        await self.socket.close()
        return self.socket.close_code


@asynccontextmanager
async def wired(at: Running, query: str = "v=10&encoding=json") -> AsyncIterator[Wire]:
    """Open a gateway connection and read its hello."""
    url = f"ws{at.base.removeprefix('http')}/gateway?{query}"
    async with at.http.ws_connect(url, autoclose=True) as socket:
        yield Wire(socket)
