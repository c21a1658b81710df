"""The operator's hand on the conversation: everything that may be switched, in one object.

The control plane and the operator API act on the data plane through this and nothing else. Each
method does its work before it returns and answers what it did or how things stand afterwards, so
that the caller can show the state before and after. Nothing here asks who is calling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmbot.conversation.jobs import Job, Priority
from llmbot.conversation.modes import ModeFacts, Modes
from llmbot.conversation.queue import JobQueue, QueueFacts
from llmbot.kernel.errors import Blame, RefusedError
from llmbot.resilience.breaker import CircuitBreaker
from llmbot.resilience.breaker_facts import BreakerFacts
from llmbot.resilience.breakers import Breakers
from llmbot.resilience.concurrency import AdaptivePool, PoolFacts
from llmbot.resilience.degradation import Degradation, DegradationFacts
from llmbot.resilience.limits import WindowFacts

__all__ = ["Controls", "Counters", "DeadLetters", "UnknownBreakerError"]


class UnknownBreakerError(RefusedError):
    """There is no circuit breaker of this name."""

    code = "unknown_breaker"
    blame = Blame.OPERATOR
    remedy = "Use one of the names that are listed."

    def __init__(self, names: tuple[str, ...]) -> None:
        """Carry the names that there are; the one that was typed is not repeated."""
        super().__init__(f"no such circuit breaker; there are: {', '.join(names)}")
        self.names = names


class Counters(Protocol):
    """The rate limits; see `app/limits.py`."""

    def status(self) -> tuple[WindowFacts, ...]:
        """Every window of every scope in use."""
        ...

    def reset(self, selector: str | None = None) -> int:
        """Forget what was counted, held and learnt; says how many scopes that were."""
        ...


class DeadLetters(Protocol):
    """Messages that were given up; see `JobStore`."""

    async def dead(self, limit: int = 100) -> list[Job]:
        """Those that were given up, newest first."""
        ...

    async def job(self, message_id: int) -> Job | None:
        """One job as it is stored."""
        ...

    async def drop_dead(self, message_id: int) -> bool:
        """Forget one's texts for good; False where there is no such dead letter."""
        ...


@dataclass(frozen=True, slots=True)
class Controls:
    """What may be switched; put together by `app/bootstrap.py`."""

    modes: Modes
    queue: JobQueue
    pool: AdaptivePool
    breakers: Breakers
    limits: Counters
    letters: DeadLetters

    # ── modes ───────────────────────────────────────────────────────────────────────────────────

    async def maintenance(self, reason: str, *, on: bool) -> bool:
        """Begin or end maintenance; False where that was so already. Durable when it returns.

        During maintenance messages are kept, each channel is told once a cool-down, and all are
        answered afterwards. Operators' own test messages are served all the same.

        Raises:
            StoreUnavailableError: it holds, but a restart would not know of it.
        """
        return await self.modes.set_maintenance(reason, on=on)

    async def force_queueing(self, reason: str, *, on: bool) -> bool:
        """Queue every message with a notice of the expected wait, or serve at once again.

        False where that was so already. At its end, all that waits is due.

        Raises:
            StoreUnavailableError: it holds, but a restart would not know of it.
        """
        return await self.modes.set_queueing(reason, on=on)

    def mode_facts(self) -> ModeFacts:
        """Maintenance, queueing and degradation as they stand."""
        return self.modes.facts()

    def degrade(self, level: Degradation | None, reason: str) -> DegradationFacts:
        """Hold this level whatever the readings say, or (None) let the readings decide again."""
        ladder = self.modes.ladder
        if level is None:
            ladder.release(reason)
        else:
            ladder.force(level, reason)
        return ladder.facts()

    # ── queue and workers ───────────────────────────────────────────────────────────────────────

    def queue_facts(self) -> QueueFacts:
        """The queue at a glance."""
        return self.queue.facts()

    def process_now(self, priority: Priority | None = None) -> int:
        """Make all waiting messages due now, or those of one class; answers how many it moved.

        "High priority" is `Priority.OPERATOR` and `Priority.USER`; background work is the rest.
        """
        return self.queue.hasten(priority)

    def process_priority_now(self) -> int:
        """Make all but background work due now; answers how many it moved."""
        return self.queue.hasten(Priority.OPERATOR) + self.queue.hasten(Priority.USER)

    def reduce_concurrency(self) -> PoolFacts:
        """Halve the number of workers, never below one; answers under way go on."""
        self.pool.reduce()
        return self.pool.facts()

    def restore_concurrency(self) -> PoolFacts:
        """Let the number of workers rise again, one every few seconds."""
        self.pool.restore()
        return self.pool.facts()

    def pool_facts(self) -> PoolFacts:
        """The workers as they stand."""
        return self.pool.facts()

    # ── circuit breakers ────────────────────────────────────────────────────────────────────────

    def breaker_facts(self) -> dict[str, BreakerFacts]:
        """All breakers by name: providers, `provider:model`, and `discord`."""
        return self.breakers.facts()

    def trip_breaker(self, name: str, reason: str, *, for_s: float | None = None) -> BreakerFacts:
        """Open a breaker: for some seconds, or until it is reset.

        Raises:
            UnknownBreakerError: there is none of this name.
        """
        breaker = self._breaker(name)
        breaker.trip(reason, for_s=for_s, by_hand=True)
        return breaker.facts()

    def reset_breaker(self, name: str, reason: str) -> BreakerFacts:
        """Close a breaker and clear its window; what waited for it is tried at once.

        Raises:
            UnknownBreakerError: there is none of this name.
        """
        breaker = self._breaker(name)
        breaker.reset(reason)
        return breaker.facts()

    def trip_all_breakers(self, reason: str) -> dict[str, BreakerFacts]:
        """Open all until they are reset."""
        self.breakers.trip_all(reason)
        return self.breakers.facts()

    def reset_all_breakers(self, reason: str) -> dict[str, BreakerFacts]:
        """Close all and clear their windows."""
        self.breakers.reset_all(reason)
        return self.breakers.facts()

    def _breaker(self, name: str) -> CircuitBreaker:
        breaker = self.breakers.find(name)
        if breaker is None:
            raise UnknownBreakerError(self.breakers.names())
        return breaker

    # ── rate limits ─────────────────────────────────────────────────────────────────────────────

    def rate_limits(self) -> tuple[WindowFacts, ...]:
        """Every window of every scope (`model:…`, `user:…`, `channel:…`, `guild:…`) in use."""
        return self.limits.status()

    def reset_rate_limits(self, selector: str | None = None) -> int:
        """Forget what was counted and what providers asked for; answers how many scopes that were.

        Of `kind:name`, of all of a `kind` (model, user, channel, guild), or of all.
        """
        return self.limits.reset(selector)

    # ── dead letters ────────────────────────────────────────────────────────────────────────────

    async def dead_letters(self, limit: int = 100) -> Sequence[Job]:
        """Messages that were given up, newest first."""
        return await self.letters.dead(limit)

    async def retry_dead_letter(self, message_id: int) -> bool:
        """Queue a dead letter anew, its attempts forgotten; False where there is none."""
        job = await self.letters.job(message_id)
        return job is not None and self.queue.revive(job)

    async def drop_dead_letter(self, message_id: int) -> bool:
        """Forget a dead letter's texts for good; False where there is none."""
        return await self.letters.drop_dead(message_id)
