"""A conversation on a real disk that fills up in the middle and is freed again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.conversation import talk
from tests.support.discord import MemoryDiscord
from tests.support.tiny_disk import fill, tiny_disk

from llmbot.conversation.intake.credit import AnsweredOnCredit, Credit
from llmbot.kernel.clock import ManualClock
from llmbot.operations.journal import Journal


async def converse(disk: Path) -> None:
    """Ask, fill the disk, ask on, make room; then look with the eyes of the next life."""
    discord, path = MemoryDiscord(), disk / "db"
    async with talk(path, discord=discord) as t:
        t.inbox.credit = Credit(t.store, t.bus, t.clock, after_s=0.02)
        lent: list[object] = []
        t.bus.subscribe(
            lambda told: lent.append(told) if isinstance(told.event, AnsweredOnCredit) else None
        )
        await t.ask("before")
        filler = fill(disk)
        # Long enough that the log of the database needs room that is not there.
        asked = [t.question("words " * 600, author=number) for number in range(10, 30)]
        done = [t.delivered(inbound.message_id) for inbound in asked]
        for inbound in asked:
            t.inbox.on_message(inbound, None)
        await asyncio.gather(*done)
        assert lent
        filler.unlink()
        t.store.sure.again()
        await t.inbox.drain()
        t.store.sure.again()
        await t.store.tell(1, "looked", "")
        assert await t.store.counts() == {"done": 21}
    async with talk(path, discord=discord) as t:
        assert t.queue.facts().waiting == 0
        for inbound in asked:
            assert not await t.inbox.accept(inbound, None)
        # Each answer has two parts.
        assert [len(discord.ours(100, inbound.message_id)) for inbound in asked] == [2] * 20


@pytest.mark.slow
def test_a_full_disk_costs_nobody_an_answer(tmp_path: Path) -> None:
    """While the disk is full everybody is answered once; freed, it has all of it, for ever."""
    with tiny_disk(tmp_path / "tiny", "3m") as disk:
        asyncio.run(converse(disk))


async def keep_a_journal(disk: Path) -> None:
    """Add entries while the disk fills up, then with room again; read them with a next life."""
    book = Journal(disk / "journal", ManualClock(), lambda text: text)
    added = 0
    fill(disk)
    with (disk / "filler").open("r+b") as filler:
        filler.truncate(200 * 1024)  # room for some entries, and for half of another
    while book.kept:
        await book.add("note", text="x" * 700)
        added += 1
    assert "No space left" in book.last_error
    (disk / "filler").unlink()
    await book.add("note", text="y")
    assert book.last_error == ""
    again = Journal(disk / "journal", ManualClock(), lambda text: text)
    assert await again.load() == added + 1
    assert again.broken == ""


def test_a_journal_is_whole_after_the_disk_was_full(tmp_path: Path) -> None:
    """A line that the full disk had cut is written anew, not gone on with."""
    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        asyncio.run(keep_a_journal(disk))
