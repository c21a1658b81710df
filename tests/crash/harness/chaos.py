"""Kills, faults and traffic by chance, the same for the same seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.crash.harness.outside import monotonic, sleep, until
from tests.crash.harness.run import Stage

# Name, shape. Each is on for a moment in some lives; none may lose, double, cut or disorder.
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gateway.drop", {"times": 1}),
    ("gateway.drop", {"probability": 0.05, "seconds": 1.0}),
    ("gateway.reconnect", {"times": 1}),
    ("gateway.invalid_session", {"times": 1}),
    ("gateway.invalid_session", {"times": 1, "params": {"resumable": 1}}),
    ("gateway.invalid_session", {"seconds": 3.0}),
    ("gateway.refuse", {"seconds": 1.0}),
    ("gateway.garbage", {"times": 2}),
    ("gateway.duplicate", {"probability": 0.3, "seconds": 3.0}),
    ("gateway.close", {"times": 1, "params": {"code": 4000}}),
    ("gateway.close", {"times": 1, "params": {"code": 4009}}),
    ("rest.accepted_error", {"probability": 0.3, "seconds": 2.0}),
    ("rest.accepted_error", {"probability": 1.0, "seconds": 0.6}),
    ("rest.error", {"probability": 0.5, "seconds": 2.0}),
    ("rest.error", {"probability": 1.0, "seconds": 0.6, "params": {"status": 500}}),
    ("rest.reset", {"probability": 0.3, "seconds": 2.0}),
    ("rest.reset", {"probability": 0.3, "seconds": 2.0, "params": {"accepted": 1}}),
    ("rest.rate_limit", {"probability": 0.3, "seconds": 1.5, "params": {"retry_s": 0.4}}),
    ("rest.rate_limit", {"times": 2, "params": {"retry_s": 0.5, "global": 1}}),
    ("rest.slow", {"probability": 0.3, "seconds": 2.0, "params": {"seconds": 0.5}}),
    ("gemini.cut", {"probability": 0.4, "seconds": 2.0}),
    ("gemini.cut", {"probability": 0.3, "seconds": 2.0, "params": {"reset": 1}}),
    ("gemini.no_finish", {"probability": 0.4, "seconds": 2.0}),
    ("gemini.garbage", {"probability": 0.3, "seconds": 2.0}),
    ("gemini.error", {"probability": 0.4, "seconds": 2.0, "params": {"status": 503}}),
    ("gemini.error", {"probability": 1.0, "seconds": 0.5, "params": {"status": 500}}),
    ("gemini.quota_minute", {"probability": 0.3, "seconds": 1.0, "params": {"retry_s": 1}}),
    ("gemini.empty", {"probability": 0.2, "seconds": 2.0}),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a run; messages are a mean for each life."""

    kills: int = 10
    asked_a_life: int = 12
    asked_while_down: int = 4
    faults_a_life: float = 0.0
    forgotten_sessions: float = 0.15
    """How often the session is gone at the next start, so that only back-fill can find messages."""
    commands: float = 0.1
    clean_stops: float = 0.1
    life_s_max: float = 3.0


@dataclass(slots=True)
class Told:
    """What was done to the bot."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ended_by_itself: int = 0


async def torment(stage: Stage, plan: Plan, say: Callable[[str], None]) -> Told:
    """Give the bot its lives, one after the other; it is down at the end."""
    told = Told()
    began = monotonic()
    await stage.bot.start()
    await stage.ready()
    for user in stage.talk.users:
        # A direct channel that nobody ever spoke in cannot be found by a bot that was away.
        await stage.talk.ask(user=user, place={"dm": True})
    await stage.verdict()
    while sum(told.kills.values()) < plan.kills:
        if not stage.bot.running:
            await stage.bot.start()
        await _one_life(stage, plan, told)
        if stage.rng.random() < plan.forgotten_sessions:
            await stage.control.gateway("forget")
        await _talk(stage, plan, stage.rng.randrange(2 * plan.asked_while_down + 1), commands=False)
        done = sum(told.kills.values())
        if done % 10 == 0:
            asked = len(stage.talk.asked)
            say(f"{done} kills, {asked} questions, {monotonic() - began:.0f} s")
    return told


async def _one_life(stage: Stage, plan: Plan, told: Told) -> None:
    rng = stage.rng
    early = rng.random() < 0.25
    talking: asyncio.Task[None] | None = None
    if early:
        # In start-up: before, in or just after the connection.
        await sleep(rng.uniform(0.2, 1.6))
    else:
        await _connected(stage)
        count = rng.randrange(1, 2 * plan.asked_a_life)
        talking = asyncio.create_task(_talk(stage, plan, count, commands=True))
        if rng.random() < plan.faults_a_life:
            await _strike(stage, told)
        await sleep(rng.uniform(0.0, plan.life_s_max))
    if not stage.bot.running:
        told.ended_by_itself += 1
    elif rng.random() < plan.clean_stops:
        told.kills["stopped"] += 1
        await stage.bot.stop()
    else:
        told.kills["killed in start" if early else "killed at work"] += 1
        await stage.bot.kill()
    if talking is not None:
        await talking


async def _connected(stage: Stage) -> None:
    """Until it has a session, or some patience is over: a fault may keep it away."""
    deadline = monotonic() + 8.0
    while not await stage.connected() and stage.bot.running and await until(deadline):
        pass


async def _strike(stage: Stage, told: Told) -> None:
    for name, shape in stage.rng.sample(FAULTS, stage.rng.choice((1, 1, 2, 3))):
        told.faults[name] += 1
        await stage.control.fault(name, **shape)


async def _talk(stage: Stage, plan: Plan, count: int, *, commands: bool) -> None:
    for _ in range(count):
        ask: Callable[[], Awaitable[object]] = stage.talk.ask
        if commands and stage.rng.random() < plan.commands and await stage.connected():
            ask = stage.talk.command
        await ask()
        await sleep(stage.rng.expovariate(1 / 0.05))
