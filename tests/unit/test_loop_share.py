"""How many answers at once the event loop bears."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.waiting.load import Load
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.events import EventBus, ReplyDelivered
from llmbot.resilience.concurrency import AdaptivePool, PoolSettings
from llmbot.resilience.loop_share import LoopShare, LoopShareSettings
from llmbot.storage.database.worker import ANSWERS_A_TURN, Unit, Worker

CLOCK = SystemClock()
SETTINGS = LoopShareSettings(least=2, start=4, most=32, late_s=0.01, decrease=0.5, bound_s=1)
IN_TIME_S, LATE_S = 0.0, 0.05


class Bench:
    """A pool of workers on a loop that tells how late it is."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        pool = PoolSettings(limit_start=32, limit_max=32)
        self.pool = AdaptivePool(self.clock, pool, loop_share=LoopShare(SETTINGS))

    def fill(self) -> int:
        """Take all that may be taken; how many are taken then."""
        while self.pool.try_acquire() is not None:
            pass
        return self.pool.in_flight

    def sign(self, late_s: float, *, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(0.05)
            self.pool.hear_loop(late_s)


def test_a_burst_begins_small_and_doubles_while_the_loop_keeps_its_time() -> None:
    """Within three signs all that wait for a model are under way."""
    bench = Bench()
    taken = [bench.fill()]
    for _ in range(4):
        bench.sign(IN_TIME_S)
        taken.append(bench.fill())
    assert taken == [4, 8, 16, 32, 32]


def test_a_late_loop_takes_on_less() -> None:
    """Slots that are given back are not given out again, down to the least; none is cut."""
    bench = Bench()
    bench.fill()
    bench.sign(IN_TIME_S, times=1)
    slots = [slot for slot in (bench.pool.try_acquire() for _ in range(4)) if slot is not None]
    assert bench.pool.in_flight == 8
    bench.sign(LATE_S)
    assert bench.pool.loop_bound
    for slot in slots[:3]:
        slot.release()
    assert bench.pool.in_flight == 5
    assert bench.pool.try_acquire() is None
    bench.sign(LATE_S, times=10)
    assert bench.pool.limit == 32


def test_after_a_late_sign_it_grows_by_one() -> None:
    """The edge was found: it is felt for, not jumped over."""
    bench = Bench()
    bench.fill()
    bench.sign(LATE_S)
    assert bench.fill() == 4  # of a share of two: those under way go on
    bench.sign(IN_TIME_S, times=3)
    assert bench.fill() == 5


def test_what_is_not_used_is_forgotten() -> None:
    """After a quiet while the next burst begins small again."""
    share = LoopShare(SETTINGS)
    for _ in range(4):
        share.hear(IN_TIME_S, share.allowed, 0.0)
    assert share.allowed == 32
    for _ in range(100):
        share.hear(IN_TIME_S, 1, 0.0)
    assert share.allowed == SETTINGS.start


async def test_who_waits_is_let_in_as_the_share_grows() -> None:
    """Nobody has to give a slot back first."""
    bench = Bench()
    bench.fill()
    waiting = asyncio.ensure_future(bench.pool.acquire())
    await bench.clock.sleep(0)
    assert not waiting.done()
    bench.sign(IN_TIME_S)
    async with asyncio.timeout(PATIENCE_S):
        await waiting


def test_forecasts_count_the_workers_that_the_loop_bears() -> None:
    """While it is late, waits follow from those that worked; else from all that may."""
    bench = Bench()
    bus = EventBus(bench.clock)
    load = Load(bus, bench.pool, lambda: 0, lambda _: 64, lambda: None)  # type: ignore[arg-type,return-value] # models are not asked here
    bench.fill()
    bus.publish(ReplyDelivered(1, 2, 1, 0, "answered", 2000, 0, 0, 2000, 0))
    assert load.wait_s(1) == 4
    bench.sign(LATE_S)
    assert load.wait_s(1) == 32
    bench.clock.advance(2)
    assert load.wait_s(1) == 4


@pytest.mark.parametrize("wrong", [{"least": 5}, {"decrease": 1.0}, {"decay": 0}, {"late_s": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """Wrong bounds are told when they are made."""
    with pytest.raises(ValueError, match=r"must"):
        LoopShareSettings(**wrong)  # type: ignore[arg-type] # a mixture of numbers


class Duty:
    """Takes what waits once it may."""

    def __init__(self) -> None:
        self.may = threading.Event()

    def open(self) -> None:
        """Nothing to open."""

    def process(self, batch: Sequence[Unit]) -> None:
        self.may.wait(PATIENCE_S)
        for unit in batch:
            unit.value = len(batch)

    def tidy(self) -> None:
        """Nothing to tidy."""

    def close(self) -> None:
        """Nothing to close."""


async def test_a_batch_of_the_database_leaves_turns_between_its_awaiters() -> None:
    """Of hundreds whose writes were committed together a few go on in each turn, in their order."""
    duty = Duty()
    worker = Worker("test", duty, queue_max=1000, batch_max=1000)
    await worker.start()
    turns = [0]
    ended: list[int] = []

    async def count_turns() -> None:
        while True:
            turns.append(0)
            await CLOCK.sleep(0)

    async def write(number: int) -> None:
        await worker.submit(lambda _: None)
        turns[-1] += 1
        ended.append(number)

    writes = asyncio.gather(*(write(number) for number in range(500)))
    await CLOCK.sleep(0)
    counter = asyncio.create_task(count_turns())
    duty.may.set()
    async with asyncio.timeout(PATIENCE_S):
        await writes
        counter.cancel()
        await worker.stop()
    assert ended == list(range(500))
    assert worker.queued == 0
    assert max(turns) <= ANSWERS_A_TURN
