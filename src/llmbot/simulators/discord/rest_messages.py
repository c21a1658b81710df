"""Messages over REST: write, read, change, delete, page through history, react, type."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from llmbot.simulators.discord import payloads, shapes
from llmbot.simulators.discord.access import channel_of, message_of
from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.errors import (
    ApiError,
    invalid_form,
    leaf,
    missing_access,
    missing_permissions,
    unknown,
)
from llmbot.simulators.discord.model import FLAG_EPHEMERAL, Channel, Message
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.rest import Call, Route
from llmbot.simulators.discord.snowflake import iso
from llmbot.simulators.discord.validation import items, require, shape, snowflake
from llmbot.simulators.discord.writing import Draft, draft_of, rewrite, write

Json = dict[str, Any]

_PAGE_MAX = 100
_PAGE_DEFAULT = 50
_BULK_MIN, _BULK_MAX = 2, 100
_BULK_AGE_MAX_MS = 14 * 86_400_000
_REACTIONS_MAX = 20


def shown(call: Call, message: Message) -> Json:
    """Return a message as REST answers it."""
    content = call.core.settings.message_content_allowed
    return call.core.renderer.message(message, call.base, content=content)


def _create(call: Call) -> Json:
    channel = channel_of(call, Permission.SEND_MESSAGES)
    core = call.core
    if channel.recipient is not None and not channel.recipient.accepts_dms:
        raise ApiError(403, 50007, "Cannot send messages to this user")
    body = {} if call.body is None else call.body
    require(shapes.MESSAGE_CREATE, body)
    draft = draft_of(body, call.uploads)
    if draft.flags & FLAG_EPHEMERAL:
        draft = replace(draft, flags=draft.flags & ~FLAG_EPHEMERAL)  # for interactions only
    existing = _same_nonce(core, draft, enforce=bool(body.get("enforce_nonce")))
    if existing is not None:
        return _with_nonce(shown(call, existing), draft)
    if body.get("message_reference"):
        draft = _with_reference(core, channel, draft, body["message_reference"])
    if channel.is_thread and channel.locked:
        raise ApiError(400, 50083, "Thread is archived")
    message = write(core, channel, core.world.bot, draft)
    if draft.nonce is not None:
        core.nonces.remember(core.world.bot.id, draft.nonce, channel.id, message.id)
    core.announcer.message_created(channel, message)
    return _with_nonce(shown(call, message), draft)


def _with_nonce(body: Json, draft: Draft) -> Json:
    """Name the nonce in the answer to the creation; Discord does not keep it in history."""
    return body if draft.nonce is None else body | {"nonce": draft.nonce}


def _same_nonce(core: Core, draft: Draft, *, enforce: bool) -> Message | None:
    """Return the bot's recent message with the same nonce, if that is to be enforced."""
    if draft.nonce is None:
        return None
    seen = core.nonces.find(core.world.bot.id, draft.nonce)
    if seen is None:
        return None
    channel = core.world.channels.get(seen[0])
    message = None if channel is None else core.world.message(channel, seen[1])
    if message is None:
        return None
    if not enforce:
        core.statistics.count("nonce_reused_unenforced")
        return None
    core.statistics.count("nonce_duplicates")
    return message


def _with_reference(core: Core, channel: Channel, draft: Draft, reference: Json) -> Draft:
    """Let a draft be a reply.

    Raises:
        ApiError: 50035 if what it refers to is gone and that matters; 160002 without history.
    """
    if reference.get("type") == 1:
        raise ApiError(400, 50035, "Invalid Form Body")  # forwarding is no part of this simulator
    if not core.world.allowed(channel) & Permission.READ_MESSAGE_HISTORY:
        words = "Cannot reply without permission to read message history"
        raise ApiError(403, 160002, words)
    elsewhere = reference.get("channel_id")
    if elsewhere is not None and int(elsewhere) != channel.id:
        wrong = leaf("REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", "Cannot reply across channels")
        raise invalid_form({"message_reference": wrong})
    original = core.world.message(channel, int(reference["message_id"]))
    if original is None:
        if reference.get("fail_if_not_exists") is not False:
            wrong = leaf("REPLIES_UNKNOWN_MESSAGE", "Unknown message")
            raise invalid_form({"message_reference": wrong})
        return draft
    return replace(draft, reference=(channel.id, original.id), replied_to=original.author)


