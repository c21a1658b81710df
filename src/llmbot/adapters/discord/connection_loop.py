"""The loop that keeps the gateway connection: connect, listen, fall, climb the ladder again.

discord.py's own `connect()` ends on a gateway that is down at start and on a payload it cannot
parse; here the loop is ours, and discord.py serves it with its HTTP client and WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import discord

from llmbot.adapters.discord import errors
from llmbot.adapters.discord.command_sync import CommandSync
from llmbot.adapters.discord.events import EventRouter
from llmbot.adapters.discord.facts import GatewayState, Identity
from llmbot.adapters.discord.http import DiscordHttp
from llmbot.adapters.discord.link import Link
from llmbot.adapters.discord.login import Doorway
from llmbot.adapters.discord.places import Places
from llmbot.adapters.discord.presence import GatewayPresence
from llmbot.adapters.discord.session import (
    End,
    Ending,
    IdentifyBudget,
    Ladder,
    LadderSettings,
    Session,
)
from llmbot.adapters.discord.socket import RESUMABLE_CLOSE
from llmbot.adapters.discord.tasks import Tasks
from llmbot.adapters.discord.unknown_channels import Unknowns
from llmbot.conversation.messages import Source
from llmbot.conversation.ports import GatewayHandler
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, StartupError
from llmbot.kernel.events import EventBus, GatewayChanged, TaskDied


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop works with; made in `discord_gateway`."""

    client: discord.Client
    http: DiscordHttp
    handler: GatewayHandler
    identity: Identity
    places: Places
    unknowns: Unknowns
    router: EventRouter
    presence: GatewayPresence
    sync: CommandSync
    tasks: Tasks
    bus: EventBus
    clock: Clock


@dataclass(slots=True)
class LoopCounters:
    """How often what happened since the start."""

    connections: int = 0
    resumes: int = 0
    identifies: int = 0


