"""The whole bot on a disk that fills up, or hangs, in the middle of a talk.

Process and file system are real. People are answered meanwhile, health says what is wrong, and
when the disk is well again so is the bot, by itself, with all it owes the disk written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.support.tiny_disk import fill, freezable_disk, frozen, tiny_disk
from tests.support.waiting import PATIENCE_S
from tests.support.whole_bot import CLOCK, WholeBot, whole_bot

pytestmark = pytest.mark.slow

ASKED = 10
WORDS = "What is said is kept."
QUESTION = f"Are you there? [[echo]]{WORDS}[[/echo]]"


def settings(address: str) -> Mapping[str, str]:
    """Everything as delivered."""
    return {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "GOOGLE_API_KEY": "key",
        "GEMINI_BASE_URL": f"{address}/gemini",
    }


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No room is left."""
    filler = fill(disk)
    yield
    filler.unlink()


async def answered(bot: WholeBot, questions: list[str]) -> None:
    """Wait until each has its answer."""
    await bot.until(lambda: all(bot.reply(each) == WORDS for each in questions))


async def health(bot: WholeBot, enough: Callable[[str], bool]) -> None:
    """Wait until the reasons why the bot is not healthy are as they should be."""
    reasons = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = (await bot.look("/api/health/status"))["reasons"]
                # A disk as small as this one is never roomy enough.
                reasons = "; ".join(each for each in found if "disk:" not in each)
                if enough(reasons):
                    return
                await CLOCK.sleep(0.5)
    except TimeoutError:
        raise AssertionError(reasons) from None


async def ended(bot: WholeBot, questions: list[str]) -> None:
    """Wait until the disk has the end of each."""
    async with asyncio.timeout(PATIENCE_S):
        for each in questions:
            while (await bot.look(f"/api/ledger/{each}"))["state"] != "done":
                await CLOCK.sleep(0.2)


def well(reasons: str) -> bool:
    """Whether nothing is wrong."""
    return not reasons


async def converse(
    disk: Path, trouble: Callable[[Path], AbstractContextManager[None]], words: str
) -> None:
    """Talk before, in and after the trouble; then kill, and let the next life look."""
    async with whole_bot(disk, settings) as bot:
        before = await bot.ask(QUESTION)
        await answered(bot, [before])
        await health(bot, well)
        with trouble(disk):
            meanwhile = [await bot.ask(QUESTION) for _ in range(ASKED)]
            await answered(bot, meanwhile)
            await health(bot, lambda reasons: words in reasons)
        await health(bot, well)
        after = await bot.ask(QUESTION)
        everybody = [before, *meanwhile, after]
        await answered(bot, everybody)
        await bot.kill()
        await bot.start()
        await health(bot, well)
        # What was answered but not written down before the kill is ended by this life.
        await ended(bot, everybody)
        assert [len(bot.replies[each]) for each in everybody] == [1] * len(everybody)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """All that is left of it is taken while people ask."""
    with tiny_disk(tmp_path / "disk", "3m") as disk:
        asyncio.run(converse(disk, full, "the disk is full"))


def test_a_disk_that_hangs(tmp_path: Path) -> None:
    """No write and no fsync returns, and no read that would have to note itself."""
    with freezable_disk(tmp_path / "disk", 64) as disk:
        asyncio.run(converse(disk, frozen, "has not answered for"))
