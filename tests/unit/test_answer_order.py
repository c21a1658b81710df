"""Answers to one author in one channel stand in the order of the questions, whoever sent what."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.conversation import Talk, talk
from tests.support.discord import MemoryDiscord
from tests.support.models import ScriptedModel
from tests.support.waiting import until

from llmbot.conversation.delivery import DeliverySettings
from llmbot.conversation.jobs import Job, JobState, Priority, SentPart
from llmbot.conversation.messages import Inbound
from llmbot.kernel.errors import DiscordUnavailableError


async def claimed(t: Talk, text: str) -> Job:
    """A message whose record says that it waits; this life does not answer it."""
    inbound = t.question(text)
    await t.store.claim(inbound, Priority.USER, None)
    job = await t.store.job(inbound.message_id)
    assert job is not None
    return job


async def noticed(t: Talk, job: Job) -> int:
    """A notice that stands where the answer will."""
    async with t.pipeline.delivery.open(job, silent=True) as reply:
        await reply.finish("One moment.")
    return job.parts[0].discord_id


def standing(t: Talk) -> list[int | None]:
    """Whom our messages answer, from above to below."""
    return [message.reply_to for message in t.discord.ours(100)]


async def answered_in_another_life(path: Path, discord: MemoryDiscord, *asked: Inbound) -> Talk:
    """After a new life has answered them."""
    async with talk(path, discord=discord) as t:
        await asyncio.gather(*(t.delivered(inbound.message_id) for inbound in asked))
    return t


async def test_an_answer_moves_below_an_earlier_one(tmp_path: Path) -> None:
    """A notice that came to stand above the notice of an earlier question is not edited there.

    So it is where the earlier notice was taken back, its message was pushed out by overload and
    told so below, and a kill came before that was written down: it is answered after all.
    """
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        first, second = await claimed(t, "first"), await claimed(t, "second")
        await noticed(t, second)
        await noticed(t, first)
    t = await answered_in_another_life(tmp_path / "db", discord, first.inbound, second.inbound)
    assert standing(t) == [first.message_id, second.message_id]
    assert t.reply(second.message_id) == "You said: second"


async def test_an_answer_moves_below_one_of_an_earlier_life(tmp_path: Path) -> None:
    """The place of an earlier answer is known from its record where this life did not give it.

    So it is where a message was told of overload and the disk refused to note that: after a kill
    it is answered, and its notice stands above the answer of an earlier message.
    """
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        first, second = await claimed(t, "first"), await claimed(t, "second")
        await noticed(t, second)
        async with t.pipeline.delivery.open(first, silent=True) as reply:
            await reply.finish("The first answer.")
        await t.store.move(first, JobState.DONE, "1 part(s)")
    t = await answered_in_another_life(tmp_path / "db", discord, second.inbound)
    assert standing(t) == [first.message_id, second.message_id]
    assert t.reply(second.message_id) == "You said: second"


async def test_a_notice_that_cannot_be_deleted_yet_is_not_answered_in(tmp_path: Path) -> None:
    """Its deletion may land late: no answer stands there, in this life or a later one."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        first, second = await claimed(t, "first"), await claimed(t, "second")
        notice = await noticed(t, second)
        await noticed(t, first)
        await t.store.move(first, JobState.DONE, "1 part(s)")
        discord.fault = lambda call: DiscordUnavailableError("504") if call == "delete" else None
        async with t.pipeline.delivery.open(second) as reply:
            with pytest.raises(DiscordUnavailableError):
                await reply.finish("The second answer.")
    discord.fault = lambda _: None
    t = await answered_in_another_life(tmp_path / "db", discord, second.inbound)
    await discord.delete(100, notice)
    assert standing(t) == [first.message_id, second.message_id]
    assert t.reply(second.message_id) == "You said: second"


