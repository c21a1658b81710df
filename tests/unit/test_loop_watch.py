"""A loop that is blocked is noticed from outside, with its culprit."""

from __future__ import annotations

import asyncio
import time

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


async def test_the_culprit_is_named_without_its_values() -> None:
    """A step that keeps the loop is told with its duration, file and function, and no value."""
    bus = EventBus(SystemClock())
    watch = LoopWatch(SystemClock(), bus, QUICK)
    watch.start()
    blocked = bus.expect(LoopBlocked)
    asyncio.get_running_loop().call_later(0.05, hog_the_loop, 0.4)
    async with asyncio.timeout(10):
        told = await blocked
    watch.stop()
    assert told.lag_ms >= 50
    assert any("hog_the_loop" in frame for frame in told.frames)
    assert "user wrote" not in told.describe()
    assert len(told.frames) == 1


async def test_figures_keep_the_worst() -> None:
    """The worst lag stays in the figures, and each late sign is counted."""
    bus = EventBus(SystemClock())
    watch = LoopWatch(SystemClock(), bus, QUICK)
    watch.start()
    blocked = bus.expect(LoopBlocked)
    asyncio.get_running_loop().call_later(0.05, hog_the_loop, 0.3)
    async with asyncio.timeout(10):
        await blocked
    lag = watch.lag()
    watch.stop()
    assert lag.worst_ever_ms >= lag.worst_ms >= lag.p999_ms >= lag.mean_ms > 0
    assert lag.worst_ever_ms >= 50
    assert lag.blocked == 1


async def test_one_event_stands_for_many_late_signs() -> None:
    """A loop that is blocked again and again does not flood the log; the count goes on."""
    bus = EventBus(SystemClock())
    heard: list[object] = []
    bus.subscribe(lambda p: heard.append(p.event) if isinstance(p.event, LoopBlocked) else None)
    watch = LoopWatch(SystemClock(), bus, QUICK)
    watch.start()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
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
