"""How many calls at once: a bounded pool that grows while all is well and shrinks when it is not.

Additive increase, multiplicative decrease (Chiu and Jain 1989, as in TCP): one more slot after a
round of good calls that used all slots; a share fewer on an overload error or when calls take much
longer than they used to, at most once per cool-down, so that one burst of errors counts once.

An operator's `reduce()` lowers a ceiling above that; `restore()` lifts it step by step. Both hold
back new calls only: those under way are never cut.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Self

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, OverloadedError
from llmbot.resilience.breaker_facts import is_failure
from llmbot.resilience.loop_share import LoopShare

__all__ = ["AdaptivePool", "PoolFacts", "PoolSettings", "Slot"]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The bounds of a pool and how quickly it adapts."""

    limit_min: int = 1
    limit_max: int = 32
    limit_start: int = 8
    decrease: float = 0.7
    """What is left of the limit after trouble."""
    cool_down_s: float = 5.0
    """After a decrease, the time in which further trouble changes nothing."""
    slow_factor: float = 3.0
    """Calls are too slow when their median exceeds the usual by this factor."""
    round_calls: int = 10
    """Calls judged together; at least as many as there are slots make a round."""
    baseline_share: float = 0.1
    """How much of the usual duration one round may change."""
    restore_step_s: float = 5.0
    """Time for each slot that a restored ceiling rises by."""
    waiters_max: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.limit_min <= self.limit_start <= self.limit_max:
            raise ValueError("limits must be ordered: 1 <= min <= start <= max")
        if not 0 < self.decrease < 1 or self.slow_factor <= 1:
            raise ValueError("decrease must be between 0 and 1, slow_factor above 1")
        if not 0 < self.baseline_share <= 1 or self.round_calls < 1 or self.waiters_max < 1:
            raise ValueError("baseline_share, round_calls and waiters_max must be positive")
        if self.cool_down_s < 0 or self.restore_step_s <= 0:
            raise ValueError("cool_down_s must not be negative, restore_step_s positive")


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A pool at one moment."""

    limit: int
    """Slots that may be taken now: the smaller of what adapts and the ceiling."""
    adapted: int
    ceiling: int
    limit_min: int
    limit_max: int
    in_flight: int
    waiting: int
    reduced: bool
    """Whether the ceiling is below the most, by hand or on its way back."""
    baseline_s: float | None
    """The usual duration of a call; None before the first round."""
    increases: int
    decreases: int
    last_decrease: str
    """Why it shrank last: slow, or the code of an error; empty if it never did."""


class Slot:
    """Leave for one call; give it back once, and say how the call went."""

    __slots__ = ("_pool", "_released", "_since")

    def __init__(self, pool: AdaptivePool, since: float) -> None:
        self._pool = pool
        self._since = since
        self._released = False

    def release(
        self, error: BaseException | None = None, *, duration_s: float | None = None
    ) -> None:
        """Give the slot back; by default the call took as long as the slot was held.

        An error that says that the other side is unwell shrinks the pool (see `is_failure`); any
        other, and a cancellation, teaches it nothing.
        """
        if not self._released:
            self._released = True
            self._pool._give_back(error, self._since, duration_s)  # noqa: SLF001 - a slot is the pool's own hand

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release(error)


class AdaptivePool:
    """Slots for calls; who finds none waits in order of arrival."""

    def __init__(
        self,
        clock: Clock,
        settings: PoolSettings | None = None,
        *,
        loop_share: LoopShare | None = None,
    ) -> None:
        """A pool without a `loop_share` asks nothing of the event loop."""
        self.settings = settings or PoolSettings()
        self._share = loop_share
        self._clock = clock
        self._adapted = float(self.settings.limit_start)
        self._ceiling = float(self.settings.limit_max)
        self._rising_since: float | None = None
        self._in_flight = 0
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._nudge: asyncio.TimerHandle | None = None
        self._round: list[float] = []
        self._round_was_full = False
        self._baseline_s: float | None = None
        self._cool_until = float("-inf")
        self._increases = 0
        self._decreases = 0
        self._last_decrease = ""

    # ── slots ───────────────────────────────────────────────────────────────────────────────────

    @property
    def limit(self) -> int:
        """How many slots there are now, if the event loop bears them."""
        self._rise()
        return max(1, int(min(self._adapted, self._ceiling)))

    @property
    def in_flight(self) -> int:
        """How many slots are taken."""
        return self._in_flight

    @property
    def loop_bound(self) -> bool:
        """Whether the event loop bears fewer calls at once than there are slots."""
        return self._share is not None and self._share.bound(self._clock.monotonic())

    @property
    def _granted(self) -> int:
        """How many may be taken at this moment; a loop that keeps its time soon grants the rest."""
        limit = self.limit
        return limit if self._share is None else min(limit, self._share.allowed)

    def try_acquire(self) -> Slot | None:
        """A slot, if one is free and nobody waits for it."""
        self._hand_on()
        if self._waiters or self._in_flight >= self._granted:
            return None
        self._in_flight += 1
        return Slot(self, self._clock.monotonic())

    async def acquire(self) -> Slot:
        """A slot, as soon as it is this caller's turn. Safe to cancel at any moment.

        Raises:
            OverloadedError: too many wait already.
        """
        slot = self.try_acquire()
        if slot is not None:
            return slot
        if len(self._waiters) >= self.settings.waiters_max:
            raise OverloadedError(f"{len(self._waiters)} calls wait already")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # The slot had been handed over in the same turn of the loop: hand it on.
                self._in_flight -= 1
            else:
                self._waiters.pop(waiter, None)
            self._hand_on()
            raise
        return Slot(self, self._clock.monotonic())

    def hear_loop(self, late_s: float) -> None:
        """The event loop came to a sign so many seconds late: it bears fewer calls, or more."""
        if self._share is not None:
            self._share.hear(late_s, self._in_flight, self._clock.monotonic())
            self._hand_on()

    # ── by hand ─────────────────────────────────────────────────────────────────────────────────

    def reduce(self) -> int:
        """Halve the number of slots, never below one; says how many are left."""
        self._ceiling = float(max(1, self.limit // 2))
        self._rising_since = None
        return self._hand_on()

    def restore(self) -> int:
        """Let the ceiling rise again, one slot each `restore_step_s`; says how many there are."""
        if self._rising_since is None and self._ceiling < self.settings.limit_max:
            self._rising_since = self._clock.monotonic()
        return self._hand_on()

    def facts(self) -> PoolFacts:
        """How it stands."""
        return PoolFacts(
            limit=self._hand_on(),
            adapted=int(self._adapted),
            ceiling=int(self._ceiling),
            limit_min=self.settings.limit_min,
            limit_max=self.settings.limit_max,
            in_flight=self._in_flight,
            waiting=len(self._waiters),
            reduced=self._ceiling < self.settings.limit_max,
            baseline_s=self._baseline_s,
            increases=self._increases,
            decreases=self._decreases,
            last_decrease=self._last_decrease,
        )

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _give_back(
        self, error: BaseException | None, since: float, duration_s: float | None
    ) -> None:
        now = self._clock.monotonic()
        if self._in_flight >= self.limit:
            self._round_was_full = True
        if error is None:
            self._learn(now, now - since if duration_s is None else duration_s)
        elif is_failure(error):
            code = error.code if isinstance(error, LlmbotError) else type(error).__name__
            self._shrink(now, code)
        self._in_flight -= 1
        self._hand_on()

    def _learn(self, now: float, duration_s: float) -> None:
        settings = self.settings
        self._round.append(duration_s)
        if len(self._round) < max(settings.round_calls, self.limit):
            return
        typical = median(self._round)
        was_full, self._round_was_full = self._round_was_full, False
        self._round.clear()
        baseline = self._baseline_s
        if baseline is None:
            self._baseline_s = typical
            return
        # The usual follows slowly, so that a lasting change becomes usual and a burst does not.
        self._baseline_s = baseline + settings.baseline_share * (typical - baseline)
        if typical > settings.slow_factor * baseline:
            self._shrink(now, "slow")
        elif was_full and now >= self._cool_until and self._adapted < settings.limit_max:
            self._adapted = min(settings.limit_max, self._adapted + 1)
            self._increases += 1

    def _shrink(self, now: float, reason: str) -> None:
        if now < self._cool_until or self._adapted <= self.settings.limit_min:
            return
        self._adapted = max(self.settings.limit_min, self._adapted * self.settings.decrease)
        self._cool_until = now + self.settings.cool_down_s
        self._decreases += 1
        self._last_decrease = reason
        self._round.clear()
        self._round_was_full = False

    def _rise(self) -> None:
        if self._rising_since is None:
            return
        step = self.settings.restore_step_s
        steps = int((self._clock.monotonic() - self._rising_since) / step)
        self._rising_since += steps * step
        self._ceiling = min(float(self.settings.limit_max), self._ceiling + steps)
        if self._ceiling >= self.settings.limit_max:
            self._rising_since = None

    def _hand_on(self) -> int:
        """Give free slots to those who wait; says how many slots there are."""
        granted = self._granted
        while self._waiters and self._in_flight < granted:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():  # done here is cancelled: its task has not come round yet
                self._in_flight += 1
                waiter.set_result(None)
        if self._waiters and self._rising_since is not None and self._nudge is None:
            # The ceiling rises while nothing else may happen for long: look again by then.
            loop = asyncio.get_running_loop()
            self._nudge = loop.call_later(self.settings.restore_step_s, self._look_again)
        return self.limit

    def _look_again(self) -> None:
        self._nudge = None
        self._hand_on()
