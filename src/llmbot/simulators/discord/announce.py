"""Tells gateway sessions and feed readers what changed, each only what it may know.

What a session gets follows Discord's documented gateway intents; channels that the bot
may not see stay silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

import orjson

from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.feed import Feed
from llmbot.simulators.discord.model import Channel, Guild, Member, Message, User
from llmbot.simulators.discord.payloads import Json
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.render import Renderer
from llmbot.simulators.discord.sessions import Session, Sessions
from llmbot.simulators.discord.statistics import Statistics
from llmbot.simulators.discord.views import channel_view, message_view, user_view
from llmbot.simulators.discord.world import World
from llmbot.simulators.faults import FaultBoard


class Intent(IntEnum):
    """The gateway intents that decide about an event here, by Discord's names."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


_DUPLICATED = ("MESSAGE_CREATE", "MESSAGE_UPDATE")
TYPING_S = 10.0


class Announcer:
    """Turns changes of the world into gateway events and feed events."""

    def __init__(
        self,
        world: World,
        sessions: Sessions,
        feed: Feed,
        renderer: Renderer,
        board: FaultBoard,
        statistics: Statistics,
    ) -> None:
        self._world = world
        self._sessions = sessions
        self._feed = feed
        self._renderer = renderer
        self._board = board
        self._statistics = statistics

    # messages --------------------------------------------------------------------------------

    def message_created(self, channel: Channel, message: Message) -> None:
        """A message was written."""
        by = "messages_by_bot" if message.author is self._world.bot else "messages_by_users"
        self._statistics.count(by)
        if message.mentions.count:
            self._statistics.count("mentions_expanded", message.mentions.count)
            self._statistics.count("everyone_expanded", int(message.mentions.everyone))
        self._message_event("MESSAGE_CREATE", channel, message)
        self._show("message_create", message=message_view(self._world, message, versions=False))

    def message_updated(self, channel: Channel, message: Message) -> None:
        """A message was edited."""
        if message.author is self._world.bot:
            self._statistics.count("edits_by_bot")
        self._message_event("MESSAGE_UPDATE", channel, message)
        self._show("message_update", message=message_view(self._world, message, versions=False))

    def message_deleted(self, channel: Channel, message: Message) -> None:
        """A message was deleted."""
        if not message.ephemeral:
            body = self._in_place(channel, {"id": str(message.id)})
            self._to_channel("MESSAGE_DELETE", channel, _message_intent(channel), body)
        self._show("message_delete", message=message_view(self._world, message, versions=False))

    def reaction(
        self, channel: Channel, message: Message, user: User, emoji: str, kind: str
    ) -> None:
        """A reaction was added or removed; `kind` is ADD or REMOVE."""
        body = self._in_place(
            channel,
            {
                "user_id": str(user.id),
                "message_id": str(message.id),
                "emoji": payloads.emoji_object(emoji),
                "message_author_id": str(message.author.id),
                "burst": False,
                "type": 0,
            },
        )
        guild = self._world.guild_of(channel)
        if guild is not None and kind == "ADD" and user.id in guild.members:
            body["member"] = payloads.member_object(guild.members[user.id])
        intent = (
            Intent.DIRECT_MESSAGE_REACTIONS if guild is None else Intent.GUILD_MESSAGE_REACTIONS
        )
        self._to_channel(f"MESSAGE_REACTION_{kind}", channel, intent, body)
        self._show(
            f"reaction_{kind.lower()}",
            message_id=str(message.id),
            user=user_view(user),
            emoji=emoji,
            channel_id=str(channel.id),
        )

    def typing(self, channel: Channel, user: User) -> None:
        """Somebody began to type."""
        channel.typing[user.id] = time.monotonic() + TYPING_S
        guild = self._world.guild_of(channel)
        body = self._in_place(channel, {"user_id": str(user.id), "timestamp": int(time.time())})
        if guild is not None and user.id in guild.members:
            body["member"] = payloads.member_object(guild.members[user.id])
        intent = Intent.DIRECT_MESSAGE_TYPING if guild is None else Intent.GUILD_MESSAGE_TYPING
        self._to_channel("TYPING_START", channel, intent, body)
        self._show("typing", channel_id=str(channel.id), channel=channel.name, user=user_view(user))

    # servers and channels --------------------------------------------------------------------

    def channel(self, kind: str, channel: Channel) -> None:
        """A channel or thread appeared, changed or went; `kind` is CREATE, UPDATE or DELETE."""
        if channel.guild_id is not None:
            body = payloads.channel_object(channel, self._world.bot)
            name = "THREAD" if channel.is_thread else "CHANNEL"
            if channel.is_thread and kind == "CREATE":
                body["newly_created"] = True
            visible = not channel.is_private_thread or self._sees(channel)
            if visible:
                self._to_guild(f"{name}_{kind}", channel.guild_id, Intent.GUILDS, body)
        self._show(f"channel_{kind.lower()}", channel=channel_view(self._world, channel))

    def guild_created(self, guild: Guild) -> None:
        """The bot was added to a server."""
        for session in self._listening(guild.id, Intent.GUILDS):
            everyone = bool(session.intents & Intent.GUILD_PRESENCES)
            body = payloads.guild_create(guild, self._world.bot, everyone=everyone)
            session.dispatch("GUILD_CREATE", orjson.dumps(body))
        self._show("guild_create", guild={"id": str(guild.id), "name": guild.name})

    def guild_deleted(self, guild: Guild) -> None:
        """The bot was removed from a server."""
        self._to_guild("GUILD_DELETE", guild.id, Intent.GUILDS, {"id": str(guild.id)})
        self._show("guild_delete", guild={"id": str(guild.id), "name": guild.name})

    def member(self, kind: str, guild: Guild, member: Member) -> None:
        """A member came, changed or went; `kind` is ADD, UPDATE or REMOVE."""
        if kind == "REMOVE":
            body: Json = {"user": payloads.user_object(member.user)}
        else:
            body = payloads.member_object(member)
        body["guild_id"] = str(guild.id)
        self._to_guild(f"GUILD_MEMBER_{kind}", guild.id, Intent.GUILD_MEMBERS, body)

    def role(self, kind: str, guild: Guild, role: Json) -> None:
        """A role appeared or changed; `kind` is CREATE or UPDATE."""
        body = {"guild_id": str(guild.id), "role": role}
        self._to_guild(f"GUILD_ROLE_{kind}", guild.id, Intent.GUILDS, body)

    # interactions and presence ---------------------------------------------------------------

    def interaction_created(self, guild_id: int | None, make: Callable[[str], Json]) -> None:
        """Somebody used a command; no intent is needed. `make` builds the event for a base."""
        for session in self._sessions:
            if session.covers(guild_id):
                session.dispatch("INTERACTION_CREATE", orjson.dumps(make(session.base)))

    def show(self, kind: str, **facts: Any) -> None:
        """Publish something to feed readers only."""
        self._show(kind, **facts)

    # ------------------------------------------------------------------------------------------

    def _message_event(self, name: str, channel: Channel, message: Message) -> None:
        if message.ephemeral or not self._sees(channel):
            return
        if message.author is not self._world.bot and self._board.strikes("gateway.lose"):
            return
        made: dict[tuple[str, bool], bytes] = {}
        for session in self._listening(channel.guild_id, _message_intent(channel)):
            content = bool(session.intents & Intent.MESSAGE_CONTENT)
            key = (session.base, content)
            if key not in made:
                made[key] = orjson.dumps(
                    self._renderer.event(channel, message, session.base, content=content)
                )
            self._dispatch(session, name, made[key])

    def _dispatch(self, session: Session, name: str, data: bytes) -> None:
        session.dispatch(name, data)
        if name in _DUPLICATED and self._board.strikes("gateway.duplicate"):
            session.dispatch(name, data)

    def _to_channel(self, name: str, channel: Channel, intent: Intent, body: Json) -> None:
        if not self._sees(channel):
            return
        self._send(name, self._listening(channel.guild_id, intent), body)

    def _to_guild(self, name: str, guild_id: int, intent: Intent, body: Json) -> None:
        self._send(name, self._listening(guild_id, intent), body)

    def _send(self, name: str, sessions: Iterable[Session], body: Json) -> None:
        data: bytes | None = None
        for session in sessions:
            data = data or orjson.dumps(body)
            self._dispatch(session, name, data)

    def _listening(self, guild_id: int | None, intent: Intent) -> list[Session]:
        return [s for s in self._sessions if s.intents & intent and s.covers(guild_id)]

    def _sees(self, channel: Channel) -> bool:
        return bool(self._world.allowed(channel) & Permission.VIEW_CHANNEL)

    def _in_place(self, channel: Channel, body: Json) -> Json:
        body["channel_id"] = str(channel.id)
        if channel.guild_id is not None:
            body["guild_id"] = str(channel.guild_id)
        return body

    def _show(self, kind: str, **facts: Any) -> None:
        slow = self._feed.publish(kind, int(time.time() * 1000), **facts)
        if slow:
            self._statistics.count("slow_readers_dropped", slow)


def _message_intent(channel: Channel) -> Intent:
    return Intent.DIRECT_MESSAGES if channel.guild_id is None else Intent.GUILD_MESSAGES
