"""What managers set for servers and channels, and users for themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.support.conversation import Talk, talk
from tests.support.models import ScriptedModel

from llmbot.adapters.discord.command_sync import registration
from llmbot.app.limits import Limits
from llmbot.app.settings.tree import Settings
from llmbot.conversation.commands.definitions import DEFINITIONS
from llmbot.conversation.commands.handlers import BotState, Commands
from llmbot.conversation.commands.settings import SettingsCommands
from llmbot.conversation.messages import CommandReply, CommandRequest, Inbound, InteractionRef
from llmbot.conversation.rules.inbound_filter import InboundFilter
from llmbot.conversation.rules.server_settings import SERVERS, ChannelSettings, ServerSettings
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.ids import snowflake_at
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.kinds import MisfitError

GUILD = 1
CHANNEL = 100
STATE = BotState("healthy", "", 1.0, 1, 0, 0, "x")


@dataclass(slots=True)
class Server:
    """A server, seen from Discord."""

    talk: Talk
    commands: Commands
    door: InboundFilter

    async def says(
        self, name: str, options: dict[str, str] | None = None, *, may_manage: bool = True
    ) -> CommandReply:
        """Give a command."""
        reference = InteractionRef(snowflake_at(self.talk.clock.wall() + 5), 42, "token")
        reply = await self.commands.handle(
            CommandRequest(
                name, 7, "ann", CHANNEL, GUILD, options or {}, reference, may_manage=may_manage
            )
        )
        assert reply is not None
        return reply

    async def sets(self, setting: str, value: str, **more: str) -> CommandReply:
        """Set something for the server, or a channel of it."""
        return await self.says("settings", {"setting": setting, "value": value, **more})

    async def asks(self, text: str, **more: object) -> str:
        """Ask through the door and wait for the answer."""
        inbound = self.talk.question(text, **more)  # type: ignore[arg-type] # tests name the fields they change
        waiting = self.talk.delivered(inbound.message_id)
        self.door.on_message(inbound, None)
        await waiting
        return self.talk.reply(inbound.message_id, inbound.channel_id)

    def is_heard(self, **more: object) -> bool:
        """Whether a message would be answered at all."""
        inbound: Inbound = self.talk.question("hello", **more)  # type: ignore[arg-type] # as above
        return self.talk.rules.judged(inbound).may_speak


@asynccontextmanager
async def server(path: Path, *models: ScriptedModel) -> AsyncIterator[Server]:
    """A server with the bot in it."""
    async with talk(path, *models) as t:
        names = tuple(model.name for model in t.models)
        settings = SettingsCommands(t.rules, lambda: names)
        commands = Commands(
            t.inbox,
            t.memory,
            t.context,
            lambda: STATE,
            t.bus,
            t.clock,
            more={"settings": settings.settings, "preferences": settings.preferences},
            allows=t.rules.allows,
        )
        yield Server(t, commands, InboundFilter(t.inbox, t.rules.judged))


async def test_only_managers_see_and_set(tmp_path: Path) -> None:
    """Who may not manage the server sees and changes nothing; all answers are private."""
    async with server(tmp_path / "db") as s:
        for options in ({}, {"setting": "persona", "value": "pirate"}):
            refused = await s.says("settings", options, may_manage=False)
            assert "permission" in refused.text
            assert refused.private
        assert s.talk.rules.server(GUILD) == ServerSettings()
        assert (await s.sets("persona", "pirate")).private
        assert s.talk.rules.server(GUILD).persona == "pirate"


async def test_settings_are_documents_that_survive(tmp_path: Path) -> None:
    """What was set stands in the server's file with string ids, and holds in the next life."""
    async with server(tmp_path / "db") as s:
        await s.sets("roles", "<@&12345678901234567890> 5")
        await s.sets("language", "de", channel="77")
    whole = json.loads((tmp_path / "db-documents/servers/1.json").read_text())
    assert whole["allowedRoles"] == ["12345678901234567890", "5"]
    assert whole["channels"] == {"77": ChannelSettings(language="de").model_dump(by_alias=True)} | {
        "77": {**whole["channels"]["77"], "language": "de"}
    }
    async with server(tmp_path / "db") as s:
        assert s.talk.rules.server(GUILD).allowed_roles == (12345678901234567890, 5)


