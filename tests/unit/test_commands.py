"""The slash commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.conversation import Talk, talk
from tests.support.models import ScriptedModel

from llmbot.app.limits import Limits
from llmbot.app.settings.tree import Settings
from llmbot.conversation.commands.definitions import DEFINITIONS
from llmbot.conversation.commands.handlers import BotState, Commands
from llmbot.conversation.commands.privacy import PrivacyCommand
from llmbot.conversation.commands.settings import SettingsCommands
from llmbot.conversation.memory.privacy import Privacy, UserLimits
from llmbot.conversation.messages import (
    ChannelMessage,
    CommandReply,
    CommandRequest,
    InteractionRef,
)
from llmbot.kernel.errors import DiscordForbiddenError
from llmbot.kernel.ids import snowflake_at

STATE = BotState("degraded", "disk is slow", 3725.0, 42, 3, 2, "gemini-x")


def commands(t: Talk) -> Commands:
    """The commands of this conversation."""
    settings = SettingsCommands(t.rules, lambda: ("gemini-x", "gemini-y"))
    limits = Limits(Settings(), t.database, t.clock)
    counts = UserLimits(limits.told_of, limits.forget_user)
    privacy = Privacy(t.documents, t.memory, t.database, t.queue, counts, t.bus, t.clock)
    return Commands(
        t.inbox,
        t.memory,
        t.context,
        lambda: STATE,
        t.bus,
        t.clock,
        more={
            "settings": settings.settings,
            "preferences": settings.preferences,
            "privacy": PrivacyCommand(privacy).privacy,
        },
        allows=t.rules.allows,
    )


def request(
    t: Talk,
    name: str,
    *,
    guild: int | None = 1,
    may_manage: bool = False,
    readable: frozenset[int] = frozenset({100}),
    **options: str,
) -> CommandRequest:
    """A command as a user gave it just now."""
    interaction = InteractionRef(snowflake_at(t.clock.wall() + 5), 42, "token")
    return CommandRequest(
        name,
        7,
        "ann",
        100,
        guild,
        dict(options),
        interaction,
        may_manage=may_manage,
        readable=readable,
    )


async def told(t: Talk, name: str, **more: object) -> str:
    """The text of an immediate answer."""
    reply = await commands(t).handle(request(t, name, **more))  # type: ignore[arg-type] # tests name what they change
    assert isinstance(reply, CommandReply)
    return reply.text


async def test_every_definition_has_a_handler(tmp_path: Path) -> None:
    """No command that Discord shows is unknown to the bot."""
    async with talk(tmp_path / "db") as t:
        for definition in DEFINITIONS:
            reply = await commands(t).handle(
                request(t, definition.name, message="hi", question="hi")
            )
            assert reply is None or "do not know" not in reply.text


async def test_chat_is_answered_by_the_queue(tmp_path: Path) -> None:
    """A question by command goes the same durable way, and edits the command's own answer."""
    async with talk(tmp_path / "db") as t:
        asked = request(t, "chat", message="hello")
        done = t.delivered(asked.interaction.id)
        assert await commands(t).handle(asked) is None
        await done
        assert [m.content for m in t.discord.channels[0]] == ["You said: hello"]


async def test_status_tells_the_state(tmp_path: Path) -> None:
    """The status names the state, its reason, the load and the uptime."""
    async with talk(tmp_path / "db") as t:
        text = await told(t, "status")
        for fact in ("degraded", "disk is slow", "gemini-x", "3 waiting", "1 h 2 min"):
            assert fact in text
        assert "42 ms" in await told(t, "ping")


async def test_clear_forgets_and_needs_the_right_to(tmp_path: Path) -> None:
    """In a server only who may manage messages makes the bot forget; then it has forgotten."""
    async with talk(tmp_path / "db") as t:
        delivered = await t.ask("remember me")
        await t.store.tell(delivered.message_id, "looked", "")
        assert "permission" in await told(t, "clear")
        assert await t.memory.recall(100, delivered.message_id + 1, 10)
        assert "2 remembered" in await told(t, "clear", may_manage=True)
        assert await t.memory.recall(100, delivered.message_id + 1, 10) == []


async def test_an_unknown_command_is_answered(tmp_path: Path) -> None:
    """A command that was removed is answered with what there is."""
    async with talk(tmp_path / "db") as t:
        assert "/help" in await told(t, "gone")


async def test_overload_leaves_only_the_essential_commands(tmp_path: Path) -> None:
    """While busy the rest are refused privately, in the user's language; these go on."""
    cleared: list[int] = []
    async with talk(tmp_path / "db") as t:
        busy = Commands(
            t.inbox,
            t.memory,
            t.context,
            lambda: replace(STATE, degradation="high", switched_off=("images", "large_context")),
            t.bus,
            t.clock,
            busy=lambda: True,
            on_clear=cleared.append,
        )
        refused = await busy.handle(replace(request(t, "help"), locale="de"))
        assert refused is not None
        assert refused.private
        assert "beschäftigt" in refused.text
        state = await busy.handle(request(t, "status"))
        assert state is not None
        assert "high" in state.text
        assert "large context" in state.text
        await busy.handle(request(t, "clear", may_manage=True))
        assert cleared == [100]
        pong = await busy.handle(request(t, "ping"))  # operators ask whether it lives by this
        assert pong is not None
        assert "beschäftigt" not in pong.text
        assert "42 ms" in pong.text