def _read(call: Call) -> Json:
    channel = channel_of(call)
    if not call.core.world.allowed(channel) & Permission.READ_MESSAGE_HISTORY:
        raise missing_access()
    return shown(call, message_of(call, channel))


def _history(call: Call) -> list[Json]:
    channel = channel_of(call)
    limit = _limit(call)
    around, before, after = (call.query_id(name) for name in ("around", "before", "after"))
    if not call.core.world.allowed(channel) & Permission.READ_MESSAGE_HISTORY:
        return []
    if around is not None:
        newer = channel.page(max(1, limit // 2), after=around)
        found = newer + channel.page(limit - len(newer), before=around + 1)
    else:
        found = channel.page(limit, before=before, after=after)
    return [shown(call, message) for message in found]


def _limit(call: Call) -> int:
    value = call.query.get("limit", str(_PAGE_DEFAULT))
    number = int(value) if value.isascii() and value.isdecimal() else None
    if number is None:
        wrong = leaf("NUMBER_TYPE_COERCE", f'Value "{value:.50}" is not int.')
        raise invalid_form({"limit": wrong})
    if not 1 <= number <= _PAGE_MAX:
        code, bound = (
            ("MIN", "greater than or equal to 1")
            if number < 1
            else (
                "MAX",
                f"less than or equal to {_PAGE_MAX}",
            )
        )
        wrong = leaf(f"NUMBER_TYPE_{code}", f"int value should be {bound}.")
        raise invalid_form({"limit": wrong})
    return number


def _edit(call: Call) -> Json:
    channel = channel_of(call)
    message = message_of(call, channel)
    core = call.core
    body = {} if call.body is None else call.body
    require(shapes.MESSAGE_EDIT, body)
    if message.author is not core.world.bot:
        # Flags of others' messages may be changed by those who manage messages; nothing else.
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    _limit_old_edits(core, message)
    rewrite(core, channel, message, body, draft_of(body, call.uploads))
    core.announcer.message_updated(channel, message)
    return shown(call, message)


def _limit_old_edits(core: Core, message: Message) -> None:
    """Refuse too many edits of a message that is older than an hour (30046, a kind of 429)."""
    settings = core.settings
    if time.time() * 1000 - message.created_ms <= settings.old_message_s * 1000:
        return
    now = time.monotonic()
    if now >= message.old_edits_until:
        message.old_edits, message.old_edits_until = 0, now + settings.old_message_window_s
    message.old_edits += 1
    if message.old_edits > settings.old_message_edits_max:
        words = "Maximum number of edits to messages older than 1 hour reached. Try again later"
        raise ApiError(429, 30046, words, retry_after_s=message.old_edits_until - now)


def _delete(call: Call) -> None:
    channel = channel_of(call)
    message = message_of(call, channel)
    core = call.core
    own = message.author is core.world.bot
    if not own and not core.world.allowed(channel) & Permission.MANAGE_MESSAGES:
        raise missing_permissions()
    if not own and channel.guild_id is None:
        raise ApiError(403, 50003, "Cannot execute action on a DM channel")
    core.world.delete_message(message)
    core.announcer.message_deleted(channel, message)


def _delete_many(call: Call) -> None:
    channel = channel_of(call, Permission.MANAGE_MESSAGES)
    require(
        shape({"messages": items(snowflake(), most=_BULK_MAX)}, required=("messages",)), call.body
    )
    ids = [int(each) for each in call.body["messages"]]
    if len(ids) < _BULK_MIN:
        words = "Provided too few or too many messages to delete."
        raise ApiError(400, 50016, words)
    found = [m for m in (call.core.world.message(channel, each) for each in ids) if m is not None]
    if any(time.time() * 1000 - m.created_ms > _BULK_AGE_MAX_MS for m in found):
        raise ApiError(400, 50034, "A message provided was too old to bulk delete")
    for message in found:
        call.core.world.delete_message(message)
        call.core.announcer.message_deleted(channel, message)


def _type(call: Call) -> None:
    channel = channel_of(call, Permission.SEND_MESSAGES)
    call.core.statistics.count("typing")
    call.core.announcer.typing(channel, call.core.world.bot)


def _react(call: Call) -> None:
    channel = channel_of(call, Permission.READ_MESSAGE_HISTORY)
    message = message_of(call, channel)
    emoji = _emoji(call)
    bot = call.core.world.bot
    if emoji not in message.reactions:
        if not call.core.world.allowed(channel) & Permission.ADD_REACTIONS:
            raise missing_permissions()
        if len(message.reactions) >= _REACTIONS_MAX:
            raise ApiError(400, 30010, "Maximum number of reactions reached (20)")
    users = message.reactions.setdefault(emoji, [])
    if bot.id not in users:
        users.append(bot.id)
        call.core.announcer.reaction(channel, message, bot, emoji, "ADD")


def _unreact(call: Call) -> None:
    channel = channel_of(call)
    message = message_of(call, channel)
    emoji = _emoji(call)
    core = call.core
    who = core.world.bot.id if "user_id" not in call.params else call.id("user_id")
    if who != core.world.bot.id and not core.world.allowed(channel) & Permission.MANAGE_MESSAGES:
        raise missing_permissions()
    users = message.reactions.get(emoji, [])
    if who not in users:
        raise (
            unknown("Message")
            if who not in core.world.users
            else ApiError(404, 10014, "Unknown Emoji")
        )
    users.remove(who)
    if not users:
        del message.reactions[emoji]
    core.announcer.reaction(channel, message, core.world.users[who], emoji, "REMOVE")


def _reacted(call: Call) -> list[Json]:
    message = message_of(call, channel_of(call))
    world = call.core.world
    users = message.reactions.get(_emoji(call), [])
    return [payloads.user_object(world.users[each]) for each in users]


def _emoji(call: Call) -> str:
    """Return the emoji of the path: a server's own as `name:id`, or a character of Unicode."""
    emoji = call.params["emoji"]
    if ":" in emoji or not emoji.isascii():
        return emoji
    raise ApiError(400, 10014, "Unknown Emoji")


def _pins(call: Call) -> Json:
    channel = channel_of(call)
    pinned = [m for m in channel.messages.values() if m.pinned and m.deleted_ms is None]
    items_ = [{"pinned_at": iso(m.created_ms), "message": shown(call, m)} for m in reversed(pinned)]
    return {"items": items_, "has_more": False}


def _pin(call: Call) -> None:
    message_of(call, channel_of(call, Permission.MANAGE_MESSAGES)).pinned = True


def _unpin(call: Call) -> None:
    message_of(call, channel_of(call, Permission.MANAGE_MESSAGES)).pinned = False


_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = _MESSAGES + "/{message_id}"
_REACTION = _MESSAGE + "/reactions/{emoji}"

ROUTES = (
    Route("POST", _MESSAGES, _create),
    Route("GET", _MESSAGES, _history),
    Route("GET", _MESSAGE, _read),
    Route("PATCH", _MESSAGE, _edit),
    Route("DELETE", _MESSAGE, _delete),
    Route("POST", _MESSAGES + "/bulk-delete", _delete_many),
    Route("POST", "/channels/{channel_id}/typing", _type),
    Route("GET", _REACTION, _reacted),
    Route("PUT", _REACTION + "/@me", _react),
    Route("DELETE", _REACTION + "/@me", _unreact),
    Route("DELETE", _REACTION + "/{user_id}", _unreact),
    Route("GET", _MESSAGES + "/pins", _pins),
    Route("PUT", _MESSAGES + "/pins/{message_id}", _pin),
    Route("DELETE", _MESSAGES + "/pins/{message_id}", _unpin),
)
