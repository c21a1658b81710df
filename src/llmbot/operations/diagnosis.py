"""From conditions to causes: the root before its consequences, with evidence, others ruled out.

The rules are tables: which cause a condition names, which causes explain which others, and what is
looked at to rule a part out. A cause that another active cause explains is that one's consequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from llmbot.operations.causes import CAUSES, CauseFacts, Severity
from llmbot.operations.ports import Part, Plant
from llmbot.operations.sensing.conditions import Condition
from llmbot.operations.sensing.sensors import SensorSettings
from llmbot.resilience.breaker_facts import BreakerState

__all__ = ["Cause", "diagnose", "ruled_out"]

_SHOWN_MAX = 5
_MODEL_TROUBLE = (
    "model-unavailable",
    "model-broken-off",
    "model-quota-day",
    "model-quota-minute",
    "model-credentials",
    "model-missing",
)
_SLOW = frozenset({"slow-responses", "overload"})

EXPLAINS: Mapping[str, frozenset[str]] = {
    "disk-full": frozenset({"store-refuses", "data-damaged", "service-failed", "dead-letters"})
    | _SLOW,
    "store-refuses": frozenset({"service-failed", "dead-letters", "command-failed"}) | _SLOW,
    "overload": frozenset({"slow-responses"}),
    # Who is not heard for long is hung up on.
    "loop-blocked": frozenset({"gateway-dropped", "messages-missed"}) | _SLOW,
    "memory": frozenset({"loop-blocked"}) | _SLOW,
    "discord-refuses": frozenset(
        {
            "gateway-away",
            "gateway-dropped",
            "discord-rest",
            "discord-breaker",
            "command-failed",
            "service-failed",
            "messages-missed",
        }
    )
    | _SLOW,
    "gateway-away": frozenset({"gateway-dropped", "messages-missed", "command-failed"}) | _SLOW,
    "gateway-dropped": frozenset({"messages-missed"}),
    "discord-rest": frozenset({"discord-breaker", "command-failed"}) | _SLOW,
    "discord-breaker": frozenset({"command-failed"}) | _SLOW,
    # Who asked meanwhile waited for the next life, or for the service.
    "unclean-end": frozenset({"messages-missed", "gateway-dropped"}) | _SLOW,
    "service-failed": frozenset({"task-died"}) | _SLOW,
    "locks": frozenset({"locks-broken"}) | _SLOW,
    **{name: frozenset({"dead-letters"}) | _SLOW for name in _MODEL_TROUBLE},
}
"""What an active cause accounts for: those are its consequences and get no remedy of their own."""


ECHO_S: Mapping[str, float] = {
    "slow-responses": 15.0,
    "overload": 10.0,
    "messages-missed": 10.0,
    "promise-broken": 1800.0,
}
"""For so long after its cause a consequence may still begin: their windows hold what happened."""

_SERVED_MIN = 5
"""Answers; fewer do not tell a slow one from slow ones."""
_SLOW_MS = SensorSettings().p95_ms[0]
_ECHO_S = 3.0
_ECHO_MAX_S = 75.0
"""What lasts longer than this after its cause has a life of its own."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A root cause as it stands now; `since_s` is monotonic."""

    facts: CauseFacts
    severity: Severity
    subjects: tuple[str, ...]
    evidence: tuple[str, ...]
    confidence: float
    """0 to 1: one sensor's word is 0.6; a second sensor and some duration add to it."""
    ruled_out: tuple[str, ...]
    consequences: tuple[str, ...]
    since_s: float

    @property
    def name(self) -> str:
        """Short and stable; the key of `CAUSES`."""
        return self.facts.name


def diagnose(
    conditions: Sequence[Condition],
    plant: Plant,
    now_s: float,
    *,
    ended: Mapping[str, float] | None = None,
) -> tuple[Cause, ...]:
    """The root causes of what is raised, the worst first.

    `ended` says when causes were seen last that are over now: what began with one of them, or so
    soon after it that it is its echo (`ECHO_S`), needs no remedy either.
    """
    groups: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.nature.name in CAUSES:
            groups.setdefault(condition.nature.name, []).append(condition)
    roots = [
        name
        for name, own in groups.items()
        if not any(explains(other, name) for other in groups)
        and not _is_echo(name, own, ended or {}, plant, now_s)
    ]
    causes = [_cause(name, groups, plant, now_s) for name in roots]
    return tuple(sorted(causes, key=lambda cause: (cause.severity, cause.since_s)))


