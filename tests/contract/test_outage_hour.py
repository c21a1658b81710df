"""An hour without model and Discord: the whole bot on a clock that passes it in minutes.

Process, sockets, disk, database and control plane are real. What is simulated outside lives by the
same time, so that ages of messages are what they would be. For a bot in a hurry the machine is as
much slower: sensors may name a starved loop beside the outage, and that is true there.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.whole_bot import CLOCK, WholeBot, whole_bot

from llmbot.simulators.discord.snowflake import Snowflakes

pytestmark = pytest.mark.slow

FACTOR: Final = 20.0
HOUR_S: Final = 3600.0
YOUNG_S: Final = 900.0
"""Missed messages younger than this are answered (the default of ANSWER_AGE_MAX_S)."""
BACK_S: Final = 360.0
"""Until the gateway is tried again, on a machine whose every late second is twenty here."""
ASK_EVERY_S: Final = 240.0
PATIENCE_S: Final = 240.0
ROOT: Final = Path(__file__).parents[2]
WORDS: Final = "Locks are held in one order."
AWAY: Final = ("gemini.error", "gateway.refuse", "rest.error")


class World:
    """The bot, and the time that it shares with what is outside."""

    def __init__(self, bot: WholeBot) -> None:
        self.bot = bot
        self._began = 0.0
        self._ahead = 0.0
        bot.simulators.discord.world.new_id = Snowflakes(self.now).new

    def now(self) -> float:
        """The wall clock of all."""
        running = (FACTOR - 1.0) * (CLOCK.monotonic() - self._began) if self._began else 0.0
        return CLOCK.wall() + self._ahead + running

    def hurry(self, *, on: bool) -> None:
        """Let time run fast, or as it does."""
        self._ahead, self._began = self.now() - CLOCK.wall(), CLOCK.monotonic() if on else 0.0
        self.bot.process.send_signal(signal.SIGUSR1 if on else signal.SIGUSR2)

    async def pass_by(self, seconds: float, ask_every_s: float) -> dict[str, float]:
        """Live through so many seconds, asking now and then; when each question was asked.

        The probe for process managers must hold all the time: its answers are never bad.
        """
        asked: dict[str, float] = {}
        began = self.now()
        next_s = 0.0
        while (passed := self.now() - began) < seconds:
            assert (await self.bot.look("/api/health/live")) is not None
            if passed >= next_s:
                next_s = passed + ask_every_s
                asked[await self.bot.ask(f"Are you there? [[echo]]{WORDS}[[/echo]]")] = self.now()
            await CLOCK.sleep(0.2)
        return asked


def settings(address: str) -> Mapping[str, str]:
    """Everything as delivered, but for the limits of a talk of one."""
    return {
        "PYTHONPATH": str(ROOT),
        "GOOGLE_API_KEY": "key",
        "GEMINI_BASE_URL": f"{address}/gemini",
        "GEMINI_MODEL": "gemini-3.5-flash-lite,gemini-3.1-flash-lite",
        "HEALING_DRAFT_SUMMARIES": "true",
        "NOTICE_AFTER_S": "0.5",
    }


async def settled(bot: WholeBot, wanted: int) -> list[dict[str, Any]]:
    """The incidents, once so many are there and none goes on."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await bot.look("/api/incidents")
            if found["open"] is None and len(found["incidents"]) >= wanted:
                return list(found["incidents"].values())
            await CLOCK.sleep(0.5)


async def drafted(bot: WholeBot) -> dict[str, Any]:
    """The last report, once a model has summed it up."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            report: dict[str, Any] = await bot.look("/api/incidents/last")
            if report["draft"] is not None:
                return report
            await CLOCK.sleep(0.5)


def replies_by_kind(bot: WholeBot, asked: Mapping[str, float]) -> Counter[str]:
    """How many questions were answered, or told why not, in one message each."""
    kinds: Counter[str] = Counter()
    for question in asked:
        assert len(bot.replies[question]) == 1, bot.replies.get(question)
        kinds["answered" if bot.reply(question).startswith(WORDS) else "told"] += 1
    return kinds


async def test_an_hour_without_model_and_discord(tmp_path: Path) -> None:
    """Liveness holds, nothing restarts, users are told, all get their reply, one incident."""
    program = ("-m", "tests.support.fast_bot", "--factor", str(FACTOR))
    async with whole_bot(tmp_path, settings, program=program) as bot:
        world = World(bot)
        calm = await bot.ask(f"Are you well? [[echo]]{WORDS}[[/echo]]")
        await bot.until(lambda: bot.reply(calm).startswith(WORDS))
        before = await bot.look("/api/health/services")

        # The model goes first: who asks then is told while Discord can still carry it.
        bot.board.switch_on("gemini.error")
        told = await bot.ask(f"Can you think? [[echo]]{WORDS}[[/echo]]")
        await bot.until(lambda: "language model" in bot.reply(told))
        for name in AWAY:
            bot.board.switch_on(name)
        await bot.control("POST", "gateway", {"action": "drop"})
        world.hurry(on=True)
        asked = await world.pass_by(HOUR_S, ASK_EVERY_S)
        world.hurry(on=False)
        ended = world.now()
        assert (await bot.look("/api/incidents"))["open"] is not None
        bot.board.clear()

        everybody = {told: 0.0, **asked}
        try:
            async with asyncio.timeout(PATIENCE_S):
                await bot.until(lambda: all(bot.reply(each) for each in everybody))
                young = [each for each, at in asked.items() if ended - at < YOUNG_S - BACK_S]
                await bot.until(lambda: all(bot.reply(y).startswith(WORDS) for y in young))
        except TimeoutError:
            left = [(each, bot.reply(each)) for each in everybody if not bot.reply(each)]
            raise AssertionError(left) from None
        kinds = replies_by_kind(bot, everybody)
        assert kinds["answered"] >= len(young) > 0

        (incident,) = await settled(bot, 1)
        assert {"model-unavailable", "gateway-away"} <= set(incident["causes"])
        assert incident["severity"] == "P0"
        assert bot.process.returncode is None
        after = await bot.look("/api/health/services")
        restarts = {name: each["restarts"] for name, each in after["services"].items()}
        assert restarts == {name: each["restarts"] for name, each in before["services"].items()}

        report = await drafted(bot)
        assert report["durationSeconds"] >= HOUR_S
        assert len(report["timeline"]) < 100
        assert report["draft"]["by"].startswith("gemini:")
        assert report["impact"]["waiting"] == 0
