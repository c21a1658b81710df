"""What named mutexes are told (settings) and what they tell (facts, figures, events)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from llmbot.kernel.events import Level

__all__ = [
    "CleanupFacts",
    "Deadlock",
    "DeadlockFound",
    "DeadlockPolicy",
    "HolderFacts",
    "LockBroken",
    "MutexFacts",
    "MutexFigures",
    "MutexSettings",
    "MutexTotals",
    "WaitEdge",
    "WaiterFacts",
]


class DeadlockPolicy(StrEnum):
    """What happens to tasks that wait for each other in a circle."""

    CANCEL_YOUNGEST = "cancel-youngest"
    """The one that took its first lock last gives way: it has the least to do again."""
    LEAVE = "leave"
    """They wait until a time-out or an operator ends it."""


@dataclass(frozen=True, slots=True)
class MutexSettings:
    """The bounds of named mutexes."""

    lease_s: float = 300.0
    """Longest hold while another waits; then the holder is cancelled and fenced."""
    wait_s: float = 60.0
    """Longest wait where the caller names none."""
    names_max: int = 10_000
    idle_max: int = 1_000
    """Free mutexes that are remembered for their figures."""
    waiters_max: int = 1_000
    deadlock_policy: DeadlockPolicy = DeadlockPolicy.CANCEL_YOUNGEST

    def __post_init__(self) -> None:
        if self.lease_s <= 0 or self.wait_s < 0:
            raise ValueError("lease_s must be positive and wait_s not negative")
        if min(self.names_max, self.waiters_max) < 1 or self.idle_max < 0:
            raise ValueError("names_max and waiters_max must be at least 1")


@dataclass(slots=True)
class MutexFigures:
    """How a mutex was used since its figures were last reset."""

    acquisitions: int = 0
    contended: int = 0
    """Acquisitions, or tries at one, that had to wait."""
    timeouts: int = 0
    cancelled: int = 0
    """Waits that were cancelled."""
    deadlocks: int = 0
    """Waits that gave way to end a deadlock."""
    broken: int = 0
    """Holds that were ended by force, by the end of a lease or for a holder that was gone."""
    wait_total_s: float = 0.0
    wait_max_s: float = 0.0
    hold_total_s: float = 0.0
    hold_max_s: float = 0.0

    def waited(self, seconds: float) -> None:
        """Add a wait."""
        self.wait_total_s += seconds
        self.wait_max_s = max(self.wait_max_s, seconds)

    def held(self, seconds: float) -> None:
        """Add a hold."""
        self.hold_total_s += seconds
        self.hold_max_s = max(self.hold_max_s, seconds)


@dataclass(frozen=True, slots=True)
class HolderFacts:
    """Who holds a mutex."""

    owner: str
    """Name of the task."""
    reason: str
    token: int
    since: float
    """Seconds since the Unix epoch."""
    held_for_s: float
    lease_left_s: float
    gone: bool
    """Whether the task has ended without giving the mutex back."""


@dataclass(frozen=True, slots=True)
class WaiterFacts:
    """Who waits for a mutex."""

    owner: str
    reason: str
    waits_for_s: float


@dataclass(frozen=True, slots=True)
class MutexFacts:
    """A mutex at one moment."""

    name: str
    holder: HolderFacts | None
    waiters: tuple[WaiterFacts, ...]
    """The next first."""
    figures: MutexFigures


@dataclass(frozen=True, slots=True)
class MutexTotals:
    """All mutexes together."""

    names: int
    held: int
    waiting: int
    figures: MutexFigures
    """Of all names, those that were dropped among them."""


@dataclass(frozen=True, slots=True)
class WaitEdge:
    """One edge of the wait-for graph."""

    waiter: str
    mutex: str
    holder: str

    def __str__(self) -> str:
        return f"{self.waiter} waits for {self.mutex} held by {self.holder}"


Deadlock = tuple[WaitEdge, ...]
"""A circle: each edge's holder is the next edge's waiter, and the last one's the first's."""


@dataclass(frozen=True, slots=True)
class CleanupFacts:
    """What a clean-up did."""

    freed: tuple[str, ...]
    """Mutexes whose holder was gone."""
    dropped: int
    """Idle mutexes that are remembered no more."""


@dataclass(frozen=True, slots=True)
class LockBroken:
    """A lock was taken away from its holder, which is cancelled and fenced."""

    level: ClassVar[Level] = Level.WARNING
    name: str
    owner: str
    reason: str
    held_for_ms: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Mutex {self.name} taken away from {self.owner} after {self.held_for_ms} ms: "
            f"{self.reason}"
        )


@dataclass(frozen=True, slots=True)
class DeadlockFound:
    """Tasks wait for each other's locks in a circle."""

    level: ClassVar[Level] = Level.ERROR
    cycle: tuple[str, ...]
    victim: str
    """Name of the task that gave way; empty where the circle is left to an operator."""

    def describe(self) -> str:
        """See `Event.describe`."""
        end = f"{self.victim} gave way" if self.victim else "left to the operator"
        return f"Mutex deadlock: {'; '.join(self.cycle)}; {end}"
