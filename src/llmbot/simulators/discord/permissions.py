"""Discord's permission bits and how roles and overwrites of a channel combine."""

from __future__ import annotations

from enum import IntEnum

from llmbot.simulators.discord.model import Channel, Guild


class Permission(IntEnum):
    """The bits that the simulator enforces, by Discord's names."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    MANAGE_ROLES = 1 << 28
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38


ALL = (1 << 50) - 1

# What a new server gives to everyone (Discord's own default role, written as a number there).
EVERYONE = int(
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.MENTION_EVERYONE
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.CREATE_PRIVATE_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)

# In a direct channel nobody is denied anything, and there is nobody to ping but the other one.
DIRECT = EVERYONE & ~int(Permission.MENTION_EVERYONE)


def in_guild(guild: Guild, user_id: int) -> int:
    """Return what the roles of a member allow in the whole server."""
    if guild.owner_id == user_id:
        return ALL
    member = guild.members.get(user_id)
    if member is None:
        return 0
    allowed = guild.roles[guild.id].permissions
    for role_id in member.roles:
        role = guild.roles.get(role_id)
        if role is not None:
            allowed |= role.permissions
    return ALL if allowed & Permission.ADMINISTRATOR else allowed


def in_channel(guild: Guild, channel: Channel, user_id: int) -> int:
    """Return what a member may do in a channel; a thread follows the channel it hangs on."""
    allowed = in_guild(guild, user_id)
    if allowed in (0, ALL):
        return allowed
    place = channel
    if channel.is_thread and channel.parent_id is not None:
        place = guild.channels.get(channel.parent_id, channel)
    if place.overwrites:
        allowed = _overwritten(guild, place, user_id, allowed)
    if not allowed & Permission.VIEW_CHANNEL:
        return 0
    if channel.is_private_thread and user_id not in channel.thread_members:
        return allowed if allowed & Permission.MANAGE_THREADS else 0
    if channel.is_thread and not allowed & Permission.SEND_MESSAGES_IN_THREADS:
        return allowed & ~int(Permission.SEND_MESSAGES)
    if channel.is_thread:
        return allowed | Permission.SEND_MESSAGES
    return allowed


def _overwritten(guild: Guild, channel: Channel, user_id: int, allowed: int) -> int:
    """Apply overwrites in Discord's order: everyone, the member's roles together, the member."""
    everyone = channel.overwrites.get(guild.id)
    if everyone is not None:
        allowed = allowed & ~everyone.deny | everyone.allow
    allow = deny = 0
    for role_id in guild.members[user_id].roles:
        overwrite = channel.overwrites.get(role_id)
        if overwrite is not None:
            allow |= overwrite.allow
            deny |= overwrite.deny
    allowed = allowed & ~deny | allow
    own = channel.overwrites.get(user_id)
    if own is not None:
        allowed = allowed & ~own.deny | own.allow
    return allowed
