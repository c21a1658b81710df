"""Commands are answered in their place while that is possible, and else in the channel."""

from __future__ import annotations

from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.discord import MemoryDiscord
from tests.support.models import ScriptedModel

from llmbot.conversation.jobs import JobState
from llmbot.conversation.messages import Inbound, InteractionRef
from llmbot.conversation.replies.sinks import INTERACTION_TOKEN_S
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import DiscordUnavailableError, LlmbotError

COMMAND = InteractionRef(5, 6, "token")


LONG = "\n".join(f"Line {number} of a long answer to a command." for number in range(100))


def command(t: Talk) -> Inbound:
    """A command whose answer is due in channel 100."""
    inbound = t.question("hello", interaction=COMMAND)
    t.discord.commands[COMMAND.id] = 100
    return inbound


async def answered(t: Talk, inbound: Inbound) -> None:
    """Ask, and wait for the answer."""
    done = t.delivered(inbound.message_id)
    assert await t.inbox.accept(inbound, None)
    await done


async def test_a_command_whose_place_is_gone_is_answered_in_the_channel(tmp_path: Path) -> None:
    """Discord no longer knows the token: one message in the channel answers and says so."""
    async with talk(tmp_path / "db") as t:
        t.discord.expired.add(COMMAND.id)
        inbound = t.question("hello", interaction=COMMAND, author=7)
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
        (answer,) = [m.content for m in t.discord.ours(100)]
        assert answer.startswith("<@7>, your command (")
        assert f"({inbound.message_id}) could not be answered in its place" in answer
        assert answer.endswith("\n\nYou said: hello")


async def test_a_command_older_than_its_token_is_answered_in_the_channel(tmp_path: Path) -> None:
    """After fifteen minutes Discord is not even asked for the command's own place."""
    clock = ManualClock()
    async with talk(tmp_path / "db", clock=clock, running=False) as t:
        inbound = t.question("hello", interaction=COMMAND)
        await t.inbox.accept(inbound, None)
        clock.advance(INTERACTION_TOKEN_S + 60.0)
        await t.pipeline.answer(await t.queue.next())
        (answer,) = [m.content for m in t.discord.ours(100)]
        assert "could not be answered in its place" in answer
        assert COMMAND.id not in t.discord.originals


async def test_what_left_its_place_does_not_come_back_to_it(tmp_path: Path) -> None:
    """A bot killed after it had turned to the channel goes on there, and answers once."""
    discord = MemoryDiscord()
    discord.expired.add(COMMAND.id)
    away = [DiscordUnavailableError("away")]

    def fail_once(call: str) -> LlmbotError | None:
        return away.pop() if call == "send" and away else None

    async with talk(tmp_path / "db", discord=discord, running=False) as t:
        inbound = t.question("hello", interaction=COMMAND)
        await t.inbox.accept(inbound, None)
        await t.pipeline.answer(await t.queue.next())
        assert discord.ours(100) == []
        discord.fault = fail_once
        await t.pipeline.answer(await t.queue.next())
    discord.expired.clear()
    async with talk(tmp_path / "db", ScriptedModel(), discord=discord) as t:
        await t.delivered(inbound.message_id)
        assert len(discord.ours(100)) == 1
        assert discord.originals == {}


async def test_an_answer_in_the_channel_is_found_again_by_what_it_says(tmp_path: Path) -> None:
    """A life that died after it had sent such an answer is followed by one that sends nothing."""
    discord = MemoryDiscord()
    async with talk(tmp_path / "db", ScriptedModel(lambda _: [LONG]), discord=discord) as t:
        inbound = command(t)
        discord.expired.add(COMMAND.id)
        await answered(t, inbound)
        stood = discord.ours(100)
    assert len(stood) > 1
    assert {m.reply_to for m in stood[1:]} == {stood[0].id}
    discord.nonces.clear()
    async with talk(tmp_path / "other", discord=discord, running=False) as t:
        assert await t.inbox.accept(inbound, None)
        job = await t.queue.next()
        job.answer, job.in_flight_before = LONG, True
        await t.pipeline.answer(job)
        assert t.queue.bring_forward(inbound.message_id)
        await t.pipeline.answer(await t.queue.next())
        assert job.state is JobState.DONE
        assert discord.ours(100) == stood


async def test_a_follow_up_whose_outcome_is_unknown_is_not_sent_twice(tmp_path: Path) -> None:
    """A second message of a command's answer that landed unheard of is found by its reference."""
    lost: list[str] = []

    def late(call: str) -> LlmbotError | None:
        sent = sum(made == "send" for made in discord.calls)
        if call == "send" and sent > 1 and not lost:
            lost.append(call)
            return DiscordUnavailableError("502 after it had accepted")
        return None

    discord = MemoryDiscord(late_fault=late)
    async with talk(tmp_path / "db", ScriptedModel(lambda _: [LONG]), discord=discord) as t:
        inbound = command(t)
        await answered(t, inbound)
        assert lost
        assert "\n".join(m.content for m in discord.ours(100)).split() == LONG.split()
