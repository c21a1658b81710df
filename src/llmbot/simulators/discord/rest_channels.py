"""Channels and threads over REST."""

from __future__ import annotations

from typing import Any

from llmbot.simulators.discord import payloads, shapes
from llmbot.simulators.discord.access import channel_of, guild_of, message_of
from llmbot.simulators.discord.errors import ApiError, unknown
from llmbot.simulators.discord.model import PRIVATE_THREAD, Channel, Overwrite
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.rest import Answer, Call, Route
from llmbot.simulators.discord.snowflake import milliseconds_of
from llmbot.simulators.discord.validation import (
    boolean,
    choice,
    integer,
    require,
    shape,
    snowflake,
    text,
)

Json = dict[str, Any]

_CREATED = 201
_TEXT_CHANNEL = 0
_CHANNEL_EDIT = shape(
    {
        "name": text(longest=100, shortest=1),
        "topic": text(longest=1024),
        "archived": boolean(),
        "locked": boolean(),
        "auto_archive_duration": choice((60, 1440, 4320, 10080)),
    }
)
_CHANNEL_CREATE = shape(
    {
        "name": text(longest=100, shortest=1),
        "type": choice((_TEXT_CHANNEL,)),
        "topic": text(longest=1024),
    },
    required=("name",),
)
_OVERWRITE = shape(
    {"type": choice((0, 1)), "allow": integer(0), "deny": integer(0)}, required=("type",)
)
_DM_CREATE = shape({"recipient_id": snowflake()}, required=("recipient_id",))


def _show(call: Call, channel: Channel) -> Json:
    return payloads.channel_object(channel, call.core.world.bot)


def _read(call: Call) -> Json:
    return _show(call, channel_of(call))


def _edit(call: Call) -> Json:
    channel = channel_of(call)
    core = call.core
    require(_CHANNEL_EDIT, call.body)
    allowed = core.world.allowed(channel)
    own = channel.is_thread and channel.owner_id == core.world.bot.id
    needed = Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS
    if channel.guild_id is None or not (own or allowed & needed):
        raise ApiError(403, 50013, "Missing Permissions")
    if call.body.get("name") is not None:
        core.world.rename_channel(channel, call.body["name"])
    if "topic" in call.body:
        channel.topic = call.body["topic"]
    channel.archived = bool(call.body.get("archived", channel.archived))
    channel.locked = bool(call.body.get("locked", channel.locked))
    channel.auto_archive_min = call.body.get("auto_archive_duration") or channel.auto_archive_min
    core.announcer.channel("UPDATE", channel)
    return _show(call, channel)


def _delete(call: Call) -> Json:
    channel = channel_of(call)
    core = call.core
    body = _show(call, channel)
    if channel.guild_id is None:
        return body  # closing a direct channel: nothing goes, it can be opened again
    needed = Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS
    if not core.world.allowed(channel) & needed:
        raise ApiError(403, 50013, "Missing Permissions")
    for gone in core.world.remove_channel(channel):
        core.announcer.channel("DELETE", gone)
    return body


def _guild_channels(call: Call) -> list[Json]:
    guild = guild_of(call)
    return [_show(call, each) for each in guild.channels.values() if not each.is_thread]


def _create(call: Call) -> Json:
    guild = guild_of(call)
    core = call.core
    from_roles = core.world.guild_allowed(guild)
    if not from_roles & Permission.MANAGE_CHANNELS:
        raise ApiError(403, 50013, "Missing Permissions")
    require(_CHANNEL_CREATE, call.body)
    name = call.body["name"].lower().replace(" ", "-")
    channel = core.world.add_channel(guild, name, topic=call.body.get("topic"))
    core.announcer.channel("CREATE", channel)
    return _show(call, channel)


def _overwrite(call: Call) -> None:
    channel = channel_of(call, Permission.MANAGE_ROLES)
    require(_OVERWRITE, call.body)
    overwrite = Overwrite(
        call.id("overwrite_id"),
        int(call.body["type"]),
        int(call.body.get("allow") or 0),
        int(call.body.get("deny") or 0),
    )
    call.core.world.overwrite(channel, overwrite)
    call.core.announcer.channel("UPDATE", channel)