async def test_a_persona_speaks_in_its_server_and_channel_only(tmp_path: Path) -> None:
    """The channel's instructions come before the server's persona, and elsewhere the bot's own."""
    model = ScriptedModel()
    async with server(tmp_path / "db", model) as s:
        await s.sets("persona", "PIRATE")
        await s.sets("instructions", "Speak in rhymes.", channel="200")
        await s.asks("one")
        await s.asks("two", channel=200)
        await s.asks("three", guild_id=2, channel=300)
        pirate, rhymes, own = (prompt.system for prompt in model.prompts)
        assert pirate.startswith("Be kind.\n\nSay arr.")
        assert rhymes.startswith("Be kind.\n\nSpeak in rhymes.")
        assert own.startswith("You are a helpful assistant.")


async def test_the_chosen_model_is_asked_first(tmp_path: Path) -> None:
    """Models that a server prefers are asked first, the others stand in after them."""
    one, two = ScriptedModel(name="one"), ScriptedModel(name="two")
    async with server(tmp_path / "db", one, two) as s:
        await s.sets("models", "two")
        assert "one" in (await s.sets("models", "three")).text
        await s.asks("hello")
        assert (len(one.prompts), len(two.prompts)) == (0, 1)


async def test_who_may_not_ask_is_not_answered(tmp_path: Path) -> None:
    """Only allowed roles in allowed channels, and threads of them, are heard; others are silent."""
    async with server(tmp_path / "db") as s:
        assert s.is_heard()
        await s.sets("channels", "<#100>, <#101>")
        assert s.is_heard(channel=100)
        assert s.is_heard(channel=999, parent_id=101)
        assert not s.is_heard(channel=102)
        assert s.is_heard(channel=102, guild_id=2)
        await s.sets("roles", "<@&5>")
        assert not s.is_heard(channel=100)
        assert s.is_heard(channel=100, role_ids=(4, 5))
        assert s.is_heard(channel=102, guild_id=None)
        s.door.on_message(s.talk.question("hello"), None)
        await s.talk.inbox.drain()
        assert await s.talk.store.counts() == {}
        refused = await s.says("chat", {"message": "hello"})
        assert "may not answer" in refused.text
        assert refused.private
        await s.sets("roles", "default")
        assert s.is_heard(channel=100)


async def test_notices_speak_the_language_that_was_set(tmp_path: Path) -> None:
    """The user's language comes before the channel's, the channel's before the server's."""
    async with server(tmp_path / "db") as s:
        await s.sets("language", "fr")
        assert (await s.asks("<@42>")).startswith("Oui")
        await s.sets("language", "de", channel=str(CHANNEL))
        assert (await s.asks("<@42>")).startswith("Ja?")
        await s.says("preferences", {"setting": "language", "value": "es"})
        assert (await s.asks("<@42>")).startswith("¿Sí?")
        assert "en, de" in (await s.sets("language", "klingon")).text


async def test_streaming_can_be_switched_off(tmp_path: Path) -> None:
    """Where streaming is off the answer comes whole, in one message that is never edited."""
    words = [f"word{number} " for number in range(50)]
    async with server(tmp_path / "db", ScriptedModel(lambda _: words)) as s:
        await s.sets("streaming", "off")
        await s.asks("tell me")
        assert s.talk.discord.calls.count("send") == 1
        assert s.talk.discord.calls.count("edit") == 0


async def test_a_servers_limit_for_users_holds(tmp_path: Path) -> None:
    """In a server that set a limit a user gets so many messages a minute; elsewhere as before."""
    async with server(tmp_path / "db") as s:
        clock = ManualClock()
        limits = Limits(Settings(), s.talk.database, clock)
        limits.member_limit = s.talk.rules.user_limit
        await s.sets("limit", "2")
        here, there = s.talk.question("x"), s.talk.question("x", guild_id=2)
        assert [limits.admit(here) > 0 for _ in range(3)] == [False, False, True]
        assert limits.admit(there) == 0
        assert limits.admit(replace(here, author_id=8)) == 0
        await s.sets("limit", "default")
        assert limits.admit(here) == 0
        limits.flush()


