from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import (
    DeadlockError,
    FencedError,
    LockTimeoutError,
    OverloadedError,
    ReentrantLockError,
)
from llmbot.kernel.events import EventBus
from llmbot.resilience.deadline import Deadline
from llmbot.resilience.lock import Lock
from llmbot.resilience.mutex import Mutexes
from llmbot.resilience.mutex_facts import (
    DeadlockFound,
    DeadlockPolicy,
    LockBroken,
    MutexFacts,
    MutexSettings,
)


@dataclass
class Holder:
    """A task that holds a mutex until it is told to end."""

    task: asyncio.Task[None]
    end: asyncio.Event
    locks: list[Lock] = field(default_factory=list)


class Bench:
    """Mutexes with a clock to move, and tasks that hold them."""

    def __init__(self, settings: MutexSettings | None = None) -> None:
        self.clock = ManualClock()
        self.bus = EventBus(self.clock)
        self.mutexes = Mutexes(self.clock, self.bus, settings)
        self.order: list[str] = []

    async def turn(self) -> None:
        """Let every task that can run do so."""
        for _ in range(10):
            await self.clock.sleep(0)

    async def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task until it waits."""
        task = asyncio.create_task(coroutine, name=name)
        await self.turn()
        return task

    async def holder(self, name: str, mutex: str = "m", **options: float) -> Holder:
        """A task that holds, or waits for, a mutex."""
        end = asyncio.Event()
        locks: list[Lock] = []

        async def body() -> None:
            async with self.mutexes.hold(mutex, reason="test", **options) as lock:  # type: ignore[arg-type] # seconds alone are passed
                self.order.append(name)
                locks.append(lock)
                await end.wait()

        return Holder(await self.start(body(), name), end, locks)

    def facts(self, mutex: str = "m") -> MutexFacts:
        """How a mutex stands."""
        return self.mutexes.status()[mutex]

    def owner(self, mutex: str = "m") -> str | None:
        """The name of the task that holds it."""
        holder = self.facts(mutex).holder
        return None if holder is None else holder.owner

    def events(self) -> list[object]:
        """What was published."""
        return [published.event for published in self.bus.history]


async def finish(*holders: Holder) -> None:
    """End these tasks, whatever becomes of them."""
    for holder in holders:
        holder.end.set()
        holder.task.cancel()
    await asyncio.gather(*(h.task for h in holders), return_exceptions=True)


async def test_one_task_at_a_time_holds_a_mutex() -> None:
    """While one task is in the body, the next waits; afterwards it enters."""
    bench = Bench()
    ann, ben = await bench.holder("ann"), await bench.holder("ben")
    assert bench.owner() == "ann"
    assert [w.owner for w in bench.facts().waiters] == ["ben"]
    ann.end.set()
    await ann.task
    await bench.turn()
    assert bench.owner() == "ben"
    ben.end.set()
    await ben.task
    assert bench.owner() is None


async def test_different_names_do_not_wait_for_each_other() -> None:
    """Two tasks hold two mutexes at once."""
    bench = Bench()
    ann, ben = await bench.holder("ann", "a"), await bench.holder("ben", "b")
    assert (bench.owner("a"), bench.owner("b")) == ("ann", "ben")
    await finish(ann, ben)


async def test_first_come_first_served() -> None:
    """Waiters get the mutex in the order in which they came."""
    bench = Bench()
    holders = [await bench.holder(str(n)) for n in range(5)]
    for holder in holders:
        holder.end.set()
        await holder.task
    assert bench.order == ["0", "1", "2", "3", "4"]


async def test_every_way_out_of_the_body_gives_the_mutex_back() -> None:
    """After an error or a cancellation in the body the mutex is free."""
    bench = Bench()
    with pytest.raises(KeyError):
        async with bench.mutexes.hold("m", reason="test"):
            raise KeyError
    assert bench.owner() is None
    ann = await bench.holder("ann")
    ann.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ann.task
    assert bench.owner() is None


async def test_a_wait_ends_at_its_deadline() -> None:
    """Who is not served in time gets a time-out and leaves the queue; the next ones stay."""
    bench = Bench()
    ann = await bench.holder("ann")
    ben = await bench.holder("ben", wait_s=5)
    cid = await bench.holder("cid", wait_s=50)
    bench.clock.advance(5)
    with pytest.raises(LockTimeoutError):
        await ben.task
    assert [w.owner for w in bench.facts().waiters] == ["cid"]
    ann.end.set()
    await bench.turn()
    assert bench.owner() == "cid"
    await finish(ann, cid)


async def test_a_deadline_of_the_request_bounds_the_wait_too() -> None:
    """The stricter of the wait and the request's deadline counts."""
    bench = Bench()
    ann = await bench.holder("ann")

    async def body() -> None:
        deadline = Deadline.after(bench.clock, 3)
        async with bench.mutexes.hold("m", reason="test", wait_s=50, deadline=deadline):
            pytest.fail("entered")

    ben = await bench.start(body(), "ben")
    bench.clock.advance(3)
    with pytest.raises(LockTimeoutError):
        await ben
    await finish(ann)