def _open_direct(call: Call) -> Json:
    require(_DM_CREATE, call.body)
    core = call.core
    user = core.world.users.get(int(call.body["recipient_id"]))
    if user is None:
        raise unknown("User")
    if user.bot:
        raise ApiError(400, 50007, "Cannot send messages to this user")
    return _show(call, core.world.direct_channel(user))


# threads -------------------------------------------------------------------------------------


def _thread_from_message(call: Call) -> Answer:
    channel = channel_of(call, Permission.CREATE_PUBLIC_THREADS)
    message = message_of(call, channel)
    require(shapes.THREAD, call.body)
    core = call.core
    if message.id in core.world.channels:
        words = "A thread has already been created for this message"
        raise ApiError(400, 160004, words)
    return _new_thread(call, channel, private=False, thread_id=message.id)


def _thread(call: Call) -> Answer:
    channel = channel_of(call)
    require(shapes.THREAD, call.body)
    # Without a type Discord makes a private thread.
    private = call.body.get("type", PRIVATE_THREAD) == PRIVATE_THREAD
    needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
    if not call.core.world.allowed(channel) & needed:
        raise ApiError(403, 50013, "Missing Permissions")
    return _new_thread(call, channel, private=private, thread_id=None)


def _new_thread(call: Call, channel: Channel, *, private: bool, thread_id: int | None) -> Answer:
    if channel.guild_id is None or channel.is_thread:
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    core = call.core
    thread = core.world.add_thread(
        channel, call.body["name"], core.world.bot, private=private, thread_id=thread_id
    )
    thread.auto_archive_min = call.body.get("auto_archive_duration") or thread.auto_archive_min
    core.announcer.channel("CREATE", thread)
    return Answer(_CREATED, _show(call, thread))


def _active_threads(call: Call) -> Json:
    guild = guild_of(call)
    world = call.core.world
    threads = [
        each
        for each in guild.channels.values()
        if each.is_thread and not each.archived and world.allowed(each) & Permission.VIEW_CHANNEL
    ]
    mine = [each for each in threads if world.bot.id in each.thread_members]
    return {
        "threads": [_show(call, each) for each in threads],
        "members": [payloads.thread_member(each, world.bot.id) for each in mine],
    } | ({"has_more": False})


def _join(call: Call) -> None:
    thread = _a_thread(call)
    core = call.core
    thread.thread_members.setdefault(core.world.bot.id, milliseconds_of(core.world.new_id()))


def _leave(call: Call) -> None:
    _a_thread(call).thread_members.pop(call.core.world.bot.id, None)


def _members(call: Call) -> list[Json]:
    thread = _a_thread(call)
    return [payloads.thread_member(thread, user_id) for user_id in thread.thread_members]


def _a_thread(call: Call) -> Channel:
    thread = channel_of(call)
    if not thread.is_thread:
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    return thread


_CHANNEL = "/channels/{channel_id}"

ROUTES = (
    Route("GET", _CHANNEL, _read),
    Route("PATCH", _CHANNEL, _edit),
    Route("DELETE", _CHANNEL, _delete),
    Route("PUT", _CHANNEL + "/permissions/{overwrite_id}", _overwrite),
    Route("GET", "/guilds/{guild_id}/channels", _guild_channels),
    Route("POST", "/guilds/{guild_id}/channels", _create, _CREATED),
    Route("GET", "/guilds/{guild_id}/threads/active", _active_threads),
    Route("POST", "/users/@me/channels", _open_direct),
    Route("POST", _CHANNEL + "/messages/{message_id}/threads", _thread_from_message),
    Route("POST", _CHANNEL + "/threads", _thread),
    Route("PUT", _CHANNEL + "/thread-members/@me", _join),
    Route("DELETE", _CHANNEL + "/thread-members/@me", _leave),
    Route("GET", _CHANNEL + "/thread-members", _members),
)