def explains(cause: str, other: str) -> bool:
    """Whether an active cause accounts for another.

    A broken promise to users is the consequence of whatever else is wrong.
    """
    if other == "promise-broken":
        return cause not in {other, "storm", "sensor-failed"}
    return other in EXPLAINS.get(cause, frozenset())


def _is_echo(
    name: str, own: Sequence[Condition], ended: Mapping[str, float], plant: Plant, now_s: float
) -> bool:
    """Whether a cause that is over explains all of these; one that began later is trouble anew.

    So it is where those are answered slowly, too, who came only when it was over.
    """
    latest = max(condition.since_s for condition in own)
    if name == "slow-responses":
        over_s = max((at for other, at in ended.items() if explains(other, name)), default=-inf)
        served = plant.served(max(over_s, now_s - ECHO_S[name]))
        if served.count >= _SERVED_MIN and served.p50 > _SLOW_MS:
            return False
    return any(
        explains(other, name)
        and latest - at <= ECHO_S.get(name, _ECHO_S)
        and now_s - at <= max(_ECHO_MAX_S, ECHO_S.get(name, 0.0))
        for other, at in ended.items()
    )


def _cause(
    name: str, groups: Mapping[str, Sequence[Condition]], plant: Plant, now_s: float
) -> Cause:
    facts, own = CAUSES[name], groups[name]
    since = min(condition.since_s for condition in own)
    consequences = tuple(n for n in groups if explains(name, n))
    corroborated = _corroborated(facts, plant)
    confidence = 0.6 + 0.2 * (now_s - since >= 1.0) + 0.2 * bool(corroborated or consequences)
    told = [f"{c.subject}: {c.evidence}" if c.subject else c.evidence for c in own]
    shown = told[:_SHOWN_MAX]
    shown += [f"and {len(told) - _SHOWN_MAX} more"] if len(told) > _SHOWN_MAX else []
    severity = facts.severity
    if facts.part is Part.MODEL and none_serves(plant):
        severity = severity.worse()
        shown.append("no model of the chain may be asked")
    return Cause(
        facts=facts,
        severity=severity,
        subjects=tuple(condition.subject for condition in own),
        evidence=(*shown, *corroborated),
        confidence=round(confidence, 2),
        ruled_out=ruled_out(facts.part, groups, plant),
        consequences=consequences,
        since_s=since,
    )


def none_serves(plant: Plant) -> bool:
    """Whether every model of the chain is held back by its breaker."""
    breakers = plant.breakers()
    chain = plant.chain()
    held = [
        any(
            breaker is not None and breaker.state is BreakerState.OPEN
            for breaker in (breakers.get(name), breakers.get(name.partition(":")[0]))
        )
        for name in chain
    ]
    return bool(held) and all(held)


def _corroborated(facts: CauseFacts, plant: Plant) -> tuple[str, ...]:
    """What a second sensor says for the same part."""
    if facts.part is Part.MODEL:
        return tuple(
            f"breaker {name} is {breaker.state}: {breaker.reason}"
            for name, breaker in plant.breakers().items()
            if name != "discord" and breaker.state is not BreakerState.CLOSED
        )[:_SHOWN_MAX]
    services = {Part.DISCORD: "discord", Part.DATABASE: "database", Part.QUEUE: "queue"}
    wanted = services.get(facts.part)
    return tuple(
        f"service {service.name}: {service.trouble or service.last_error}"
        for service in plant.services()
        if service.name == wanted and (service.trouble or service.state == "failed")
    )


def ruled_out(
    part: Part, groups: Mapping[str, Sequence[Condition]], plant: Plant
) -> tuple[str, ...]:
    """Other parts that could look alike from outside, and why they are not it."""
    unwell = {CAUSES[name].part for name in groups}
    return tuple(
        words for other, words in _well(plant) if other is not part and other not in unwell
    )


def _well(plant: Plant) -> Iterator[tuple[Part, str]]:
    gateway = plant.gateway()
    if gateway.state == "ready":
        yield Part.DISCORD, "Discord: the gateway's session is ready"
    database = plant.database()
    if not database.last_error:
        yield Part.DATABASE, f"the database: its last commit took {database.last_commit_ms} ms"
    host = plant.host()
    if host.resident_bytes < host.memory_limit_bytes:
        share = host.resident_bytes / max(1, host.memory_limit_bytes)
        yield Part.MEMORY, f"memory: {share:.0%} of its limit"
    if not any(
        breaker.state is not BreakerState.CLOSED
        for name, breaker in plant.breakers().items()
        if name != "discord"
    ):
        yield Part.MODEL, "the models: every breaker is closed"
    failed = [service.name for service in plant.services() if service.state == "failed"]
    if not failed:
        yield Part.SERVICES, "the services: none has failed"
