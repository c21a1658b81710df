"""Finds what a call names, and refuses where the bot may not see it or may not act."""

from __future__ import annotations

from llmbot.simulators.discord.errors import (
    missing_access,
    missing_permissions,
    unknown,
)
from llmbot.simulators.discord.model import Channel, Guild, Message
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.rest import Call


def guild_of(call: Call) -> Guild:
    """Return the server that the path names.

    Raises:
        ApiError: 10004 for an unknown one, 50001 where the bot is no member.
    """
    guild = call.core.world.guilds.get(call.id("guild_id"))
    if guild is None:
        raise unknown("Guild")
    if call.core.world.bot.id not in guild.members:
        raise missing_access()
    return guild


def channel_of(call: Call, *needed: Permission) -> Channel:
    """Return the channel that the path names, if the bot may see it and do what is needed.

    Raises:
        ApiError: 10003 for an unknown one, 50001 if it is hidden, 50013 if more is needed.
    """
    channel = call.core.world.channels.get(call.id("channel_id"))
    if channel is None:
        raise unknown("Channel")
    allowed = call.core.world.allowed(channel)
    if not allowed & Permission.VIEW_CHANNEL:
        raise missing_access()
    if any(not allowed & permission for permission in needed):
        raise missing_permissions()
    return channel


def message_of(call: Call, channel: Channel) -> Message:
    """Return the message that the path names.

    Raises:
        ApiError: 10008 where there is none.
    """
    message = call.core.world.message(channel, call.id("message_id"))
    if message is None or message.ephemeral:
        raise unknown("Message")
    return message
