"""The life of services and tasks, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from llmbot.app.lifecycle.supervised_tasks import NEVER_AGAIN, RestartPolicy
from llmbot.app.lifecycle.supervisor import (
    RestartUnderWayError,
    Service,
    ServiceState,
    Supervisor,
    UnknownServiceError,
    in_start_order,
)
from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.errors import PortTakenError, ServiceStartError
from llmbot.kernel.events import EventBus, Published, TaskDied


async def nothing() -> None:
    """Do nothing."""


async def for_ever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


@dataclass
class Part:
    """A service that notes what is asked of it."""

    name: str
    needs: tuple[str, ...] = ()
    diary: list[str] = field(default_factory=list)
    on_start: Callable[[], Awaitable[None]] = nothing
    on_stop: Callable[[], Awaitable[None]] = nothing
    ill: str = ""

    async def start(self) -> None:
        self.diary.append(f"start {self.name}")
        await self.on_start()

    async def stop(self) -> None:
        self.diary.append(f"stop {self.name}")
        await self.on_stop()

    def trouble(self) -> str:
        return self.ill


class House:
    """A supervisor on a manual clock, and what it published."""

    def __init__(self, *parts: Part, start_deadline_s: float = 30, grace_s: float = 20) -> None:
        self.clock = ManualClock()
        self.bus = EventBus(self.clock)
        self.seen: list[Published] = []
        self.bus.subscribe(self.seen.append)
        self.diary: list[str] = []
        for part in parts:
            part.diary = self.diary
        services: list[Service] = list(parts)
        self.supervisor = Supervisor(
            services,
            self.bus,
            self.clock,
            start_deadline_s=start_deadline_s,
            stop_grace_s=grace_s,
            rng=Random(1),
        )

    def state(self, name: str) -> ServiceState:
        return next(f.state for f in self.supervisor.facts() if f.name == name)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop turn until something is so; virtual time stands still meanwhile."""
        for _ in range(1000):
            if condition():
                return
            await self.clock.sleep(0)
        raise AssertionError("it never came to be")

    async def until_asleep(self, last_entry: str = "") -> None:
        """Let the loop turn until the diary ends so and somebody waits for the clock."""
        await self.until(lambda: not last_entry or self.diary[-1:] == [last_entry])
        await self.until(lambda: self.clock.sleepers > 0)

    @contextmanager
    def deaths(self) -> Iterator[list[TaskDied]]:
        died: list[TaskDied] = []

        def note(stamped: Published) -> None:
            if isinstance(stamped.event, TaskDied):
                died.append(stamped.event)

        unsubscribe = self.bus.subscribe(note)
        yield died
        unsubscribe()


async def test_order_of_needs() -> None:
    """Services start after what they need, else as listed, and stop in reverse."""
    house = House(Part("c", ("a", "b")), Part("a"), Part("b", ("a",)), Part("d"))
    await house.supervisor.start_all()
    assert house.supervisor.all_running
    assert await house.supervisor.stop_all() == ()
    assert house.diary == [
        *("start a", "start b", "start c", "start d"),
        *("stop d", "stop c", "stop b", "stop a"),
    ]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([Part("a", ("x", "y"))], "a needs x; a needs y"),
        ([Part("a", ("b",)), Part("b", ("a",))], "circle"),
        ([Part("a", ("a",))], "a -> a"),
        ([Part("a"), Part("a")], "same name"),
    ],
)
def test_needs_are_checked_before_anything_starts(parts: list[Part], words: str) -> None:
    """Missing, circular and doubled services are named, and nothing has started."""
    with pytest.raises(ServiceStartError, match=words):
        in_start_order(parts)
    assert all(part.diary == [] for part in parts)


async def test_a_failed_start_undoes_in_reverse() -> None:
    """When one start fails, it and all that had started are stopped in reverse, others never."""

    async def fail() -> None:
        raise ValueError("a user's words")

    house = House(Part("a"), Part("b"), Part("c", on_start=fail), Part("d"))
    with pytest.raises(ServiceStartError, match="Service c did not start: ValueError") as caught:
        await house.supervisor.start_all()
    assert "user's words" not in str(caught.value)
    assert house.diary == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    assert house.state("c") is ServiceState.FAILED
    assert house.state("a") is ServiceState.STOPPED


