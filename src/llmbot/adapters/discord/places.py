"""Light maps of servers, channels and threads: what routing a message needs, nothing more.

discord.py's own caches hold every member, emoji and channel object; these hold a few numbers for
each channel. What is not known is answered in the bot's favour: Discord itself has the last word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llmbot.conversation.ports import KnownChannel

Payload = dict[str, Any]

THREAD_TYPES = frozenset({10, 11, 12})
_TALK_CHANNEL_TYPES = frozenset({0, 1, 2, 3, 5, 10, 11, 12, 13})
"""Where messages stand; categories, forums and media channels hold none of their own."""
_CHANNELS_MAX = 200_000
_DIRECTS_MAX = 5_000
_OURS_MAX = 20_000

_ADMINISTRATOR = 1 << 3
_VIEW_CHANNEL = 1 << 10
_SEND_MESSAGES = 1 << 11
_READ_HISTORY = 1 << 16
_SEND_IN_THREADS = 1 << 38
_EVERYTHING = (1 << 53) - 1
_ROLE = 0


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What a channel gives to or takes from a role (type 0) or a member (type 1)."""

    id: int
    type: int
    allow: int
    deny: int


@dataclass(slots=True)
class ChannelPlace:
    """A channel or thread of a server."""

    id: int
    guild_id: int
    type: int = 0
    parent_id: int | None = None
    owner_id: int | None = None
    joined: bool = False
    last_message_id: int | None = None
    overwrites: tuple[Overwrite, ...] | None = None  # None: not told


@dataclass(slots=True)
class GuildPlace:
    """A server: what of it bears on permissions and language."""

    id: int
    owner_id: int | None = None
    locale: str = ""
    roles: dict[int, int] = field(default_factory=dict)  # role -> permissions
    own_role: int | None = None  # the managed role that came with the bot
    our_roles: frozenset[int] | None = None  # None: not told
    channels: set[int] = field(default_factory=set)