async def test_no_wait_at_all_is_a_try() -> None:
    """With no time to wait, a held mutex is refused at once and a free one is given."""
    bench = Bench()
    ann = await bench.holder("ann")
    with pytest.raises(LockTimeoutError):
        async with bench.mutexes.hold("m", reason="test", wait_s=0):
            pytest.fail("entered")
    await finish(ann)
    async with bench.mutexes.hold("m", reason="test", wait_s=0) as lock:
        assert lock.valid


@pytest.mark.parametrize("turns", range(5))
async def test_a_waiter_cancelled_as_it_is_served_hands_the_mutex_on(turns: int) -> None:
    """However the cancellation and the grant fall together, the mutex is never left held."""
    bench = Bench()
    ann, ben, cid = [await bench.holder(n) for n in ("ann", "ben", "cid")]
    ann.end.set()
    for _ in range(turns):
        await bench.clock.sleep(0)
    ben.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ben.task
    await bench.turn()
    assert bench.owner() == "cid"
    await finish(ann, cid)


@pytest.mark.parametrize("turns", range(5))
async def test_a_time_out_as_it_is_served_leaves_nothing_held(turns: int) -> None:
    """However the deadline and the grant fall together, the waiter enters or the next one does."""
    bench = Bench()
    ann, ben, cid = [await bench.holder(n, wait_s=5) for n in ("ann", "ben", "cid")]
    ann.end.set()
    for _ in range(turns):
        await bench.clock.sleep(0)
    bench.clock.advance(4)
    await bench.turn()
    bench.clock.advance(1)
    await bench.turn()
    assert bench.owner() == "ben"
    await finish(ann, ben, cid)
    assert bench.owner() is None


async def test_a_task_that_holds_it_cannot_ask_again() -> None:
    """Asking for a mutex that the task holds is a defect with a clear name, not a wait for ever."""
    bench = Bench()
    async with bench.mutexes.hold("m", reason="outer"):
        with pytest.raises(ReentrantLockError):
            async with bench.mutexes.hold("m", reason="inner"):
                pytest.fail("entered")
    assert bench.owner() is None


async def test_a_deadlock_is_found_when_it_closes_and_the_youngest_gives_way() -> None:
    """Of tasks that wait for each other the one with the youngest locks gets DeadlockError."""
    bench = Bench()
    names = ["a", "b", "c"]
    outcome: list[str] = []
    gates = [asyncio.Event() for _ in names]

    async def body(number: int) -> None:
        first, second = names[number], names[(number + 1) % 3]
        async with bench.mutexes.hold(first, reason="first"):
            await gates[number].wait()
            async with bench.mutexes.hold(second, reason="second"):
                outcome.append(first)

    tasks = [await bench.start(body(n), f"task-{n}") for n in range(3)]
    for number in (2, 0, 1):  # the last to wait is not the youngest
        gates[number].set()
        await bench.turn()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcome == ["b", "a"]
    error = results[2]
    assert isinstance(error, DeadlockError)
    (found,) = [e for e in bench.events() if isinstance(e, DeadlockFound)]
    assert found.victim == "task-2"
    assert set(found.cycle) == set(error.cycle)
    assert set(found.cycle) == {
        "task-0 waits for b held by task-1",
        "task-1 waits for c held by task-2",
        "task-2 waits for a held by task-0",
    }
    assert bench.mutexes.deadlocks() == ()
    assert bench.mutexes.totals().held == 0