async def test_a_start_error_keeps_its_kind() -> None:
    """An error with its own exit code reaches the caller as it is."""

    async def fail() -> None:
        raise PortTakenError

    with pytest.raises(PortTakenError):
        await House(Part("a", on_start=fail)).supervisor.start_all()


async def test_a_start_has_a_deadline() -> None:
    """A start that takes too long fails and is undone."""
    house = House(Part("a"), Part("b", on_start=for_ever), start_deadline_s=30)
    start = asyncio.create_task(house.supervisor.start_all())
    await house.until_asleep("start b")
    house.clock.advance(30)
    with pytest.raises(ServiceStartError, match="b did not start within 30 s"):
        await start
    assert house.diary[-2:] == ["stop b", "stop a"]


async def test_a_cancelled_start_is_undone() -> None:
    """A signal during the start leaves nothing half started."""
    house = House(Part("a"), Part("b", on_start=for_ever))
    start = asyncio.create_task(house.supervisor.start_all())
    await house.until_asleep("start b")
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert house.diary == ["start a", "start b", "stop b", "stop a"]


async def test_the_stop_goes_on_past_who_fails() -> None:
    """A stop that fails or hangs is named as left behind; the others are stopped all the same."""

    async def fail() -> None:
        raise ValueError

    house = House(Part("a"), Part("b", on_stop=fail), Part("c", on_stop=for_ever), grace_s=5)
    await house.supervisor.start_all()
    stop = asyncio.create_task(house.supervisor.stop_all())
    await house.until_asleep("stop c")
    house.clock.advance(5)
    assert set(await stop) == {"service b", "service c"}
    assert house.diary[-1] == "stop a"
    assert "Left behind at the stop" in house.seen[-1].event.describe()


