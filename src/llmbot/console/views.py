"""What the operator's side shows and may ask for: shared by API, command line and page.

Bootstrap fulfils `Views` with functions that read the parts; nothing here is a constant. `judge`
is the one place that makes a status out of the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Health(StrEnum):
    """How a part is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Life(StrEnum):
    """Where the whole bot is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    MAINTENANCE = "maintenance"
    STOPPING = "stopping"


class Status(StrEnum):
    """The answer to "how is it"; the contract of `/api/health/status`."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    MAINTENANCE = "maintenance"
    STARTING = "starting"


@dataclass(frozen=True, slots=True)
class PartView:
    """One part that the bot needs; without an `essential` one it cannot answer anybody."""

    name: str
    health: Health
    detail: str = ""
    essential: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status and why it is not better."""

    status: Status
    reasons: tuple[str, ...]


class BusyError(RuntimeError):
    """What was asked for is under way already."""


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

    async def config(self, *, live: bool) -> ConfigView:
        """The settings in force; `live` tries the credentials for real, within a deadline."""
        ...

    def request_restart(self) -> None:
        """Begin to stop, so that the process is started anew; returns at once.

        Raises:
            BusyError: it is stopping already.
        """
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


def judge(life: Life, parts: Sequence[PartView]) -> Verdict:
    """The status of the whole, and the reasons why it is not better."""
    reasons = tuple(
        f"{part.name}: {part.detail or part.health.value}"
        for part in parts
        if part.health is not Health.HEALTHY
    )
    if life is Life.STOPPING:
        return Verdict(Status.UNHEALTHY, ("the bot is stopping", *reasons))
    if life is Life.STARTING:
        return Verdict(Status.STARTING, ("the bot is starting", *reasons))
    if any(part.essential and part.health is Health.UNHEALTHY for part in parts):
        return Verdict(Status.UNHEALTHY, reasons)
    if life is Life.MAINTENANCE:
        return Verdict(Status.MAINTENANCE, ("maintenance is switched on", *reasons))
    return Verdict(Status.DEGRADED if reasons else Status.HEALTHY, reasons)


def is_ready(views: Views) -> Verdict | None:
    """None when messages are being answered; else the verdict that says why not."""
    verdict = judge(views.life(), all_parts(views))
    return None if verdict.status in {Status.HEALTHY, Status.DEGRADED} else verdict