async def test_an_edit_of_the_file_takes_effect(tmp_path: Path) -> None:
    """An operator's edit of a server's document holds as soon as the store has seen it."""
    async with server(tmp_path / "db") as s:
        await s.sets("persona", "pirate")
        path = tmp_path / "db-documents/servers/1.json"
        whole = json.loads(path.read_text()) | {"persona": "", "userMessagesPerMinute": 5}
        path.write_text(json.dumps(whole))
        admin = DocumentAdmin(s.talk.documents, s.talk.bus.publish)
        assert (await admin.validate("servers/1.json")).ok
        assert s.talk.rules.user_limit(GUILD) == 5
        assert s.talk.rules.server(GUILD).persona == ""


async def test_everything_can_be_set_back(tmp_path: Path) -> None:
    """`default` undoes each setting, and a channel without settings is not listed any more."""
    async with server(tmp_path / "db") as s:
        for setting, value in {
            "persona": "pirate",
            "instructions": "Be brief.",
            "models": "scripted-1",
            "language": "de",
            "streaming": "off",
            "roles": "5",
            "channels": "100",
            "limit": "3",
        }.items():
            await s.sets(setting, value)
            assert s.talk.rules.server(GUILD) != ServerSettings()
            await s.sets(setting, "default")
            assert s.talk.rules.server(GUILD) == ServerSettings()
        await s.sets("language", "de", channel="9")
        assert "<#9>" in (await s.says("settings")).text
        await s.sets("language", "default", channel="9")
        assert "<#9>" not in (await s.says("settings")).text


@pytest.mark.parametrize(
    ("setting", "value", "more"),
    [
        ("persona", "nobody", {}),
        ("roles", "everyone", {}),
        ("limit", "many", {}),
        ("limit", "-1", {}),
        ("limit", "99999", {}),
        ("instructions", "x" * 4001, {}),
        ("streaming", "maybe", {}),
        ("roles", "5", {"channel": "9"}),
        ("persona", "", {}),
        ("colour", "red", {}),
    ],
)
async def test_what_does_not_fit_is_refused_in_words(
    tmp_path: Path, setting: str, value: str, more: dict[str, str]
) -> None:
    """A value that does not fit changes nothing, and the answer says what would."""
    async with server(tmp_path / "db") as s:
        reply = await s.sets(setting, value, **more)
        assert "Set for" not in reply.text
        assert len(reply.text) < 500
        assert s.talk.rules.server(GUILD) == ServerSettings()


async def test_memory_off_keeps_nothing(tmp_path: Path) -> None:
    """Who switched their memory off is answered, and nothing of it is remembered."""
    async with server(tmp_path / "db") as s:
        await s.says("preferences", {"setting": "memory", "value": "off"}, may_manage=False)
        await s.asks("a secret")
        await s.talk.store.tell(1, "looked", "")
        assert await s.talk.memory.recall(CHANNEL, 2**62, 10) == []
        await s.says("preferences", {"setting": "memory", "value": "default"})
        await s.asks("no secret")
        await s.talk.store.tell(1, "looked", "")
        assert len(await s.talk.memory.recall(CHANNEL, 2**62, 10)) == 2


def test_a_document_with_foreign_members_does_not_fit() -> None:
    """Unknown members, numbers out of range and ids that are none are refused with their place."""
    for body, place in (
        ({"what": 1}, "what"),
        ({"userMessagesPerMinute": -1}, "userMessagesPerMinute"),
        ({"allowedRoles": ["x"]}, "allowedRoles.0"),
        ({"channels": {"general": {}}}, "channels.general"),
        ({"channels": {"5": {"language": "xx"}}}, "channels.5.language"),
    ):
        with pytest.raises(MisfitError, match=place):
            SERVERS.fitted(body)


def test_discord_is_told_the_choices_and_for_whom() -> None:
    """`/settings` is offered to who may manage the server, with its choices."""
    registered = {command["name"]: command for command in registration(DEFINITIONS)}
    assert registered["settings"]["default_member_permissions"] == "32"
    choices = registered["settings"]["options"][0]["choices"]
    assert {"name": "persona", "value": "persona"} in choices
    assert "default_member_permissions" not in registered["chat"]
