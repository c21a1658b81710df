"""Servers, channels, people and permissions through the control API; the gateway and counts too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.announce import Intent
from llmbot.simulators.discord.control_parts import Ask, ControlError, Json
from llmbot.simulators.discord.gateway import AUTHENTICATION_FAILED, Gateway
from llmbot.simulators.discord.model import Overwrite
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.sessions import Session
from llmbot.simulators.discord.views import channel_view, guild_view, user_view

_USERS_MAX = 1_000
_CHANNELS_MAX = 2_000
_CLOSE_CODES = range(1000, 5000)


def world(ask: Ask) -> Json:
    """Return servers with their channels, direct channels, people, and the bot's state."""
    held = ask.core.world
    direct = [c for c in held.channels.values() if c.guild_id is None]
    return {
        "bot": user_view(held.bot),
        "application_id": str(held.application_id),
        "guilds": [guild_view(held, guild) for guild in held.guilds.values()],
        "direct_channels": [channel_view(held, each) for each in direct[-_CHANNELS_MAX:]],
        "users": [user_view(user) for user in list(held.users.values())[:_USERS_MAX]],
        "user_count": len(held.users),
        "channel_count": len(held.channels),
        "commands": [
            command.body(held.application_id)
            for place in (None, *held.guilds)
            for command in ask.core.commands.listed(place)
        ],
        "sessions": [session_view(session) for session in ask.core.sessions],
        "last_event_id": ask.core.feed.last_id,
    }


def add_guild(ask: Ask) -> Json:
    """Create a server that the bot is in."""
    held = ask.core.world
    owner = ask.user("owner") if ask.maybe("owner") else held.user_here("alice")
    guild = held.add_guild(ask.word("name"), owner)
    held.add_channel(guild, "general")
    ask.core.announcer.guild_created(guild)
    return guild_view(held, guild)


def remove_guild(ask: Ask) -> Json:
    """Let the bot be thrown out of a server, which goes with it."""
    wanted = ask.path["id"]
    guild = ask.core.world.guilds.get(int(wanted)) if wanted.isdecimal() else None
    if guild is None:
        raise ControlError("no such server", 404)
    ask.core.world.remove_guild(guild)
    ask.core.announcer.guild_deleted(guild)
    return {"deleted": str(guild.id)}


def add_channel(ask: Ask) -> Json:
    """Create a text channel."""
    guild = ask.guild()
    if ask.core.world.channel_named(guild, ask.word("name")) is not None:
        raise ControlError("there is a channel of this name already", 409)
    channel = ask.core.world.add_channel(guild, ask.word("name"), topic=ask.maybe("topic"))
    ask.core.announcer.channel("CREATE", channel)
    return channel_view(ask.core.world, channel)


def add_thread(ask: Ask) -> Json:
    """Create a thread, or return the one of this name."""
    if ask.maybe("thread") is None:
        raise ControlError("thread must be the new thread's name")
    user = ask.user() if ask.maybe("user") else None
    return channel_view(ask.core.world, ask.place(user))


def delete_channel(ask: Ask) -> Json:
    """Delete a channel with its threads."""
    wanted = ask.path["id"]
    channel = ask.core.world.channels.get(int(wanted)) if wanted.isdecimal() else None
    if channel is None:
        raise ControlError("no such channel", 404)
    for gone in ask.core.world.remove_channel(channel):
        ask.core.announcer.channel("DELETE", gone)
    return {"deleted": str(channel.id)}


def permit(ask: Ask) -> Json:
    """Set what a channel allows and denies; by default to everyone's role.

    `target` is "everyone" (the default), "bot", or a user's name; `allow` and `deny` are lists
    of permission names.
    """
    channel = ask.place()
    guild = ask.core.world.guild_of(channel)
    if guild is None:
        raise ControlError("a direct channel has no permissions")
    target = ask.maybe("target") or "everyone"
    if target == "everyone":
        target_id, kind = guild.id, 0
    elif target == "bot":
        target_id, kind = ask.core.world.bot.id, 1
    else:
        target_id, kind = ask.core.world.user_here(target).id, 1
    overwrite = Overwrite(target_id, kind, _bits(ask, "allow"), _bits(ask, "deny"))
    ask.core.world.overwrite(channel, overwrite)
    ask.core.announcer.channel("UPDATE", channel)
    return channel_view(ask.core.world, channel)


def _bits(ask: Ask, name: str) -> int:
    bits = 0
    for each in ask.body.get(name) or ():
        try:
            bits |= Permission[str(each).upper()]
        except KeyError:
            known = ", ".join(permission.name or "" for permission in Permission)
            raise ControlError(f"unknown permission {each!r}; known: {known}") from None
    return int(bits)


def add_user(ask: Ask) -> Json:
    """Create a user, or change whether direct messages are accepted."""
    user = ask.user("name")
    user.accepts_dms = ask.flag("accepts_dms", default=user.accepts_dms)
    if ask.maybe("guild") is not None:
        ask.joined(ask.guild(), user)
    return user_view(user)


