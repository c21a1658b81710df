"""The world's things as Discord's JSON objects (API v10)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llmbot.simulators.discord import model, permissions
from llmbot.simulators.discord.model import (
    Attachment,
    Channel,
    Guild,
    Member,
    Message,
    Role,
    User,
)
from llmbot.simulators.discord.snowflake import iso, milliseconds_of

Json = dict[str, Any]

_LINK_LIFE_S = 86_400


@dataclass(frozen=True, slots=True)
class LinkMaker:
    """Makes the signed, expiring links to files that Discord's file host asks for."""

    secret: bytes

    def link(self, base: str, channel_id: int, attachment: Attachment, now_s: int) -> str:
        """Return the address of a file below a base such as `http://127.0.0.1:8000`."""
        path = f"/attachments/{channel_id}/{attachment.id}/{quote(attachment.filename)}"
        # Rounded, as Discord's are, so that the same file has the same link for a while.
        issued = now_s - now_s % 3_600
        expires = issued + _LINK_LIFE_S
        return f"{base}{path}?ex={expires:x}&is={issued:x}&hm={self.sign(path, expires)}"

    def sign(self, path: str, expires: int) -> str:
        """Return the signature of a path until a time."""
        return hmac.new(self.secret, f"{path}:{expires}".encode(), hashlib.sha256).hexdigest()


def user_object(user: User) -> Json:
    """A user object; made once and shared, so never change it."""
    if not user.card:
        user.card = {
            "id": str(user.id),
            "username": user.name,
            "avatar": None,
            "discriminator": f"{user.id % 9_999 + 1:04}" if user.bot else "0",
            "public_flags": 0,
            "flags": 0,
            "bot": user.bot,
            "banner": None,
            "accent_color": None,
            "global_name": None if user.bot else user.name.title(),
            "avatar_decoration_data": None,
            "collectibles": None,
            "primary_guild": None,
        }
    return user.card


def member_object(member: Member, *, with_user: bool = True) -> Json:
    """A member object; in message events it comes without its user."""
    body: Json = {
        "avatar": None,
        "banner": None,
        "communication_disabled_until": None,
        "flags": 0,
        "joined_at": iso(member.joined_ms),
        "nick": member.nick,
        "pending": False,
        "premium_since": None,
        "roles": [str(role) for role in member.roles],
        "mute": False,
        "deaf": False,
    }
    if with_user:
        body["user"] = user_object(member.user)
    return body


