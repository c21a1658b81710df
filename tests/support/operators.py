"""The operator API on a real socket, around views and actions that a test arranges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI

from llmbot.app.lifecycle.supervisor import ServiceFacts, ServiceState
from llmbot.console.action_desk import ActionDesk
from llmbot.console.actions import Asked, Done, UnknownTargetError
from llmbot.console.api.server import OperatorApi
from llmbot.console.documents_told import files_told
from llmbot.console.facts.audit import AuditFacts
from llmbot.console.facts.contexts import ContextsFacts
from llmbot.console.facts.facts import (
    CircuitFacts,
    DeadlockFacts,
    DegradationFacts,
    ExternalFacts,
    LoopFacts,
    MemoryDetails,
    MemoryFacts,
    MutexesFacts,
    MutexFigures,
    PerformanceFacts,
    ProcessedFacts,
    QueueState,
    RateLimitFacts,
    Spread,
    WorkerFacts,
)
from llmbot.console.facts.figures import (
    DiscordMetrics,
    LedgerFacts,
    ProviderMetrics,
    QueueMetrics,
    StoryFacts,
)
from llmbot.console.facts.settings import ChangeableSetting, ChangeableSettings
from llmbot.console.gate.gate import GateSettings
from llmbot.console.views import CheckView, ConfigView, Life, PartView, ServiceView
from llmbot.kernel.clock import Clock, SystemClock
from llmbot.kernel.events import EventBus
from llmbot.operations.audit.files import tail
from llmbot.operations.audit.lines import AuditRecord
from llmbot.operations.audit.trail import AuditTrail
from llmbot.resilience.mutex import Mutexes
from tests.support.waiting import PATIENCE_S

SPREAD = Spread(1, 2, 3, 4, 5)
FIGURES = MutexFigures(1, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)
WHEN = "2026-11-23T12:00:00.000+00:00"


def service(name: str, *needs: str, state: ServiceState = ServiceState.RUNNING) -> ServiceFacts:
    """A service of which nothing is wrong."""
    return ServiceFacts(name, needs, state, "", "", 0, 0, 12, 1_800_000_000.0)


def circuit(state: str = "closed") -> CircuitFacts:
    """A breaker in this state."""
    return CircuitFacts(state, "started", 0, 0, 0, 0, None, None, False, None, 0, {"failed": 0})


@dataclass
class House:
    """The views of a bot that a test arranges (`console.views.Views`)."""

    version: str = "1.2.3"
    mode: str = "simulated"
    life_now: Life = Life.RUNNING
    all_services: list[ServiceFacts] = field(
        default_factory=lambda: [service("database"), service("discord", "database")]
    )
    other_parts: list[PartView] = field(default_factory=list)
    broken: bool = False
    up_s: float = 61.9
    warnings: tuple[str, ...] = ()
    outside: dict[str, str] = field(
        default_factory=lambda: {"discord": "healthy", "gemini": "healthy"}
    )

    def uptime_s(self) -> float:
        return self.up_s

    def life(self) -> Life:
        if self.broken:
            raise KeyError("a secret in a defect")
        return self.life_now

    def parts(self) -> Sequence[PartView]:
        return self.other_parts

    def services(self) -> Sequence[ServiceView]:
        return self.all_services

    def degradation(self) -> DegradationFacts:
        return DegradationFacts(
            "none",
            "none",
            WHEN,
            ["started"],
            False,
            "automatic",
            [],
            False,
            None,
            "",
            False,
            None,
            0,
        )

    def circuits(self) -> Mapping[str, CircuitFacts]:
        return {"gemini": circuit(), "discord": circuit("open")}

    def memory(self) -> MemoryFacts:
        return MemoryFacts(100_000_000, 419_430_400, 24, -1200, 600)

    def memory_details(self) -> MemoryDetails:
        return MemoryDetails(1, 2, 3, 4, 5, 6, 7, 8, [], {})

    async def external(self, name: str) -> ExternalFacts:
        if name not in self.outside:
            raise UnknownTargetError("external service", tuple(self.outside))
        return ExternalFacts(
            self.outside[name], "", "", 12, "probe", WHEN, 0.0, 3, 0, {}, {}, {"a": 1}
        )

    def performance(self) -> PerformanceFacts:
        loop = LoopFacts(1, 2, 2, 3, 0)
        return PerformanceFacts(SPREAD, {"queue": SPREAD}, 300, 1, 1, 0, 0, 0.2, 0.0, {}, loop)

    async def config(self, *, live: bool) -> ConfigView:
        checks = (CheckView("discord", ok=False, detail="refused", remedy="Ask."),) if live else ()
        settings = {"HTTP_PORT": "3000", "DISCORD_TOKEN": "set"}
        return ConfigView(settings, (), self.warnings, checks)

    async def changeable(self) -> ChangeableSettings:
        one = ChangeableSetting("limits", "Most", "few", "1 to 9", "a day", "3", "2", 3)
        return ChangeableSettings({"SOME_LIMIT": one})

    async def documents(self) -> Mapping[str, object]:
        return files_told({}, (), 7)

    def rate_limits(self) -> RateLimitFacts:
        return RateLimitFacts({"user": {"minute": 60}}, {}, 0, {})

    def mutexes(self) -> MutexesFacts:
        return MutexesFacts({}, 0, 0, FIGURES)

    def deadlocks(self) -> DeadlockFacts:
        return DeadlockFacts(0, [], [])

    async def processed(self) -> ProcessedFacts:
        return ProcessedFacts(1, 2, {"memory": 0}, 0, 1, None)

    async def queue(self) -> QueueState:
        return QueueState(0, {}, {}, 0, 10, {}, False, False, WorkerFacts(1, 2, 0, False))

    async def contexts(self) -> ContextsFacts:
        return ContextsFacts(True, {}, 2, 8, 0, 0, 0, 1, 1, "")

    async def audit(self, count: int) -> Sequence[AuditFacts]:
        fact = AuditFacts(1, "id", WHEN, "loopback", "api", "gc", "", "done", "", "", 1)
        return [fact][:count]

    def provider_metrics(self, provider: str) -> ProviderMetrics:
        return ProviderMetrics(provider, 300, 0, 0, {}, 0, 0, {}, None)

    def discord_metrics(self) -> DiscordMetrics:
        return DiscordMetrics({}, {}, 300, 0, 0, {}, SPREAD, {}, {}, None)

    async def queue_metrics(self) -> QueueMetrics:
        return QueueMetrics(await self.queue(), 300, 0, 0, 0, 0, {}, SPREAD)

    def prometheus(self) -> bytes:
        return b"# HELP llmbot_up_seconds Seconds\nllmbot_up_seconds 1.0\n"

    async def ledger(self, message_id: int) -> LedgerFacts | None:
        if message_id != 7:
            return None
        story = [StoryFacts(WHEN, "claimed", "live")]
        return LedgerFacts("7", "done", "100", "live", "user", 1, WHEN, ["8"], story)


@dataclass
class Hands:
    """Actions that do what a test says (`console.actions.Actions`)."""

    asked: list[tuple[str, Asked]] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    error: BaseException | None = None
    done: Done = field(default_factory=lambda: Done({"state": "open"}, {"state": "closed"}))
    held: asyncio.Event | None = None
    names: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "circuit": ("gemini",),
            "service": ("discord",),
            "mutex": (),
            "file": ("settings.json", "servers/7.json"),
        }
    )

    def known(self, kind: str) -> Sequence[str]:
        return self.names.get(kind, ())

    async def perform(self, name: str, asked: Asked) -> Done:
        self.asked.append((name, asked))
        self.was_asked.set()
        if self.held is not None:
            await self.held.wait()
        if self.error is not None:
            raise self.error
        return self.done


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name.lower())

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A running API and what it stands on."""

    api: OperatorApi
    house: House
    hands: Hands
    mutexes: Mutexes
    audit: AuditTrail
    desk: ActionDesk

    @property
    def port(self) -> int:
        return int(self.api.address.rsplit(":", 1)[1])

    def records(self) -> list[AuditRecord]:
        """The audit, oldest first."""
        return tail(self.audit.directory, 1000)

    async def call(
        self,
        path: str,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        host: str | None = None,
    ) -> Answer:
        """One request, byte for byte as written here, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = [f"{method} {path} HTTP/1.1", f"Host: {host or f'localhost:{self.port}'}"]
        if body or method == "POST":
            head.append(f"Content-Length: {len(body)}")
        head += [f"{name}: {value}" for name, value in headers]
        try:
            writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
            async with asyncio.timeout(PATIENCE_S):
                return parse(await reader.read())
        finally:
            writer.close()


def parse(answer: bytes) -> Answer:
    """An answer from its bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in rest]
    return Answer(int(first.split()[1]), [(k.lower(), v) for k, v in pairs], body)