async def test_a_deadlock_can_be_left_to_the_operator() -> None:
    """Under the other policy the circle stays, is shown whole, and a forced release ends it."""
    bench = Bench(MutexSettings(deadlock_policy=DeadlockPolicy.LEAVE))

    async def body(first: str, second: str) -> None:
        async with bench.mutexes.hold(first, reason="first"):
            await bench.turn()
            async with bench.mutexes.hold(second, reason="second"):
                pass

    ann = asyncio.create_task(body("a", "b"), name="ann")
    ben = asyncio.create_task(body("b", "a"), name="ben")
    await bench.turn()
    await bench.turn()
    (circle,) = bench.mutexes.deadlocks()
    assert {(e.waiter, e.mutex, e.holder) for e in circle} == {
        ("ann", "b", "ben"),
        ("ben", "a", "ann"),
    }
    assert next(e for e in bench.events() if isinstance(e, DeadlockFound)).victim == ""
    bench.mutexes.force_release("a", "operator")
    with pytest.raises(FencedError):
        await ann
    await ben
    assert bench.mutexes.deadlocks() == ()


async def test_a_forced_release_cancels_the_holder_and_wakes_the_next() -> None:
    """The holder's body is cancelled and leaves with FencedError; the next waiter enters."""
    bench = Bench()
    ann, ben = await bench.holder("ann"), await bench.holder("ben")
    bench.clock.advance(2)
    facts = bench.mutexes.force_release("m", "operator")
    assert facts is not None
    assert (facts.owner, facts.held_for_s) == ("ann", 2)
    with pytest.raises(FencedError):
        await ann.task
    assert not ann.task.cancelled()
    await bench.turn()
    assert bench.owner() == "ben"
    (broken,) = [e for e in bench.events() if isinstance(e, LockBroken)]
    assert broken.describe() == "Mutex m taken away from ann after 2000 ms: operator"
    await finish(ben)


async def test_late_acts_of_a_fenced_holder_are_refused() -> None:
    """A holder that shrugs its cancellation off cannot act under the lock any more."""
    bench = Bench()
    acted: list[str] = []

    async def stubborn() -> None:
        async with bench.mutexes.hold("m", reason="test") as lock:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                acted.append("late")
            with pytest.raises(FencedError):
                lock.check()
            with pytest.raises(FencedError):
                lock.extend(100)

    ann = await bench.start(stubborn(), "ann")
    bench.mutexes.force_release("m", "operator")
    with pytest.raises(FencedError):
        await ann
    assert acted == ["late"]


async def test_tokens_only_grow() -> None:
    """Each grant has a larger token than all before, on whatever mutex."""
    bench = Bench()
    tokens = []
    for name in ("a", "b", "a", "a"):
        async with bench.mutexes.hold(name, reason="test") as lock:
            tokens.append(lock.token)
    assert tokens == sorted(set(tokens))


async def test_a_foreign_cancellation_during_a_forced_release_stays_one() -> None:
    """A holder that is cancelled by others as well ends as cancelled."""
    bench = Bench()
    ann = await bench.holder("ann")
    bench.mutexes.force_release("m", "operator")
    ann.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ann.task


async def test_nested_locks_taken_away_together_leave_one_fenced_error() -> None:
    """When both locks of a task are taken away, the task gets FencedError and lives on."""
    bench = Bench()
    lived = False

    async def body() -> None:
        nonlocal lived
        with pytest.raises(FencedError):
            async with (
                bench.mutexes.hold("a", reason="outer"),
                bench.mutexes.hold("b", reason="inner"),
            ):
                await asyncio.get_running_loop().create_future()
        await bench.clock.sleep(0)
        lived = True

    ann = await bench.start(body(), "ann")
    bench.mutexes.force_release("a", "operator")
    bench.mutexes.force_release("b", "operator")
    await ann
    assert lived