def role_object(role: Role) -> Json:
    """A role object."""
    body: Json = {
        "id": str(role.id),
        "name": role.name,
        "permissions": str(role.permissions),
        "position": role.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": role.managed_by is not None,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }
    if role.managed_by is not None:
        body["tags"] = {"bot_id": str(role.managed_by)}
    return body


def channel_object(channel: Channel, bot: User) -> Json:
    """A channel object of the kind that it is: text, thread or direct."""
    body: Json = {
        "id": str(channel.id),
        "type": channel.type,
        "flags": 0,
        "last_message_id": _optional_id(channel.last_message_id),
    }
    if channel.recipient is not None:
        body["recipients"] = [user_object(channel.recipient)]
        return body
    body["guild_id"] = str(channel.guild_id)
    body["name"] = channel.name
    body["parent_id"] = _optional_id(channel.parent_id)
    body["rate_limit_per_user"] = 0
    if channel.is_thread:
        return body | _thread_part(channel, bot)
    body["topic"] = channel.topic
    body["position"] = channel.position
    body["nsfw"] = False
    body["permission_overwrites"] = [
        {"id": str(o.id), "type": o.type, "allow": str(o.allow), "deny": str(o.deny)}
        for o in channel.overwrites.values()
    ]
    return body


def _thread_part(channel: Channel, bot: User) -> Json:
    created = iso(milliseconds_of(channel.id))
    part: Json = {
        "owner_id": str(channel.owner_id),
        "thread_metadata": {
            "archived": channel.archived,
            "archive_timestamp": created,
            "auto_archive_duration": channel.auto_archive_min,
            "locked": channel.locked,
            "create_timestamp": created,
        },
        "message_count": channel.messages_sent,
        "member_count": len(channel.thread_members),
        "total_message_sent": channel.messages_sent,
    }
    if bot.id in channel.thread_members:
        part["member"] = thread_member(channel, bot.id)
    return part


def thread_member(channel: Channel, user_id: int) -> Json:
    """A user's place in a thread."""
    return {
        "id": str(channel.id),
        "user_id": str(user_id),
        "join_timestamp": iso(channel.thread_members[user_id]),
        "flags": 0,
    }


def attachment_object(attachment: Attachment, link: str) -> Json:
    """An attachment object with its link."""
    body: Json = {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "size": attachment.size,
        "url": link,
        "proxy_url": link,
        "content_type": attachment.content_type,
    }
    if attachment.width is not None and attachment.height is not None:
        body["width"] = attachment.width
        body["height"] = attachment.height
    if attachment.description is not None:
        body["description"] = attachment.description
    return body


def reactions(message: Message, bot: User) -> list[Json]:
    """The reactions on a message, as the bot sees them."""
    return [
        {
            "emoji": emoji_object(name),
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me_burst": False,
            "me": bot.id in users,
        }
        for name, users in message.reactions.items()
    ]


def emoji_object(name: str) -> Json:
    """An emoji object from `name:id` (a server's own) or the character itself."""
    if ":" in name:
        own_name, _, own_id = name.partition(":")
        return {"id": own_id, "name": own_name}
    return {"id": None, "name": name}


def guild_object(guild: Guild) -> Json:
    """A server object as REST gives it."""
    return {
        "id": str(guild.id),
        "name": guild.name,
        "icon": None,
        "description": None,
        "home_header": None,
        "splash": None,
        "discovery_splash": None,
        "features": [],
        "banner": None,
        "owner_id": str(guild.owner_id),
        "application_id": None,
        "region": "us-west",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": 0,
        "roles": [role_object(each) for each in guild.roles.values()],
        "default_message_notifications": 0,
        "mfa_level": 0,
        "explicit_content_filter": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "rules_channel_id": None,
        "safety_alerts_channel_id": None,
        "public_updates_channel_id": None,
        "premium_progress_bar_enabled": False,
        "nsfw": False,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
        "incidents_data": None,
    }


def guild_create(guild: Guild, bot: User, *, everyone: bool) -> Json:
    """The GUILD_CREATE payload; without the presence intent only the bot is in its member list."""
    members = list(guild.members.values()) if everyone else [guild.members[bot.id]]
    rooms = [c for c in guild.channels.values() if not c.is_thread]
    threads = [
        c
        for c in guild.channels.values()
        if c.is_thread
        and not c.archived
        and permissions.in_channel(guild, c, bot.id) & permissions.Permission.VIEW_CHANNEL
    ]
    return guild_object(guild) | {
        "joined_at": iso(guild.members[bot.id].joined_ms),
        "large": len(guild.members) > _LARGE_GUILD,
        "unavailable": False,
        "member_count": len(guild.members),
        "voice_states": [],
        "members": [member_object(each) for each in members],
        "channels": [channel_object(each, bot) for each in rooms],
        "threads": [channel_object(each, bot) for each in threads],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


_LARGE_GUILD = 250


def message_object(message: Message, links: list[str], bot: User) -> Json:
    """A message object without what it refers to; `links` are those of its attachments."""
    body: Json = {
        "type": message.type,
        "content": message.content,
        "mentions": [user_object(each) for each in message.mentions.users],
        "mention_roles": [str(each) for each in message.mentions.roles],
        "attachments": [
            attachment_object(each, link)
            for each, link in zip(message.attachments, links, strict=True)
        ],
        "embeds": message.embeds,
        "timestamp": iso(message.created_ms),
        "edited_timestamp": None if message.edited_ms is None else iso(message.edited_ms),
        "flags": message.flags,
        "components": message.components,
        "id": str(message.id),
        "channel_id": str(message.channel_id),
        "author": user_object(message.author),
        "pinned": message.pinned,
        "mention_everyone": message.mentions.everyone,
        "tts": message.tts,
    }
    if message.reactions:
        body["reactions"] = reactions(message, bot)
    if message.interaction is not None:
        body |= _interaction_part(message, bot)
    return body


def _interaction_part(message: Message, bot: User) -> Json:
    """What an answer to an interaction carries besides: it was sent through a webhook."""
    part: Json = {"webhook_id": str(bot.id), "application_id": str(bot.id)}
    origin = message.interaction
    if origin is not None and message.type == model.MESSAGE_COMMAND:
        part["interaction"] = origin
        part["interaction_metadata"] = {
            "id": origin["id"],
            "type": origin["type"],
            "user": origin["user"],
            "authorizing_integration_owners": {"0": "0"},
        }
    return part


def blanked(body: Json) -> Json:
    """Return a message object as a bot without the message content intent gets it."""
    return body | {"content": "", "attachments": [], "embeds": [], "components": []}


def _optional_id(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)
