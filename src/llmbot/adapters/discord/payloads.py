"""Discord's raw payloads to facts: messages and commands.

A payload that lacks what it must have raises KeyError, TypeError or ValueError, and the caller
skips it. What is optional in Discord's documents, or left out by lesser servers, is optional here.
Source: Discord API reference, "Message", "Receiving and Responding", "Threads".
"""

from __future__ import annotations

import re
from typing import Any

from llmbot.adapters.discord.places import THREAD_TYPES, Places
from llmbot.conversation.messages import (
    Attachment,
    ChannelMessage,
    CommandRequest,
    Inbound,
    InteractionRef,
    Source,
)

Payload = dict[str, Any]

ATTACHMENTS_MAX = 10
"""Discord allows ten files on a message."""
_NAME_LENGTH_MAX = 100
_FILENAME_LENGTH_MAX = 260
_URL_LENGTH_MAX = 2048
_OPTIONS_MAX = 25
_ROLES_MAX = 250

TALK_TYPES = frozenset({0, 19, 20, 23})
"""Default, reply, answer to a slash command or context menu; the rest is announcements."""

_FORWARD = 1
_ATTACHMENT_OPTION = 11
_SUB_COMMANDS = (1, 2)
_ADMINISTRATOR = 1 << 3
_MANAGE_GUILD = 1 << 5
_READ = 1 << 10 | 1 << 16
"""View Channel and Read Message History."""
_PRIVATE_THREAD = 12
_USER_MENTION = re.compile(r"<@!?(\d{1,20})>")


def is_talk(data: Payload) -> bool:
    """Whether a message was said by somebody, rather than announced by Discord."""
    return data.get("type", 0) in TALK_TYPES


def optional_id(value: object) -> int | None:
    """A snowflake, or None where there is none."""
    return int(value) if isinstance(value, (str, int)) and value != "" else None


def display_name(user: Payload, member: Payload | None) -> str:
    """How people see the author: nickname here, else display name, else user name."""
    name = (
        (member or {}).get("nick")
        or user.get("global_name")
        or user.get("username")
        or f"user {user.get('id', '?')}"
    )
    return str(name)[:_NAME_LENGTH_MAX]


def attachments_of(values: object) -> tuple[Attachment, ...]:
    """The files of a message; what names no address is left out."""
    if not isinstance(values, list):
        return ()
    return tuple(
        attachment(value)
        for value in values[:ATTACHMENTS_MAX]
        if isinstance(value, dict) and value.get("url")
    )


def attachment(value: Payload) -> Attachment:
    """One file."""
    size = value.get("size")
    return Attachment(
        id=optional_id(value.get("id")) or 0,
        filename=str(value.get("filename") or "file")[:_FILENAME_LENGTH_MAX],
        url=str(value["url"])[:_URL_LENGTH_MAX],
        size_bytes=size if isinstance(size, int) and size >= 0 else 0,
        content_type=str(value.get("content_type") or "")[:_NAME_LENGTH_MAX],
    )


def reply_target(data: Payload) -> int | None:
    """The message that this one replies to; a forwarded message is no reply."""
    reference = data.get("message_reference")
    if not isinstance(reference, dict) or reference.get("type", 0) == _FORWARD:
        return None
    return optional_id(reference.get("message_id"))


def channel_message(
    payload: object, our_id: int, *, channel_id: int | None = None
) -> ChannelMessage:
    """A message as it stands in its channel; `channel_id` serves where the payload names none."""
    if not isinstance(payload, dict):
        raise TypeError("a message is an object")
    author = payload.get("author") or {}
    author_id = optional_id(author.get("id")) or 0
    nonce = payload.get("nonce")
    return ChannelMessage(
        id=int(payload["id"]),
        channel_id=int(payload["channel_id"] if channel_id is None else channel_id),
        author_id=author_id,
        author_name=display_name(author, payload.get("member")),
        content=str(payload.get("content") or ""),
        author_is_bot=bool(author.get("bot")) or payload.get("webhook_id") is not None,
        author_is_us=author_id == our_id != 0,
        reply_to=reply_target(payload),
        nonce="" if nonce is None else str(nonce),
        attachments=attachments_of(payload.get("attachments")),
        replies_to_us=_replies_to(payload, our_id),
        interaction_id=_interaction_id(payload),
    )


def _replies_to(payload: Payload, our_id: int) -> bool | None:
    """Whether this replies to us, where Discord looked up what it replies to."""
    referenced = payload.get("referenced_message")
    author_id = _id_of(referenced.get("author")) if isinstance(referenced, dict) else None
    return None if author_id is None else author_id == our_id != 0


def _interaction_id(payload: Payload) -> int | None:
    return _id_of(payload.get("interaction_metadata") or payload.get("interaction"))


def _id_of(part: object) -> int | None:
    """The id of a part that may be missing or unreadable: the message is still one."""
    try:
        return optional_id(part.get("id")) if isinstance(part, dict) else None
    except ValueError:
        return None