@asynccontextmanager
async def serving(
    directory: Path,
    house: House | None = None,
    gate: GateSettings | None = None,
    hands: Hands | None = None,
    clock: Clock | None = None,
    more: Sequence[APIRouter] = (),
    *,
    status_age_max_s: float = 0.0,
) -> AsyncIterator[Served]:
    """A running API on a free port, with its audit below `directory`."""
    gate = replace(gate or GateSettings(), status_age_max_s=status_age_max_s)
    clock = clock or SystemClock()
    bus = EventBus(clock)
    audit = AuditTrail(directory / "audit", clock, bus)
    await audit.open()
    house, hands, mutexes = house or House(), hands or Hands(), Mutexes(clock, bus)
    desk = ActionDesk(hands, audit, mutexes, clock)
    api = OperatorApi(house, desk, gate, 0, clock, lambda: more)
    await api.start()
    try:
        yield Served(api, house, hands, mutexes, audit, desk)
    finally:
        await api.stop()
        await desk.close()
        await audit.close()


@asynccontextmanager
async def recording(api: FastAPI, directory: Path) -> AsyncIterator[None]:
    """Routes that are served without the whole API record in an audit below `directory`."""
    clock = SystemClock()
    bus = EventBus(clock)
    audit = AuditTrail(directory / "audit", clock, bus)
    await audit.open()
    api.state.desk = ActionDesk(Hands(), audit, Mutexes(clock, bus), clock)
    try:
        yield
    finally:
        await audit.close()


def recorded_in(directory: Path) -> list[tuple[str, str, str, str]]:
    """Of each record who, what, on what, and how it ended; the oldest first."""
    records = tail(directory / "audit", 1000)
    return [(r.act.who, r.act.action, r.act.target, r.outcome) for r in records]
