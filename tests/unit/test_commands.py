"""The slash commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.conversation import Talk, talk

from llmbot.app.limits import Limits
from llmbot.app.settings import Settings
from llmbot.conversation.commands.definitions import DEFINITIONS
from llmbot.conversation.commands.handlers import BotState, Commands
from llmbot.conversation.commands.privacy import PrivacyCommand
from llmbot.conversation.commands.settings import SettingsCommands
from llmbot.conversation.messages import CommandReply, CommandRequest, InteractionRef
from llmbot.conversation.privacy import Privacy, UserLimits
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
    t: Talk, name: str, *, guild: int | None = 1, may_manage: bool = False, **options: str
) -> CommandRequest:
    """A command as a user gave it just now."""
    interaction = InteractionRef(snowflake_at(t.clock.wall() + 5), 42, "token")
    return CommandRequest(
        name, 7, "ann", 100, guild, dict(options), interaction, may_manage=may_manage
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
            reply = await commands(t).handle(request(t, definition.name, message="hi"))
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