def said(t: Talk, count: int, channel: int = 100) -> None:
    """People talk in a channel, one message a minute, the last a minute ago."""
    for number in range(count):
        at = snowflake_at(t.clock.wall() - 60 * (count - number))
        t.discord.seed(ChannelMessage(at, channel, 9, "bea", f"remark {number} of {count}"))


async def long_answer(t: Talk, name: str, **more: object) -> str:
    """What a command over a history answers."""
    asked = request(t, name, **more)  # type: ignore[arg-type] # tests name what they change
    done = t.delivered(asked.interaction.id)
    assert await commands(t).handle(asked) is None
    assert (await done).outcome == "answered"
    return t.discord.channels[0][-1].content


def all_told(t: Talk) -> str:
    """All that the model was told."""
    return "\n".join(turn.text for prompt in t.models[0].prompts for turn in prompt.turns)


async def test_a_channel_is_summed_up(tmp_path: Path) -> None:
    """`/summarize` reads what was said in the channel, page by page, and edits its own answer."""
    async with talk(tmp_path / "db", ScriptedModel(lambda _: ["It was about remarks."])) as t:
        said(t, 230)
        assert await long_answer(t, "summarize") == "It was about remarks."
        assert all(f"remark {number} of 230" in all_told(t) for number in range(230))
        assert "Summarise it" in t.models[0].prompts[-1].turns[-1].text


async def test_only_the_span_is_read(tmp_path: Path) -> None:
    """With `since`, older messages do not reach the model."""
    async with talk(tmp_path / "db", ScriptedModel(lambda _: ["ok"])) as t:
        said(t, 90)
        await long_answer(t, "analyze", question="who?", since="30m")
        assert "remark 89 of 90" in all_told(t)
        assert "remark 40 of 90" not in all_told(t)
        assert "who?" in all_told(t)


async def test_the_newest_are_read_where_there_are_too_many(tmp_path: Path) -> None:
    """A history beyond the limit is cut at its old end, and the answer says so."""
    async with talk(tmp_path / "db", ScriptedModel(lambda _: ["ok"])) as t:
        said(t, 300)
        answer = await long_answer(t, "summarize")
        assert "remark 299 of" in all_told(t)
        assert "remark 10 of" not in all_told(t)
        assert "There was more; I read the newest 250 messages" in answer


async def test_what_was_to_be_forgotten_is_not_read(tmp_path: Path) -> None:
    """What was said before `/clear` is in no summary."""
    async with talk(tmp_path / "db", ScriptedModel(lambda _: ["ok"])) as t:
        said(t, 20)
        t.context.cleared(100, sorted(m.id for m in t.discord.channels[100])[14])
        await long_answer(t, "summarize")
        assert "remark 15 of" in all_told(t)
        assert "remark 14 of" not in all_told(t)


async def test_nobody_has_read_what_they_may_not_read(tmp_path: Path) -> None:
    """A channel whose history its user may not read is refused at once; the model is not asked."""
    async with talk(tmp_path / "db") as t:
        said(t, 3, channel=200)
        for channel in ("200", "999"):
            words = await told(t, "summarize", channel=channel)
            assert "I read only what you may read" in words
        assert "I read only what" in await told(t, "analyze", question="x", readable=frozenset())
        assert t.models[0].prompts == []


async def test_a_channel_closed_to_the_bot_is_told(tmp_path: Path) -> None:
    """Where the bot may not read, the user is told so, and the channel asked in stays in use."""
    async with talk(tmp_path / "db") as t:
        t.discord.fault = lambda call: DiscordForbiddenError() if call == "history" else None
        asked = request(t, "summarize", channel="200", readable=frozenset({100, 200}))
        done = t.delivered(asked.interaction.id)
        await commands(t).handle(asked)
        assert (await done).outcome == "noticed: history_closed"
        assert t.pipeline.admission.set_aside == {}


async def test_a_summary_of_elsewhere_is_not_remembered_here(tmp_path: Path) -> None:
    """What was said in another channel does not go into what is remembered of this one."""
    async with talk(tmp_path / "db", ScriptedModel(lambda _: ["secret"])) as t:
        said(t, 3, channel=200)
        await long_answer(t, "summarize", channel="200", readable=frozenset({100, 200}))
        assert (await t.memory.conversation(100)).turns == ()


async def test_a_span_that_is_none_is_refused(tmp_path: Path) -> None:
    """A span that cannot be understood is answered with an example."""
    async with talk(tmp_path / "db") as t:
        assert "`30m`" in await told(t, "summarize", since="yesterday")


async def test_an_empty_channel_is_told(tmp_path: Path) -> None:
    """Where nothing was said there is nothing to sum up, and the user hears that."""
    async with talk(tmp_path / "db") as t:
        asked = request(t, "summarize")
        done = t.delivered(asked.interaction.id)
        await commands(t).handle(asked)
        assert (await done).outcome == "noticed: nothing_to_read"
