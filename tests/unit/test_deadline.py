from __future__ import annotations

import asyncio

import pytest

from llmbot.kernel.clock import Clock, ManualClock, SystemClock
from llmbot.kernel.errors import ModelTimeoutError
from llmbot.resilience.deadline import Deadline


async def forever() -> None:
    """Wait for what never comes."""
    await asyncio.get_running_loop().create_future()


async def asleep(clock: ManualClock, sleepers: int = 1) -> None:
    """Let the loop turn until so many wait for the clock."""
    for _ in range(100):
        await clock.sleep(0)
        if clock.sleepers >= sleepers:
            return
    pytest.fail("nobody went to sleep")


def test_a_step_never_gets_more_than_the_request_has_left() -> None:
    """A step's deadline is the earlier of its own patience and the request's."""
    clock = ManualClock()
    request = Deadline.after(clock, 8)
    assert request.within(20) == request
    assert request.within(3).remaining() == pytest.approx(3)
    clock.advance(6)
    assert request.within(3) == request
    assert request.remaining() == pytest.approx(2)


def test_the_earliest_of_two_deadlines_is_the_stricter() -> None:
    """Of two deadlines the earlier one holds, and none at all is no limit."""
    clock = ManualClock()
    early, late = Deadline.after(clock, 1), Deadline.after(clock, 2)
    assert early.earliest(late) == late.earliest(early) == early
    assert late.earliest(None) == late


def test_time_left_is_never_negative() -> None:
    """A deadline that has passed has no time left, not less than none."""
    clock = ManualClock()
    deadline = Deadline.after(clock, 1)
    assert not deadline.expired()
    clock.advance(5)
    assert deadline.expired()
    assert deadline.remaining() == 0


async def test_a_body_ends_at_its_deadline_with_the_error_asked_for() -> None:
    """When the clock reaches the deadline, the body is cancelled and the error is raised."""
    clock = ManualClock()

    async def body() -> None:
        async with Deadline.after(clock, 5).limit(lambda: ModelTimeoutError(stage="connect")):
            await forever()

    task = asyncio.create_task(body())
    await asleep(clock)
    clock.advance(4.9)
    await clock.sleep(0)
    assert not task.done()
    clock.advance(0.2)
    with pytest.raises(ModelTimeoutError):
        await task


async def test_the_system_clock_limits_as_well() -> None:
    """With the machine's clock the limit strikes without anyone advancing it."""
    with pytest.raises(TimeoutError):
        async with Deadline.after(SystemClock(), 0.01).limit():
            await forever()


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()])
async def test_a_passed_deadline_lets_no_work_begin(clock: Clock) -> None:
    """Past its deadline a body does not run its first line."""
    with pytest.raises(TimeoutError):
        async with Deadline.after(clock, -1).limit():
            pytest.fail("work began")


async def test_a_body_that_ends_in_time_is_left_alone() -> None:
    """A body that ended in time is not cancelled when the deadline passes afterwards."""
    clock = ManualClock()
    async with Deadline.after(clock, 5).limit():
        pass
    clock.advance(10)
    await clock.sleep(0)
    await clock.sleep(0)
    assert clock.sleepers == 0


async def test_a_foreign_cancellation_stays_one() -> None:
    """Whoever cancels the task from elsewhere gets CancelledError, not a time-out."""
    clock = ManualClock()

    async def body() -> None:
        async with Deadline.after(clock, 5).limit():
            await forever()

    task = asyncio.create_task(body())
    await asleep(clock)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_tick_as_the_deadline_wins() -> None:
    """A task that is cancelled when its deadline passes ends as cancelled."""
    clock = ManualClock()

    async def body() -> None:
        async with Deadline.after(clock, 5).limit():
            await forever()

    task = asyncio.create_task(body())
    await asleep(clock)
    clock.advance(5)
    await clock.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_inner_limit_and_an_outer_limit_are_told_apart() -> None:
    """The error raised is that of the deadline that passed, however they are nested."""
    clock = ManualClock()

    async def body() -> None:
        async with (
            Deadline.after(clock, 5).limit(lambda: ModelTimeoutError(stage="outer")),
            Deadline.after(clock, 9).limit(lambda: ModelTimeoutError(stage="inner")),
        ):
            await forever()

    task = asyncio.create_task(body())
    await asleep(clock, 2)
    clock.advance(5)
    with pytest.raises(ModelTimeoutError) as caught:
        await task
    assert caught.value.stage == "outer"


async def test_a_time_out_of_the_body_itself_is_not_renamed() -> None:
    """A TimeoutError that the body raises is its own, not this limit's error."""
    with pytest.raises(TimeoutError, match="its own"):
        async with Deadline.after(ManualClock(), 5).limit(ModelTimeoutError):
            raise TimeoutError("its own")


async def test_cleaning_up_after_a_cancellation_is_limited_too() -> None:
    """Inside a task that was cancelled before, a limit still raises its error."""
    clock = ManualClock()
    cleaned = False

    async def body() -> None:
        nonlocal cleaned
        try:
            await forever()
        except asyncio.CancelledError:
            with pytest.raises(TimeoutError):
                async with Deadline.after(clock, 5).limit():
                    await forever()
            cleaned = True
            raise

    task = asyncio.create_task(body())
    await clock.sleep(0)
    task.cancel()
    await asleep(clock)
    clock.advance(5)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned
