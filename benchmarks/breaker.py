"""What a circuit breaker costs a call that it lets through, beside the libraries there are.

Run: python benchmarks/breaker.py. Libraries that are not installed are named and left out; they are
no dependency of llmbot. To have them all, in an environment of their own:

    python -m venv .bench && .bench/bin/pip install aiobreaker aiocircuitbreaker circuitbreaker \
        hyx purgatory pybreaker setuptools && PYTHONPATH=src .bench/bin/python benchmarks/breaker.py

Each call awaits a coroutine that does nothing; the bare await is taken off. The last two columns
are about what the time buys: of 1000 callers who come at once when the pause is over, how many the
breaker lets through (one is right), and whether five cancelled calls open it (they must not).
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from llmbot.kernel.clock import SystemClock
from llmbot.kernel.events import EventBus
from llmbot.resilience.breaker import CircuitBreaker
from llmbot.resilience.breaker_facts import BreakerSettings

CALLS = 20_000
ROUNDS = 9
CALLERS = 1_000
FAILURES = 5
PAUSE_S = 0.2
BUDGET_US = 10.0
"""A pass-through call costs microseconds, not tens of them."""

CLOCK = SystemClock()
Function = Callable[[], Coroutine[Any, Any, None]]
Guarded = Callable[[Function], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A library, and how to make a fresh breaker with it that opens after five failures."""

    name: str
    module: str
    make: Callable[[Any], Guarded]


def llmbot_guard(_: object) -> Guarded:
    """Make ours, as a context manager that classifies errors."""
    settings = BreakerSettings(pause_s=PAUSE_S, pause_max_s=PAUSE_S, pause_jitter=0)
    breaker = CircuitBreaker("bench", CLOCK, EventBus(CLOCK), settings)

    async def call(function: Function) -> None:
        async with breaker.guard():
            await function()

    return call


def llmbot_permit(_: object) -> Guarded:
    """Make ours, with a permit that is told how the call went."""
    settings = BreakerSettings(pause_s=PAUSE_S, pause_max_s=PAUSE_S, pause_jitter=0)
    breaker = CircuitBreaker("bench", CLOCK, EventBus(CLOCK), settings)

    async def call(function: Function) -> None:
        permit = breaker.enter()
        try:
            await function()
        except BaseException as error:
            permit.ended(error)
            raise
        permit.succeeded()

    return call


def decorated(module: Any) -> Guarded:
    """Make one of circuitbreaker or aiocircuitbreaker, which wrap a function once."""
    breaker = module.CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=PAUSE_S)
    wrapped: dict[Function, Function] = {}

    async def call(function: Function) -> None:
        if function not in wrapped:
            wrapped[function] = breaker(function)
        await wrapped[function]()

    return call


def aiobreaker(module: Any) -> Guarded:
    """Make one of aiobreaker."""
    breaker = module.CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=PAUSE_S))

    async def call(function: Function) -> None:
        await breaker.call_async(function)

    return call


def purgatory(module: Any) -> Guarded:
    """Make one of purgatory."""
    factory = module.AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=PAUSE_S)

    async def call(function: Function) -> None:
        async with await factory.get_breaker("bench"):
            await function()

    return call


def hyx(module: Any) -> Guarded:
    """Make one of hyx."""
    breaker = module.consecutive_breaker(
        exceptions=(Exception,),
        failure_threshold=FAILURES,
        recovery_time_secs=PAUSE_S,
        recovery_threshold=1,
    )

    async def call(function: Function) -> None:
        async with breaker:
            await function()

    return call


def pybreaker(module: Any) -> Guarded:
    """Make one of pybreaker, whose context manager is the only way around coroutines."""
    breaker = module.CircuitBreaker(fail_max=FAILURES, reset_timeout=PAUSE_S)

    async def call(function: Function) -> None:
        with breaker.calling():
            await function()

    return call


CONTENDERS = (
    Contender("llmbot, guard", "llmbot.resilience.breaker", llmbot_guard),
    Contender("llmbot, permit", "llmbot.resilience.breaker", llmbot_permit),
    Contender("aiobreaker", "aiobreaker", aiobreaker),
    Contender("aiocircuitbreaker", "aiocircuitbreaker", decorated),
    Contender("circuitbreaker", "circuitbreaker", decorated),
    Contender("hyx", "hyx.circuitbreaker", hyx),
    Contender("purgatory", "purgatory", purgatory),
    Contender("pybreaker", "pybreaker", pybreaker),
)


async def nothing() -> None:
    """Succeed at once."""


async def refuse_connection() -> None:
    """Fail as a provider does that is down."""
    raise ConnectionRefusedError


async def costs_us(calls: list[Guarded]) -> list[float]:
    """Give the best of some rounds for each, in microseconds a call; they take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for number, call in enumerate(calls):
            begun = time.perf_counter()
            for _ in range(CALLS):
                await call(nothing)
            best[number] = min(best[number], (time.perf_counter() - begun) / CALLS * 1e6)
    return best


async def bare(function: Function) -> None:
    """Call without any breaker."""
    await function()


async def passed_at_half_open(call: Guarded) -> int:
    """Open it, wait for the pause to end, then call from a thousand tasks at once."""
    for _ in range(FAILURES + 1):
        await asyncio.gather(call(refuse_connection), return_exceptions=True)
    await CLOCK.sleep(PAUSE_S * 1.5)
    passed = 0
    answer = asyncio.Event()

    async def probe() -> None:
        nonlocal passed
        passed += 1
        await answer.wait()

    tasks = [asyncio.create_task(call(probe), name="caller") for _ in range(CALLERS)]
    for _ in range(10):
        await CLOCK.sleep(0)
    answer.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    return passed


async def opens_on_cancellations(call: Guarded) -> bool:
    """Cancel as many calls as failures would open it, then see whether it lets one through."""

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    for _ in range(FAILURES + 1):
        task = asyncio.create_task(call(hang), name="cancelled")
        await CLOCK.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    (outcome,) = await asyncio.gather(call(nothing), return_exceptions=True)
    return outcome is not None


async def compare() -> int:
    """Print the table; fail where ours is over its budget or wrong."""
    found: list[tuple[Contender, Any]] = []
    missing = []
    for contender in CONTENDERS:
        try:
            found.append((contender, importlib.import_module(contender.module)))
        except ImportError:
            missing.append(contender.name)
    floor, *costs = await costs_us([bare, *(c.make(module) for c, module in found)])
    wrong = False
    print(f"{'':20}{'µs a call':>10}{'of ours':>9}{'half-open':>11}{'cancelled':>11}")
    for (contender, module), gross in zip(found, costs, strict=True):
        cost, ours = gross - floor, costs[0] - floor
        passed = await passed_at_half_open(contender.make(module))
        opened = await opens_on_cancellations(contender.make(module))
        print(
            f"{contender.name:20}{cost:10.2f}{cost / ours:8.1f}x{passed:11}"
            f"{'opens' if opened else 'ignored':>11}"
        )
        if contender.name.startswith("llmbot"):
            wrong = wrong or cost > BUDGET_US or passed != 1 or opened
    if missing:
        print(f"not installed: {', '.join(missing)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(compare()))
