"""Commands are answered in their place while that is possible, and else in the channel."""

from __future__ import annotations

from pathlib import Path

from tests.support.conversation import talk
from tests.support.discord import MemoryDiscord
from tests.support.models import ScriptedModel

from llmbot.conversation.messages import InteractionRef
from llmbot.conversation.sinks import INTERACTION_TOKEN_S
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import DiscordUnavailableError, LlmbotError

COMMAND = InteractionRef(5, 6, "token")


async def test_a_command_whose_place_is_gone_is_answered_in_the_channel(tmp_path: Path) -> None:
    """Discord no longer knows the token: one message in the channel answers and says so."""
    async with talk(tmp_path / "db") as t:
        t.discord.expired.add(COMMAND.id)
        inbound = t.question("hello", interaction=COMMAND, author=7)
        done = t.delivered(inbound.message_id)
        t.inbox.on_message(inbound, None)
        await done
        (answer,) = [m.content for m in t.discord.ours(100)]
        assert answer.startswith("<@7>, your command could not be answered in its place")
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
