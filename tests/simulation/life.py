"""One life of the process: the real bot, put together by the real bootstrap, on simulated edges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from llmbot.adapters.discord.files import HttpFileFetcher
from llmbot.adapters.discord.gateway import DiscordConnection
from llmbot.adapters.host import Host
from llmbot.adapters.models.pictures import PictureConverter
from llmbot.app.bootstrap import Outside, build
from llmbot.app.documents import kinds_of
from llmbot.app.models import ModelChain, _guarded
from llmbot.app.parts import Bot, Edges, House, Mechanisms
from llmbot.app.settings.tree import Settings
from llmbot.conversation.commands.handlers import BotState
from llmbot.conversation.ledger.schema import MIGRATIONS
from llmbot.conversation.ports import GatewayHandler
from llmbot.kernel.clock import Random
from llmbot.kernel.events import EventBus, JobFailed, Published, TaskDied
from llmbot.kernel.ids import Owner
from llmbot.resilience.mutex import Mutexes
from llmbot.storage.database.opening import Database
from llmbot.storage.documents.store import DocumentStore
from tests.simulation.connection import GatewayWeather, SimulatedConnection
from tests.simulation.disk import Disk, SimulatedDatabase
from tests.simulation.loop import LifeLoop, SimulatedClock, Timeline
from tests.simulation.model import ModelWeather, SimulatedModel, Tries
from tests.simulation.plan import Plan
from tests.simulation.rest import RestWeather, SimulatedRest
from tests.simulation.server import Server
from tests.support.disk import SimulatedDisk
from tests.support.documents import InlineWorker

MODELS = ("first", "second")


@dataclass(slots=True)
class Weather:
    """How everything outside does now."""

    rest: RestWeather = field(default_factory=RestWeather)
    gateway: GatewayWeather = field(default_factory=GatewayWeather)
    model: ModelWeather = field(default_factory=ModelWeather)


@dataclass(slots=True)
class Outdoors:
    """What all lives share."""

    plan: Plan
    timeline: Timeline
    clock: SimulatedClock
    server: Server
    disk: Disk
    tries: Tries
    weather: Weather
    rng: Random
    note: Callable[[str], None]
    documents: SimulatedDisk = field(default_factory=SimulatedDisk)


class _NoFiles:
    """Nobody sends files here."""

    async def close(self) -> None:
        """Nothing to close."""


class _Models:
    """A provider of simulated models."""

    def __init__(self, outdoors: Outdoors) -> None:
        self._out = outdoors

    def model(self, name: str) -> SimulatedModel:
        """A model by its name."""
        out = self._out
        return SimulatedModel(
            name,
            out.tries,
            out.clock,
            out.rng,
            out.weather.model,
            lambda call: out.note(f"model {call}"),
        )


def settings_of(plan: Plan) -> Settings:
    """The defaults, but for what the plan varies and what would only cost time."""
    return Settings().replaced(
        gemini={"api_key": "simulated"},
        limits={"workers_max": plan.workers, "rate_user_rpm": plan.user_rpm},
        context={"tokens_max": 1000, "history_messages": 3},
    )


class Life:
    """A process from its start to its stop or its kill."""

    def __init__(self, outdoors: Outdoors, number: int, settings: Settings) -> None:
        self.number = number
        self.loop = LifeLoop(outdoors.timeline, outdoors.rng, shuffled=outdoors.plan.shuffled)
        self.bot: Bot | None = None
        self.connection: SimulatedConnection | None = None
        self.database: SimulatedDatabase | None = None
        self.ended = False
        self.stopped_cleanly = False
        self.failed_start = ""
        self.deaths: list[str] = []
        self.defects: list[str] = []
        self._out = outdoors
        self._settings = settings
        self._stop = asyncio.Event()
        self.loop.create_task(self._live(), name="main")

    async def _live(self) -> None:
        """As `app.run` lives."""
        out = self._out
        bus = EventBus(out.clock, history_max=10)
        bus.subscribe(self._hear)
        house = House(
            settings=self._settings,
            mode="simulated",
            clock=out.clock,
            rng=out.rng,
            bus=bus,
            owner=Owner("boot", self.number, f"life{self.number}"),
            mutexes=Mutexes(out.clock, bus),
            started=out.clock.monotonic(),
        )
        self.bot = bot = build(
            house, _state, outside=Outside(self._database, self._documents, self._edges)
        )
        try:
            await bot.supervisor.start_all()
            out.note("started")
            await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - told to the judge
            self.failed_start = repr(error)
        else:
            await self._edge().close_gateway()
            left = await bot.supervisor.stop_all()
            # A disk that refuses keeps no note of the clean end, which is no fault of the process;
            # it may be well again long before the process is buried.
            excused = {"service database"} if self._end_refused() else set[str]()
            self.deaths += [f"left behind: {name}" for name in left if name not in excused]
            self.stopped_cleanly = True
        self.ended = True

    def _hear(self, published: Published) -> None:
        if self.loop.dead:
            return
        event = published.event
        if isinstance(event, TaskDied):
            self.deaths.append(event.describe())
        elif (
            isinstance(event, JobFailed)
            and event.code == "defect"
            # Kills may well use up a message's attempts.
            and not event.detail.startswith("given up")
        ):
            self.defects.append(event.describe())
        self._out.note(event.describe())

    def _database(self, house: House) -> Database:
        out = self._out
        self.database = SimulatedDatabase(
            out.disk, out.timeline, self.loop, out.clock, str(house.owner), MIGRATIONS
        )
        return self.database

    def _end_refused(self) -> bool:
        return self.database is not None and self.database.end_refused

    def _documents(self, house: House) -> DocumentStore:
        return DocumentStore(
            Path("/"),
            kinds_of(house.settings),
            house.clock,
            house.bus.publish,
            files=self._out.documents,
            worker=InlineWorker,
            locks=house.mutexes,
        )

    def _edges(self, house: House, mechanisms: Mechanisms, handler: GatewayHandler) -> Edges:
        out = self._out
        rest = SimulatedRest(out.server, out.timeline, self.loop, out.rng, out.weather.rest)
        self.connection = SimulatedConnection(
            out.server,
            out.timeline,
            self.loop,
            out.rng,
            out.weather.gateway,
            rest,
            handler,
            house.bus,
            out.clock,
        )
        models: Any = _Models(out)
        chain = _guarded("simulated", models, MODELS, mechanisms.breakers, mechanisms.limits)
        return Edges(
            discord=cast(DiscordConnection, self.connection),
            fetcher=cast(HttpFileFetcher, _NoFiles()),
            pictures=PictureConverter(),
            host=Host(),
            chain=ModelChain(tuple(chain), {}),
        )

    def _edge(self) -> SimulatedConnection:
        if self.connection is None:
            raise RuntimeError("the bot was not built")
        return self.connection

    # ── what the world does to it ───────────────────────────────────────────────────────────────

    def stop(self) -> None:
        """SIGTERM."""
        self.loop.call_soon(self._stop.set)

    def kill(self) -> None:
        """SIGKILL."""
        if self.connection is not None and self.connection.line is not None:
            line = self.connection.line
            self._out.server.leave(line)
        self.loop.kill()
        self.ended = True

    def leaks(self) -> list[str]:
        """What is left of a life that ended by itself."""
        left = sorted(task.get_name() for task in asyncio.all_tasks(self.loop))
        found = [f"task {name}" for name in left] + self.loop.complaints + self.deaths
        if self.connection is not None:
            found += self.connection.failures
        if self.bot is not None and self.stopped_cleanly:
            queue, pool = self.bot.mechanisms.queue.facts(), self.bot.mechanisms.pool.facts()
            found += [f"{queue.in_flight} leases"] if queue.in_flight else []
            found += [f"{pool.in_flight} slots"] if pool.in_flight else []
        return found


def _state() -> BotState:
    return BotState("healthy", "", 0.0, 1, 0, 0, "simulated")
