"""The supervised connection to Discord: its life, its ports, what may be known of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import discord
from discord.http import Route

from llmbot.adapters.discord.command_sync import CommandMemory, CommandSync
from llmbot.adapters.discord.commands import CommandDesk
from llmbot.adapters.discord.connection_loop import GatewayLoop, Parts
from llmbot.adapters.discord.events import EventRouter
from llmbot.adapters.discord.facts import GatewayFacts, GatewayState, Identity, Reconnected
from llmbot.adapters.discord.http import DiscordHttp, is_discords_own, normalized_base
from llmbot.adapters.discord.places import Places
from llmbot.adapters.discord.presence import GatewayPresence
from llmbot.adapters.discord.recent_exchanges import RestRecently
from llmbot.adapters.discord.rest import DiscordRestAdapter
from llmbot.adapters.discord.session import IdentifyBudget, Ladder, LadderSettings, Session
from llmbot.adapters.discord.socket import RESUMABLE_CLOSE
from llmbot.adapters.discord.tasks import Tasks
from llmbot.adapters.discord.unknown_channels import Unknowns
from llmbot.conversation.messages import CommandDefinition, SessionCursor
from llmbot.conversation.ports import DiscordRest, GatewayHandler, Presence
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import CredentialsError, StartupError
from llmbot.kernel.events import EventBus

_RECONNECT_S = 30.0
_STOP_S = 3.0
_PROBE_S = 4.0
_TASKS_GRACE_S = 2.0
_NORMAL_CLOSE = 1000


class DiscordConnection:
    """Owns the discord.py client; `rest` and `presence` are its other two ports.

    Made from: `token`, a secret; `api_base_url`, where the REST API is, None for Discord itself;
    `handler`, who hears messages and commands; `bus`, where changes are told; `clock`; `rng` for
    jitter; `commands` to register, and `command_memory` that keeps what was registered, so that it
    is done once; `resume_from`, the place up to which an earlier process stored everything;
    `ladder`, patience and pauses; `start_s`, how many seconds `start` waits for the session;
    `compress`, whether to ask for zlib-stream, by default only of Discord itself.
    """

    rest: DiscordRest
    presence: Presence

    def __init__(
        self,
        *,
        token: str,
        api_base_url: str | None,
        handler: GatewayHandler,
        bus: EventBus,
        clock: Clock,
        rng: Random,
        commands: Sequence[CommandDefinition],
        command_memory: CommandMemory,
        resume_from: SessionCursor | None = None,
        ladder: LadderSettings | None = None,
        start_s: float = 10.0,
        compress: bool | None = None,
    ) -> None:
        """Take all that it needs (see the class); nothing is asked of Discord before `start`."""
        base = normalized_base(api_base_url)
        settings = ladder or LadderSettings()
        self._token = token.strip()
        self._clock = clock
        self._start_s = start_s
        self._client = _client()
        self._http = DiscordHttp(self._client.loop, base_url=base, clock=clock, rng=rng)
        # The client's only two references to its HTTP side; there is no parameter for it.
        self._client.http = self._client._connection.http = self._http  # noqa: SLF001 - said above
        self._identity = Identity()
        self._tasks = Tasks(bus)
        self._places = Places()
        unknowns = Unknowns(self._http, self._places, self._identity, self._tasks, clock.wall())
        rest = DiscordRestAdapter(self._http, lambda: self._identity.user_id)
        presence = GatewayPresence(clock)
        desk = CommandDesk(rest, handler, commands, self._tasks, bus, clock)
        self._router = EventRouter(handler, self._identity, self._places, unknowns, desk, bus)
        parts = Parts(
            client=self._client,
            http=self._http,
            handler=handler,
            identity=self._identity,
            places=self._places,
            unknowns=unknowns,
            router=self._router,
            presence=presence,
            sync=CommandSync(self._http, commands, command_memory, clock, bus),
            tasks=self._tasks,
            bus=bus,
            clock=clock,
        )
        self._budget = IdentifyBudget(clock, settings.identify_spacing_s)
        steps = Ladder(clock, rng, settings, is_discords_own(base), _session(resume_from))
        asks_compressed = is_discords_own(base) if compress is None else compress
        self._loop = GatewayLoop(parts, steps, self._budget, settings, compress=asks_compressed)
        self._unknowns = unknowns
        self.rest = rest
        self.presence = self._presence = presence
        self._running: asyncio.Task[None] | None = None
        self._presenting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Log in and begin to listen; waits a bounded time for the session to be ready.

        Discord being away is no failure: the connection goes on trying in the background.

        Raises:
            CredentialsError: Discord refused the token.
            IntentsError: Discord refused the intents.
            StartupError: Discord refused the connection for good for another reason.
        """
        if self._running is not None:
            raise RuntimeError("started already")
        if not self._token.isascii() or not self._token.isprintable() or not self._token:
            raise self._loop.give_up(CredentialsError("The token holds characters no token has."))
        await self._client._async_setup_hook()  # noqa: SLF001 - gives discord.py the running loop
        await self._http.open(self._token)
        self._running = asyncio.create_task(self._loop.run(), name="discord-gateway")
        self._presenting = asyncio.create_task(self._presence.run(), name="discord-presence")
        try:
            await self._up_or_ended(self._running, self._start_s)
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._loop.fatal is not None:
            await self._release()
            raise self._loop.fatal

    def continue_from(self, cursor: SessionCursor | None) -> None:
        """Resume an earlier process's session at the next connect, unless there is a newer one."""
        if cursor is not None and self._loop.ladder.session is None:
            self._loop.ladder.session = Session(
                cursor.session_id, cursor.sequence, cursor.resume_url
            )

    async def run(self) -> None:
        """Return when the connection was stopped.

        Raises:
            StartupError: the connection ended for good; `facts` names the remedy, and `reconnect`
                tries anew once it is applied.
        """
        while (running := self._running) is not None:
            await asyncio.wait({running})
            if running is self._running:
                break
        if self._loop.fatal is not None:
            raise self._loop.fatal

    async def close_gateway(self, *, keep_session: bool = True) -> None:
        """Hear nothing more; REST goes on. The session stays resumable unless it is given up."""
        connected = self._loop.link is not None
        await self._loop.close(RESUMABLE_CLOSE if keep_session else _NORMAL_CLOSE)
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=_STOP_S if connected else 0.0)
            self._running.cancel()
            await asyncio.wait({self._running})
        if self._loop.state is not GatewayState.STOPPED:
            kept = "session kept" if keep_session else "session ended"
            self._loop.set_state(GatewayState.STOPPED, kept)

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close everything in bounded time; calls in flight get a moment to end."""
        await self.close_gateway(keep_session=keep_session)
        await self._release()

    async def reconnect(self) -> Reconnected:
        """Close and come back, by resuming where possible; works after a fatal end too."""
        if self._running is None or self._running.done():
            return await self._start_anew()
        await self._loop.again()
        await self._up_or_ended(self._running, _RECONNECT_S)
        return self._reconnected()

    async def _up_or_ended(self, running: asyncio.Task[None], timeout_s: float) -> None:
        up = asyncio.create_task(self._loop.up.wait(), name="discord-up")
        try:
            await asyncio.wait(
                {up, running}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            up.cancel()
            await asyncio.wait({up})

    async def _start_anew(self) -> Reconnected:
        await self._release()
        try:
            await self.start()
        except StartupError as failure:
            return Reconnected(ready=False, resumed=False, detail=f"{failure} {failure.remedy}")
        return self._reconnected()

    def _reconnected(self) -> Reconnected:
        if not self._loop.up.is_set():
            why = self._loop.fatal or self._loop.last_error
            return Reconnected(ready=False, resumed=False, detail=str(why or "still trying"))
        resumed = self._loop.resumed_last
        return Reconnected(
            ready=True, resumed=resumed, detail="resumed" if resumed else "new session"
        )

    async def _release(self) -> None:
        if self._presenting is not None:
            self._presenting.cancel()
            await asyncio.wait({self._presenting})
        await self._tasks.stop(_TASKS_GRACE_S)
        await self._http.close()
        self._running = self._presenting = None

    async def probe(self) -> None:
        """Ask who we are: the cheapest call that proves token and REST.

        Raises:
            LlmbotError: Discord did not answer, or refused.
        """
        (await self._http.call(Route("GET", "/users/@me"), deadline_s=_PROBE_S)).checked()

    def cursor(self) -> SessionCursor | None:
        """The place in the stream of the last event heard, to be stored at a clean stop."""
        session = self._loop.ladder.session
        return None if session is None or self._unknowns.held else session.cursor

    def rest_recently(self) -> RestRecently:
        """The REST calls of the last five minutes; up to a millisecond of work."""
        return self._http.recent.read()

    def facts(self) -> GatewayFacts:
        """See `GatewayFacts`."""
        now = self._clock.monotonic()
        loop, counters = self._loop, self._loop.counters
        socket = loop.link.socket if loop.link is not None else None
        ack = socket.last_ack if socket is not None else None
        latency = socket.latency_s if socket is not None else None
        session, began = loop.ladder.session, loop.session_began
        error = loop.fatal or loop.last_error
        if error is None and self._http.token_refused:
            error = CredentialsError("Discord refuses the token on REST calls (401).")
        return GatewayFacts(
            state=loop.state,
            session_age_s=None if session is None or began is None else now - began,
            latency_ms=None if latency is None else latency * 1000,
            last_ack_age_s=None if ack is None else now - ack,
            sequence=session.sequence if session is not None else None,
            connections=counters.connections,
            resumes=counters.resumes,
            identifies=counters.identifies,
            refused_resumes=loop.ladder.refused_total,
            identifies_left=self._budget.remaining,
            unparsable=self._router.unparsable,
            handler_failures=self._router.handler_failures,
            guilds=len(self._places.guilds),
            user_id=self._identity.user_id or None,
            user_name=self._identity.user_name,
            application_id=self._identity.application_id or None,
            last_error=str(error) if error is not None else "",
            remedy=error.remedy if error is not None else "",
            rest_requests=self._http.counters.requests,
            rest_retries=self._http.counters.retries,
            rest_rate_limited=self._http.limits.rate_limited,
            rest_unavailable=self._http.counters.unavailable,
            invalid_requests=self._http.limits.invalid_requests,
            rest_quiet_s=self._http.quiet_s(),
        )


def _session(cursor: SessionCursor | None) -> Session | None:
    if cursor is None:
        return None
    return Session(cursor.session_id, cursor.sequence, cursor.resume_url)


def _client() -> discord.Client:
    """A discord.py client without caches: only its connection settings are used."""
    # At debug level discord.py logs addresses that hold interaction tokens.
    logging.getLogger("discord").setLevel(logging.WARNING)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    intents = discord.Intents.none()
    intents.guilds = intents.guild_messages = intents.dm_messages = intents.message_content = True
    return discord.Client(
        intents=intents,
        max_messages=None,
        member_cache_flags=discord.MemberCacheFlags.none(),
        chunk_guilds_at_startup=False,
        heartbeat_timeout=0,  # acknowledgements are watched instead; see discord_socket
    )