async def test_a_lock_taken_away_before_its_holder_came_round_is_fenced() -> None:
    """A waiter whose grant is taken away at once gets FencedError, not a bare cancellation."""
    bench = Bench()
    ann, ben = await bench.holder("ann"), await bench.holder("ben")
    bench.mutexes.force_release("m", "first")
    bench.mutexes.force_release("m", "second")
    for holder in (ann, ben):
        with pytest.raises(FencedError):
            await holder.task
    assert bench.order == ["ann"]
    assert bench.owner() is None


async def test_an_error_of_the_body_is_not_hidden_by_a_forced_release() -> None:
    """A body that fails while its lock is taken away fails with its own error."""
    bench = Bench()

    async def body() -> None:
        async with bench.mutexes.hold("m", reason="test"):
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                raise KeyError

    ann = await bench.start(body(), "ann")
    bench.mutexes.force_release("m", "operator")
    with pytest.raises(KeyError):
        await ann


async def test_a_lease_ends_when_others_wait() -> None:
    """A holder past its lease keeps the lock while nobody wants it, and loses it when one does."""
    bench = Bench()
    ann = await bench.holder("ann", lease_s=10)
    bench.clock.advance(100)
    await bench.turn()
    assert ann.locks[0].valid
    ben = await bench.holder("ben")
    with pytest.raises(FencedError):
        await ann.task
    assert bench.owner() == "ben"
    await finish(ben)


async def test_a_waiter_sees_the_lease_end_while_it_waits() -> None:
    """A lease that ends during the wait lets the waiter in."""
    bench = Bench()
    ann = await bench.holder("ann", lease_s=10)
    ben = await bench.holder("ben", wait_s=30, lease_s=4)
    cid = await bench.holder("cid", wait_s=30)
    bench.clock.advance(10)
    with pytest.raises(FencedError):
        await ann.task
    await bench.turn()
    assert bench.owner() == "ben"
    bench.clock.advance(4)
    with pytest.raises(FencedError):
        await ben.task
    await bench.turn()
    assert bench.owner() == "cid"
    await finish(cid)


async def test_who_becomes_first_watches_the_lease_of_the_present_holder() -> None:
    """When the first waiter leaves, the next one gets in at the end of the present lease."""
    bench = Bench()
    ann = await bench.holder("ann", lease_s=100)
    ben = await bench.holder("ben", lease_s=4)
    cid, dan = await bench.holder("cid"), await bench.holder("dan")
    ann.end.set()
    await bench.turn()
    assert bench.owner() == "ben"
    cid.task.cancel()
    await bench.turn()
    bench.clock.advance(4)
    await bench.turn()
    assert bench.owner() == "dan"
    await finish(ann, ben, cid, dan)


async def test_the_first_waiter_watches_the_lease_of_the_present_holder() -> None:
    """When a holder with a shorter lease follows, the first waiter gets in at that lease's end."""
    bench = Bench()
    ann = await bench.holder("ann", lease_s=100)
    ben = await bench.holder("ben", lease_s=4)
    cid = await bench.holder("cid")
    ann.end.set()
    await bench.turn()
    bench.clock.advance(4)
    await bench.turn()
    assert bench.owner() == "cid"
    await finish(ann, ben, cid)


async def test_a_lease_can_be_extended() -> None:
    """A holder that extends its lease in time keeps the lock."""
    bench = Bench()
    ann = await bench.holder("ann", lease_s=10)
    ben = await bench.holder("ben", wait_s=50)
    bench.clock.advance(9)
    ann.locks[0].extend(20)
    bench.clock.advance(15)
    await bench.turn()
    assert bench.owner() == "ann"
    bench.clock.advance(5)
    await bench.turn()
    assert bench.owner() == "ben"
    await finish(ann, ben)


