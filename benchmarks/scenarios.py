"""What the bots are put through. Each scenario checks every answer and gives its figures by name.

Names end in their unit. `unanswered` and `wrong` count questions without the whole answer, and
those whose reply holds more or other than it; both must be 0 for the other figures to mean much.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import httpx2
from benchmarks.contender import Contender
from benchmarks.stage import Exchange, Stage

from llmbot.kernel.clock import SystemClock
from llmbot.storage.instance import read_instance

CHANNELS = 50
_AFTER_S = 1.5
"""Longer than the pace of edits: what a bot still writes after the whole answer is seen."""
_QUIET_S = 12.0
"""Longer than any wait that Discord's limits ask for here: nothing will come any more."""
_LOOK_S = 0.05
_BACKUP_EVERY_S = 1.0
_BACKUP_S_MAX = 60.0
_CLOCK = SystemClock()

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each scenario."""

    rounds: int
    paced: int
    pace_per_s: float
    flood: int
    flood_users: int
    burst: int
    conversations: int
    conversations_at_once: int = 100
    deadline_s: float = 180.0


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all do not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Meter:
    """What was used of processor, Discord and time since it was made."""

    def __init__(self, stage: Stage, bot: Contender) -> None:
        """Begin now."""
        self._stage = stage
        self._bot = bot
        self._calls = stage.calls()
        self._cpu_s = bot.cpu_s
        self._stage_cpu_s = time.process_time()
        self._started = time.perf_counter()

    def figures(self, prefix: str, exchanges: list[Exchange]) -> Figures:
        """Figures of all that was asked meanwhile."""
        asked = len(exchanges)
        answered = [each for each in exchanges if each.whole]
        end = max((each.last_s for each in exchanges), default=self._started)
        first = [(each.first_s - each.asked_s) * 1000 for each in answered]
        final = [(each.last_s - each.asked_s) * 1000 for each in answered]
        calls = {k: n - self._calls.get(k, 0) for k, n in self._stage.calls().items()}
        refused = calls.pop("429", 0)
        found: Figures = {
            "asked": asked,
            "unanswered": sum(not each.parts for each in exchanges),
            "wrong": sum(bool(each.parts) and not each.whole for each in exchanges),
            "seconds": end - self._started,
            "messages_per_s": len(answered) / max(1e-9, end - self._started),
            "cpu_ms_per_message": (self._bot.cpu_s - self._cpu_s) * 1000 / max(1, asked),
            "stage_cpu_share": (time.process_time() - self._stage_cpu_s)
            / max(1e-9, time.perf_counter() - self._started),
            "calls_per_message": sum(calls.values()) / max(1, asked),
            "calls_refused_429": refused,
        }
        for name, values in (("first_words", first), ("final_text", final)):
            for share in (50, 95, 99):
                found[f"{name}_p{share}_ms"] = percentile(values, share / 100)
        return {f"{prefix}.{name}": value for name, value in found.items()}


class _Countdown:
    """Waits until so many answers are whole."""

    def __init__(self, stage: Stage, count: int, then: Callable[[Exchange], None]) -> None:
        self._stage = stage
        self._left = count
        self._then = then
        self.asking = True
        stage.on_whole = self._one

    def _one(self, exchange: Exchange) -> None:
        self._left -= 1
        self._then(exchange)

    async def wait(self, deadline_s: float) -> None:
        """Return when all are whole, or nothing was written for long.

        After the deadline nobody asks again; what was asked by then is still waited for, since a
        question that was cut off is none that the bot lost.
        """
        end = time.perf_counter() + deadline_s
        quiet_since = time.perf_counter()
        while self._left > 0:
            await _CLOCK.sleep(_LOOK_S)
            if self.asking and time.perf_counter() > end:
                self.asking = False
                self._left = sum(not each.whole for each in self._stage.exchanges)
            quiet_since = max(quiet_since, self._stage.written_s)
            if time.perf_counter() - quiet_since > _QUIET_S:
                break  # the figures say how many are missing
        await _CLOCK.sleep(_AFTER_S)


def _nothing(_: Exchange) -> None:
    """Only the count matters."""


def _channel(number: int) -> str:
    return f"channel-{number % CHANNELS}"


async def warm_up(stage: Stage) -> None:
    """Speak once in every channel: what a bot does only once is not measured."""
    countdown = _Countdown(stage, CHANNELS, _nothing)
    for number in range(CHANNELS):
        stage.ask(f"warmer-{number}", _channel(number))
        await _CLOCK.sleep(0.01)
    await countdown.wait(30.0)
    stage.take_exchanges()


async def paced(stage: Stage, bot: Contender, sizes: Sizes) -> Figures:
    """Low load: one message after the other at an even pace, each from another user."""
    countdown = _Countdown(stage, sizes.paced, _nothing)
    meter = Meter(stage, bot)
    began = time.perf_counter()
    for number in range(sizes.paced):
        await _CLOCK.sleep(began + number / sizes.pace_per_s - time.perf_counter())
        stage.ask(f"reader-{number}", _channel(number))
    await countdown.wait(sizes.deadline_s)
    return meter.figures("paced", stage.take_exchanges())


async def flood(stage: Stage, bot: Contender, sizes: Sizes) -> Figures:
    """As much as it can take: each of many users asks again as soon as the answer is whole."""
    left = sizes.flood

    def again(exchange: Exchange) -> None:
        nonlocal left
        if left > 0 and countdown.asking:
            left -= 1
            stage.ask(exchange.user, _channel(int(exchange.user.rpartition("-")[2])))

    countdown = _Countdown(stage, sizes.flood, again)
    meter = Meter(stage, bot)
    for number in range(min(sizes.flood_users, sizes.flood)):
        left -= 1
        stage.ask(f"user-{number}", _channel(number))
    await countdown.wait(sizes.deadline_s)
    return meter.figures("flood", stage.take_exchanges())


async def burst(stage: Stage, bot: Contender, sizes: Sizes) -> Figures:
    """All at once while Discord keeps its rate limits: five writes in five seconds a channel."""
    stage.limit(real=True)
    countdown = _Countdown(stage, sizes.burst, _nothing)
    meter = Meter(stage, bot)
    for number in range(sizes.burst):
        stage.ask(f"caller-{number}", _channel(number))
    await countdown.wait(sizes.deadline_s)
    stage.limit(real=False)
    return meter.figures("burst", stage.take_exchanges())


async def lag(stage: Stage, bot: Contender, sizes: Sizes, data: Path) -> Figures:
    """How late the loop is in a flood while database and documents are backed up all the time."""
    facts = read_instance(data)
    assert facts is not None
    backups = 0

    async def back_up() -> None:
        nonlocal backups
        async with httpx2.AsyncClient(base_url=facts.http_address, timeout=_BACKUP_S_MAX) as api:
            while True:
                answer = await api.post("/api/admin/datastore/backup")
                answer.raise_for_status()
                backups += 1
                await _CLOCK.sleep(_BACKUP_EVERY_S)

    before = len(bot.lags_ms())
    task = asyncio.create_task(back_up(), name="backups")
    try:
        flooded = await flood(stage, bot, sizes)
    finally:
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.result()  # a backup was refused
    lags = bot.lags_ms()[before:]
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "worst": 1.0}
    return {
        "lag.unanswered": flooded["flood.unanswered"],
        "lag.wrong": flooded["flood.wrong"],
        "lag.backups": float(backups),
        **{f"lag.{name}_ms": percentile(lags, share) for name, share in shares.items()},
    }


async def growth(stage: Stage, bot: Contender, sizes: Sizes) -> Figures:
    """Each message opens a conversation of its own; what the process keeps of them is memory."""
    total = sizes.conversations
    asked = min(sizes.conversations_at_once, total)
    answered = 0
    samples: list[tuple[float, float]] = []
    rss_at_start = bot.rss_mib

    def next_one(_: Exchange) -> None:
        nonlocal asked, answered
        answered += 1
        if answered % max(1, total // 100) == 0:
            samples.append((answered, bot.rss_mib))
        if asked < total and countdown.asking:
            stage.ask(f"person-{asked}", None)
            asked += 1

    countdown = _Countdown(stage, total, next_one)
    meter = Meter(stage, bot)
    for number in range(asked):
        stage.ask(f"person-{number}", None)
    await countdown.wait(sizes.deadline_s)
    later = samples[len(samples) // 2 :]
    slope = linear_regression(*zip(*later, strict=True)).slope if len(later) > 1 else 0.0
    return {
        **meter.figures("growth", stage.take_exchanges()),
        "growth.rss_at_start_mib": rss_at_start,
        "growth.rss_at_half_mib": samples[len(samples) // 2][1] if samples else 0.0,
        "growth.rss_at_end_mib": bot.rss_mib,
        "growth.rss_max_mib": max((mib for _, mib in samples), default=0.0),
        "growth.rss_slope_mib_per_1000": slope * 1000,
    }