async def test_an_answer_that_moved_is_found_by_the_next_life(tmp_path: Path) -> None:
    """A kill may lose the record of a move: the message that is recorded is known to be gone."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        first, second = await claimed(t, "first"), await claimed(t, "second")
        notice = await noticed(t, second)
        await noticed(t, first)
        await t.store.move(first, JobState.DONE, "1 part(s)")
        async with t.pipeline.delivery.open(second) as reply:
            await reply.finish("You said: second")
        second.parts = (SentPart(0, notice),)
        t.store.parts.sent(second.message_id, 0, notice)
        await t.store.move(second, JobState.LEASED, "attempt 1")
    before = list(discord.ours(100))
    await answered_in_another_life(tmp_path / "db", discord, second.inbound)
    assert discord.ours(100) == before


async def test_a_later_message_that_was_pushed_out_moves_nobody(tmp_path: Path) -> None:
    """An earlier notice becomes the answer although a notice of overload stands below it."""
    async with talk(tmp_path / "db", running=False) as t:
        first, second = await claimed(t, "first"), await claimed(t, "second")
        notice = await noticed(t, first)
        await noticed(t, second)
        await t.store.move(second, JobState.NOTICED, "overloaded")
        async with t.pipeline.delivery.open(first) as reply:
            await reply.finish("The first answer.")
        assert [part.discord_id for part in first.parts] == [notice]
        assert t.reply(first.message_id) == "The first answer."


async def test_a_part_that_is_gone_is_not_taken_for_one_that_stands(tmp_path: Path) -> None:
    """A nonce may give back what a dead process deleted: it would stand above the first."""
    words = " ".join(f"word{n}" for n in range(500))
    async with talk(tmp_path / "db", running=False) as t:
        job = await claimed(t, "hello")
        async with t.pipeline.delivery.open(job) as reply:
            await reply.finish(words)
            await reply.retract()
        later = await t.store.job(job.message_id)
        assert later is not None
        await noticed(t, later)
        async with t.pipeline.delivery.open(later) as reply:
            await reply.finish(words)
        assert t.reply(job.message_id).split() == words.split()


async def test_an_answer_moves_below_a_long_one(tmp_path: Path) -> None:
    """An answer that needs a second message sends it below later notices: their answers move."""
    words = " ".join(f"word{n}" for n in range(500))
    model = ScriptedModel(lambda p: [words if "first" in p.turns[-1].text else "Short."])
    async with talk(tmp_path / "db", model) as t:
        t.breakers.get("scripted").trip("test")
        first, second = t.question("first"), t.question("second")
        done = [t.delivered(inbound.message_id) for inbound in (first, second)]
        for inbound in (first, second):
            t.inbox.on_message(inbound, None)
        await until(lambda: bool(t.reply(second.message_id)))
        t.controls.reset_breaker("scripted", "well again")
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        asked = [m.reply_to for m in t.discord.ours(100)]
        assert asked == [first.message_id, first.message_id, second.message_id]
        assert t.reply(second.message_id) == "Short."


async def test_a_notice_of_unknown_fate_moves_too(tmp_path: Path) -> None:
    """A notice whose call failed after Discord had taken it in is found, and kept in order."""
    words = " ".join(f"word{n}" for n in range(500))
    speak = asyncio.Event()
    failed: list[str] = []
    model = ScriptedModel(lambda p: [speak, words] if "first" in p.turns[-1].text else ["Short."])

    def late(call: str) -> DiscordUnavailableError | None:
        if call != "send" or failed or len(discord.ours(100)) < 2:
            return None
        failed.append(call)
        return DiscordUnavailableError("502 after it had accepted")

    discord = MemoryDiscord(late_fault=late)
    delivery = DeliverySettings(silence_s=0.02)
    async with talk(tmp_path / "db", model, discord=discord, delivery=delivery) as t:
        first, second = t.question("first"), t.question("second")
        done = [t.delivered(inbound.message_id) for inbound in (first, second)]
        for inbound in (first, second):
            t.inbox.on_message(inbound, None)
        await until(lambda: bool(t.reply(second.message_id)))
        speak.set()
        assert {d.outcome for d in await asyncio.gather(*done)} == {"answered"}
        asked = [m.reply_to for m in t.discord.ours(100)]
        assert asked == [first.message_id, first.message_id, second.message_id]
        assert t.reply(second.message_id) == "Short."
