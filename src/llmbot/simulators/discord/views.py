"""The world as the control API shows it: by name, with edit histories and what was pinged."""

from __future__ import annotations

import time
from typing import Any

from llmbot.simulators.discord.model import Channel, Guild, Message, User
from llmbot.simulators.discord.snowflake import iso
from llmbot.simulators.discord.world import World

Json = dict[str, Any]


def user_view(user: User) -> Json:
    """Return who somebody is."""
    return {"id": str(user.id), "name": user.name, "bot": user.bot}


def channel_view(world: World, channel: Channel) -> Json:
    """Return a channel with who is typing in it."""
    guild = world.guild_of(channel)
    parent = world.channels.get(channel.parent_id or 0)
    now = time.monotonic()
    return {
        "id": str(channel.id),
        "type": {0: "text", 1: "direct"}.get(channel.type, "thread"),
        "name": channel.name,
        "guild": None if guild is None else guild.name,
        "guild_id": None if guild is None else str(guild.id),
        "parent": None if parent is None else parent.name,
        "parent_id": None if channel.parent_id is None else str(channel.parent_id),
        "user": None if channel.recipient is None else channel.recipient.name,
        "messages": len(channel.order),
        "messages_sent": channel.messages_sent,
        "last_message_id": None
        if channel.last_message_id is None
        else str(channel.last_message_id),
        "typing": [
            world.users[user_id].name for user_id, until in channel.typing.items() if until > now
        ],
        "bot_permissions": str(world.allowed(channel)),
        "overwrites": [
            {"id": str(o.id), "type": o.type, "allow": str(o.allow), "deny": str(o.deny)}
            for o in channel.overwrites.values()
        ],
    }


def guild_view(world: World, guild: Guild, *, members_max: int = 1_000) -> Json:
    """Return a server with its channels, threads, roles and (the first) members."""
    members = list(guild.members.values())[:members_max]
    return {
        "id": str(guild.id),
        "name": guild.name,
        "owner_id": str(guild.owner_id),
        "member_count": len(guild.members),
        "members": [user_view(each.user) for each in members],
        "roles": [
            {"id": str(role.id), "name": role.name, "permissions": str(role.permissions)}
            for role in guild.roles.values()
        ],
        "channels": [channel_view(world, each) for each in guild.channels.values()],
    }


def message_view(world: World, message: Message, *, versions: bool = True) -> Json:
    """Return a message with its whole story."""
    channel = world.channels.get(message.channel_id)
    guild = None if channel is None else world.guild_of(channel)
    parent = None if channel is None else world.channels.get(channel.parent_id or 0)
    view: Json = {
        "id": str(message.id),
        "channel_id": str(message.channel_id),
        "channel": None if channel is None else channel.name,
        "parent": None if parent is None else parent.name,
        "guild": None if guild is None else guild.name,
        "direct": channel is not None and channel.guild_id is None,
        "author": user_view(message.author),
        "content": message.content,
        "created_at": iso(message.created_ms),
        "edited_at": _time(message.edited_ms),
        "deleted_at": _time(message.deleted_ms),
        "nonce": message.nonce,
        "reply_to": None if message.reference is None else str(message.reference[1]),
        "interaction_id": None if message.interaction is None else message.interaction["id"],
        "flags": message.flags,
        "ephemeral": message.ephemeral,
        "edits": message.edits,
        "mentions": [user_view(user) for user in message.mentions.users],
        "expanded": {
            "users": [str(user.id) for user in message.expanded.users],
            "roles": [str(role) for role in message.expanded.roles],
            "everyone": message.expanded.everyone,
            "replied_user": message.expanded.replied_user,
        },
        "attachments": [
            {
                "id": str(each.id),
                "filename": each.filename,
                "size": each.size,
                "content_type": each.content_type,
            }
            for each in message.attachments
        ],
        "embeds": message.embeds,
        "components": message.components,
        "reactions": {
            name: [world.users[each].name for each in users if each in world.users]
            for name, users in message.reactions.items()
        },
    }
    if versions:
        view["versions"] = [
            {"at": iso(version.at_ms), "content": version.content} for version in message.versions
        ]
    return view


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
