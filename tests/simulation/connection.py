"""The bot's connection to the simulated gateway, climbing the real ladder.

Stands in for `adapters.discord_gateway.DiscordConnection`: the decisions (resume, identify, pauses,
the identify budget) are the real ones, sockets are not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from llmbot.adapters.discord.commands import APPLICATION_COMMAND, CommandDesk
from llmbot.adapters.discord.facts import GatewayState
from llmbot.adapters.discord.rest import DiscordRestAdapter
from llmbot.adapters.discord.session import (
    End,
    Ending,
    IdentifyBudget,
    Ladder,
    LadderSettings,
    Session,
)
from llmbot.adapters.discord.tasks import Tasks
from llmbot.conversation.commands.definitions import DEFINITIONS
from llmbot.conversation.messages import (
    Inbound,
    SessionCursor,
    Source,
)
from llmbot.conversation.ports import GatewayHandler, KnownChannel
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.events import EventBus
from tests.simulation.loop import LifeLoop, Timeline
from tests.simulation.rest import SimulatedRest
from tests.simulation.server import APPLICATION_ID, OUR_ID, Event, Frame, Post, Server

GUILD_ID = 1
_MENTION = f"<@{OUR_ID}>"
_ZOMBIE_S = 20.0


@dataclass(slots=True)
class GatewayWeather:
    """How the way to the gateway does now; shares of all frames."""

    dropped: float = 0.000_5
    seconds: tuple[float, float] = (0.002, 0.05)


@dataclass(frozen=True, slots=True)
class Facts:
    """The few facts of a connection that the services ask for."""

    state: GatewayState
    last_error: str = ""
    user_id: int | None = OUR_ID
    latency_ms: float | None = 1.0


class Line:
    """One connection; frames arrive in order, some late, some not at all."""

    def __init__(
        self,
        server: Server,
        timeline: Timeline,
        loop: LifeLoop,
        rng: Random,
        weather: GatewayWeather,
    ) -> None:
        self.ended: End | None = None
        self.mute = False
        self._server = server
        self._timeline = timeline
        self._loop = loop
        self._rng = rng
        self._weather = weather
        self._frames: deque[Frame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._last_arrival = 0.0

    def push(self, frame: Frame) -> None:
        """The server sends."""
        if self.mute or self._loses(frame):
            self._server.note(f"gateway frame {frame.sequence} lost")
            return
        now = self._timeline.now
        self._last_arrival = max(
            self._last_arrival, now + self._rng.uniform(*self._weather.seconds)
        )
        self._timeline.at(self._last_arrival - now, lambda: self._arrive(frame))

    def _loses(self, frame: Frame) -> bool:
        if frame.event is None or self._rng.random() >= self._weather.dropped:
            return False
        lost, garbled = (frame.sequence, frame.event), self._server.garbled
        again = lost in garbled
        garbled.add(lost)
        return not again

    def _arrive(self, frame: Frame) -> None:
        if self.ended is None and not self.mute:
            self._frames.append(frame)
            self._ring()

    def end(self, how: End) -> None:
        """The connection is lost; what has arrived can still be read."""
        if self.ended is None:
            self.ended = how
            self._server.leave(self)
            self._ring()

    def fall_silent(self) -> None:
        """Open, but nothing comes any more; the bot notices by its heartbeat."""
        self.mute = True
        self._timeline.at(_ZOMBIE_S, lambda: self.end(End.ZOMBIE))

    def _ring(self) -> None:
        if self._waiter is not None and not self._waiter.done() and not self._loop.dead:
            self._waiter.set_result(None)

    async def next(self) -> Frame | None:
        """The next frame; None at the end."""
        while not self._frames:
            if self.ended is not None:
                return None
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._frames.popleft()


class Silence:
    """A presence that nobody looks at."""

    async def show(self, status: str, text: str) -> None:
        """See `Presence.show`."""


class SimulatedConnection:
    """See `DiscordConnection`."""

    def __init__(
        self,
        server: Server,
        timeline: Timeline,
        loop: LifeLoop,
        rng: Random,
        weather: GatewayWeather,
        rest: SimulatedRest,
        handler: GatewayHandler,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self.rest = rest
        self.presence = Silence()
        self.line: Line | None = None
        self.failures: list[str] = []
        self.identifies = self.resumes = 0
        self._server = server
        self._timeline = timeline
        self._loop = loop
        self._rng = rng
        self._weather = weather
        self._handler = handler
        self._clock = clock
        self._settings = LadderSettings()
        self._ladder = Ladder(clock, rng, self._settings, api_is_discords=False)
        self._budget = IdentifyBudget(clock, self._settings.identify_spacing_s)
        self._tasks = Tasks(bus)
        desk_rest = cast(DiscordRestAdapter, rest)
        self._desk = CommandDesk(desk_rest, handler, DEFINITIONS, self._tasks, bus, clock)
        self._up = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._gap_tried: int | None = None
        self._resuming = False
        self._events = 0
        self._knows_places = False

    # ── what the services ask of it ─────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """See `DiscordConnection.start`."""
        self._running = asyncio.create_task(self._run(), name="discord-gateway")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10.0):
                await self._up.wait()

    def continue_from(self, cursor: SessionCursor | None) -> None:
        """See `DiscordConnection.continue_from`."""
        if cursor is not None:
            self._ladder.session = Session(cursor.session_id, cursor.sequence, cursor.resume_url)

    async def close_gateway(self, *, keep_session: bool = True) -> None:
        """See `DiscordConnection.close_gateway`."""
        del keep_session
        self._stopping.set()
        self._hurry.set()
        if self.line is not None:
            self.line.end(End.HUNG_UP)
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=3.0)
            self._running.cancel()
            await asyncio.wait({self._running})

    async def stop(self, *, keep_session: bool = True) -> None:
        """See `DiscordConnection.stop`."""
        await self.close_gateway(keep_session=keep_session)
        await self._tasks.stop(2.0)

    def facts(self) -> Facts:
        """See `DiscordConnection.facts`."""
        return Facts(GatewayState.READY if self._up.is_set() else GatewayState.CONNECTING)

    # ── the ladder ──────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        while not self._stopping.is_set():
            ending = await self._once()
            self._up.clear()
            if self._stopping.is_set():
                return
            self._ladder.down(ending, resuming=self._resuming)
            self._resuming = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ladder.pause_s()):
                    await self._hurry.wait()

    async def _once(self) -> Ending:
        await self._clock.sleep(self._rng.uniform(0.01, 0.15))
        session = self._ladder.session if self._ladder.resumes() else None
        self._resuming = session is not None
        if session is None:
            while not self._stopping.is_set() and (wait_s := self._budget.wait_s()) > 0:
                await self._clock.sleep(wait_s)
        if self._server.gateway_down:
            return Ending(End.UNREACHABLE)
        line = Line(self._server, self._timeline, self._loop, self._rng, self._weather)
        self.line = line
        self._events = 0
        if session is not None:
            self._server.resume(line, session.id, session.sequence)
        else:
            self._budget.take()
            self.identifies += 1
            self._server.identify(line)
        try:
            return await self._listen(line)
        finally:
            line.end(End.HUNG_UP)
            self.line = None

    async def _listen(self, line: Line) -> Ending:
        up_at: float | None = None
        while (frame := await line.next()) is not None:
            if frame.kind == "INVALID":
                return Ending(End.INVALID)
            self._events += 1
            if frame.kind == "READY":
                up_at = self._clock.monotonic()
                self._begin_session(line, frame)
            elif self._lacks_one_before(frame):
                return Ending(End.LOST, up_s=0.0, progress=True)
            elif frame.kind == "RESUMED":
                up_at = self._clock.monotonic()
                self._resumed()
            else:
                self._take(frame)
        up_s = 0.0 if up_at is None else self._clock.monotonic() - up_at
        return Ending(line.ended or End.LOST, up_s=up_s, progress=self._events > 0)

    def _begin_session(self, line: Line, frame: Frame) -> None:
        self._ladder.session = Session(frame.session_id, frame.sequence or 0, "")
        self._resuming = False
        # The servers follow as events; should the connection end before, they are replayed.
        self._knows_places = True
        self._ladder.up()
        self._tasks.start(self._guilds_came(line), "discord-guilds")
        self._up.set()

    async def _guilds_came(self, line: Line) -> None:
        await self._clock.sleep(self._rng.uniform(0.0, 2.0))
        if self.line is line:
            channels = self._places()
            self._announce(resumed=False, channels=channels)

    def _resumed(self) -> None:
        self._ladder.up()
        self._resuming = False
        self.resumes += 1
        channels = self._places() if self._knows_places else ()
        self._announce(resumed=True, channels=channels)
        self._up.set()

    def _announce(self, *, resumed: bool, channels: Sequence[KnownChannel]) -> None:
        session_id = self._ladder.session.id if self._ladder.session is not None else ""
        self._tell(
            lambda: self._handler.on_session(
                resumed=resumed, channels=channels, session_id=session_id
            )
        )

    def _places(self) -> Sequence[KnownChannel]:
        return tuple(c.known() for c in self._server.channels.values() if c.guild_id is not None)

    # ── events ──────────────────────────────────────────────────────────────────────────────────

    def _lacks_one_before(self, frame: Frame) -> bool:
        """Whether an event before this one is missing, so that it must be asked for, once."""
        session = self._ladder.session
        if session is None or frame.sequence is None:
            return False
        if frame.sequence > session.sequence + 1 and session.sequence != self._gap_tried:
            self._gap_tried = session.sequence
            return True
        session.sequence = max(session.sequence, frame.sequence)
        return False

    def _take(self, frame: Frame) -> None:
        """One event."""
        session, event = self._ladder.session, frame.event
        if event is None:
            return
        cursor = session.cursor if session is not None else None
        source = Source.REPLAYED if self._resuming else Source.LIVE
        post = event.post
        if event.kind == "create":
            if not post.ours:
                inbound = self._inbound(event, source)
                self._tell(lambda: self._handler.on_message(inbound, cursor))
            seen = replace(post.seen(), content=event.content)
            self._tell(lambda: self._handler.on_message_seen(seen))
        elif event.kind == "edit":
            post.heard_s["edit"] = self._timeline.now
            self._tell(
                lambda: self._handler.on_message_edited(post.channel_id, post.id, event.content)
            )
        elif event.kind == "delete":
            post.heard_s["delete"] = self._timeline.now
            self._tell(lambda: self._handler.on_message_deleted(post.channel_id, post.id))
        else:
            self._tell(lambda: self._command(post))

    def _inbound(self, event: Event, source: Source) -> Inbound:
        post = event.post
        channel = self._server.channels[post.channel_id]
        parent = None if post.reply_to is None else self._server.posts.get(post.reply_to)
        to_us = None if parent is None else parent.ours
        if parent is not None and self._rng.random() < 0.2:
            to_us = None  # Discord does not always say whose message it was
        return Inbound(
            message_id=post.id,
            channel_id=post.channel_id,
            guild_id=channel.guild_id,
            author_id=post.author_id,
            author_name=f"user{post.author_id}",
            content=event.content,
            source=source,
            is_direct=channel.guild_id is None,
            is_thread=channel.is_thread,
            in_our_thread=channel.is_thread,
            mentions_us=_MENTION in event.content,
            reply_to=post.reply_to,
            replies_to_us=to_us,
        )

    def _command(self, post: Post) -> None:
        """What the real desk makes of a command."""
        self._desk.take(
            {
                "id": str(post.id),
                "application_id": str(APPLICATION_ID),
                "token": "token",
                "type": APPLICATION_COMMAND,
                "guild_id": str(GUILD_ID),
                "channel_id": str(post.channel_id),
                "member": {
                    "permissions": "0",
                    "user": {"id": str(post.author_id), "username": f"user{post.author_id}"},
                },
                "data": {
                    "name": "chat",
                    "type": 1,
                    "options": [{"name": "message", "type": 3, "value": post.content}],
                },
            }
        )

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as failure:  # noqa: BLE001 - counted as the real router does, and judged
            self.failures.append(f"handler: {failure!r}")
