"""Circuit breakers: stop asking who cannot answer, and find out gently when they can again.

    closed ──(too many failures)──▶ open ──(pause over, next call)──▶ half-open
      ▲                              ▲                                   │
      └──────(probe succeeded)───────│──────────(probe failed)───────────┘

Rules:

1.  Failures are judged over a sliding window bounded in time and in calls, by their share once a
    minimum of calls is seen, and by a run of consecutive ones. Slow answers are judged by share.
2.  Half-open admits one probe at a time and refuses everyone else at once. A probe that never
    reports loses its place after a while.
3.  Every change starts a new generation; what a permit of an earlier one reports counts for
    nothing, so that a late success cannot close a breaker nor a late failure keep it open.
4.  A cancelled call tells nothing about the other side, nor does a refusal of a bad request: both
    count as neither success nor failure, and free the probe's place.
5.  Pauses grow from one failed probe to the next, up to a cap, with jitter; a wait that the other
    side named is obeyed when it is longer.
"""

from __future__ import annotations

from collections import deque
from math import inf
from types import TracebackType
from typing import Final, Self

from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import BreakerOpenError, LlmbotError, TransientError
from llmbot.kernel.events import BreakerChanged, EventBus
from llmbot.resilience.breaker_facts import (
    BreakerCounts,
    BreakerFacts,
    BreakerSettings,
    BreakerState,
    is_failure,
)

__all__ = ["CircuitBreaker", "Permit"]

_GOOD: Final = "good"
_FAILED: Final = "failed"
_SLOW: Final = "slow"


class Permit:
    """Leave to make one call; tell how it went, once. What is told later is ignored."""

    __slots__ = ("_breaker", "_generation", "_settled", "_started")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._generation = -1  # no generation: it counts for nothing until it is admitted
        self._started = 0.0
        self._settled = False

    def succeeded(self, duration_s: float | None = None) -> None:
        """The call went well, in this time; by default since the permit was given."""
        if not self._settled:
            self._settled = True
            self._breaker._report_success(self, self._generation, self._started, duration_s)  # noqa: SLF001 - a permit is the breaker's own hand

    def failed(self, error: BaseException, retry_after_s: float | None = None) -> None:
        """The other side failed; a wait that it named may come with the error or beside it."""
        if not self._settled:
            self._settled = True
            self._breaker._report_failure(self, self._generation, error, retry_after_s)  # noqa: SLF001 - as above

    def abandoned(self) -> None:
        """The call ended without telling anything about the other side."""
        if not self._settled:
            self._settled = True
            self._breaker._report_nothing(self, self._generation)  # noqa: SLF001 - as above

    def ended(self, error: BaseException | None) -> None:
        """The call ended with this error or none; see `is_failure` for what counts."""
        if error is None:
            self.succeeded()
        elif is_failure(error):
            self.failed(error)
        else:
            self.abandoned()

    async def __aenter__(self) -> Self:
        self._breaker._admit(self)  # noqa: SLF001 - as above
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._settled:
            self.ended(error)


