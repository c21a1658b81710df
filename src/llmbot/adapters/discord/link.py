"""One connection to the gateway, from handshake to its end; then it is never heard again."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import aiohttp
from discord import Client
from discord.errors import ConnectionClosed, DiscordException
from discord.gateway import ReconnectWebSocket
from yarl import URL

from llmbot.adapters.discord.http import DiscordHttp
from llmbot.adapters.discord.session import End, Ending, LadderSettings, Session
from llmbot.adapters.discord.socket import RESUMABLE_CLOSE, GatewaySocket
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError


class LinkOwner(Protocol):
    """Who runs the connection."""

    def on_opened(self, link: Link) -> None:
        """Hello came and identify or resume is sent."""
        ...

    def on_up(self, link: Link, data: Any, *, resumed: bool) -> None:
        """The session is ready or resumed; `data` is ready's payload."""
        ...

    def on_event(self, link: Link, name: str, data: Any, sequence: int | None) -> None:
        """Any other event."""
        ...

    def on_garbled(self, reason: str) -> None:
        """A frame was skipped."""
        ...

    def on_gap(self, after: int, *, unreadable: bool) -> bool:
        """An event is missing: whether to resume for it."""
        ...


class Link:
    """Runs once; `generation` tells it from earlier ones."""

    def __init__(
        self,
        client: Client,
        http: DiscordHttp,
        owner: LinkOwner,
        clock: Clock,
        settings: LadderSettings,
        *,
        address: str,
        session: Session | None,
        compress: bool,
        generation: int,
    ) -> None:
        """A session given is resumed; without one the bot identifies."""
        self.generation = generation
        self.resuming = session is not None
        self.up = False
        self.address = address
        self.socket: GatewaySocket | None = None
        self._client = client
        self._http = http
        self._owner = owner
        self._clock = clock
        self._settings = settings
        self._session = session
        self._compress = compress
        self._end: End | None = None
        self._up_at: float | None = None
        self._answered = asyncio.Event()
        self._settled = asyncio.Event()
        self._events = 0
        self._retired = False

    async def run(self) -> Ending:
        """Connect, listen until the end, and say how it ended; raises nothing but cancellation."""
        try:
            await self._open()
        except (OSError, aiohttp.ClientError, DiscordException, LlmbotError, ValueError) as failure:
            return await self._not_opened(failure)
        except ReconnectWebSocket as failure:
            return await self._not_opened(failure)
        except asyncio.CancelledError:
            await self._drop()
            raise
        assert self.socket is not None  # noqa: S101 - `_open` set it or raised
        helpers = [
            asyncio.create_task(
                self.socket.keep_alive(self._clock), name=f"discord-heartbeat-{self.generation}"
            ),
            asyncio.create_task(self._await_answer(), name=f"discord-answer-{self.generation}"),
        ]
        try:
            return await self._listen(self.socket)
        finally:
            self._retired = True
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            await self._drop()

    async def hang_up(self, code: int = RESUMABLE_CLOSE) -> None:
        """Close this connection in bounded time; `run` then returns."""
        self._end = self._end or End.HUNG_UP
        self._retired = True
        if self.socket is not None:
            await self.socket.hang_up(code)
        else:
            await self._drop()

    async def _open(self) -> None:
        async with asyncio.timeout(self._settings.connect_s):
            session = self._session
            self._http.websocket = None
            socket = await GatewaySocket.from_client(
                self._client,
                gateway=URL(self.address),
                session=session.id if session else None,
                sequence=session.sequence if session else None,
                resume=session is not None,
                compress=self._compress,
            )
        socket.listener = self
        self.socket = socket
        self._owner.on_opened(self)

    async def _not_opened(self, failure: BaseException) -> Ending:
        code = self._http.websocket.close_code if self._http.websocket is not None else None
        await self._drop()
        end = self._end or End.UNREACHABLE
        return Ending(end, _sent_code(code), detail=type(failure).__name__)

    async def _listen(self, socket: GatewaySocket) -> Ending:
        try:
            while True:
                await socket.poll_event()
                # A frame that has come already is read without a pause, and all that follow it;
                # what one of them begins is to go on before the next is read.
                await self._clock.sleep(0)
        except ReconnectWebSocket:
            default = End.LOST
        except (ConnectionClosed, OSError, aiohttp.ClientError, RuntimeError):
            default = End.LOST
        if socket.zombie:
            default = End.ZOMBIE
        up_s = 0.0 if self._up_at is None else self._clock.monotonic() - self._up_at
        # Where we hung up ourselves the code is only the echo of ours.
        asked = self._end is not None or socket.zombie
        code = None if asked else _sent_code(socket.socket.close_code)
        return Ending(self._end or default, code, up_s, progress=self._events > 0)

    async def _await_answer(self) -> None:
        """Hang up where nothing answers; call a resume done where only its last word is missing."""
        settings = self._settings
        patience = settings.resume_answer_s if self.resuming else settings.identify_answer_s
        if not await _set_within(self._answered, patience):
            self._end = End.SILENT
            if self.socket is not None:
                await self.socket.hang_up()
            return
        while self.resuming:
            before = self._events
            if await _set_within(self._settled, patience):
                return
            if self._events == before:
                # Events are replayed and none is left, but RESUMED never comes.
                self._set_up(None, resumed=True)
                return

    async def _drop(self) -> None:
        """Release the socket, also one whose handshake was cut short."""
        raw = self._http.websocket
        if raw is not None and not raw.closed:
            try:
                async with asyncio.timeout(1.0):
                    await raw.close(code=RESUMABLE_CLOSE)
            except (TimeoutError, OSError, aiohttp.ClientError, RuntimeError):
                pass  # the transport goes with it

    # GatewayListener -------------------------------------------------------------------------

    def on_dispatch(self, name: str, data: Any, sequence: int | None) -> None:
        """See `GatewayListener.on_dispatch`."""
        if self._retired:
            return  # of a connection that was given up: the next one gets it again
        self._events += 1
        self._answered.set()
        if name == "READY":
            self.resuming = False
            self._set_up(data, resumed=False)
        elif name == "RESUMED":
            self._set_up(None, resumed=True)
        else:
            self._owner.on_event(self, name, data, sequence)

    def on_garbled(self, reason: str) -> None:
        """See `GatewayListener.on_garbled`."""
        self._owner.on_garbled(reason)

    def on_gap(self, after: int, *, unreadable: bool) -> bool:
        """See `GatewayListener.on_gap`."""
        return self._owner.on_gap(after, unreadable=unreadable)

    def on_invalid_session(self, *, resumable: bool) -> None:
        """See `GatewayListener.on_invalid_session`."""
        self._answered.set()
        self._end = End.INVALID_RESUMABLE if resumable else End.INVALID

    def on_reconnect_asked(self) -> None:
        """See `GatewayListener.on_reconnect_asked`."""
        self._end = End.RECONNECT

    def _set_up(self, data: Any, *, resumed: bool) -> None:
        if self.up and resumed:
            return
        self.up = True
        self._up_at = self._clock.monotonic()
        self._owner.on_up(self, data, resumed=resumed)
        self.resuming = False
        self._settled.set()


def _sent_code(code: int | None) -> int | None:
    """The close code that the other side sent; 1006 is no code but the lack of one."""
    return None if code in (0, 1006) else code


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
