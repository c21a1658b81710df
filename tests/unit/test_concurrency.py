from __future__ import annotations

import asyncio

import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.errors import ModelRequestRefusedError, ModelUnavailableError, OverloadedError
from llmbot.resilience.concurrency import AdaptivePool, PoolSettings, Slot

SETTINGS = PoolSettings(
    limit_min=1,
    limit_max=10,
    limit_start=4,
    decrease=0.5,
    cool_down_s=5,
    slow_factor=3,
    round_calls=4,
    baseline_share=0.1,
    restore_step_s=2,
    waiters_max=50,
)


class Bench:
    """A pool with a clock to move."""

    def __init__(self, settings: PoolSettings = SETTINGS) -> None:
        self.clock = ManualClock()
        self.pool = AdaptivePool(self.clock, settings)

    def take(self, count: int) -> list[Slot]:
        """So many slots, all of which must be free."""
        slots = [self.pool.try_acquire() for _ in range(count)]
        found = [slot for slot in slots if slot is not None]
        assert len(found) == count
        return found

    def round(self, duration_s: float, *, full: bool = True) -> None:
        """Good calls for one judgement, with all slots in use or one at a time."""
        calls = max(SETTINGS.round_calls, self.pool.limit)
        done = 0
        while done < calls:
            for slot in self.take(self.pool.limit if full else 1):
                slot.release(duration_s=duration_s)
                done += 1

    async def turn(self) -> None:
        """Let every task that can run do so."""
        for _ in range(5):
            await self.clock.sleep(0)


async def test_no_more_than_the_limit_run_at_once() -> None:
    """Of many callers as many run as there are slots, and each waiting one follows a release."""
    bench = Bench()
    slots = bench.take(4)
    assert bench.pool.try_acquire() is None
    waiting = asyncio.create_task(bench.pool.acquire())
    await bench.turn()
    assert not waiting.done()
    slots[0].release(duration_s=1)
    slot = await waiting
    assert bench.pool.facts().in_flight == 4
    slot.release()
    slots[0].release()
    assert bench.pool.facts().in_flight == 3


async def test_who_waits_longest_is_next() -> None:
    """Slots go to waiters in the order of their arrival, and newcomers do not overtake."""
    bench = Bench()
    slots = bench.take(4)
    order: list[int] = []

    async def call(number: int) -> None:
        async with await bench.pool.acquire():
            order.append(number)

    tasks = [asyncio.create_task(call(n)) for n in range(5)]
    await bench.turn()
    slots[0].release(duration_s=1)
    assert bench.pool.try_acquire() is None
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_a_cancelled_waiter_leaves_no_slot_taken() -> None:
    """Whenever a waiter is cancelled, before or after it was given a slot, none is lost."""
    for turns in range(4):
        bench = Bench()
        slots = bench.take(4)
        waiter = asyncio.create_task(bench.pool.acquire())
        behind = asyncio.create_task(bench.pool.acquire())
        await bench.turn()
        slots[0].release(duration_s=1)
        for _ in range(turns):
            await bench.clock.sleep(0)
        waiter.cancel()
        try:
            (await waiter).release()
        except asyncio.CancelledError:
            assert turns == 0
        (await behind).release()
        for slot in slots[1:]:
            slot.release()
        facts = bench.pool.facts()
        assert (facts.in_flight, facts.waiting) == (0, 0)


async def test_under_any_schedule_no_slot_is_lost_or_doubled() -> None:
    """Random calls, errors and cancellations never exceed the limit and end with none in use."""
    for seed in range(30):
        random, bench = Random(seed), Bench()
        running = most = 0

        async def call(bench: Bench, random: Random) -> None:
            nonlocal running, most
            async with await bench.pool.acquire():
                running += 1
                most = max(most, running)
                try:
                    for _ in range(random.randrange(4)):
                        await bench.clock.sleep(0)
                    if random.random() < 0.2:
                        raise ModelUnavailableError
                finally:
                    running -= 1

        tasks = []
        for _ in range(40):
            tasks.append(asyncio.create_task(call(bench, random)))
            if random.random() < 0.3:
                random.choice(tasks).cancel()
            if random.random() < 0.3:
                await bench.clock.sleep(0)
            bench.clock.advance(random.random())
        await asyncio.gather(*tasks, return_exceptions=True)
        facts = bench.pool.facts()
        assert (facts.in_flight, facts.waiting, running) == (0, 0, 0)
        assert most <= SETTINGS.limit_max


def test_good_rounds_that_use_all_slots_add_one() -> None:
    """After the first round sets the usual duration, each full good round adds one slot."""
    bench = Bench()
    bench.round(1.0)
    assert bench.pool.limit == 4
    bench.round(1.0)
    assert bench.pool.limit == 5
    for _ in range(20):
        bench.round(1.0)
    assert bench.pool.limit == SETTINGS.limit_max


def test_a_pool_that_is_not_used_up_does_not_grow() -> None:
    """Good calls one at a time are no reason for more slots."""
    bench = Bench()
    for _ in range(10):
        bench.round(1.0, full=False)
    assert bench.pool.limit == 4