class Places:
    """Every server, channel and thread that the gateway told of."""

    def __init__(self) -> None:
        self.guilds: dict[int, GuildPlace] = {}
        self._channels: dict[int, ChannelPlace] = {}
        self._directs: OrderedDict[int, int | None] = OrderedDict()
        self._spoken: OrderedDict[int, None] = OrderedDict()

    # what is asked ---------------------------------------------------------------------------

    def is_thread(self, channel_id: int) -> bool:
        """Whether this is known to be a thread."""
        channel = self._channels.get(channel_id)
        return channel is not None and channel.type in THREAD_TYPES

    def has_channel(self, channel_id: int) -> bool:
        """Whether this channel or thread of a server has been told of."""
        return channel_id in self._channels

    def guild_of(self, channel_id: int) -> int | None:
        """The server that this channel is known to belong to."""
        channel = self._channels.get(channel_id)
        return channel.guild_id if channel is not None else None

    def parent_of(self, channel_id: int) -> int | None:
        """The channel that a thread is known to belong to."""
        channel = self._channels.get(channel_id)
        return channel.parent_id if channel is not None else None

    def is_our_thread(self, channel_id: int, our_id: int) -> bool:
        """Whether the bot started this thread, is a member of it, or has spoken there."""
        if channel_id in self._spoken:
            return True
        channel = self._channels.get(channel_id)
        return channel is not None and (
            channel.joined or (channel.owner_id is not None and channel.owner_id == our_id)
        )

    def doubtful_threads(self, our_id: int, count: int) -> list[int]:
        """The newest threads of which nothing says whether the bot takes part in them.

        None where the server tells memberships: there a thread without ours is not ours.
        """
        threads = [c for c in self._channels.values() if c.type in THREAD_TYPES]
        if any(thread.joined for thread in threads):
            return []
        doubtful = [
            (thread.last_message_id, thread.id)
            for thread in threads
            if thread.last_message_id and not self.is_our_thread(thread.id, our_id)
        ]
        return [thread_id for _, thread_id in sorted(doubtful, reverse=True)[:count]]

    def own_role(self, guild_id: int | None) -> int | None:
        """The role that Discord made for the bot; mentioning it means the bot."""
        guild = self.guilds.get(guild_id) if guild_id is not None else None
        return guild.own_role if guild is not None else None

    def locale(self, guild_id: int | None) -> str:
        """The server's preferred language; empty where unknown."""
        guild = self.guilds.get(guild_id) if guild_id is not None else None
        return guild.locale if guild is not None else ""

    def may_speak(self, guild_id: int, channel_id: int, our_id: int) -> bool:
        """False only where everything is known and says no."""
        channel = self._channels.get(channel_id)
        permissions = self._permissions(guild_id, channel, our_id)
        if permissions is None or channel is None:
            return True
        needed = _SEND_IN_THREADS if channel.type in THREAD_TYPES else _SEND_MESSAGES
        return permissions & (_VIEW_CHANNEL | needed) == _VIEW_CHANNEL | needed

    def known_channels(self, our_id: int) -> list[KnownChannel]:
        """Everything that messages can stand in."""
        found = [
            KnownChannel(
                channel.id,
                channel.guild_id,
                channel.last_message_id,
                self._may_read(channel, our_id),
                channel.type in THREAD_TYPES and self.is_our_thread(channel.id, our_id),
                self.own_role(channel.guild_id),
            )
            for channel in self._channels.values()
            if channel.type in _TALK_CHANNEL_TYPES
        ]
        found += [KnownChannel(each, None, last) for each, last in self._directs.items()]
        return found

    def _may_read(self, channel: ChannelPlace, our_id: int) -> bool:
        permissions = self._permissions(channel.guild_id, channel, our_id)
        needed = _VIEW_CHANNEL | _READ_HISTORY
        return permissions is None or permissions & needed == needed

    def _permissions(self, guild_id: int, channel: ChannelPlace | None, our_id: int) -> int | None:
        """Ours, by Discord's rules ("Permission Overwrites"); None where not all is known."""
        guild = self.guilds.get(guild_id)
        if guild is None or channel is None or guild.our_roles is None:
            return None
        if channel.type in THREAD_TYPES:
            parent = self._channels.get(channel.parent_id or 0)
            if parent is None:
                return None
            channel = parent
        held = {guild.id, *guild.our_roles}
        if channel.overwrites is None or not held <= guild.roles.keys():
            return None
        if not any(guild.roles.values()):
            # Roles that grant nobody anything are a lesser server's placeholders, not a ban.
            return None
        if guild.owner_id == our_id:
            return _EVERYTHING
        granted = 0
        for role in held:
            granted |= guild.roles[role]
        if granted & _ADMINISTRATOR:
            return _EVERYTHING
        return _overwritten(granted, channel.overwrites, guild.id, held, our_id)

    # what is told ----------------------------------------------------------------------------

    def learn_guild(self, data: Payload, our_id: int) -> None:
        """GUILD_CREATE, or the same put together from REST."""
        guild = GuildPlace(id=int(data["id"]))
        self._forget_channels(self.guilds.get(guild.id))
        self.guilds[guild.id] = guild
        self.update_guild(data, our_id)
        for member in _objects(data.get("members")):
            if _id((member.get("user") or {}).get("id")) == our_id:
                self.learn_own_member(guild.id, member, our_id)
        for each in _objects(data.get("channels")):
            self.learn_channel(each, guild_id=guild.id)
        for each in _objects(data.get("threads")):
            self.learn_channel(each, guild_id=guild.id)

    def update_guild(self, data: Payload, our_id: int) -> None:
        """GUILD_UPDATE: owner, language, roles."""
        guild = self._guild(int(data["id"]))
        guild.owner_id = _id(data.get("owner_id")) or guild.owner_id
        guild.locale = str(data.get("preferred_locale") or guild.locale)
        if isinstance(data.get("roles"), list):
            guild.roles, guild.own_role = {}, None
            for role in _objects(data["roles"]):
                self.learn_role(guild.id, role, our_id)

    def learn_role(self, guild_id: int, role: Payload, our_id: int) -> None:
        """GUILD_ROLE_CREATE and GUILD_ROLE_UPDATE."""
        guild = self._guild(guild_id)
        role_id = int(role["id"])
        guild.roles[role_id] = int(role.get("permissions") or 0)
        tags = role.get("tags")
        if isinstance(tags, dict) and _id(tags.get("bot_id")) == our_id:
            guild.own_role = role_id

    def forget_role(self, guild_id: int, role_id: int) -> None:
        """GUILD_ROLE_DELETE."""
        guild = self._guild(guild_id)
        guild.roles.pop(role_id, None)
        if guild.our_roles is not None:
            guild.our_roles -= {role_id}

    def learn_own_member(self, guild_id: int, member: Payload, our_id: int) -> None:
        """GUILD_MEMBER_UPDATE or the member list: which roles we hold."""
        user_id = _id((member.get("user") or {}).get("id"))
        if user_id in (None, our_id) and isinstance(member.get("roles"), list):
            self._guild(guild_id).our_roles = frozenset(int(role) for role in member["roles"])

    def forget_guild(self, guild_id: int) -> None:
        """GUILD_DELETE: the bot was removed, or the server is away for a while."""
        self._forget_channels(self.guilds.pop(guild_id, None))

    def keep_only(self, guild_ids: set[int]) -> None:
        """READY: the bot is in these servers and in no other."""
        for guild_id in self.guilds.keys() - guild_ids:
            self.forget_guild(guild_id)

    def learn_channel(self, data: Payload, *, guild_id: int | None = None) -> None:
        """CHANNEL_CREATE, CHANNEL_UPDATE, THREAD_CREATE, THREAD_UPDATE."""
        channel_id = int(data["id"])
        guild_id = _id(data.get("guild_id")) or guild_id
        last = _id(data.get("last_message_id"))
        if guild_id is None:
            self._learn_direct(channel_id, last)
            return
        channel = self._channels.get(channel_id)
        if channel is None:
            if len(self._channels) >= _CHANNELS_MAX:
                return
            channel = self._channels[channel_id] = ChannelPlace(channel_id, guild_id)
        self._guild(guild_id).channels.add(channel_id)
        channel.type = int(data.get("type") or 0)
        channel.parent_id = _id(data.get("parent_id"))
        channel.owner_id = _id(data.get("owner_id")) or channel.owner_id
        # A thread's `member` is our own membership; it is absent where we are none, but an update
        # leaves it out too.
        channel.joined = channel.joined or isinstance(data.get("member"), dict)
        channel.last_message_id = max(last or 0, channel.last_message_id or 0) or None
        if isinstance(data.get("permission_overwrites"), list):
            channel.overwrites = tuple(map(_overwrite, _objects(data["permission_overwrites"])))

    def set_joined(self, thread_id: int, *, joined: bool) -> None:
        """THREAD_MEMBER_UPDATE, THREAD_MEMBERS_UPDATE: our own membership."""
        channel = self._channels.get(thread_id)
        if channel is not None:
            channel.joined = joined

    def forget_channel(self, channel_id: int) -> None:
        """CHANNEL_DELETE, THREAD_DELETE."""
        channel = self._channels.pop(channel_id, None)
        self._directs.pop(channel_id, None)
        if channel is not None and channel.guild_id in self.guilds:
            self.guilds[channel.guild_id].channels.discard(channel_id)

    def note_message(self, channel_id: int, message_id: int, *, direct: bool, ours: bool) -> None:
        """A message came: remember the newest, and where we spoke."""
        channel = self._channels.get(channel_id)
        if channel is not None:
            channel.last_message_id = max(message_id, channel.last_message_id or 0)
        elif direct:
            self._learn_direct(channel_id, message_id)
        if ours:
            self.note_spoken(channel_id)

    def note_spoken(self, channel_id: int) -> None:
        """The bot has spoken here; a thread is ours by that."""
        self._spoken[channel_id] = None
        self._spoken.move_to_end(channel_id)
        if len(self._spoken) > _OURS_MAX:
            self._spoken.popitem(last=False)

    def _learn_direct(self, channel_id: int, last: int | None) -> None:
        self._directs[channel_id] = max(last or 0, self._directs.get(channel_id) or 0) or None
        self._directs.move_to_end(channel_id)
        if len(self._directs) > _DIRECTS_MAX:
            self._directs.popitem(last=False)

    def _guild(self, guild_id: int) -> GuildPlace:
        guild = self.guilds.get(guild_id)
        if guild is None:
            guild = self.guilds[guild_id] = GuildPlace(guild_id)
        return guild

    def _forget_channels(self, guild: GuildPlace | None) -> None:
        for channel_id in guild.channels if guild is not None else ():
            self._channels.pop(channel_id, None)


