"""What the operator's side shows, as facts: the shape of an answer and what a view returns are one.

Field names become camelCase where they leave the process. Counts, bytes and milliseconds are whole
numbers, because operators' scripts compare them with `-gt` and `-lt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import ClassVar, overload

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

CAMEL = ConfigDict(alias_generator=to_camel)


@overload
def moment(seconds: float) -> str: ...
@overload
def moment(seconds: None) -> None: ...
def moment(seconds: float | None) -> str | None:
    """Seconds since the Unix epoch as RFC 3339 with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def as_shown(answer: object) -> object:
    """Facts as the plain values that the API would send."""
    if is_dataclass(answer) and not isinstance(answer, type):
        return {to_camel(f.name): as_shown(getattr(answer, f.name)) for f in fields(answer)}
    if isinstance(answer, Mapping):
        return {str(key): as_shown(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [as_shown(value) for value in answer]
    return answer


# ── /api/health ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DegradationFacts:
    """How much is given up, since when and why."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    level: str
    automatic_level: str
    since: str
    reasons: list[str]
    manual: bool
    mode: str
    """manual or automatic."""
    switched_off: list[str]
    maintenance: bool
    maintenance_since: str | None
    maintenance_reason: str
    queueing: bool
    queueing_since: str | None
    queue_depth: int


@dataclass(frozen=True, slots=True)
class CircuitFacts:
    """One circuit breaker."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    state: str
    """closed, open or half-open."""
    reason: str
    failures: int
    """In the window, like calls and slow ones."""
    calls: int
    slow: int
    consecutive_failures: int
    opened_at: str | None
    next_probe_at: str | None
    held: bool
    """Tripped by hand, and open until it is reset."""
    last_error: str | None
    generation: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """The process's memory."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    heap_used: int
    """Bytes in RAM."""
    limit: int
    percent: int
    trend: int
    """Bytes a minute, fitted over the last ten minutes; 0 until half a minute is covered."""
    trend_seconds: int
    """Over how many seconds the trend was fitted."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """One cache, queue or store in memory."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    bytes: int
    """An estimate from a sample of the entries."""
    entries: int
    clearable: bool
    """Whether it can be rebuilt, so that `cache/clear` empties it."""


@dataclass(frozen=True, slots=True)
class GenerationFacts:
    """One generation of Python's garbage collector."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    count: int
    threshold: int
    collections: int
    collected: int
    uncollectable: int


@dataclass(frozen=True, slots=True)
class MemoryDetails:
    """The same, and where it went."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    heap_used: int
    limit: int
    percent: int
    trend: int
    trend_seconds: int
    resident: int
    unique: int
    """Bytes that no other process shares."""
    virtual: int
    generations: list[GenerationFacts]
    stores: dict[str, StoreFacts]
    """Largest first."""


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """One limit of one scope."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    used: int
    limit: int
    remaining: int
    resets_at: str | None


@dataclass(frozen=True, slots=True)
class ExternalFacts:
    """Something outside, measured."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    status: str
    """healthy, degraded, unhealthy or unconfigured."""
    reason: str
    remedy: str
    latency_ms: int | None
    measured_by: str
    """call, probe or nothing."""
    checked_at: str | None
    error_rate: float
    """Failed calls of all over five minutes, 0 to 1."""
    calls: int
    errors: int
    errors_by_class: dict[str, int]
    quota: dict[str, dict[str, QuotaFacts]]
    """By model and window; empty where no limit is known."""
    details: dict[str, object]


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in whole milliseconds."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    p50: int
    p95: int
    p99: int
    max: int
    count: int


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """How late the event loop was, in whole milliseconds: mean and worst of ten seconds."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    mean: int
    worst: int
    p999: int
    """Of the last minute."""
    worst_ever: int
    blocked: int
    """How often it stood still for 100 ms or more since the start."""


@dataclass(frozen=True, slots=True)
class PerformanceFacts:
    """Response times and throughput over a sliding window."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    response_time: Spread
    stages: dict[str, Spread]
    """queue, context, model, delivery."""
    window_seconds: int
    received: int
    answered: int
    noticed: int
    failed_attempts: int
    per_minute: float
    error_rate: float
    errors_by_class: dict[str, int]
    event_loop_lag: LoopFacts


# ── /api/admin, what is only read ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ScopeFacts:
    """What is counted for one scope."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    kind: str
    windows: dict[str, QuotaFacts]


@dataclass(frozen=True, slots=True)
class RateLimitFacts:
    """The limits and what is used of them."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    limits: dict[str, dict[str, int]]
    """The limit of each window, by kind of scope: model, user, channel, guild."""
    scopes: dict[str, ScopeFacts]
    """Those in use, by `kind:name`; at most so many as are shown."""
    scopes_total: int
    providers: dict[str, dict[str, object]]
    """What Discord and the models' providers said of their own limits."""


@dataclass(frozen=True, slots=True)
class MutexHolder:
    """Who holds a mutex."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    owner: str
    reason: str
    since: str
    held_for_ms: int
    lease_left_ms: int
    gone: bool
    token: int


@dataclass(frozen=True, slots=True)
class MutexWaiter:
    """Who waits for a mutex, and how long."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    owner: str
    reason: str
    waits_for_ms: int


@dataclass(frozen=True, slots=True)
class MutexFigures:
    """How a mutex was used."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    acquisitions: int
    contended: int
    contention: float
    """Contended of all acquisitions, 0 to 1."""
    timeouts: int
    cancelled: int
    deadlocks: int
    broken: int
    wait_total_ms: int
    wait_max_ms: int
    hold_total_ms: int
    hold_max_ms: int


@dataclass(frozen=True, slots=True)
class MutexState:
    """One named mutex."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    holder: MutexHolder | None
    waiters: list[MutexWaiter]
    figures: MutexFigures


@dataclass(frozen=True, slots=True)
class MutexesFacts:
    """All named mutexes."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    mutexes: dict[str, MutexState]
    held: int
    waiting: int
    totals: MutexFigures


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """One edge of the wait-for graph."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    waiter: str
    mutex: str
    holder: str


@dataclass(frozen=True, slots=True)
class DeadlockFacts:
    """Circles in the wait-for graph, each whole."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    count: int
    deadlocks: list[list[WaitFacts]]
    mutexes: list[str]
    """The names in them; `mutex/force-release` of one ends its circle."""


@dataclass(frozen=True, slots=True)
class ProcessedFacts:
    """The record of processed messages, which keeps any from being answered twice."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    memory_entries: int
    memory_capacity: int
    duplicates: dict[str, int]
    """Stopped, by what stopped them: memory or record."""
    duplicates_total: int
    record_entries: int
    """In the database."""
    oldest_entry: str | None


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The workers."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    limit: int
    limit_max: int
    busy: int
    reduced: bool


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue of messages."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    depth: int
    by_priority: dict[str, int]
    by_state: dict[str, int]
    """waiting, leased, retrying and dead."""
    oldest_age_seconds: int
    capacity: int
    rates: dict[str, float]
    """Messages a minute: received and ended."""
    forced: bool
    """Whether every message is queued with a notice."""
    held: bool
    """Whether maintenance holds all but operators' messages."""
    workers: WorkerFacts
