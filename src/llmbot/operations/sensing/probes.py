"""Cheap looks at what is outside, kept for a while so that polling costs nobody anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError

__all__ = ["CachedProbe", "Look"]

FRESH_S = 15.0
DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw; `code`, `detail` and `remedy` are empty where all was well."""

    ok: bool
    latency_ms: int
    at_wall_s: float
    code: str = ""
    detail: str = ""
    remedy: str = ""


class CachedProbe:
    """One outside, looked at when somebody asks, at most once in `fresh_s` seconds.

    Who asks while a look is under way waits for that one. A look that outlasts its deadline is a
    failed one.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[object]],
        clock: Clock,
        *,
        fresh_s: float = FRESH_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`look` returns where all is well and raises otherwise."""
        self._name = name
        self._look = look
        self._clock = clock
        self._fresh_s = fresh_s
        self._deadline_s = deadline_s
        self._last: Look | None = None
        self._last_at = 0.0
        self._under_way: asyncio.Task[Look] | None = None

    @property
    def last(self) -> Look | None:
        """The last look, however old."""
        return self._last

    def forget(self) -> None:
        """Something was mended: the next question looks anew."""
        self._last = None

    async def ask(self) -> Look:
        """The last look where it is fresh, else a new one."""
        fresh = self._clock.monotonic() - self._last_at < self._fresh_s
        if self._last is not None and fresh:
            return self._last
        if self._under_way is None or self._under_way.done():
            name = f"probe of {self._name}"
            self._under_way = asyncio.create_task(self._once(), name=name)
        # Shielded: who asks may be gone before it ends, others may wait for the same look.
        return await asyncio.shield(self._under_way)

    async def close(self) -> None:
        """End a look that is under way."""
        task, self._under_way = self._under_way, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def _once(self) -> Look:
        began = self._clock.monotonic()
        error: BaseException | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._look()
        except (LlmbotError, TimeoutError, OSError) as failure:
            error = failure
        took_ms = round((self._clock.monotonic() - began) * 1000)
        self._last = self._told(error, took_ms)
        self._last_at = self._clock.monotonic()
        return self._last

    def _told(self, error: BaseException | None, took_ms: int) -> Look:
        now = self._clock.wall()
        if error is None:
            return Look(ok=True, latency_ms=took_ms, at_wall_s=now)
        if isinstance(error, LlmbotError):
            return Look(False, took_ms, now, error.code, str(error), error.remedy)
        if isinstance(error, TimeoutError):
            words = f"no answer within {self._deadline_s:g} s"
            return Look(False, took_ms, now, "timeout", words, "Check the network.")
        return Look(False, took_ms, now, "network", type(error).__name__, "Check the network.")
