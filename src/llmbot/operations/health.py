"""How the bot is: the one place that makes a status out of readings.

Three steps, each a pure function: `assess` turns readings into parts, `judge` turns the parts and
the bot's place in its life into one status with its reasons, `readiness` asks whether messages are
being answered. An outage outside makes parts unwell; it never makes the process "not alive".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "Health",
    "Life",
    "Limits",
    "PartView",
    "Status",
    "Verdict",
    "Vitals",
    "assess",
    "judge",
]

MIB = 1024 * 1024


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
    RECOVERY = "recovery"
    """The chat is off because services cannot start; the operator's side is up."""
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status and why it is not better."""

    status: Status
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vitals:
    """Readings of one moment; seconds, bytes and milliseconds as named, None where not known."""

    models_ready: tuple[str, ...] = ()
    models_held: tuple[str, ...] = ()
    """Models that may not be asked now: their breaker, or their provider's, is open."""
    breakers_open: tuple[str, ...] = ()
    """Of others than the models."""
    degradation: str = "none"
    """The level of the ladder."""
    degradation_why: tuple[str, ...] = ()
    heartbeat_age_s: float | None = None
    """Since the gateway last acknowledged a heartbeat; None while no session is up."""
    loop_lag_mean_ms: float = 0.0
    loop_lag_worst_ms: float = 0.0
    """Of the last seconds, like the mean."""
    waiting: int = 0
    capacity: int = 1
    in_flight: int = 0
    oldest_s: float = 0.0
    waiting_is_wanted: bool = False
    """Messages wait because an operator wants them to: maintenance, or forced queueing."""
    answered_ago_s: float | None = None
    """Since the last reply of any kind was delivered."""
    memory_bytes: int = 0
    memory_limit_bytes: int = 1
    memory_trend: int | None = None
    """Bytes a minute; None until enough is known."""
    disk_free_bytes: int | None = None
    disk_total_bytes: int = 1
    disk_error: str = ""
    """Why a small test write failed; empty while writing works."""
    records_unwritten: int = 0
    """Records of the audit that are not on the disk yet."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a reading is called unwell."""

    heartbeat_age_s: float = 90.0
    """Two beats of Discord's usual 41 s, and a moment."""
    loop_mean_ms: float = 200.0
    loop_worst_ms: float = 2000.0
    """One stall of this length is told; shorter ones are weather on a busy machine."""
    queue_share: float = 0.8
    oldest_s: float = 120.0
    silence_s: float = 120.0
    """Messages wait for so long, and nobody got any reply meanwhile."""
    memory_minutes_left: float = 10.0
    memory_share: float = 0.8
    """Below it a rising trend is no trouble yet: caches fill after the start."""
    disk_share: float = 0.05
    disk_bytes: int = 256 * MIB
    disk_bytes_last: int = 16 * MIB
    """With less than this left nothing may be accepted any more."""


def assess(vitals: Vitals, limits: Limits | None = None) -> tuple[PartView, ...]:
    """How each part is by its readings."""
    held_to = limits or Limits()
    return (
        _models(vitals),
        _breakers(vitals),
        _degradation(vitals),
        _heartbeat(vitals, held_to),
        _waiting(vitals, held_to),
        _answers(vitals, held_to),
        _loop(vitals, held_to),
        _memory(vitals, held_to),
        _disk(vitals, held_to),
        _audit(vitals),
    )


def judge(life: Life, parts: Sequence[PartView]) -> Verdict:
    """The status of the whole, and the reasons why it is not better."""
    reasons = tuple(
        f"{part.name}: {part.detail or part.health.value}"
        for part in parts
        if part.health is not Health.HEALTHY
    )
    if life is Life.STOPPING:
        return Verdict(Status.UNHEALTHY, ("the bot is stopping", *reasons))
    if life is Life.RECOVERY:
        return Verdict(Status.UNHEALTHY, ("recovery mode: the chat is off", *reasons))
    if life is Life.STARTING:
        return Verdict(Status.STARTING, ("the bot is starting", *reasons))
    if any(part.essential and part.health is Health.UNHEALTHY for part in parts):
        return Verdict(Status.UNHEALTHY, reasons)
    if life is Life.MAINTENANCE:
        return Verdict(Status.MAINTENANCE, ("maintenance is switched on", *reasons))
    return Verdict(Status.DEGRADED if reasons else Status.HEALTHY, reasons)


# ── the parts ───────────────────────────────────────────────────────────────────────────────────


def _part(
    name: str,
    trouble: str,
    facts: Mapping[str, object],
    *,
    bad: bool = False,
    essential: bool = False,
) -> PartView:
    health = Health.HEALTHY
    if trouble:
        health = Health.UNHEALTHY if bad else Health.DEGRADED
    return PartView(name, health, trouble, essential, facts)


