"""Ledger against channel: what is found amiss is mended, and nobody else's work is undone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.discord import OUR_ID, MemoryDiscord
from tests.support.waiting import PATIENCE_S

from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.ledger.entries import Ledger
from llmbot.conversation.ledger.reconcile import Reconciled, Reconciler, ReconcileSettings
from llmbot.conversation.messages import ChannelMessage

AT_ONCE = ReconcileSettings(settled_s=-1.0)
"""Everything counts as settled."""


def reconciler(t: Talk, settings: ReconcileSettings = AT_ONCE) -> Reconciler:
    """One for this conversation."""
    return Reconciler(
        t.discord,
        t.store,
        Ledger(t.database),
        t.queue,
        t.queue.knows,
        t.bus,
        t.clock,
        settings,
    )


async def asked(t: Talk, text: str = "hello") -> int:
    """A question that was answered, and is so on the disk."""
    delivered = await t.ask(text)
    await t.store.tell(delivered.message_id, "looked", "")
    return delivered.message_id


async def test_a_sound_ledger_is_left_alone(tmp_path: Path) -> None:
    """Where all is well nothing is changed, and the figures say so."""
    async with talk(tmp_path / "db") as t:
        await asked(t)
        before = list(t.discord.ours(100))
        judge = reconciler(t)
        told = await judge.look()
        assert told == Reconciled(1, 0, 0, 0, 0, 0, complete=True)
        assert t.discord.ours(100) == before
        assert judge.facts().checked == 1


async def test_a_doubled_answer_is_taken_away(tmp_path: Path) -> None:
    """A message of ours that the ledger does not know is deleted."""
    async with talk(tmp_path / "db") as t:
        question = await asked(t)
        ours = t.discord.ours(100, question)[0]
        t.discord.seed(replace(ours, id=ours.id + 1))
        told = await reconciler(t).look()
        assert (told.doubled, told.mended) == (0, 1)
        assert t.discord.ours(100) == [ours]


async def test_a_text_that_a_late_call_overwrote_is_put_right(tmp_path: Path) -> None:
    """A part that does not hold what was delivered is edited to it."""
    async with talk(tmp_path / "db") as t:
        judge = reconciler(t)
        question = await asked(t)
        ours = t.discord.ours(100, question)[0]
        now = t.clock.wall()
        job = Job(t.question("hello", message_id=question), Priority.USER, JobState.DONE, now, now)
        judge.delivered(job, ours.content)
        t.discord.channels[100] = [
            replace(m, content="You sa") if m.id == ours.id else m for m in t.discord.channels[100]
        ]
        told = await judge.look()
        assert (told.cut, told.mended) == (0, 1)
        assert t.reply(question) == "You said: hello"


async def test_a_reply_brought_to_its_end_after_a_kill_is_looked_at_again(tmp_path: Path) -> None:
    """What a call of the dead process overwrites is put right by any later life, then forgotten."""
    async with talk(tmp_path / "db", running=False) as t:
        asked = t.question("hello")
        await t.store.claim(asked, Priority.USER, None)
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord) as t:
        await t.delivered(asked.message_id)
        await t.store.tell(asked.message_id, "looked", "")
        (ours,) = discord.ours(100, asked.message_id)
        await discord.edit(100, ours.id, "You sa")
    async with talk(tmp_path / "db", discord=discord) as t:
        told = await reconciler(t).look()
        assert (told.cut, told.mended) == (0, 1)
        assert t.reply(asked.message_id) == "You said: hello"
        await discord.edit(100, ours.id, "a moderator's word")
        told = await reconciler(t).look()
        assert told.mended == 0


async def test_the_next_round_comes_soon_where_a_late_call_may_land(tmp_path: Path) -> None:
    """After a message of an earlier life was answered, nobody waits minutes for the next round."""
    async with talk(tmp_path / "db", running=False) as t:
        await t.store.claim(t.question("hello"), Priority.USER, None)
    async with talk(tmp_path / "db", running=False) as t:
        judge = reconciler(t, ReconcileSettings(first_after_s=0.0, settled_s=0.01))
        begun = t.bus.expect(Reconciled)
        rounds = asyncio.create_task(judge.run())
        await begun
        job = await t.queue.next()
        again = t.bus.expect(Reconciled)
        judge.delivered(job, "You said: hello")
        await asyncio.wait_for(again, PATIENCE_S)
        rounds.cancel()
        await asyncio.wait((rounds,))


async def test_what_somebody_deleted_stays_deleted(tmp_path: Path) -> None:
    """A confirmed message that is gone was removed by a moderator; it is counted, not repeated."""
    async with talk(tmp_path / "db") as t:
        question = await asked(t)
        await t.discord.delete(100, t.discord.ours(100, question)[0].id)
        judge = reconciler(t)
        await judge.look()
        told = await judge.look()
        assert (told.lost, told.removed, told.mended) == (0, 1, 0)
        assert t.discord.ours(100) == []


async def test_an_open_message_that_nobody_has_is_answered(tmp_path: Path) -> None:
    """What the ledger calls open and no queue knows goes back into the queue, at second sight."""
    async with talk(tmp_path / "db") as t:
        other = t.question("orphan")
        await t.store.claim(other, Priority.USER, None)
        judge = reconciler(t)
        await judge.look()
        done = t.delivered(other.message_id)
        told = await judge.look()
        await done
        assert (told.lost, told.mended) == (0, 1)
        assert t.reply(other.message_id) == "You said: orphan"


async def test_a_round_keeps_within_its_calls(tmp_path: Path) -> None:
    """However many channels there are, a round asks Discord a bounded number of times."""
    async with talk(tmp_path / "db") as t:
        for channel in range(100, 110):
            delivered = await t.ask("hello", channel=channel)
        await t.store.tell(delivered.message_id, "looked", "")
        t.discord.calls.clear()
        told = await reconciler(t, replace(AT_ONCE, calls_max=3)).look()
        assert not told.complete
        assert t.discord.calls == ["history"] * 3


async def test_a_round_keeps_within_its_calls_on_a_page_full_of_surplus(tmp_path: Path) -> None:
    """What is amiss on one page may be more than a round may mend: the next reads on from there."""
    async with talk(tmp_path / "db") as t:
        question = await asked(t)
        (ours,) = t.discord.ours(100, question)
        for number in range(1, 31):
            t.discord.seed(replace(ours, id=ours.id + number))
        judge = reconciler(t, replace(AT_ONCE, calls_max=20))
        left: list[int] = []
        while not left or left[-1] > 1:
            t.discord.calls.clear()
            told = await judge.look()
            left.append(len(t.discord.ours(100, question)))
            assert len(t.discord.calls) <= 21
            assert told.complete == (left[-1] == 1)
        assert (left, t.discord.ours(100)) == ([21, 11, 1], [ours])


async def test_rounds_go_on_in_the_channel_that_has_waited_the_longest(tmp_path: Path) -> None:
    """However few calls a round has, all channels are compared in the end."""
    async with talk(tmp_path / "db") as t:
        for channel in range(100, 110):
            delivered = await t.ask("hello", channel=channel)
            (ours,) = t.discord.ours(channel)
            t.discord.seed(replace(ours, id=ours.id + 1))
        await t.store.tell(delivered.message_id, "looked", "")
        judge = reconciler(t, replace(AT_ONCE, calls_max=1))
        told = [await judge.look() for _ in range(10)]
        assert [each.mended for each in told] == [1] * 10
        assert all(len(t.discord.ours(channel)) == 1 for channel in range(100, 110))


async def test_a_busy_channel_is_read_on_and_holds_no_other_up(tmp_path: Path) -> None:
    """What stands below more than a round may read is compared later, in turn with the others."""
    async with talk(tmp_path / "db") as t:
        await t.ask("hello", channel=101)
        (other,) = t.discord.ours(101)
        question = await asked(t)
        (ours,) = t.discord.ours(100, question)
        for number in range(250):
            t.discord.seed(ChannelMessage(ours.id + 1 + number, 100, 8, "bob", "busy"))
        t.discord.seed(replace(ours, id=ours.id + 500))
        t.discord.seed(replace(other, id=ours.id + 501))
        judge = reconciler(t, replace(AT_ONCE, calls_max=1))
        told = [await judge.look() for _ in range(5)]
        assert [each.mended for each in told] == [0, 1, 0, 0, 1]
        assert (t.discord.ours(100), t.discord.ours(101)) == ([ours], [other])


async def test_other_peoples_messages_are_never_touched(tmp_path: Path) -> None:
    """A person's reply to the same question is no surplus of ours."""
    async with talk(tmp_path / "db") as t:
        question = await asked(t)
        theirs = ChannelMessage(next(t.ids), 100, 8, "bob", "me too", reply_to=question)
        t.discord.seed(theirs)
        judge = reconciler(t)
        await judge.look()
        assert (await judge.look()).mended == 0
        assert theirs in t.discord.channels[100]