class GatewayLoop:
    """One connection at a time; `run` ends on `close`, or with `fatal` set."""

    def __init__(
        self,
        parts: Parts,
        ladder: Ladder,
        budget: IdentifyBudget,
        settings: LadderSettings,
        *,
        compress: bool,
    ) -> None:
        self.ladder = ladder
        self.counters = LoopCounters()
        self.state = GatewayState.STOPPED
        self.up = asyncio.Event()
        self.resumed_last = False
        self.session_began: float | None = None
        self.last_error: LlmbotError | None = None
        self.fatal: StartupError | None = None
        self.link: Link | None = None
        self._parts = parts
        self._budget = budget
        self._door = Doorway(parts.http, parts.identity, budget)
        self._settings = settings
        self._compress = compress
        self._stopping = False
        self._synced = False
        self._gap_tried: int | None = None
        self._numbers_leap = False
        self._hurry = asyncio.Event()
        self._guilds_here = asyncio.Event()
        parts.router.on_guild = self._guild_came

    async def run(self) -> None:
        """Come back after every loss."""
        self._stopping, self.fatal = False, None
        self.up.clear()
        self._hurry.clear()
        try:
            while not self._stopping:
                await self._once()
        except StartupError as failure:
            self.give_up(failure)

    def give_up(self, failure: StartupError) -> StartupError:
        """Note that no further try can help; answers the failure, for whoever raises it."""
        self.fatal = failure
        self.set_state(GatewayState.FATAL, f"{failure} {failure.remedy}")
        return failure

    async def close(self, code: int) -> None:
        """Hang up for good, in bounded time; `run` then ends soon."""
        self._stopping = True
        self._hurry.set()
        if self.link is not None:
            await self.link.hang_up(code)

    async def again(self) -> None:
        """Hang up and come back without a pause."""
        self.up.clear()
        self._hurry.set()
        if self.link is not None:
            await self.link.hang_up(RESUMABLE_CLOSE)

    def set_state(self, state: GatewayState, detail: str) -> None:
        """Note where the connection stands, and tell."""
        self.state = state
        self._parts.bus.publish(GatewayChanged(state.value, detail))

    async def _once(self) -> None:
        resuming = False
        try:
            link = await self._prepared()
            ending = await link.run()
            resuming = link.resuming
        except StartupError:
            raise
        except LlmbotError as failure:
            self.last_error = failure
            ending = Ending(End.UNREACHABLE, detail=str(failure))
        except Exception as failure:  # noqa: BLE001 - a defect of ours must not end the connection for good
            self._parts.bus.publish(TaskDied("discord-gateway", type(failure).__name__, 0.0))
            ending = Ending(End.LOST, detail=type(failure).__name__)
        finally:
            self.link = None
            self._parts.presence.attach(None)
        if self._stopping:
            return
        if (fatal := errors.fatal_close(ending.code)) is not None:
            self.ladder.session = None
            raise fatal
        self.ladder.down(ending, resuming=resuming)
        await self._pause(ending)

    async def _prepared(self) -> Link:
        """A connection that is ready to run: who we are and where to go is known."""
        parts = self._parts
        if not parts.identity.user_id:
            self.set_state(GatewayState.LOGGING_IN, "proving the token")
            await self._door.log_in()
        session = self.ladder.session if self.ladder.resumes() else None
        if session is None:
            address = await self._door.find_gateway()
            await self._identify_allowed()
        else:
            address = self.ladder.resume_address(self._door.gateway_url)
            if not address or self.ladder.unreachable:
                await self._door.find_gateway()
                address = self.ladder.resume_address(self._door.gateway_url)
        self.counters.connections += 1
        self.set_state(GatewayState.CONNECTING, "resume" if session else "identify")
        self.link = Link(
            parts.client,
            parts.http,
            self,
            parts.clock,
            self._settings,
            address=address,
            session=session,
            compress=self._compress,
            generation=self.counters.connections,
        )
        return self.link

    async def _identify_allowed(self) -> None:
        while not self._stopping and (wait := self._budget.wait_s()) > 0:
            self.set_state(GatewayState.WAITING, f"identify budget, {wait:.1f} s")
            await self._parts.clock.sleep(wait)

    async def _pause(self, ending: Ending) -> None:
        pause = self.ladder.pause_s()
        self.set_state(GatewayState.WAITING, f"{ending}; next try in {pause:.1f} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._hurry.wait()
        if not self._stopping:
            self._hurry.clear()

    # LinkOwner -------------------------------------------------------------------------------

    def on_opened(self, link: Link) -> None:
        """See `LinkOwner.on_opened`."""
        if link.resuming:
            self.set_state(GatewayState.RESUMING, "waiting for what was missed")
            if self.session_began is None:
                self._parts.unknowns.begin()
        else:
            self.counters.identifies += 1
            self._budget.take()
            self.set_state(GatewayState.IDENTIFYING, "waiting for ready")

    def on_up(self, link: Link, data: Any, *, resumed: bool) -> None:
        """See `LinkOwner.on_up`."""
        if resumed:
            self.counters.resumes += 1
        else:
            self._begin_session(link, data if isinstance(data, dict) else {})
        self.ladder.up()
        self.last_error = None
        self.resumed_last = resumed
        self.set_state(GatewayState.READY, "resumed" if resumed else "new session")
        self._parts.presence.attach(link.socket)
        if resumed or not self._parts.router.awaited_guilds:
            self._tell_session(resumed=resumed)
        else:
            self._guilds_here.clear()
            if not self._parts.tasks.start(self._await_guilds(link), "discord-guilds"):
                self._tell_session(resumed=False)
        if not self._synced:
            sync = self._parts.sync.run(self._parts.identity)
            self._synced = self._parts.tasks.start(sync, "discord-commands")
        self.up.set()

    def on_event(self, link: Link, name: str, data: Any, sequence: int | None) -> None:
        """See `LinkOwner.on_event`."""
        session = self.ladder.session
        if session is not None and sequence is not None:
            session.sequence = sequence
        cursor = session.cursor if session is not None else None
        source = Source.REPLAYED if link.resuming else Source.LIVE
        self._parts.router.route(name, data, cursor, source)

    def on_garbled(self, reason: str) -> None:
        """See `LinkOwner.on_garbled`."""
        self._parts.router.note_unparsable("frame", reason)

    def on_gap(self, after: int, *, unreadable: bool) -> bool:
        """See `LinkOwner.on_gap`; once for each place, lest a lasting fault make a loop."""
        if after == self._gap_tried and not unreadable:
            # Not even a resume brings it: this server counts so, and its leaps mean nothing.
            self._numbers_leap = True
        leaps = self._numbers_leap and not unreadable
        if after == self._gap_tried or leaps or self.ladder.session is None:
            return False
        self._gap_tried = after
        return True

    def _begin_session(self, link: Link, ready: dict[str, Any]) -> None:
        self._parts.unknowns.end()
        identity = self._parts.identity
        user, application = ready.get("user"), ready.get("application")
        if isinstance(user, dict) and "id" in user:
            identity.user_id = int(user["id"])
            identity.user_name = str(user.get("username") or identity.user_name)
        if isinstance(application, dict) and "id" in application:
            identity.application_id = int(application["id"])
        guilds = ready.get("guilds")
        listed = {int(g["id"]) for g in guilds or () if isinstance(g, dict) and "id" in g}
        if isinstance(guilds, list):
            self._parts.places.keep_only(listed)
        self._parts.router.awaited_guilds = listed
        self.session_began = self._parts.clock.monotonic()
        session_id = ready.get("session_id")
        sequence = link.socket.sequence if link.socket is not None else None
        self.ladder.session = (
            Session(str(session_id), sequence or 0, str(ready.get("resume_gateway_url") or ""))
            if session_id
            else None
        )

    async def _await_guilds(self, link: Link) -> None:
        # Servers may be away for hours; the others need not wait.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.guilds_s):
                await self._guilds_here.wait()
        await self._parts.unknowns.ask_threads()
        if self.link is link:
            self._tell_session(resumed=False)

    def _guild_came(self) -> None:
        if not self._parts.router.awaited_guilds:
            self._guilds_here.set()

    def _tell_session(self, *, resumed: bool) -> None:
        channels = self._parts.places.known_channels(self._parts.identity.user_id)
        handler = self._parts.handler
        session_id = self.ladder.session.id if self.ladder.session is not None else ""
        self._parts.router.tell(
            lambda: handler.on_session(resumed=resumed, channels=channels, session_id=session_id)
        )