def _models(vitals: Vitals) -> PartView:
    """Well while the first of the chain may be asked; that nobody is, users are told honestly."""
    facts = {"ready": list(vitals.models_ready), "held": list(vitals.models_held)}
    if not vitals.models_ready:
        return _part("model", "no model may be asked now", facts, bad=True)
    held = f"held back: {', '.join(vitals.models_held)}" if vitals.models_held else ""
    return _part("model", held, facts)


def _breakers(vitals: Vitals) -> PartView:
    trouble = f"open: {', '.join(vitals.breakers_open)}" if vitals.breakers_open else ""
    return _part("breakers", trouble, {"open": list(vitals.breakers_open)})


def _degradation(vitals: Vitals) -> PartView:
    """What is given up is said, and why."""
    given_up = vitals.degradation != "none"
    trouble = f"{vitals.degradation}: {', '.join(vitals.degradation_why)}" if given_up else ""
    return _part("degradation", trouble, {"level": vitals.degradation})


def _heartbeat(vitals: Vitals, limits: Limits) -> PartView:
    age = vitals.heartbeat_age_s
    late = age is not None and age > limits.heartbeat_age_s
    trouble = f"no acknowledgement for {age:.0f} s" if late else ""
    return _part("heartbeat", trouble, {"ageSeconds": None if age is None else round(age)})


def _waiting(vitals: Vitals, limits: Limits) -> PartView:
    facts = {
        "waiting": vitals.waiting,
        "inFlight": vitals.in_flight,
        "capacity": vitals.capacity,
        "oldestSeconds": round(vitals.oldest_s),
    }
    share = vitals.waiting / max(1, vitals.capacity)
    trouble = f"{share:.0%} full" if share > limits.queue_share else ""
    if not trouble and vitals.oldest_s > limits.oldest_s and not vitals.waiting_is_wanted:
        trouble = f"the oldest message waits for {vitals.oldest_s:.0f} s"
    return _part("waiting", trouble, facts)


def _answers(vitals: Vitals, limits: Limits) -> PartView:
    """The last real answer: silence while people wait is trouble, whatever all else says."""
    ago = vitals.answered_ago_s
    waited = vitals.oldest_s > limits.silence_s and not vitals.waiting_is_wanted
    silent = waited and (ago is None or ago > limits.silence_s)
    trouble = f"nobody was answered for {vitals.oldest_s:.0f} s" if silent else ""
    facts = {"lastAnswerSecondsAgo": None if ago is None else round(ago)}
    return _part("answers", trouble, facts)


def _loop(vitals: Vitals, limits: Limits) -> PartView:
    mean, worst = vitals.loop_lag_mean_ms, vitals.loop_lag_worst_ms
    trouble = ""
    if worst > limits.loop_worst_ms:
        trouble = f"stood still for {worst:.0f} ms"
    elif mean > limits.loop_mean_ms:
        trouble = f"{mean:.0f} ms late on average"
    return _part("loop", trouble, {"lagMeanMs": round(mean), "lagWorstMs": round(worst)})


def _memory(vitals: Vitals, limits: Limits) -> PartView:
    used, limit, trend = vitals.memory_bytes, vitals.memory_limit_bytes, vitals.memory_trend
    facts = {"residentBytes": used, "limitBytes": limit, "trendBytesPerMinute": trend}
    trouble = ""
    if used > limit:
        trouble = "above MEMORY_LIMIT_MB"
    elif trend and trend > 0 and used > limits.memory_share * limit:
        minutes = (limit - used) / trend
        if minutes < limits.memory_minutes_left:
            trouble = f"at this rate the limit is reached in {minutes:.0f} min"
    return _part("memory", trouble, facts)


def _disk(vitals: Vitals, limits: Limits) -> PartView:
    """Essential: what cannot be stored is not accepted, so that a full disk answers nobody."""
    free = vitals.disk_free_bytes
    facts = {"freeBytes": free, "totalBytes": vitals.disk_total_bytes}
    if vitals.disk_error:
        return _part("disk", vitals.disk_error, facts, bad=True, essential=True)
    if free is None:
        return _part("disk", "", facts, essential=True)
    total = vitals.disk_total_bytes
    if free < min(limits.disk_bytes_last, total // 100):
        return _part("disk", f"{free // 1024} KiB left", facts, bad=True, essential=True)
    low = free < min(limits.disk_bytes, int(limits.disk_share * total))
    return _part("disk", f"{free // MIB} MiB left" if low else "", facts, essential=True)


def _audit(vitals: Vitals) -> PartView:
    count = vitals.records_unwritten
    trouble = f"{count} record(s) are not on the disk" if count else ""
    return _part("audit", trouble, {"unwritten": count})
