"""Cancels a flow wherever it can be cancelled: at each of its awaits, one after the other."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from llmbot.kernel.clock import SystemClock

STEPS_MAX = 400
END_S = 10.0
_CLOCK = SystemClock()


async def at_every_await(
    flow: Callable[[], Coroutine[Any, Any, object]],
    check: Callable[[], Awaitable[None]],
    *,
    not_its_own: tuple[str, ...] = ("load-", "saver-"),
) -> int:
    """Begin the flow anew again and again, cancelled at its first await, its second …, to its end.

    After each time nothing of it may run on, and `check` looks at what it has left. Answers how
    many awaits there were. Tasks whose names begin with `not_its_own` belong to the document store,
    which works for all that ask for the same.
    """
    for step in range(1, STEPS_MAX):
        before = asyncio.all_tasks()
        struck = await cancelled_at(step, flow)
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        left = {name for name in names if not name.startswith(not_its_own)}
        assert not left, f"cancelled at its await {step} it left {left}"
        await check()
        if not struck:
            return step - 1
    raise AssertionError("it does not end")


async def cancelled_at(step: int, flow: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Run a flow and cancel it at its `step`th await; False if it ended before.

    The awaits of tasks that it starts count as well: it is cancelled while they are under way.
    """
    loop = asyncio.get_running_loop()
    waits = 0

    def waited() -> None:
        nonlocal waits
        waits += 1
        if waits == step:
            loop.call_soon(task.cancel)

    def make(_: object, work: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_counted(work, waited), loop=loop, **more)

    earlier = loop.get_task_factory()
    task = asyncio.create_task(_counted(flow(), waited), name="flow")
    loop.set_task_factory(make)
    try:
        await asyncio.wait({task}, timeout=END_S)
    finally:
        loop.set_task_factory(earlier)
    assert task.done(), f"cancelled at its await {step} it does not end"
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return waits >= step


async def _counted(work: Coroutine[Any, Any, Any], waited: Callable[[], None]) -> Any:
    return await _steps(work, waited)


@coroutine
def _steps(work: Coroutine[Any, Any, Any], waited: Callable[[], None]) -> Generator[Any, Any, Any]:
    steps = work.__await__()
    thrown: BaseException | None = None
    while True:
        try:
            waits_for = steps.send(None) if thrown is None else steps.throw(thrown)
        except StopIteration as end:
            return end.value
        waited()
        thrown = None
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - handed on to the work as it came
            thrown = error


class Suspending:
    """A port whose every call waits before and after it has had its effect."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*values: Any, **named: Any) -> Any:
            await _CLOCK.sleep(0)
            answer = await found(*values, **named)
            await _CLOCK.sleep(0)
            return answer

        return call


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names alone
