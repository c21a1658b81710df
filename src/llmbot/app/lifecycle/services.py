"""The services that the supervisor starts and stops; see `bootstrap.py` for their list."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from llmbot.adapters.discord.files import HttpFileFetcher
from llmbot.adapters.discord.gateway import DiscordConnection
from llmbot.app.lifecycle.supervised_tasks import RestartPolicy, WatchedTask
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.app.limits import Limits
from llmbot.app.models import ModelChain
from llmbot.app.parts import Patience
from llmbot.conversation.commands.handlers import BotState
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.missed.catchup import CatchUp
from llmbot.conversation.modes import Modes
from llmbot.conversation.ports import Presence
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.workers import Workers
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, StartupError
from llmbot.kernel.events import EventBus, WorkRecovered
from llmbot.kernel.ids import snowflake_at
from llmbot.operations.assess import Assessor
from llmbot.storage.database.opening import Database

_PAGE = 500
_KEEP_PLACE_S = 2.0
_CROWD = 20
"""Above so many waiting messages the presence says so."""

_PRUNE_S = 3600.0
_PRUNE_ROWS = 1000


_HANGS_AFTER_S = 2.0


@dataclass(slots=True)
class DatabaseService:
    """The durable database."""

    database: Database
    name: str = "database"
    needs: tuple[str, ...] = ()

    async def start(self) -> None:
        """Open, check, migrate."""
        await self.database.start()

    async def stop(self) -> None:
        """Commit what is queued and close."""
        await self.database.stop()

    def trouble(self) -> str:
        """The last error, while batches fail, or that one does not come back."""
        facts = self.database.facts()
        if not facts.last_error and facts.busy_s > _HANGS_AFTER_S:
            return f"the disk or the server has not answered for {facts.busy_s:.0f} s"
        return facts.last_error


@dataclass(slots=True)
class ModelClients:
    """The providers' libraries, loaded while the other services start: nothing takes longer."""

    chain: ModelChain
    supervisor: Callable[[], Supervisor]
    name: str = "model-clients"
    needs: tuple[str, ...] = ()

    async def start(self) -> None:
        """Begin to load them."""
        once = RestartPolicy(restarts_max=0, may_end=True)
        self.supervisor().watch("load-models", self._load, owner=self.name, policy=once)

    async def stop(self) -> None:
        """The supervisor ends the task; the workers close what is open."""

    def trouble(self) -> str:
        """None of its own."""
        return ""

    async def _load(self) -> None:
        # The workers' start asks for the same, and says what is wrong with it.
        with contextlib.suppress(LlmbotError):
            await self.chain.warm_up()


@dataclass(slots=True)
class QueueService:
    """The queue, with what earlier lives of the process had not finished."""

    queue: JobQueue
    store: JobStore
    limits: Limits
    modes: Modes
    database: Database
    bus: EventBus
    name: str = "queue"
    needs: tuple[str, ...] = ("database",)
    loaded: bool = False

    async def start(self) -> None:
        """Take up unfinished work, oldest first."""
        if self.loaded:
            return
        await self.modes.load()
        await self.limits.load()
        after = jobs = part_sent = 0
        while True:
            page = await self.store.unfinished(after, _PAGE)
            for job in page:
                after = job.message_id
                part_sent += bool(job.parts)
                self.queue.adopt(job)
            jobs += len(page)
            if len(page) < _PAGE:
                break
        self.loaded = True
        if jobs or self.database.was_unclean:
            self.bus.publish(WorkRecovered(jobs, part_sent, self.database.was_unclean))

    async def stop(self) -> None:
        """All that waits is in the database already; the counts follow."""
        self.limits.flush()

    def trouble(self) -> str:
        """Full is trouble."""
        facts = self.queue.facts()
        return "full" if facts.waiting >= facts.capacity else ""


@dataclass(slots=True)
class DiscordService:
    """The connection to Discord: gateway and REST."""

    connection: DiscordConnection
    inbox: Inbox
    catch_up: CatchUp
    fetcher: HttpFileFetcher
    name: str = "discord"
    needs: tuple[str, ...] = ("queue", "documents")

    async def start(self) -> None:
        """Continue from where an earlier life had come to, and connect."""
        place = await self.inbox.continue_from()
        await self.catch_up.load()
        # A search that was broken off before it knew its channels needs a session that tells them.
        self.connection.continue_from(None if self.catch_up.lacks_channels else place)
        # What no try of ours mends is told by the gateway's state; the operator needs the API all
        # the more. `discord/reconnect` tries anew; until then all work waits in the queue.
        with contextlib.suppress(StartupError):
            await self.connection.start()

    async def stop(self) -> None:
        """Hear nothing more, then store the place in the stream."""
        await self.connection.stop(keep_session=True)
        await self.inbox.close()
        self.inbox.keep_place()
        await self.fetcher.close()

    def trouble(self) -> str:
        """Why the gateway is not ready."""
        facts = self.connection.facts()
        if facts.state == "ready":
            return ""
        return f"{facts.state}: {facts.last_error}" if facts.last_error else str(facts.state)


@dataclass(slots=True)
class WorkerService:
    """The workers and the tasks beside them."""

    workers: Workers
    patience: Patience
    catch_up: CatchUp
    large: LargeContexts
    chain: ModelChain
    grace_s: float
    supervisor: Callable[[], Supervisor]
    name: str = "workers"
    needs: tuple[str, ...] = ("queue", "discord")
    handed_back: int = field(default=0, init=False)
    _taking: WatchedTask | None = field(default=None, init=False)

    async def start(self) -> None:
        """Begin to take jobs."""
        await self.chain.warm_up()
        await self.large.adopt()
        watch = self.supervisor().watch
        self._taking = watch("take-jobs", self.workers.run, owner=self.name)
        watch("catch-up", self.catch_up.run, owner=self.name)
        watch("tell-who-waits", self.patience.announcements.run, owner=self.name)
        watch("call-who-waits", self.patience.parking.run, owner=self.name)

    async def stop(self) -> None:
        """Finish what is under way within the grace; the rest is handed back to the queue."""
        if self._taking is not None:
            await self._taking.stop()
        await self.patience.announcements.drain()
        self.handed_back = await self.workers.drain(self.grace_s)
        await self.large.drain()
        await self.chain.close()

    def trouble(self) -> str:
        """Why no jobs are taken."""
        return "no jobs are taken" if self._taking is None or not self._taking.running else ""


@dataclass(slots=True)
class HousekeepingService:
    """Slow regular work: the place in the stream, the presence, forgetting what is long done."""

    inbox: Inbox
    store: JobStore
    clock: Clock
    retention_s: float
    supervisor: Callable[[], Supervisor]
    presence: Presence
    state: Callable[[], BotState]
    assessor: Assessor
    name: str = "housekeeping"
    needs: tuple[str, ...] = ("discord",)

    async def start(self) -> None:
        """Begin the rounds."""
        watch = self.supervisor().watch
        watch("keep-place", self._keep_place, owner=self.name)
        watch("prune", self._prune, owner=self.name)
        watch("assess", self.assessor.run, owner=self.name)

    async def stop(self) -> None:
        """The supervisor ends the tasks."""

    def trouble(self) -> str:
        """None of its own."""
        return ""

    async def _keep_place(self) -> None:
        while True:
            await self.clock.sleep(_KEEP_PLACE_S)
            self.inbox.keep_place()
            self.store.sure.again()
            await self.presence.show(*_shown(self.state()))

    async def _prune(self) -> None:
        while True:
            await self.clock.sleep(_PRUNE_S)
            before = snowflake_at(self.clock.wall() - self.retention_s)
            try:
                while await self.store.prune(before, _PRUNE_ROWS) == _PRUNE_ROWS:
                    pass  # each page is awaited, so that the loop and other writers get their turn
            except LlmbotError:
                # The database says so itself; the next round tries again.
                continue


def _shown(state: BotState) -> tuple[str, str]:
    """The bot's state as Discord shows it beside its name."""
    if state.status in {"healthy", "starting"}:
        waiting = f"{state.waiting} waiting" if state.waiting > _CROWD else ""
        return "online", waiting
    if state.status == "maintenance":
        return "idle", "maintenance: messages wait"
    if state.switched_off:
        return "idle", f"sparing resources ({state.degradation})"
    return ("idle", "answers may be late") if state.status == "degraded" else ("dnd", "in trouble")
