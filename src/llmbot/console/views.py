"""What the operator's side shows and may ask for: shared by API, command line and page.

Bootstrap fulfils `Views` with functions that read the parts; nothing here is a constant. What
changes something stands in `actions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmbot.console.facts.audit import AuditFacts
from llmbot.console.facts.contexts import ContextsFacts
from llmbot.console.facts.facts import (
    CircuitFacts,
    DeadlockFacts,
    DegradationFacts,
    ExternalFacts,
    MemoryDetails,
    MemoryFacts,
    MutexesFacts,
    PerformanceFacts,
    ProcessedFacts,
    QueueState,
    RateLimitFacts,
)
from llmbot.console.facts.figures import (
    DiscordMetrics,
    LedgerFacts,
    ProviderMetrics,
    QueueMetrics,
)
from llmbot.console.facts.settings import ChangeableSettings
from llmbot.operations.health import Health, Life, PartView, Status, Verdict, judge

__all__ = [
    "CheckView",
    "ConfigView",
    "Health",
    "Life",
    "PartView",
    "ServiceView",
    "Status",
    "Verdict",
    "Views",
    "all_parts",
    "is_ready",
    "judge",
    "part_of",
]


class ServiceView(Protocol):
    """One service of the supervisor; see `app.supervisor.ServiceFacts`."""

    @property
    def name(self) -> str:
        """Short and unique."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the services that must run before it."""
        ...

    @property
    def state(self) -> str:
        """stopped, starting, running, failed or stopping."""
        ...

    @property
    def trouble(self) -> str:
        """Why it is not healthy; empty while it is."""
        ...

    @property
    def last_error(self) -> str:
        """The last thing that went wrong."""
        ...

    @property
    def restarts(self) -> int:
        """How often it was restarted."""
        ...

    @property
    def task_restarts(self) -> int:
        """How often its background tasks were started again."""
        ...

    @property
    def last_start_ms(self) -> int:
        """How long its last start took."""
        ...

    @property
    def since_s(self) -> float:
        """Since when it is in this state, in seconds since the Unix epoch."""
        ...


@dataclass(frozen=True, slots=True)
class CheckView:
    """One credential that was tried."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The settings in force, secrets as `set` or `missing`, and what is wrong with them."""

    settings: Mapping[str, str]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    checks: tuple[CheckView, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong and every check passed."""
        return not self.problems and all(check.ok for check in self.checks)


class Views(Protocol):
    """What bootstrap provides. Everything plain returns at once and touches no disk."""

    @property
    def version(self) -> str:
        """The version of llmbot."""
        ...

    @property
    def mode(self) -> str:
        """`live` or `simulated`."""
        ...

    def uptime_s(self) -> float:
        """Seconds since the process began."""
        ...

    def life(self) -> Life:
        """Where the bot is in its life."""
        ...

    def parts(self) -> Sequence[PartView]:
        """The parts beside the services: model, memory, queue and so on."""
        ...

    def services(self) -> Sequence[ServiceView]:
        """The services, in start order."""
        ...

    # ── /api/health ─────────────────────────────────────────────────────────────────────────────

    def degradation(self) -> DegradationFacts:
        """How much is given up."""
        ...

    def circuits(self) -> Mapping[str, CircuitFacts]:
        """Every circuit breaker by its name."""
        ...

    def memory(self) -> MemoryFacts:
        """The process's memory."""
        ...

    def memory_details(self) -> MemoryDetails:
        """The same, and where it went; some milliseconds of work."""
        ...

    async def external(self, name: str) -> ExternalFacts:
        """Something outside, measured at most every 15 s.

        Raises:
            UnknownTargetError: there is nothing of this name.
        """
        ...

    def performance(self) -> PerformanceFacts:
        """Response times and throughput over the last five minutes."""
        ...

    # ── /api/admin, what is only read ───────────────────────────────────────────────────────────

    async def config(self, *, live: bool) -> ConfigView:
        """The settings in force; `live` tries the credentials for real, within a deadline."""
        ...

    async def changeable(self) -> ChangeableSettings:
        """The settings that can be changed while the bot runs.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        ...

    async def documents(self) -> Mapping[str, object]:
        """The documents of the data store, looked at; nothing is changed.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        ...

    def rate_limits(self) -> RateLimitFacts:
        """The limits and what is used of them."""
        ...

    def mutexes(self) -> MutexesFacts:
        """All named mutexes."""
        ...

    def deadlocks(self) -> DeadlockFacts:
        """Circles in the wait-for graph."""
        ...

    async def processed(self) -> ProcessedFacts:
        """The record of processed messages."""
        ...

    async def queue(self) -> QueueState:
        """The queue of messages."""
        ...

    async def contexts(self) -> ContextsFacts:
        """The long texts that are being read."""
        ...

    async def audit(self, count: int) -> Sequence[AuditFacts]:
        """The last records of the audit, oldest first."""
        ...

    # ── figures ─────────────────────────────────────────────────────────────────────────────────

    def provider_metrics(self, provider: str) -> ProviderMetrics:
        """The calls to one provider of models."""
        ...

    def discord_metrics(self) -> DiscordMetrics:
        """Gateway and REST of Discord."""
        ...

    async def queue_metrics(self) -> QueueMetrics:
        """The queue over the window."""
        ...

    def prometheus(self) -> bytes:
        """All figures in Prometheus' text format."""
        ...

    async def ledger(self, message_id: int) -> LedgerFacts | None:
        """All that is known of one message; None where its id was never claimed."""
        ...


def part_of(service: ServiceView) -> PartView:
    """A service as a part of the whole."""
    detail = service.trouble or (service.last_error if service.state == "failed" else "")
    if service.state == "running":
        health = Health.DEGRADED if service.trouble else Health.HEALTHY
    elif service.state == "starting":
        health, detail = Health.DEGRADED, "is starting"
    else:
        health, detail = Health.UNHEALTHY, detail or f"is {service.state}"
    return PartView(service.name, health, detail)


def all_parts(views: Views) -> tuple[PartView, ...]:
    """Services first, then the other parts."""
    return (*(part_of(service) for service in views.services()), *views.parts())


def is_ready(views: Views) -> Verdict | None:
    """None when messages are being answered; else the verdict that says why not."""
    verdict = judge(views.life(), all_parts(views))
    return None if verdict.status in {Status.HEALTHY, Status.DEGRADED} else verdict
