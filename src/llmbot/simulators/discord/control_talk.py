"""What a simulated person does, through the control API: say, change, delete, react, type."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from llmbot.simulators.discord import mentions
from llmbot.simulators.discord.control_parts import Ask, ControlError, Json
from llmbot.simulators.discord.model import Channel, Message
from llmbot.simulators.discord.reading import Upload
from llmbot.simulators.discord.snowflake import milliseconds_of
from llmbot.simulators.discord.views import message_view
from llmbot.simulators.discord.writing import Draft, rewrite, write

_USER_CONTENT_MAX = 4000  # what people with a subscription may write
_MESSAGES_MAX = 1000


def say(ask: Ask) -> Json:
    """Write a message as a user."""
    user = ask.user()
    channel = ask.place(user)
    core = ask.core
    guild = core.world.guild_of(channel)
    if guild is not None:
        ask.joined(guild, user)
    content = str(ask.body.get("content") or "")
    if len(content) > _USER_CONTENT_MAX:
        raise ControlError(f"content has at most {_USER_CONTENT_MAX} characters")
    if ask.flag("names", default=True):
        content = mentions.by_name(core.world, content)
    if ask.flag("mention_bot"):
        content = f"<@{core.world.bot.id}> {content}"
    draft = Draft(content=content.strip(), uploads=uploads_of(ask.body.get("attachments") or []))
    reply_to = ask.maybe("reply_to")
    if reply_to is not None:
        original = core.world.message(channel, int(reply_to)) if reply_to.isdecimal() else None
        if original is None:
            raise ControlError("reply_to names no message of this channel", 404)
        pinged = original.author if ask.flag("ping", default=True) else None
        draft = replace(draft, reference=(channel.id, original.id), replied_to=pinged)
    if channel.is_thread and user.id not in channel.thread_members:
        channel.thread_members[user.id] = milliseconds_of(core.world.new_id())
    message = write(core, channel, user, draft)
    core.announcer.message_created(channel, message)
    return message_view(core.world, message)


def uploads_of(files: object) -> tuple[Upload, ...]:
    """Read files of a request to the control API.

    Raises:
        ControlError: they are not what they must be.
    """
    if not isinstance(files, list):
        raise ControlError("attachments must be a list")
    uploads = []
    for index, each in enumerate(files):
        try:
            data = base64.b64decode(each["data_base64"], validate=True)
            name = str(each["filename"])
        except (KeyError, TypeError, binascii.Error):
            words = "an attachment has filename, content_type and data_base64"
            raise ControlError(words) from None
        kind = str(each.get("content_type") or "application/octet-stream")
        uploads.append(Upload(index, name, kind, data))
    return tuple(uploads)


def edit(ask: Ask) -> Json:
    """Change a user's message."""
    channel, message = _users_message(ask)
    content = str(ask.body.get("content") or "")
    if ask.flag("names", default=True):
        content = mentions.by_name(ask.core.world, content)
    rewrite(
        ask.core, channel, message, {"content": content, "allowed_mentions": None}, Draft(content)
    )
    ask.core.announcer.message_updated(channel, message)
    return message_view(ask.core.world, message)


def delete(ask: Ask) -> Json:
    """Delete a message, a user's or (as a moderator would) the bot's."""
    channel, message = ask.message()
    if message.deleted_ms is None:
        ask.core.world.delete_message(message)
        ask.core.announcer.message_deleted(channel, message)
    return message_view(ask.core.world, message)


def _users_message(ask: Ask) -> tuple[Channel, Message]:
    channel, message = ask.message()
    if message.deleted_ms is not None:
        raise ControlError("the message is deleted", 404)
    if message.author is ask.core.world.bot:
        raise ControlError("this message is the bot's own; only the bot may change it")
    return channel, message


def read_message(ask: Ask) -> Json:
    """Return one message with its history."""
    return message_view(ask.core.world, ask.message()[1])


def read_messages(ask: Ask) -> Json:
    """Return messages of a place, oldest first, deleted and ephemeral ones too."""
    channel = ask.place()
    after = ask.number("after", 0)
    limit = min(ask.number("limit", 100), _MESSAGES_MAX)
    versions = ask.flag("versions", default=True)
    found = [message for message in channel.messages.values() if message.id > after]
    chosen = found[:limit] if after else found[-limit:]
    return {
        "channel_id": str(channel.id),
        "channel": channel.name,
        "messages": [message_view(ask.core.world, m, versions=versions) for m in chosen],
    }


def react(ask: Ask) -> Json:
    """Add or (with `remove`) take away a user's reaction."""
    channel, message = ask.message("message_id")
    user = ask.user()
    emoji = ask.word("emoji")
    users = message.reactions.setdefault(emoji, [])
    if ask.flag("remove"):
        if user.id in users:
            users.remove(user.id)
            ask.core.announcer.reaction(channel, message, user, emoji, "REMOVE")
    elif user.id not in users:
        users.append(user.id)
        ask.core.announcer.reaction(channel, message, user, emoji, "ADD")
    if not users:
        del message.reactions[emoji]
    return message_view(ask.core.world, message)


def type_(ask: Ask) -> Json:
    """Let a user begin to type."""
    user = ask.user()
    ask.core.announcer.typing(ask.place(user), user)
    return {}