def test_trouble_shrinks_it_once_per_cool_down() -> None:
    """A burst of overload errors counts once, the next after the cool-down again."""
    bench = Bench()
    slots = bench.take(4)
    for slot in slots:
        slot.release(ModelUnavailableError())
    assert bench.pool.limit == 2
    bench.clock.advance(5)
    bench.take(1)[0].release(ModelUnavailableError())
    assert bench.pool.limit == 1
    bench.clock.advance(5)
    bench.take(1)[0].release(ModelUnavailableError())
    facts = bench.pool.facts()
    assert (facts.limit, facts.decreases, facts.last_decrease) == (1, 2, "model_unavailable")


def test_no_slot_is_added_during_a_cool_down() -> None:
    """Just after trouble good rounds do not yet add slots."""
    bench = Bench()
    bench.round(1.0)
    bench.take(1)[0].release(ModelUnavailableError())
    bench.round(1.0)
    assert bench.pool.limit == 2
    bench.clock.advance(5)
    bench.round(1.0)
    assert bench.pool.limit == 3


def test_calls_that_take_much_longer_than_usual_shrink_it() -> None:
    """A round that takes more than three times the usual halves the slots."""
    bench = Bench()
    bench.round(1.0)
    bench.round(2.9, full=False)
    assert bench.pool.limit == 4
    bench.round(4.0)
    facts = bench.pool.facts()
    assert (facts.limit, facts.last_decrease) == (2, "slow")


def test_a_lasting_change_becomes_the_usual() -> None:
    """When calls stay slower for good, the pool grows again after a while."""
    bench = Bench()
    bench.round(1.0)
    for _ in range(60):
        bench.round(4.0)
        bench.clock.advance(5)
    assert bench.pool.limit == SETTINGS.limit_max


def test_what_says_nothing_about_load_changes_nothing() -> None:
    """Refusals of bad requests and cancellations neither shrink nor grow the pool."""
    bench = Bench()
    for error in (ModelRequestRefusedError(), asyncio.CancelledError(), KeyError()):
        for slot in bench.take(4):
            slot.release(error)
    facts = bench.pool.facts()
    assert (facts.limit, facts.decreases, facts.baseline_s) == (4, 0, None)


def test_a_slot_measures_its_own_time() -> None:
    """Without a named duration, a call took as long as its slot was held."""
    bench = Bench()
    slots = bench.take(4)
    bench.clock.advance(7)
    for slot in slots:
        slot.release()
    assert bench.pool.facts().baseline_s == 7


def test_reducing_halves_and_never_goes_below_one() -> None:
    """An operator can halve the slots again and again, down to one."""
    bench = Bench()
    assert [bench.pool.reduce() for _ in range(4)] == [2, 1, 1, 1]
    assert bench.pool.facts().reduced


def test_reducing_cuts_no_call_under_way() -> None:
    """Calls that run keep their slots; only new ones must wait for the smaller limit."""
    bench = Bench()
    slots = bench.take(4)
    bench.pool.reduce()
    assert bench.pool.facts().in_flight == 4
    for slot in slots[:2]:
        slot.release()
        assert bench.pool.try_acquire() is None
    slots[2].release()
    assert bench.pool.try_acquire() is not None


def test_good_rounds_do_not_lift_an_operators_ceiling() -> None:
    """What an operator reduced stays reduced however well it goes."""
    bench = Bench()
    bench.pool.reduce()
    for _ in range(10):
        bench.round(1.0)
    assert bench.pool.limit == 2


def test_restoring_returns_slots_one_by_one() -> None:
    """After a restore the ceiling rises by one slot every two seconds."""
    bench = Bench()
    bench.pool.reduce()
    bench.pool.reduce()
    assert bench.pool.restore() == 1
    seen = []
    for _ in range(4):
        bench.clock.advance(2)
        seen.append(bench.pool.limit)
    assert seen == [2, 3, 4, 4]
    bench.clock.advance(20)
    assert not bench.pool.facts().reduced


async def test_slots_that_return_go_to_those_who_wait() -> None:
    """While the ceiling rises, waiters get the new slots although no call has ended."""
    bench = Bench(PoolSettings(limit_start=4, restore_step_s=0.01))
    bench.pool.reduce()
    bench.pool.reduce()
    bench.take(1)
    waiter = asyncio.create_task(bench.pool.acquire())
    await bench.turn()
    bench.pool.restore()
    bench.clock.advance(1)
    async with asyncio.timeout(PATIENCE_S):
        (await waiter).release()


async def test_waiters_are_bounded() -> None:
    """Past the bound a caller is refused at once instead of waiting."""
    bench = Bench()
    bench.take(4)
    tasks = [asyncio.create_task(bench.pool.acquire()) for _ in range(50)]
    await bench.turn()
    with pytest.raises(OverloadedError):
        await bench.pool.acquire()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.pool.facts().waiting == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit_min": 0},
        {"limit_start": 99},
        {"decrease": 1},
        {"baseline_share": 0},
        {"restore_step_s": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    """A pool that could not hold, shrink or grow cannot be made."""
    with pytest.raises(ValueError, match=r"must|positive|above"):
        PoolSettings(**wrong)
