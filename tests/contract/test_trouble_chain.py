"""The whole bot, as a process, down its chain: from one model to the next, and to honest words.

Models of Gemini, a further provider, an earlier answer, a notice that becomes the answer, a last
notice; and what must outlive a `kill -9`: the limits of use, and maintenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.whole_bot import WholeBot, whole_bot

pytestmark = pytest.mark.slow

FIRST: Final = "gemini-3.5-flash-lite"
SECOND: Final = "gemini-3.1-flash-lite"
FURTHER: Final = "gpt-5-mini"
WORDS: Final = "Locks are held in one order."


def _question(text: str) -> str:
    return f"{text} [[echo]]{WORDS}[[/echo]]"


def _gemini(address: str, *models: str) -> Mapping[str, str]:
    return {
        "GOOGLE_API_KEY": "key",
        "GEMINI_BASE_URL": f"{address}/gemini",
        "GEMINI_MODEL": ",".join(models),
    }


def _two_providers(address: str) -> Mapping[str, str]:
    return {
        **_gemini(address, FIRST, SECOND),
        "FALLBACK_1_NAME": "other",
        "FALLBACK_1_BASE_URL": f"{address}/openai/v1",
        "FALLBACK_1_API_KEY": "key",
        "FALLBACK_1_MODELS": FURTHER,
        "NOTICE_AFTER_S": "0.5",
    }


async def _answered(bot: WholeBot, question: str) -> str:
    """The whole reply; it must stand in one message."""
    await bot.until(lambda: bot.reply(question).startswith(WORDS))
    return bot.reply(question)


async def _answered_by(bot: WholeBot, question: str, model: str) -> None:
    """The whole reply, with the mark that says whose it is."""
    await bot.until(lambda: model in bot.reply(question))
    assert (await _answered(bot, question)).startswith(f"{WORDS}\n")


def _calls(bot: WholeBot, model: str) -> int:
    models = bot.simulators.gemini.record.stats()["models"]
    return sum(models.get(model, {}).values())


async def test_every_step_of_the_chain(tmp_path: Path) -> None:
    """An answer comes from the next model that can give one, and says so; else an honest notice."""
    async with whole_bot(tmp_path, _two_providers) as bot:
        calm = await bot.ask(_question("why do they hang"), user="ann", channel="talk")
        assert await _answered(bot, calm) == WORDS

        bot.board.switch_on("gemini.quota_day", params={"model": FIRST})
        spent = [await bot.ask(_question(f"what of the day {n}")) for n in range(3)]
        for question in spent:
            await _answered_by(bot, question, SECOND)
        # The day's quota was met once, and the others went past it.
        met = _calls(bot, FIRST)
        again = await bot.ask(_question("and now"))
        await _answered_by(bot, again, SECOND)
        assert _calls(bot, FIRST) == met

        bot.board.switch_on("gemini.error")
        further = await bot.ask(_question("is it away"))
        await _answered_by(bot, further, FURTHER)

        bot.board.switch_on("openai.error")
        same = await bot.ask(_question("Why do they HANG"), user="bob", channel="talk")
        await _answered_by(bot, same, "same question")

        new = await bot.ask(_question("what else is there"), user="bob", channel="talk")
        await bot.until(lambda: bool(bot.reply(new)))
        assert "language model" in bot.first_words[new]
        (place,) = bot.replies[new]
        bot.board.clear()
        await _answered(bot, new)
        assert list(bot.replies[new]) == [place]


async def test_who_waited_long_enough_gets_a_last_word(tmp_path: Path) -> None:
    """A message whose model stays away is told so, and is answered by nobody later."""
    settings = {"ANSWER_WAIT_MAX_S": "2"}
    async with whole_bot(tmp_path, lambda a: {**_gemini(a, FIRST), **settings}) as bot:
        bot.board.switch_on("gemini.error")
        question = await bot.ask(_question("are you there"))
        await bot.until(lambda: "ask again" in bot.reply(question))
        assert "language model" in bot.first_words[question]
        assert len(bot.replies[question]) == 1


async def test_where_it_may_not_write_it_says_so_directly(tmp_path: Path) -> None:
    """A channel that refuses the bot is set aside, and the author is told once, elsewhere."""
    async with whole_bot(tmp_path, lambda a: _gemini(a, FIRST)) as bot:
        await bot.control("POST", "channels", {"name": "closed"})
        refusal = {"channel": "closed", "target": "bot", "deny": ["send_messages"]}
        await bot.control("POST", "permissions", refusal)
        for _ in range(2):
            await bot.ask(_question("may you speak"), user="ann", channel="closed")
        await bot.until(lambda: bool(bot.direct))
        heard = await bot.ask(_question("and here"), user="ann", channel="open")
        await _answered(bot, heard)
        assert len(bot.direct) == 1
        assert "may not write" in bot.direct[0]


async def test_limits_and_maintenance_outlive_a_kill(tmp_path: Path) -> None:
    """After `kill -9` what was counted still counts, and who was told to wait still waits."""
    limit = 6
    settings = {"RATE_LIMIT_RPM": str(limit), "NOTICE_AFTER_S": "0.5"}
    async with whole_bot(tmp_path, lambda a: {**_gemini(a, FIRST), **settings}) as bot:
        for number in range(limit - 1):  # a margin of the limit is left to others
            await _answered(bot, await bot.ask(_question(f"number {number}")))
        await bot.operate("/api/admin/maintenance/enable", {"reason": "test"})
        kept = await bot.ask(_question("one more"), user="ann", channel="told")
        await bot.until(lambda: bool(bot.reply(kept)))
        calls = _calls(bot, FIRST)
        await bot.kill()
        await bot.start()
        second = await bot.ask(_question("and another"), user="bob", channel="told")
        third = await bot.ask(_question("and elsewhere"), user="bob", channel="not told")
        await bot.until(lambda: bool(bot.reply(third)))
        assert "worked on" in bot.reply(third)
        assert not bot.reply(second)
        await bot.operate("/api/admin/maintenance/disable", {"reason": "test"})
        await bot.until(lambda: all("language model" in bot.reply(q) for q in (kept, second)))
        assert _calls(bot, FIRST) == calls
