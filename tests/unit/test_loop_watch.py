"""A loop that is blocked is noticed from outside, with its culprit."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from tests.support.waiting import PATIENCE_S

from llmbot.adapters.loop_watch import LoopBlocked, LoopWatch, LoopWatchSettings
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.events import EventBus

QUICK = LoopWatchSettings(every_s=0.005, span_s=10.0, blocked_s=0.05)


def hog_the_loop(seconds: float, text: str = "what a user wrote") -> int:
    """Keep the loop busy without giving it away."""
    ends_at = time.perf_counter() + seconds
    rounds = len(text)
    while time.perf_counter() < ends_at:
        rounds += 1
    return rounds


async def hog_until(told: asyncio.Future[LoopBlocked]) -> LoopBlocked:
    """Keep the loop busy again and again; on a busy machine the watch itself may be late."""
    async with asyncio.timeout(PATIENCE_S):
        while not told.done():
            asyncio.get_running_loop().call_soon(hog_the_loop, 0.2)
            await asyncio.wait({told}, timeout=0.02)
        return await told


async def test_the_culprit_is_named_without_its_values() -> None:
    """A step that keeps the loop is told with its duration, file and function, and no value."""
    bus = EventBus(SystemClock())
    watch = LoopWatch(SystemClock(), bus, replace(QUICK, quiet_s=0.0))
    watch.start()
    told = await hog_until(bus.expect(LoopBlocked, lambda e: "hog_the_loop" in str(e.frames)))
    watch.stop()
    assert told.lag_ms >= 50
    assert "user wrote" not in told.describe()
    assert len(told.frames) == 1


async def test_figures_keep_the_worst() -> None:
    """The worst lag stays in the figures, and each late sign is counted."""
    bus = EventBus(SystemClock())
    heard: list[LoopBlocked] = []
    bus.subscribe(lambda p: heard.append(p.event) if isinstance(p.event, LoopBlocked) else None)
    watch = LoopWatch(SystemClock(), bus, replace(QUICK, quiet_s=0.0))
    watch.start()
    await hog_until(bus.expect(LoopBlocked))
    lag = watch.lag()
    watch.stop()
    assert lag.worst_ever_ms >= lag.worst_ms >= watch.p999_ms() >= lag.mean_ms > 0
    assert lag.worst_ever_ms >= max(event.lag_ms for event in heard) - 1 >= 49
    assert lag.blocked == len(heard)


async def test_one_event_stands_for_many_late_signs() -> None:
    """A loop that is blocked again and again does not flood the log; the count goes on."""
    bus = EventBus(SystemClock())
    heard: list[object] = []
    bus.subscribe(lambda p: heard.append(p.event) if isinstance(p.event, LoopBlocked) else None)
    watch = LoopWatch(SystemClock(), bus, replace(QUICK, quiet_s=10 * PATIENCE_S))
    watch.start()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        while watch.lag().blocked < 3:
            hog_the_loop(0.1)
            turned = loop.create_future()
            loop.call_later(0.02, turned.set_result, None)
            await turned
    watch.stop()
    assert len(heard) == 1


async def test_it_can_be_started_again() -> None:
    """Stopped and started, it watches anew; stopped, it holds no thread of its own."""
    watch = LoopWatch(SystemClock(), EventBus(SystemClock()), QUICK)
    runs = []
    for act in (watch.start, watch.stop, watch.start, watch.stop):
        act()
        runs.append(watch.running)
    assert runs == [True, False, True, False]