def _overwritten(
    granted: int, overwrites: tuple[Overwrite, ...], everyone: int, held: set[int], our_id: int
) -> int:
    """Everyone's overwrite first, then those of our roles together, then our own."""
    for each in overwrites:
        if each.type == _ROLE and each.id == everyone:
            granted = granted & ~each.deny | each.allow
    deny = allow = 0
    for each in overwrites:
        if each.type == _ROLE and each.id in held and each.id != everyone:
            deny |= each.deny
            allow |= each.allow
    granted = granted & ~deny | allow
    for each in overwrites:
        if each.type != _ROLE and each.id == our_id:
            granted = granted & ~each.deny | each.allow
    return granted


def _overwrite(data: Payload) -> Overwrite:
    kind = data.get("type", _ROLE)
    return Overwrite(
        id=int(data["id"]),
        # Old servers say "role" and "member".
        type=_ROLE if kind in (_ROLE, "0", "role") else 1,
        allow=int(data.get("allow") or 0),
        deny=int(data.get("deny") or 0),
    )


def _objects(values: object) -> Iterable[Payload]:
    return (v for v in values if isinstance(v, dict)) if isinstance(values, list) else ()


def _id(value: object) -> int | None:
    return int(value) if isinstance(value, (str, int)) and value not in ("", 0) else None