async def test_the_stop_does_not_wait_for_who_ignores_it() -> None:
    """A stop that even swallows its cancellation cannot hold the process."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    house = House(Part("a", on_stop=stubborn), grace_s=5)
    await house.supervisor.start_all()
    stop = asyncio.create_task(house.supervisor.stop_all())
    await house.until_asleep("stop a")
    house.clock.advance(5)
    await house.until_asleep()
    house.clock.advance(2)
    assert await stop == ("service a",)
    release.set()


async def test_restart_takes_dependents_along() -> None:
    """A restart stops those that need the service first and starts them last; others run on."""
    house = House(Part("a"), Part("b", ("a",)), Part("c", ("b",)), Part("d"))
    await house.supervisor.start_all()
    house.diary.clear()
    done = await house.supervisor.restart("b")
    assert done.services == ("b", "c")
    assert house.diary == ["stop c", "stop b", "start b", "start c"]
    assert [f.restarts for f in house.supervisor.facts()] == [0, 1, 0, 0]
    assert house.supervisor.all_running


async def test_a_failed_restart_says_so_and_spares_the_rest() -> None:
    """A service that does not come back is failed, those that need it stopped, the rest running."""
    part = Part("b", ("a",))
    house = House(Part("a"), part, Part("c", ("b",)), Part("d"))
    await house.supervisor.start_all()

    async def fail() -> None:
        raise OSError("disk is gone")

    part.on_start = fail
    with pytest.raises(ServiceStartError, match="disk is gone"):
        await house.supervisor.restart("b")
    states = {f.name: f.state.value for f in house.supervisor.facts()}
    assert states == {"a": "running", "b": "failed", "c": "stopped", "d": "running"}
    part.on_start = nothing
    await house.supervisor.restart("b")
    assert house.supervisor.all_running


async def test_restarts_do_not_overlap() -> None:
    """A second restart while one is under way is refused, and an unknown name is too."""
    part = Part("a")
    house = House(part)
    await house.supervisor.start_all()
    part.on_stop = for_ever
    first = asyncio.create_task(house.supervisor.restart("a"))
    await house.until_asleep("stop a")
    with pytest.raises(RestartUnderWayError):
        await house.supervisor.restart("a")
    with pytest.raises(UnknownServiceError, match="known: a"):
        await house.supervisor.restart("b")
    house.clock.advance(20)
    await first


async def test_a_dead_task_is_noticed_and_started_again() -> None:
    """Each death is published with its wait, the waits grow, and the task runs again after them."""
    house = House(Part("a"))
    await house.supervisor.start_all()
    lives = 0

    async def crash_twice() -> None:
        nonlocal lives
        lives += 1
        if lives <= 2:
            raise KeyError("a user's words")
        await for_ever()

    with house.deaths() as died:
        task = house.supervisor.watch("pump", crash_twice, owner="a")
        for _ in range(2):
            await house.until_asleep()
            house.clock.advance(5)
        await house.until(lambda: lives == 3)
    assert [event.task for event in died] == ["pump", "pump"]
    waits = [event.restart_in_s for event in died]
    assert waits[0] is not None
    assert waits[1] is not None
    assert 0.05 <= waits[0] <= 0.1 <= waits[1] <= 0.2
    assert "user's words" not in died[0].describe()
    assert "test_supervisor.py" in died[0].error
    assert house.supervisor.facts()[0].task_restarts == 2
    assert task.running
    assert await house.supervisor.stop_all() == ()
    assert not task.running


async def test_a_used_up_budget_fails_the_service_and_not_the_process() -> None:
    """When the budget is used up the service is failed with the reason; nothing else stops."""

    async def crash() -> None:
        raise OSError("gone")

    house = House(Part("a"), Part("b"))
    await house.supervisor.start_all()
    task = house.supervisor.watch(
        "pump", crash, owner="a", policy=RestartPolicy(restarts_max=3, within_s=60)
    )
    with house.deaths() as died:
        for _ in range(3):
            await house.until_asleep()
            house.clock.advance(1)
        await house.until(lambda: not task.running)
    assert died[-1].restart_in_s is None
    facts = house.supervisor.facts()[0]
    assert facts.state is ServiceState.FAILED
    assert "task pump: OSError: gone" in facts.last_error
    assert house.state("b") is ServiceState.RUNNING


async def test_the_budget_is_per_time() -> None:
    """Deaths that lie further back than the window are forgiven."""
    house = House(Part("a"))
    await house.supervisor.start_all()

    async def crash() -> None:
        await house.clock.sleep(30)
        raise OSError("gone")

    policy = RestartPolicy(restarts_max=3, within_s=60, backoff_s=1, backoff_max_s=1)
    task = house.supervisor.watch("pump", crash, owner="a", policy=policy)
    for _ in range(40):
        await house.until_asleep()
        house.clock.advance(31)
    assert task.running
    await house.supervisor.stop_all()


async def test_returning_is_dying_unless_it_may_end() -> None:
    """A task that returns has died, except where its policy says that it may end."""
    house = House(Part("a"))
    await house.supervisor.start_all()
    with house.deaths() as died:
        once = house.supervisor.watch("once", nothing, policy=RestartPolicy(may_end=True))
        never = house.supervisor.watch("never", nothing, policy=NEVER_AGAIN)
        await house.until(lambda: not (once.running or never.running))
    assert [event.task for event in died] == ["never"]
    assert never.given_up


async def test_tasks_end_with_their_service() -> None:
    """A restart of a service ends its tasks; those of others run on."""
    house = House(Part("a"), Part("b"))
    await house.supervisor.start_all()
    mine = house.supervisor.watch("mine", for_ever, owner="a")
    other = house.supervisor.watch("other", for_ever, owner="b")
    free = house.supervisor.watch("free", for_ever)
    await house.supervisor.restart("a")
    assert (mine.running, other.running, free.running) == (False, True, True)
    await house.supervisor.stop_all()
    assert not free.running


async def test_trouble_is_asked_of_the_service() -> None:
    """A running service's own words say how it is; a check that fails is trouble itself."""
    part = Part("a", ill="no heartbeat")
    house = House(part)
    assert house.supervisor.facts()[0].trouble == ""
    await house.supervisor.start_all()
    assert house.supervisor.facts()[0].trouble == "no heartbeat"

    def broken() -> str:
        raise ValueError

    part.trouble = broken  # type: ignore[method-assign] # the check itself breaks
    assert "its own check failed" in house.supervisor.facts()[0].trouble