async def test_a_notice_that_a_busy_channel_hid_is_taken_away(tmp_path: Path) -> None:
    """What a dead process sent too far below the question to be found goes, however many rounds.

    A round reads only so much: the next goes on where it broke off.
    """
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        asked = t.question("hello")
        await t.store.claim(asked, Priority.USER, None)
        for _ in range(1100):
            discord.seed(ChannelMessage(next(t.ids), 100, 8, "bob", "a busy channel"))
        notice = ChannelMessage(
            next(t.ids), 100, OUR_ID, "bot", "In line.", author_is_us=True,
            reply_to=asked.message_id,
        )  # fmt: skip
        discord.seed(notice)
        for _ in range(150):
            discord.seed(ChannelMessage(next(t.ids), 100, 8, "bob", "a busy channel"))
    async with talk(tmp_path / "db", discord=discord) as t:
        await t.delivered(asked.message_id)
        await t.store.tell(asked.message_id, "looked", "")
        assert len(discord.ours(100, asked.message_id)) == 2
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        judge = reconciler(t, replace(AT_ONCE, calls_max=9))
        assert (await judge.look()).mended == 0
        assert (await judge.look()).mended == 1
        assert t.reply(asked.message_id) == "You said: hello"
        discord.calls.clear()
        await judge.look()
        assert "message" not in discord.calls, "what was proven is not looked at again"


async def test_what_stands_for_a_reply_that_is_gone_is_left(tmp_path: Path) -> None:
    """After a kill, too, the last message that answers a question is never taken for a surplus."""
    async with talk(tmp_path / "db", running=False) as t:
        asked = t.question("hello")
        await t.store.claim(asked, Priority.USER, None)
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord) as t:
        await t.delivered(asked.message_id)
        await t.store.tell(asked.message_id, "looked", "")
        (ours,) = discord.ours(100, asked.message_id)
        discord.seed(replace(ours, id=ours.id + 1))
        await discord.delete(100, ours.id)
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        judge = reconciler(t)
        await judge.look()
        await judge.look()
        assert t.reply(asked.message_id) == "You said: hello"
