"""Named mutexes: against a model when all is quiet, and by their laws under racing schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.errors import DeadlockError, FencedError, LockTimeoutError
from llmbot.kernel.events import EventBus
from llmbot.resilience.lock import Lock
from llmbot.resilience.mutex import Mutexes
from llmbot.resilience.mutex_facts import MutexSettings

NAMES = ("a", "b", "c")
WAIT_S = 20.0
LEASE_S = 50.0


# ── schedules: whatever races with whatever, the laws hold ──────────────────────────────────────


@dataclass
class Schedule:
    """Some tasks that lock this and that, while others cancel, take away and let time pass."""

    random: Random
    clock: ManualClock = field(default_factory=ManualClock)
    inside: dict[str, Lock] = field(default_factory=dict)
    tickets: dict[str, int] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    cancelled: set[asyncio.Task[str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        bus = EventBus(self.clock, history_max=1)
        self.mutexes = Mutexes(self.clock, bus, MutexSettings(lease_s=LEASE_S, wait_s=WAIT_S))

    async def turns(self, most: int) -> None:
        """Give way a few times."""
        for _ in range(self.random.randrange(most)):
            await self.clock.sleep(0)

    async def lock(self, names: list[str]) -> None:
        """Hold these, one inside the other."""
        if not names:
            return
        name = names[0]
        self.tickets[name] = ticket = self.tickets.get(name, 0) + 1
        wait = self.random.choice([0.0, 1.0, WAIT_S])
        async with self.mutexes.hold(name, reason="schedule", wait_s=wait) as lock:
            other = self.inside.get(name)
            assert other is None or not other.valid, "two tasks hold one mutex"
            assert lock.valid
            assert ticket > self.served.get(name, 0), "a later waiter was served first"
            assert lock.token > self.tokens.get(name, 0), "an earlier grant has a larger token"
            self.served[name], self.tokens[name] = ticket, lock.token
            self.inside[name] = lock
            try:
                await self.turns(3)
                await self.lock(names[1:])
                await self.turns(3)
                if self.random.random() < 0.1:
                    await self.clock.sleep(self.random.choice([1.0, LEASE_S + 1]))
            finally:
                if self.inside.get(name) is lock:
                    del self.inside[name]

    async def actor(self) -> str:
        """One task; says how it ended."""
        await self.turns(4)
        names = self.random.sample(NAMES, self.random.randrange(1, 4))
        try:
            await self.lock(names)
        except (LockTimeoutError, DeadlockError, FencedError) as error:
            await self.clock.sleep(0)  # a stray cancellation would strike here
            return error.code
        await self.clock.sleep(0)
        return "done"

    async def run(self) -> None:
        """Play it, then check that nothing is left over."""
        tasks = [asyncio.create_task(self.actor()) for _ in range(self.random.randrange(2, 7))]
        disturb: list[Callable[[], object]] = [
            lambda: self.cancel(self.random.choice(tasks)),
            lambda: self.mutexes.force_release(self.random.choice(NAMES), "schedule"),
            lambda: self.clock.advance(self.random.choice([1.0, 1.0, WAIT_S, LEASE_S])),
        ]
        for _ in range(self.random.randrange(4, 30)):
            if self.random.random() < 0.25:
                self.random.choice(disturb)()
            await self.clock.sleep(0)
            assert self.mutexes.deadlocks() == ()
        for _ in range(2_000):
            if all(task.done() for task in tasks):
                break
            self.clock.advance(1.0)
            await self.clock.sleep(0)
        for task in tasks:
            assert task.done(), "a task hangs"
            if task.cancelled():
                assert task in self.cancelled, "a cancellation escaped"
            else:
                task.result()
        totals = self.mutexes.totals()
        assert (totals.held, totals.waiting, self.inside) == (0, 0, {})

    def cancel(self, task: asyncio.Task[str]) -> None:
        """Cancel an actor from outside."""
        if task.cancel():
            self.cancelled.add(task)


async def play(seeds: range) -> None:
    """Play the schedules of these seeds."""
    for seed in seeds:
        try:
            await Schedule(Random(seed)).run()
        except AssertionError as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


async def test_no_schedule_jams_a_mutex() -> None:
    """In 1,500 racing schedules of locks, time-outs, cancellations and force all laws hold."""
    await play(range(1_500))


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.slower) for part in range(1, 10))]
)
async def test_no_schedule_of_a_hundred_thousand_jams_a_mutex(part: int) -> None:
    """In 100,000 racing schedules, ten thousand in each of ten parts, all laws hold."""
    await play(range(10_000 * (part + 1), 10_000 * (part + 2)))


# ── the model: when all is quiet, who holds and who waits is as in the textbook ─────────────────


class Actor:
    """A task that locks and unlocks as it is told."""

    def __init__(self, number: int, mutexes: Mutexes) -> None:
        self.number = number
        self.mutexes = mutexes
        self.orders: asyncio.Queue[str | None] = asyncio.Queue()
        self.task = asyncio.get_running_loop().create_task(self.live(), name=str(number))
        self.errors: list[str] = []

    async def live(self) -> None:
        """Obey for ever; an error ends all its locks and nothing else."""
        while True:
            try:
                await self.obey()
            except (LockTimeoutError, DeadlockError, FencedError) as error:
                self.errors.append(error.code)

    async def obey(self) -> None:
        """Lock what is ordered, until the order to unlock comes."""
        while (name := await self.orders.get()) is not None:
            async with self.mutexes.hold(name, reason="model"):
                await self.obey()


@dataclass
class Mind:
    """What the model knows of one actor."""

    held: list[str] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    waits_for: str | None = None
    until: float = 0.0
    errors: list[str] = field(default_factory=list)


class MutexModel(RuleBasedStateMachine):
    """Every quiet schedule gives the holders, queues and victims of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.mutexes = Mutexes(
            self.clock,
            EventBus(self.clock),
            MutexSettings(lease_s=1e9, wait_s=WAIT_S),
        )
        self.actors: list[Actor] = []
        self.minds = [Mind() for _ in range(4)]
        self.queues: dict[str, list[int]] = {name: [] for name in NAMES}
        self.grants = 0

        async def make() -> None:
            self.actors = [Actor(n, self.mutexes) for n in range(4)]

        self.run(make)

    def run(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something in the loop and let it become quiet."""

        async def quiet() -> None:
            await action()
            for _ in range(40):
                await self.clock.sleep(0)

        self.runner.run(quiet())

    def teardown(self) -> None:
        """End the actors."""

        async def end() -> None:
            for actor in self.actors:
                actor.task.cancel()
            await asyncio.gather(*(a.task for a in self.actors), return_exceptions=True)

        self.run(end)
        assert self.mutexes.totals().held == 0
        self.runner.close()

    # The model's own moves.

    def holder(self, name: str) -> int | None:
        """Who holds a mutex."""
        return next((n for n, m in enumerate(self.minds) if name in m.held), None)

    def grant(self, number: int, name: str) -> None:
        """Give a free mutex to an actor."""
        mind = self.minds[number]
        self.grants += 1
        mind.held.append(name)
        mind.since.append(self.grants)
        mind.waits_for = None

    def free(self, name: str) -> None:
        """Give a mutex that was given back to the next in its queue."""
        if self.queues[name]:
            self.grant(self.queues[name].pop(0), name)

    def fail(self, number: int, code: str) -> None:
        """An error ends an actor's wait and all its locks, the innermost first."""
        mind = self.minds[number]
        if mind.waits_for is not None:
            self.queues[mind.waits_for].remove(number)
            mind.waits_for = None
        mind.errors.append(code)
        while mind.held:
            mind.since.pop()
            self.free(mind.held.pop())

    def circle(self, number: int) -> list[int]:
        """The actors that wait for each other, beginning with this one."""
        path: list[int] = []
        current: int | None = number
        while current is not None and current not in path:
            path.append(current)
            waits_for = self.minds[current].waits_for
            current = None if waits_for is None else self.holder(waits_for)
        return path if current == number else []

    # The rules.

    @rule(number=st.integers(0, 3), name=st.sampled_from(NAMES))
    def lock(self, number: int, name: str) -> None:
        mind = self.minds[number]
        if mind.waits_for is not None or name in mind.held:
            return
        self.run(lambda: self.actors[number].orders.put(name))
        if self.holder(name) is None:
            self.grant(number, name)
            return
        self.queues[name].append(number)
        mind.waits_for, mind.until = name, self.clock.monotonic() + WAIT_S
        circle = self.circle(number)
        if circle:
            self.fail(max(circle, key=lambda n: self.minds[n].since[0]), "deadlock")

    @rule(number=st.integers(0, 3))
    def unlock(self, number: int) -> None:
        mind = self.minds[number]
        if mind.waits_for is not None or not mind.held:
            return
        self.run(lambda: self.actors[number].orders.put(None))
        mind.since.pop()
        self.free(mind.held.pop())

    @rule(name=st.sampled_from(NAMES))
    def take_away(self, name: str) -> None:
        holder = self.holder(name)

        async def force() -> None:
            facts = self.mutexes.force_release(name, "model")
            assert (None if facts is None else int(facts.owner)) == holder

        self.run(force)
        if holder is not None:
            # The lock goes on before the holder's other locks do.
            mind = self.minds[holder]
            place = mind.held.index(name)
            del mind.held[place]
            del mind.since[place]
            inner, mind.held[:] = mind.held[place:], mind.held[:place]
            inner_since, mind.since[:] = mind.since[place:], mind.since[:place]
            self.free(name)
            mind.held += inner
            mind.since += inner_since
            self.fail(holder, "fenced")

    @rule(seconds=st.sampled_from([1.0, WAIT_S / 2, WAIT_S]))
    def pass_time(self, seconds: float) -> None:
        due = sorted(
            (m.until, n)
            for n, m in enumerate(self.minds)
            if m.waits_for is not None and m.until <= self.clock.monotonic() + seconds
        )
        # One at a time: those who time out at different moments free locks for those after them.
        end = self.clock.monotonic() + seconds
        for until, number in due:
            mind = self.minds[number]
            if mind.waits_for is None or mind.until != until:
                continue
            tied = [n for u, n in due if u == until]
            if len(tied) > 1 and any(self.minds[n].held for n in tied):
                return  # whose time-out comes first is nobody's promise
            ahead = until - self.clock.monotonic()
            self.run(lambda ahead=ahead: self.move(ahead))  # type: ignore[misc] # bound at once
            self.fail(number, "lock_timeout")
        rest = end - self.clock.monotonic()
        self.run(lambda: self.move(rest))

    async def move(self, seconds: float) -> None:
        """Let the clock go on."""
        self.clock.advance(seconds)

    @invariant()
    def all_stands_as_in_the_model(self) -> None:
        status = self.mutexes.status()
        for name in NAMES:
            if name not in status:
                assert self.holder(name) is None
                continue
            facts = status[name]
            holder = None if facts.holder is None else int(facts.holder.owner)
            assert holder == self.holder(name)
            assert [int(w.owner) for w in facts.waiters] == self.queues[name]
        for actor, mind in zip(self.actors, self.minds, strict=True):
            assert actor.errors == mind.errors
            assert not actor.task.done()
        assert self.mutexes.deadlocks() == ()


MutexModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMutexModel = MutexModel.TestCase
