"""Rate limits that are never exceeded: exact sliding windows, counted at send, atomic over scopes.

A log of times is the only exact method (fixed windows admit twice the limit around their border,
counters and buckets half as much again). It costs 8 bytes a call that still counts.

Times are kept on the monotonic clock, which no jump of the wall clock touches; what depends on the
time of day (the provider's midnight, snapshots) is computed anew from the present difference of the
two clocks each time. Every operation is synchronous, so nothing comes between check and count.

Nothing is stored here: `on_change` names the scopes that changed, and the owner makes
`snapshot(scopes)` durable, before the call is sent where a kill must not forget it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import cast

from llmbot.kernel.clock import Clock
from llmbot.resilience.heap import UpdatableHeap
from llmbot.resilience.limits import (
    Admitted,
    Forecast,
    RateLimits,
    Scope,
    Wait,
    Window,
    WindowFacts,
)

__all__ = ["Limiter"]

_UNLIMITED = RateLimits()


class _Log:
    """The times of the calls of one scope, oldest first, and a wait imposed on it."""

    __slots__ = ("held_until", "start", "times")

    def __init__(self) -> None:
        self.times = array("d")
        self.start = 0
        self.held_until = -inf

    def __len__(self) -> int:
        return len(self.times) - self.start

    def first_after(self, border: float) -> int:
        """Where the calls begin that are later than this time."""
        return bisect_right(self.times, border, self.start)

    def add(self, time: float) -> None:
        """Count a call that is as late as any."""
        self.times.append(time)

    def merge(self, times: Iterable[float]) -> None:
        """Count calls of whatever time."""
        self.times = array("d", sorted([*self.times[self.start :], *times]))
        self.start = 0

    def remove(self, time: float) -> bool:
        """Take one call of this time out."""
        index = bisect_left(self.times, time, self.start)
        found = index < len(self.times) and self.times[index] == time
        if found:
            self.times.pop(index)
        return found

    def forget(self, border: float) -> None:
        """Drop what is not later than this time; the array is cut once half of it is dropped."""
        self.start = self.first_after(border)
        if self.start > 32 and self.start * 2 > len(self.times):  # noqa: PLR2004 - small ones are not worth a copy
            del self.times[: self.start]
            self.start = 0


@dataclass(frozen=True, slots=True)
class _Now:
    """One moment on both clocks."""

    monotonic: float
    wall: float

    def border(self, window: Window) -> float:
        """The monotonic time after which calls count in a window."""
        if window.day is None:
            return self.monotonic - window.seconds
        # A call at midnight itself is the new day's; a millisecond covers what the difference of
        # two clocks, read one after the other, cannot tell.
        start, _ = window.day.bounds(self.wall)
        return self.monotonic - (self.wall - start) - 0.001

    def wall_of(self, monotonic: float) -> float:
        """The time of day of a monotonic time, by the present difference of the clocks."""
        return self.wall + (monotonic - self.monotonic)


class Limiter:
    """Counts calls in scopes and says who must wait how long."""

    def __init__(
        self,
        clock: Clock,
        limits: Mapping[str, RateLimits],
        *,
        on_change: Callable[[tuple[Scope, ...]], None] | None = None,
        scopes_max: int = 10_000,
    ) -> None:
        """Take the limits by `kind:name` or, for all others of a kind, by `kind`.

        At most `scopes_max` scopes of a kind are remembered; past that the one that would be free
        of all its calls soonest is forgotten, and `forgotten` counts it.
        """
        self._clock = clock
        self._limits = dict(limits)
        self._on_change = on_change
        self._scopes_max = scopes_max
        self._logs: dict[Scope, _Log] = {}
        self._idle_at: dict[str, UpdatableHeap[Scope, float]] = {}
        self.forgotten = 0

    def configure(self, limits: Mapping[str, RateLimits]) -> None:
        """Take new limits; what was counted still counts."""
        self._limits = dict(limits)

    def limits_of(self, scope: Scope) -> RateLimits:
        """The limits that hold for a scope."""
        return self._limits.get(str(scope)) or self._limits.get(scope.kind) or _UNLIMITED

    # ── admission ───────────────────────────────────────────────────────────────────────────────

    def admit(self, *scopes: Scope) -> Admitted | Wait:
        """Count a call that is about to be made in all these scopes, or in none of them."""
        now = self._now()
        wait = self._check(scopes, now)
        if wait is not None:
            return wait
        counted = []
        for scope in dict.fromkeys(scopes):
            if self.limits_of(scope).windows:
                self._log(scope, now).add(now.monotonic)
                self._expect_idle(scope, now)
                counted.append(scope)
        self._changed(counted)
        return Admitted(tuple(counted), now.wall, now.monotonic)

    def check(self, *scopes: Scope) -> Wait | None:
        """What `admit` would say now, without counting; None when it would admit."""
        return self._check(scopes, self._now())

    def withdraw(self, admitted: Admitted) -> None:
        """The call was never made after all; it is counted no more."""
        changed = [
            scope
            for scope in admitted.scopes
            if (log := self._logs.get(scope)) is not None and log.remove(admitted.at_monotonic_s)
        ]
        self._changed(changed)

    def hold(self, scope: Scope, seconds: float) -> None:
        """Admit nothing for so long: the other side said that its own count is used up."""
        now = self._now()
        log = self._log(scope, now)
        log.held_until = max(log.held_until, now.monotonic + seconds)
        self._expect_idle(scope, now)
        self._changed([scope])

    def release(self, scope: Scope) -> None:
        """The other side serves again before the wait that it named is over."""
        log = self._logs.get(scope)
        if log is not None and log.held_until > self._now().monotonic:
            log.held_until = -inf
            self._changed([scope])

    def reset(self, selector: str | None = None) -> int:
        """Forget what was counted: of `kind:name`, of all of a `kind`, or of all; says how many."""
        found = [scope for scope in self._logs if selector in (None, str(scope), scope.kind)]
        for scope in found:
            self._drop(scope)
        self._changed(found)
        return len(found)

    # ── what is left ────────────────────────────────────────────────────────────────────────────

    def forecast(self, scope: Scope) -> Forecast:
        """What is left for a scope, so that the caller can go elsewhere before it is refused."""
        now = self._now()
        windows = tuple(self._facts(scope, now))
        log = self._logs.get(scope)
        held = log is not None and log.held_until > now.monotonic
        remaining = min((w.remaining for w in windows), default=None)
        return Forecast(
            scope=scope,
            remaining=0 if held else remaining,
            held_until=now.wall_of(log.held_until) if held and log is not None else None,
            windows=windows,
        )

    def status(self) -> tuple[WindowFacts, ...]:
        """All windows of all scopes that are remembered."""
        now = self._now()
        return tuple(facts for scope in self._logs for facts in self._facts(scope, now))

    def counted(self, scope: Scope) -> int:
        """How many calls of a scope still count in some window."""
        log = self._logs.get(scope)
        if log is None:
            return 0
        log.forget(self._clock.monotonic() - self._memory_s(scope))
        return len(log)

    def __len__(self) -> int:
        """How many scopes are remembered."""
        return len(self._logs)

    # ── across restarts ─────────────────────────────────────────────────────────────────────────

    def snapshot(self, scopes: Iterable[Scope] | None = None) -> dict[str, object]:
        """What has to survive, of these scopes or all, as plain JSON values.

        A scope about which nothing is left to say is there with no times, so that the owner can
        drop its record. Times are rounded up to milliseconds: never freed early.
        """
        now = self._now()
        logs: dict[str, object] = {}
        for scope in list(self._logs) if scopes is None else scopes:
            log = self._logs.get(scope)
            times: list[float] = []
            held: float | None = None
            if log is not None:
                log.forget(now.monotonic - self._memory_s(scope))
                times = [_ceil_ms(now.wall_of(t)) for t in log.times[log.start :]]
                if log.held_until > now.monotonic:
                    held = _ceil_ms(now.wall_of(log.held_until))
            logs[str(scope)] = {"at": times, "held_until": held}
        return {"version": 1, "logs": logs}

    def restore(self, snapshot: Mapping[str, object]) -> int:
        """Count, beside what is counted already, what an earlier life had; says how many scopes.

        Times in the future (the wall clock was set back in between) count as now: a limit is
        rather kept for too long than exceeded.

        Raises:
            ValueError: this is no snapshot; nothing was taken from it.
        """
        now = self._now()
        entries = list(_parsed(snapshot))
        for scope, times, held in entries:
            log = self._log(scope, now)
            log.merge(now.monotonic - max(0.0, now.wall - at) for at in times)
            if held is not None:
                log.held_until = max(log.held_until, now.monotonic + held - now.wall)
            log.forget(now.monotonic - self._memory_s(scope))
            self._expect_idle(scope, now)
        return len(entries)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _now(self) -> _Now:
        return _Now(self._clock.monotonic(), self._clock.wall())

    def _check(self, scopes: tuple[Scope, ...], now: _Now) -> Wait | None:
        longest: Wait | None = None
        for scope in scopes:
            for wait in self._waits(scope, now):
                if longest is None or wait.seconds > longest.seconds:
                    longest = wait
        return longest

    def _waits(self, scope: Scope, now: _Now) -> Iterator[Wait]:
        log = self._logs.get(scope)
        if log is not None and log.held_until > now.monotonic:
            until = log.held_until
            yield Wait(scope, "hold", 0, until - now.monotonic, now.wall_of(until))
        for window in self.limits_of(scope).windows:
            if window.limit == 0:
                yield Wait(scope, window.label, 0, inf, None)
            elif log is not None:
                border = now.border(window)
                first = log.first_after(border)
                over = len(log.times) - first - window.limit
                if over >= 0:
                    seconds = self._frees_in(window, log, first + over, now)
                    resets_at = now.wall + seconds
                    yield Wait(scope, window.label, window.limit, seconds, resets_at)

    def _facts(self, scope: Scope, now: _Now) -> Iterator[WindowFacts]:
        log = self._logs.get(scope)
        for window in self.limits_of(scope).windows:
            used, resets_at = 0, None
            if log is not None:
                first = log.first_after(now.border(window))
                used = len(log.times) - first
                if used:
                    resets_at = now.wall + self._frees_in(window, log, first, now)
            yield WindowFacts(
                scope=scope,
                window=window.label,
                used=used,
                limit=window.limit,
                nominal=window.nominal,
                remaining=max(0, window.limit - used),
                resets_at=resets_at,
            )

    @staticmethod
    def _frees_in(window: Window, log: _Log, index: int, now: _Now) -> float:
        """Seconds until the call at this place counts no more."""
        if window.day is None:
            return log.times[index] - (now.monotonic - window.seconds)
        return window.day.bounds(now.wall)[1] - now.wall

    def _memory_s(self, scope: Scope) -> float:
        return max((w.memory_s for w in self.limits_of(scope).windows), default=0.0)

    def _log(self, scope: Scope, now: _Now) -> _Log:
        log = self._logs.get(scope)
        if log is not None:
            log.forget(now.monotonic - self._memory_s(scope))
            return log
        idle = self._idle_at.setdefault(scope.kind, UpdatableHeap())
        dropped = []
        while (first := idle.first()) is not None:
            if first[1] > now.monotonic:
                if len(idle) < self._scopes_max:
                    break
                self.forgotten += 1
            dropped.append(first[0])
            self._drop(first[0])
        self._logs[scope] = log = _Log()
        self._changed(dropped)
        return log

    def _expect_idle(self, scope: Scope, now: _Now) -> None:
        log = self._logs[scope]
        last = log.times[-1] if len(log) else now.monotonic
        until = max(last + self._memory_s(scope), log.held_until)
        self._idle_at[scope.kind].set(scope, until)

    def _drop(self, scope: Scope) -> None:
        del self._logs[scope]
        self._idle_at[scope.kind].discard(scope)

    def _changed(self, scopes: list[Scope]) -> None:
        if scopes and self._on_change is not None:
            self._on_change(tuple(scopes))


def _ceil_ms(seconds: float) -> float:
    return ceil(seconds * 1000) / 1000


def _parsed(snapshot: Mapping[str, object]) -> Iterator[tuple[Scope, list[float], float | None]]:
    logs = snapshot.get("logs")
    if snapshot.get("version") != 1 or not isinstance(logs, Mapping):
        raise ValueError("not a rate limit snapshot of version 1")
    for text, entry in cast("Mapping[str, object]", logs).items():
        scope = Scope.parse(text)
        if not isinstance(entry, Mapping):
            raise ValueError(f"{scope}: not an object")  # noqa: TRY004 - bad data, not a bad call
        times, held = entry.get("at"), entry.get("held_until")
        if not isinstance(times, list) or not all(_is_time(t) for t in times):
            raise ValueError(f"{scope}: at is not a list of times")
        if held is not None and not _is_time(held):
            raise ValueError(f"{scope}: held_until is not a time")
        yield scope, [float(t) for t in times], None if held is None else float(held)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -inf < value < inf