class CircuitBreaker:
    """One breaker, before one thing that can fail. Never blocks, owns no task."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        bus: EventBus,
        settings: BreakerSettings | None = None,
        *,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self.settings = settings or BreakerSettings()
        self._clock = clock
        self._bus = bus
        self._random = random or Random()
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._reason = "started"
        self._by_hand = False
        self._window: deque[tuple[float, str]] = deque()
        self._failures = 0
        self._slow = 0
        self._consecutive = 0
        self._last_error: str | None = None
        self._opened_at: float | None = None
        self._closed_at = -inf
        self._next_probe_at = 0.0
        self._openings = 0
        self._probe: Permit | None = None
        self._probe_until = 0.0
        self._probes_succeeded = 0
        self._total = dict.fromkeys(BreakerCounts.__slots__, 0)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> BreakerState:
        """The state of the last call or change; a due probe makes it half-open when it comes."""
        return self._state

    def retry_after(self) -> float | None:
        """Seconds until `enter` may admit a call: 0 for now, None while held open by hand."""
        if self._state is BreakerState.CLOSED:
            return 0.0
        now = self._clock.monotonic()
        if self._state is BreakerState.HALF_OPEN:
            free = self._probe is None or now >= self._probe_until
            # A probe is answered or fails soon; nobody knows when, so ask again in a moment.
            return 0.0 if free else min(self.settings.pause_s, self._probe_until - now)
        return None if self._next_probe_at == inf else max(0.0, self._next_probe_at - now)

    def enter(self) -> Permit:
        """Leave to call.

        Raises:
            BreakerOpenError: open, or half-open with a probe under way; at once, never later.
        """
        permit = Permit(self)
        self._admit(permit)
        return permit

    def guard(self) -> Permit:
        """`async with breaker.guard():` enters, and reports how the body ended by its error."""
        return Permit(self)

    def _admit(self, permit: Permit) -> None:
        permit._started = now = self._clock.monotonic()  # noqa: SLF001 - a permit is the breaker's own hand
        if self._state is BreakerState.CLOSED:
            permit._generation = self._generation  # noqa: SLF001 - as above
            return
        wait = self.retry_after()
        if wait is None or wait > 0:
            self._total["refused"] += 1
            raise BreakerOpenError(
                f"circuit breaker {self.name} is {self._state}: {self._reason}",
                retry_after_s=wait,
                breaker=self.name,
            )
        if self._state is BreakerState.OPEN:
            self._probes_succeeded = 0
            self._change(BreakerState.HALF_OPEN, "the pause is over; one call probes")
        permit._generation = self._generation  # noqa: SLF001 - as above
        self._probe = permit
        self._probe_until = now + self.settings.probe_lease_s

    # ── by hand ─────────────────────────────────────────────────────────────────────────────────

    def trip(self, reason: str, *, for_s: float | None = None, by_hand: bool = False) -> None:
        """Open at once: for some seconds until the next probe, or until it is reset by hand.

        What a person opens, with `by_hand`, nothing automatic resets before its time.
        """
        now = self._clock.monotonic()
        self._opened_at = now
        self._next_probe_at = inf if for_s is None else now + for_s
        self._probe = None
        self._total["opened"] += 1
        self._change(BreakerState.OPEN, reason)
        self._by_hand = by_hand

    def reset(self, reason: str) -> None:
        """Close and forget what was counted in the window."""
        self._openings = 0
        self._close(reason)

    def facts(self) -> BreakerFacts:
        """How it stands; changes nothing but drops what has left the window."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        self._forget(now)
        is_open = self._state is not BreakerState.CLOSED
        probes_at = None
        if is_open and self._next_probe_at != inf:
            probes_at = wall + self._next_probe_at - now
        return BreakerFacts(
            name=self.name,
            state=self._state,
            generation=self._generation,
            calls=len(self._window),
            failures=self._failures,
            slow=self._slow,
            consecutive_failures=self._consecutive,
            opened_at=wall + self._opened_at - now
            if is_open and self._opened_at is not None
            else None,
            next_probe_at=probes_at,
            held=is_open and (self._by_hand or self._next_probe_at == inf),
            reason=self._reason,
            last_error=self._last_error,
            counts=BreakerCounts(**self._total),
        )

    # ── reports of permits ──────────────────────────────────────────────────────────────────────

    def _report_success(
        self, permit: Permit, generation: int, started: float, duration_s: float | None
    ) -> None:
        if self._is_stale(permit, generation):
            return
        now = self._clock.monotonic()
        slow = (now - started if duration_s is None else duration_s) >= self.settings.slow_call_s
        self._total["succeeded"] += 1
        self._consecutive = 0
        if slow:
            self._total["slow"] += 1
        if permit is self._probe:
            self._probe = None
            if slow:
                self._open("the probe was slow", now, None)
                return
            self._probes_succeeded += 1
            if self._probes_succeeded >= self.settings.probes_to_close:
                self._close("the probe succeeded")
            return
        self._record(now, _SLOW if slow else _GOOD)
        if slow and self._share(self._slow) >= self.settings.slow_share_max:
            self._open(f"{self._slow} of {len(self._window)} calls were slow", now, None)

    def _report_failure(
        self, permit: Permit, generation: int, error: BaseException, retry_after_s: float | None
    ) -> None:
        if self._is_stale(permit, generation):
            return
        now = self._clock.monotonic()
        if retry_after_s is None and isinstance(error, TransientError):
            retry_after_s = error.retry_after_s
        code = error.code if isinstance(error, LlmbotError) else type(error).__name__
        self._last_error = code
        self._total["failed"] += 1
        self._consecutive += 1
        if permit is self._probe:
            self._probe = None
            self._open(f"the probe failed: {code}", now, retry_after_s)
            return
        self._record(now, _FAILED)
        if self._consecutive >= self.settings.consecutive_failures:
            reason = f"{self._consecutive} failures in a row, the last {code}"
        elif self._share(self._failures) >= self.settings.failure_share_max:
            reason = f"{self._failures} of {len(self._window)} calls failed, the last {code}"
        elif retry_after_s and self.settings.named_wait_opens:
            reason = f"{code}: a wait of {retry_after_s:g} s was named"
        else:
            return
        self._open(reason, now, retry_after_s)

    def _report_nothing(self, permit: Permit, generation: int) -> None:
        if not self._is_stale(permit, generation):
            self._total["abandoned"] += 1
            if permit is self._probe:
                self._probe = None

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _is_stale(self, permit: Permit, generation: int) -> bool:
        if generation == self._generation and (
            self._state is BreakerState.CLOSED or permit is self._probe
        ):
            return False
        self._total["stale"] += 1
        return True

    def _record(self, now: float, kind: str) -> None:
        self._window.append((now, kind))
        if kind == _FAILED:
            self._failures += 1
        elif kind == _SLOW:
            self._slow += 1
        self._forget(now)

    def _forget(self, now: float) -> None:
        window = self._window
        border = now - self.settings.window_s
        while window and (window[0][0] <= border or len(window) > self.settings.window_calls):
            kind = window.popleft()[1]
            if kind == _FAILED:
                self._failures -= 1
            elif kind == _SLOW:
                self._slow -= 1

    def _share(self, count: int) -> float:
        calls = len(self._window)
        return count / calls if calls >= self.settings.calls_min else 0.0

    def _open(self, reason: str, now: float, named_s: float | None) -> None:
        settings = self.settings
        if self._state is BreakerState.CLOSED and now - self._closed_at > settings.window_s:
            self._openings = 0  # it had been well for a whole window: pauses start small again
        # The exponent is bounded: a long outage must not overflow a float.
        growth = settings.pause_growth ** min(self._openings, 64)
        pause = min(settings.pause_max_s, settings.pause_s * growth)
        pause *= self._random.uniform(1 - settings.pause_jitter, 1)
        if named_s:
            pause = max(pause, min(named_s, settings.named_wait_max_s))
        self._openings += 1
        self._opened_at = now
        self._next_probe_at = now + pause
        self._total["opened"] += 1
        self._change(BreakerState.OPEN, reason)

    def _close(self, reason: str) -> None:
        self._closed_at = self._clock.monotonic()
        self._window.clear()
        self._failures = self._slow = self._consecutive = 0
        self._probe = None
        self._change(BreakerState.CLOSED, reason)

    def _change(self, after: BreakerState, reason: str) -> None:
        before, self._state = self._state, after
        self._by_hand = False
        self._generation += 1
        if before is after is BreakerState.CLOSED:
            return  # a reset of a closed breaker only clears its window
        self._reason = reason
        self._bus.publish(BreakerChanged(self.name, str(before), str(after), reason))