async def test_cleaning_up_frees_what_the_gone_hold() -> None:
    """A lock whose task ended without giving it back is freed, and idle names are dropped."""
    bench = Bench()
    generators: list[AsyncGenerator[None]] = []

    async def leaky() -> AsyncGenerator[None]:
        async with bench.mutexes.hold("m", reason="leak"):
            yield

    async def body() -> None:
        generators.append(leaky())
        await anext(generators[0])

    await (await bench.start(body(), "ann"))
    async with bench.mutexes.hold("idle", reason="test"):
        pass
    holder = bench.facts().holder
    assert holder is not None
    assert holder.gone
    ben = await bench.holder("ben")
    assert bench.owner() == "ben"  # who comes later sees at once that the holder is gone
    await finish(ben)
    generators.clear()
    await bench.turn()

    await (await bench.start(body(), "cid"))
    cleaned = bench.mutexes.cleanup()
    assert (cleaned.freed, cleaned.dropped) == (("m",), 2)
    assert bench.mutexes.names() == ()
    await generators[0].aclose()


async def test_idle_names_are_bounded() -> None:
    """However many names were ever used, only so many idle ones are remembered."""
    bench = Bench(MutexSettings(idle_max=5))
    for number in range(100):
        async with bench.mutexes.hold(str(number), reason="test"):
            pass
    assert bench.mutexes.names() == ("95", "96", "97", "98", "99")
    assert bench.mutexes.totals().figures.acquisitions == 100


async def test_names_in_use_are_bounded() -> None:
    """Past the bound a new name is refused; an idle one makes room."""
    bench = Bench(MutexSettings(names_max=2))
    ann, ben = await bench.holder("ann", "a"), await bench.holder("ben", "b")
    with pytest.raises(OverloadedError):
        async with bench.mutexes.hold("c", reason="test"):
            pytest.fail("entered")
    await finish(ann)
    async with bench.mutexes.hold("c", reason="test"):
        assert bench.mutexes.names() == ("b", "c")
    await finish(ben)


async def test_waiters_are_bounded() -> None:
    """Past the bound a further waiter is refused at once."""
    bench = Bench(MutexSettings(waiters_max=2))
    holders = [await bench.holder(str(n)) for n in range(3)]
    with pytest.raises(OverloadedError):
        async with bench.mutexes.hold("m", reason="test"):
            pytest.fail("entered")
    await finish(*holders)


async def test_figures_tell_how_contended_a_mutex_is() -> None:
    """Acquisitions, waits, holds and their ends are counted, until they are reset."""
    bench = Bench()
    ann = await bench.holder("ann")
    ben = await bench.holder("ben")
    cid = await bench.holder("cid", wait_s=1)
    dan = await bench.holder("dan")
    dan.task.cancel()
    bench.clock.advance(3)
    await bench.turn()
    waits = {w.owner: w.waits_for_s for w in bench.facts().waiters}
    assert waits == {"ben": 3}
    ann.end.set()
    await bench.turn()
    bench.clock.advance(2)
    ben.end.set()
    await asyncio.gather(ann.task, ben.task, cid.task, dan.task, return_exceptions=True)
    figures = bench.facts().figures
    assert (figures.acquisitions, figures.contended) == (2, 3)
    assert (figures.timeouts, figures.cancelled) == (1, 1)
    assert (figures.wait_total_s, figures.wait_max_s) == (3, 3)
    assert (figures.hold_total_s, figures.hold_max_s) == (5, 3)
    assert bench.mutexes.totals().figures == figures
    bench.mutexes.reset_stats()
    assert bench.facts().figures.acquisitions == 0
    assert bench.mutexes.totals().figures.acquisitions == 0


async def test_what_nobody_holds_cannot_be_released_by_force() -> None:
    """A forced release of a free or unknown mutex says so and changes nothing."""
    bench = Bench()
    assert bench.mutexes.force_release("unknown", "operator") is None
    async with bench.mutexes.hold("m", reason="test"):
        pass
    assert bench.mutexes.force_release("m", "operator") is None
    assert bench.events() == []


@pytest.mark.parametrize("wrong", [{"lease_s": 0}, {"wait_s": -1}, {"names_max": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    """Mutexes that nobody could hold or name cannot be made."""
    with pytest.raises(ValueError, match="must"):
        MutexSettings(**wrong)  # type: ignore[arg-type] # the wrong values are the point