def add_role(ask: Ask) -> Json:
    """Create a role, and give it to members by name."""
    guild = ask.guild()
    role = ask.core.world.add_role(guild, ask.word("name"), _bits(ask, "permissions"))
    ask.core.announcer.role("CREATE", guild, payloads.role_object(role))
    for name in ask.body.get("members") or ():
        user = ask.core.world.user_here(str(name))
        ask.joined(guild, user)
        member = guild.members[user.id]
        member.roles.append(role.id)
        ask.core.announcer.member("UPDATE", guild, member)
    return {"id": str(role.id), "name": role.name, "permissions": str(role.permissions)}


def session_view(session: Session) -> Json:
    """Return a gateway session."""
    return {
        "id": session.id,
        "connected": session.link is not None,
        "paused": session.paused,
        "sequence": session.sequence,
        "delivered": session.delivered,
        "acknowledged": session.acknowledged,
        "kept_events": len(session.events),
        "resumes": session.resumes,
        "intents": [intent.name for intent in Intent if session.intents & intent],
        "shard": [session.shard, session.shards],
        "presence": session.presence,
    }


@dataclass(frozen=True, slots=True)
class GatewayControl:
    """Acts on the gateway from outside."""

    gateway: Gateway

    def read(self, ask: Ask) -> Json:
        """Return connections and sessions."""
        now = asyncio.get_running_loop().time()
        return {
            "connections": len(self.gateway.connections),
            "sessions": [session_view(session) for session in ask.core.sessions],
            "session_start_limit": ask.core.sessions.start_limit(now),
        }

    def act(self, ask: Ask) -> Json:
        """Do one of: drop, close, reconnect, invalidate, forget, pause, resume, heartbeat."""
        action = ask.word("action")
        actions = {
            "drop": self._drop,
            "close": self._close,
            "reconnect": self._reconnect,
            "invalidate": self._invalidate,
            "forget": self._forget,
            "pause": self._pause,
            "resume": self._resume,
            "heartbeat": self._heartbeat,
        }
        if action not in actions:
            raise ControlError(f"action is one of {', '.join(actions)}")
        actions[action](ask)
        return self.read(ask)

    def revoke(self, ask: Ask) -> Json:
        """Set another valid token; whoever uses the old one is closed with 4004."""
        ask.core.token = ask.word("token")
        for connection in self.gateway.connections:
            connection.close(AUTHENTICATION_FAILED, "Authentication failed.")
        for session in ask.core.sessions:
            ask.core.sessions.remove(session)
        return {}

    def _drop(self, _ask: Ask) -> None:
        for connection in self.gateway.connections:
            connection.abort()

    def _close(self, ask: Ask) -> None:
        code = ask.number("code", 4000)
        if code not in _CLOSE_CODES:
            raise ControlError("code is a WebSocket close code from 1000 to 4999")
        for connection in self.gateway.connections:
            connection.close(code, ask.maybe("reason") or "Closed by the control API.")

    def _reconnect(self, _ask: Ask) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self.gateway.connections:
            connection.ask_to_reconnect(now)

    def _invalidate(self, ask: Ask) -> None:
        """Send op 9; without `resumable` the sessions are gone."""
        resumable = ask.flag("resumable")
        for connection in self.gateway.connections:
            connection.send_control(9, resumable)
        if not resumable:
            self._forget(ask)

    def _forget(self, ask: Ask) -> None:
        """Forget all sessions without a word; a later resume gets op 9."""
        for session in ask.core.sessions:
            ask.core.sessions.remove(session)

    def _pause(self, ask: Ask) -> None:
        for session in ask.core.sessions:
            session.paused = True

    def _resume(self, ask: Ask) -> None:
        for session in ask.core.sessions:
            session.paused = False
            session.flush()

    def _heartbeat(self, _ask: Ask) -> None:
        for connection in self.gateway.connections:
            connection.send_control(1)


def statistics(ask: Ask) -> Json:
    """Return the counts."""
    core = ask.core
    return core.statistics.snapshot() | {
        "invalid_requests_window": core.limits.invalid,
        "commands_created": core.commands.creations,
        "commands_overwritten": core.commands.overwrites,
        "interactions_kept": len(core.interactions),
        "feed_readers": core.feed.readers,
        "users": len(core.world.users),
        "channels": len(core.world.channels),
    }


def reset_statistics(ask: Ask) -> Json:
    """Set the counts to zero, and forgive rate limits and invalid requests."""
    ask.core.statistics.reset()
    ask.core.limits.forgive()
    return {}


def set_limits(ask: Ask) -> Json:
    """Switch rate limits on or off."""
    ask.core.limits.enabled = ask.flag("enabled", default=True)
    return {"enabled": ask.core.limits.enabled}