def inbound(
    data: Payload, seen: ChannelMessage, our_id: int, places: Places, source: Source
) -> Inbound:
    """What admission needs to know of a message of somebody else."""
    guild_id = optional_id(data.get("guild_id")) or places.guild_of(seen.channel_id)
    mentioned = _mentioned(data, seen.content)
    roles = {int(r) for r in data.get("mention_roles") or () if isinstance(r, (str, int))}
    referenced, replies_to_us = _referenced(data, seen, our_id)
    is_thread = places.is_thread(seen.channel_id) or _looks_like_thread(data)
    return Inbound(
        message_id=seen.id,
        channel_id=seen.channel_id,
        guild_id=guild_id,
        author_id=seen.author_id,
        author_name=seen.author_name,
        content=seen.content,
        source=source,
        author_is_bot=seen.author_is_bot,
        is_direct=guild_id is None,
        is_thread=is_thread,
        in_our_thread=is_thread and places.is_our_thread(seen.channel_id, our_id),
        mentions_us=our_id in mentioned or places.own_role(guild_id) in roles,
        mentions_others=bool(mentioned - {our_id}) or bool(roles - {places.own_role(guild_id)}),
        reply_to=seen.reply_to,
        replies_to_us=replies_to_us,
        referenced=referenced,
        attachments=seen.attachments,
        may_speak=guild_id is None or places.may_speak(guild_id, seen.channel_id, our_id),
        locale=places.locale(guild_id),
        role_ids=_role_ids(data.get("member")),
        parent_id=places.parent_of(seen.channel_id) if is_thread else None,
    )


def _mentioned(data: Payload, content: str) -> set[int]:
    """Who is mentioned, by Discord's list or by the text (lesser servers keep no list).

    Discord lists the author of the message replied to as well; that is a ping, so it counts.
    """
    listed = data.get("mentions")
    found = {
        int(user["id"])
        for user in (listed if isinstance(listed, list) else ())
        if isinstance(user, dict) and "id" in user
    }
    return found | {int(match) for match in _USER_MENTION.findall(content)}


def _referenced(
    data: Payload, seen: ChannelMessage, our_id: int
) -> tuple[ChannelMessage | None, bool | None]:
    if seen.reply_to is None:
        return None, False
    payload = data.get("referenced_message")
    if not isinstance(payload, dict):
        # Absent: Discord did not look it up. Null: it was deleted, by whom it was is unknown too.
        return None, None
    try:
        message = channel_message(payload, our_id, channel_id=seen.channel_id)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, None
    if message.author_id == 0:
        return None, None
    return message, message.author_is_us


def _looks_like_thread(data: Payload) -> bool:
    # `position` is only on messages in threads; `channel_type` comes along on the gateway.
    return data.get("channel_type") in (10, 11, 12) or isinstance(data.get("position"), int)


def interaction_ref(data: Payload) -> InteractionRef:
    """How to answer an interaction."""
    return InteractionRef(
        id=int(data["id"]),
        application_id=int(data.get("application_id") or 0),
        token=str(data["token"]),
    )


def command_request(data: Payload, reference: InteractionRef) -> CommandRequest:
    """A slash command as it was given; options of sub-commands stand beside those above them."""
    member = data.get("member")
    member = member if isinstance(member, dict) else None
    user = (member or {}).get("user") or data.get("user") or {}
    details = data["data"]
    channel_id = optional_id(data.get("channel_id"))
    if channel_id is None:
        channel_id = int((data.get("channel") or {})["id"])
    resolved = details.get("resolved")
    resolved = resolved if isinstance(resolved, dict) else {}
    sent = resolved.get("attachments") or {}
    options: dict[str, str] = {}
    files: list[Attachment] = []
    for option in _flat_options(details.get("options")):
        value = option.get("value")
        options[str(option["name"])] = _option_text(value)
        if option.get("type") == _ATTACHMENT_OPTION and len(files) < ATTACHMENTS_MAX:
            found = sent.get(str(value))
            if isinstance(found, dict) and found.get("url"):
                files.append(attachment(found))
    return CommandRequest(
        name=str(details["name"]),
        user_id=int(user["id"]),
        user_name=display_name(user, member),
        channel_id=channel_id,
        guild_id=optional_id(data.get("guild_id")),
        options=options,
        interaction=reference,
        attachments=tuple(files),
        locale=str(data.get("locale") or data.get("guild_locale") or ""),
        may_manage=_may_manage(member),
        role_ids=_role_ids(member),
        parent_id=_thread_parent(data.get("channel")),
        readable=_readable(channel_id, member, resolved.get("channels")),
    )


def _readable(channel_id: int, member: Payload | None, named: object) -> frozenset[int]:
    """The channels whose history the user may read: by the permissions that Discord computed.

    Those of a private thread are its channel's and say nothing of who was let in: it can be read
    from inside alone. In a direct message there are none, and both sides read all of it.
    """
    found = {channel_id} if member is None or _may_read(member) else set()
    channels = named.values() if isinstance(named, dict) else ()
    found |= {
        int(channel["id"])
        for channel in channels
        if _may_read(channel) and channel.get("type") != _PRIVATE_THREAD
    }
    return frozenset(found)


def _may_read(holder: Payload) -> bool:
    held = _permissions(holder)
    return bool(held & _ADMINISTRATOR) or held & _READ == _READ


def _role_ids(member: object) -> tuple[int, ...]:
    roles = member.get("roles") if isinstance(member, dict) else None
    if not isinstance(roles, list):
        return ()
    return tuple(int(role) for role in roles[:_ROLES_MAX] if str(role).isdecimal())


def _thread_parent(channel: object) -> int | None:
    if isinstance(channel, dict) and channel.get("type") in THREAD_TYPES:
        return optional_id(channel.get("parent_id"))
    return None


def _flat_options(options: object, depth: int = 0) -> list[Payload]:
    flat: list[Payload] = []
    for option in (options if isinstance(options, list) else [])[:_OPTIONS_MAX]:
        if option.get("type") in _SUB_COMMANDS and depth < len(_SUB_COMMANDS):
            flat += _flat_options(option.get("options"), depth + 1)
        else:
            flat.append(option)
    return flat


def _option_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _may_manage(member: Payload | None) -> bool:
    return bool(_permissions(member or {}) & (_ADMINISTRATOR | _MANAGE_GUILD))


def _permissions(holder: Payload) -> int:
    try:
        return int(holder.get("permissions") or 0)
    except (TypeError, ValueError):
        return 0
