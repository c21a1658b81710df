"""What a circuit breaker is told (settings) and what it tells (state, facts, counts)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from llmbot.kernel.errors import Blame, LlmbotError, RefusedError

__all__ = ["BreakerCounts", "BreakerFacts", "BreakerSettings", "BreakerState", "is_failure"]

_CHARGED = frozenset({Blame.PROVIDER, Blame.DISCORD})


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens, and how it comes back."""

    window_s: float = 60.0
    window_calls: int = 100
    calls_min: int = 20
    """No share is judged below this many calls in the window."""
    failure_share_max: float = 0.6
    """High enough that a brown-out of 30 % errors rarely opens it by chance (< 1 % of windows)."""
    consecutive_failures: int = 5
    slow_call_s: float = 60.0
    slow_share_max: float = 0.8
    pause_s: float = 2.0
    pause_growth: float = 1.6
    pause_max_s: float = 20.0
    """Also about how long recovery may go unnoticed."""
    pause_jitter: float = 0.2
    """Up to this share a pause is made shorter, so that instances do not probe at once."""
    named_wait_max_s: float = 3600.0
    named_wait_opens: bool = False
    """Whether one failure that names a wait opens the breaker for that long (a quota does)."""
    probe_lease_s: float = 180.0
    probes_to_close: int = 1

    def __post_init__(self) -> None:
        for name in ("window_s", "pause_s", "slow_call_s", "probe_lease_s", "named_wait_max_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        for name in ("window_calls", "calls_min", "consecutive_failures", "probes_to_close"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("failure_share_max", "slow_share_max"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1")
        if self.calls_min > self.window_calls:
            raise ValueError("calls_min must not exceed window_calls")
        if self.pause_growth < 1 or self.pause_max_s < self.pause_s:
            raise ValueError("pauses must not shrink")
        if not 0 <= self.pause_jitter < 1:
            raise ValueError("pause_jitter must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class BreakerCounts:
    """What happened since the breaker was made."""

    succeeded: int = 0
    slow: int = 0
    failed: int = 0
    abandoned: int = 0
    """Cancelled, or refused for a reason that says nothing about the other side."""
    refused: int = 0
    """Calls that the breaker did not let through."""
    stale: int = 0
    """Reports of an earlier generation, which counted for nothing."""
    opened: int = 0


@dataclass(frozen=True, slots=True)
class BreakerFacts:
    """A breaker at one moment; times are seconds since the Unix epoch."""

    name: str
    state: BreakerState
    generation: int
    calls: int
    """Calls in the window; likewise the next two."""
    failures: int
    slow: int
    consecutive_failures: int
    opened_at: float | None
    next_probe_at: float | None
    """None while closed, and while held open without an end."""
    held: bool
    """Tripped by hand, and open until its time is over or it is reset by hand."""
    reason: str
    """Why it came to this state."""
    last_error: str | None
    """Code of the last failure that counted."""
    counts: BreakerCounts


def is_failure(error: BaseException) -> bool:
    """Whether this error says that the other side is unwell.

    Transient errors do that are blamed on a provider or on Discord, and plain network errors.
    Refusals, cancellations, full disks and our own defects say nothing about it.
    """
    if isinstance(error, LlmbotError):
        return not isinstance(error, RefusedError) and error.blame in _CHARGED
    return isinstance(error, OSError)  # connection and time-out errors among them
