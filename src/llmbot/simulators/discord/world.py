"""The simulated world: who and what exists, found by id or by name; `announce` tells others.

Everything has a bound from `DiscordSettings`; old messages are forgotten, new users refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from llmbot.simulators.discord import model, permissions
from llmbot.simulators.discord.model import (
    Attachment,
    Channel,
    Guild,
    Member,
    Mentions,
    Message,
    Overwrite,
    Role,
    User,
    Version,
)
from llmbot.simulators.discord.settings import DiscordSettings
from llmbot.simulators.discord.snowflake import Snowflakes, milliseconds_of

_FIRST_CHANNELS = ("general", "random")
_FIRST_PEOPLE = ("alice", "bob", "carol")
_OTHER_BOT = "weather-bot"


class WorldFullError(ValueError):
    """The simulated world holds as much as its settings allow; start it anew or raise the limit."""


class World:
    """Servers, channels, threads, direct channels, members and messages."""

    def __init__(self, settings: DiscordSettings, new_id: Callable[[], int] | None = None) -> None:
        """Begin with the bot, a few people and the servers that the settings name."""
        self._settings = settings
        self.new_id = new_id or Snowflakes().new
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self._users_by_name: dict[str, User] = {}
        self._channels_by_name: dict[tuple[int, int | None, str], Channel] = {}
        self._direct: dict[int, Channel] = {}
        self._place_of: OrderedDict[int, int] = OrderedDict()  # message -> channel, oldest first
        self._with_history: OrderedDict[int, None] = OrderedDict()  # have former versions
        self._version_characters = 0
        self.bot = self.add_user(settings.bot_name, bot=True, user_id=settings.bot_id)
        people = [self.add_user(name) for name in _FIRST_PEOPLE]
        another = self.add_user(_OTHER_BOT, bot=True)
        for name in settings.guild_names:
            guild = self.add_guild(name, people[0])
            for member in (*people, another):
                self.add_member(guild, member)
            for channel in _FIRST_CHANNELS:
                self.add_channel(guild, channel)

    @property
    def application_id(self) -> int:
        """The application of the bot; as with all newer bots it is the bot's own id."""
        return self.bot.id

    # users -----------------------------------------------------------------------------------

    def add_user(self, name: str, *, bot: bool = False, user_id: int | None = None) -> User:
        """Create a user; the name must be new.

        Raises:
            WorldFullError: too many users.
            ValueError: the name is taken, empty or too long.
        """
        key = _user_key(name)
        if key in self._users_by_name:
            raise ValueError(f"there is a user named {name!r} already")
        if len(self.users) >= self._settings.users_max:
            raise WorldFullError("too many users")
        user = User(user_id or self.new_id(), name, bot)
        self.users[user.id] = user
        self._users_by_name[key] = user
        return user

    def user_named(self, name: str) -> User | None:
        """Find a user by name, whatever the case of its letters."""
        return self._users_by_name.get(name.strip().lower())

    def user_here(self, name: str, *, bot: bool = False) -> User:
        """Find a user by name, or create it."""
        return self.user_named(name) or self.add_user(name, bot=bot)

    # servers ---------------------------------------------------------------------------------

    def add_guild(self, name: str, owner: User) -> Guild:
        """Create a server with its owner, the bot, the bot's own role and everyone's."""
        if len(self.guilds) >= self._settings.guilds_max:
            raise WorldFullError("too many servers")
        guild = Guild(self.new_id(), name, owner.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", permissions.EVERYONE)
        self.guilds[guild.id] = guild
        self.add_member(guild, owner)
        bot = self.add_member(guild, self.bot)
        own = self.add_role(guild, self.bot.name, 0, managed_by=self.bot.id)
        bot.roles.append(own.id)
        return guild

    def guild_named(self, name: str | None) -> Guild | None:
        """Find a server by name or id; the first one where no name is given."""
        if name is None:
            return next(iter(self.guilds.values()), None)
        found = self.guilds.get(int(name)) if name.isdecimal() else None
        return found or next((g for g in self.guilds.values() if g.name == name), None)

    def remove_guild(self, guild: Guild) -> None:
        """Forget a server with all that is in it."""
        del self.guilds[guild.id]
        for channel in guild.channels.values():
            self._empty(channel)
            key = (guild.id, channel.parent_id, channel.name)
            self._channels_by_name.pop(key, None)

    def add_member(self, guild: Guild, user: User) -> Member:
        """Let a user join; nothing changes for one who is there already."""
        member = guild.members.get(user.id)
        if member is None:
            member = Member(user, milliseconds_of(self.new_id()))
            guild.members[user.id] = member
        return member

    def add_role(
        self, guild: Guild, name: str, allowed: int, *, managed_by: int | None = None
    ) -> Role:
        """Create a role."""
        role = Role(self.new_id(), name, allowed, len(guild.roles), managed_by)
        guild.roles[role.id] = role
        return role

    # channels --------------------------------------------------------------------------------

    def add_channel(self, guild: Guild, name: str, *, topic: str | None = None) -> Channel:
        """Create a text channel."""
        channel = Channel(
            self._new_channel_id(),
            model.TEXT,
            name.lstrip("#"),
            guild.id,
            position=len(guild.channels),
            topic=topic,
        )
        guild.channels[channel.id] = channel
        self.channels[channel.id] = channel
        self._channels_by_name[guild.id, None, channel.name] = channel
        return channel

    def add_thread(
        self,
        parent: Channel,
        name: str,
        owner: User,
        *,
        private: bool = False,
        thread_id: int | None = None,
    ) -> Channel:
        """Create a thread below a text channel; its owner is its first member."""
        if parent.guild_id is None:
            raise ValueError("a direct channel has no threads")
        kind = model.PRIVATE_THREAD if private else model.PUBLIC_THREAD
        new_id = self._new_channel_id()
        thread = Channel(thread_id or new_id, kind, name, parent.guild_id, parent.id)
        thread.owner_id = owner.id
        thread.thread_members[owner.id] = milliseconds_of(new_id)
        self.guilds[parent.guild_id].channels[thread.id] = thread
        self.channels[thread.id] = thread
        self._channels_by_name[parent.guild_id, parent.id, name] = thread
        return thread

    def direct_channel(self, user: User) -> Channel:
        """Return the direct channel between a user and the bot; it is made when first asked for."""
        channel = self._direct.get(user.id)
        if channel is None:
            channel = Channel(self._new_channel_id(), model.DIRECT, f"@{user.name}")
            channel.recipient = user
            self._direct[user.id] = channel
            self.channels[channel.id] = channel
        return channel

    def channel_named(
        self, guild: Guild, name: str, parent: Channel | None = None
    ) -> Channel | None:
        """Find a channel of a server (or a thread of `parent`) by name or id."""
        if name.isdecimal() and (found := guild.channels.get(int(name))) is not None:
            return found
        parent_id = None if parent is None else parent.id
        return self._channels_by_name.get((guild.id, parent_id, name.lstrip("#")))

    def remove_channel(self, channel: Channel) -> list[Channel]:
        """Delete a channel with its threads and messages; returns all channels that went."""
        gone = [channel]
        if channel.guild_id is None:
            if channel.recipient is not None:
                self._direct.pop(channel.recipient.id, None)
        else:
            guild = self.guilds[channel.guild_id]
            gone += [c for c in guild.channels.values() if c.parent_id == channel.id]
            for each in gone:
                guild.channels.pop(each.id, None)
                self._channels_by_name.pop((guild.id, each.parent_id, each.name), None)
        for each in gone:
            self._empty(each)
        return gone

    def _empty(self, channel: Channel) -> None:
        for message_id in list(channel.order):
            self._forget(message_id)
        self.channels.pop(channel.id, None)

    def rename_channel(self, channel: Channel, name: str) -> None:
        """Give a channel of a server another name."""
        if channel.guild_id is not None:
            self._channels_by_name.pop((channel.guild_id, channel.parent_id, channel.name), None)
            self._channels_by_name[channel.guild_id, channel.parent_id, name] = channel
        channel.name = name

    def guild_of(self, channel: Channel) -> Guild | None:
        """Return the server of a channel; None for a direct one."""
        return None if channel.guild_id is None else self.guilds[channel.guild_id]

    def allowed(self, channel: Channel, user_id: int | None = None) -> int:
        """Return the permission bits of a user (the bot, where none is named) in a channel."""
        who = self.bot.id if user_id is None else user_id
        guild = self.guild_of(channel)
        if guild is not None:
            return permissions.in_channel(guild, channel, who)
        taking_part = channel.recipient is not None and who in (channel.recipient.id, self.bot.id)
        return permissions.DIRECT if taking_part else 0

    def guild_allowed(self, guild: Guild, user_id: int | None = None) -> int:
        """Return what the roles of a user (the bot, where none is named) allow in a server."""
        return permissions.in_guild(guild, self.bot.id if user_id is None else user_id)

    def overwrite(self, channel: Channel, overwrite: Overwrite) -> None:
        """Set what a channel allows or denies to a role or a member."""
        channel.overwrites[overwrite.id] = overwrite

    # messages --------------------------------------------------------------------------------

    def add_message(
        self,
        channel: Channel,
        author: User,
        content: str,
        *,
        mentions: Mentions | None = None,
        attachments: list[Attachment] | None = None,
        reference: tuple[int, int] | None = None,
        nonce: str | int | None = None,
    ) -> Message:
        """Write a message into a channel; the oldest of the channel or of all may be forgotten."""
        message_id = self.new_id()
        created_ms = milliseconds_of(message_id)
        message = Message(message_id, channel.id, author, content, created_ms)
        message.mentions = message.expanded = mentions or Mentions()
        message.attachments = attachments or []
        message.reference = reference
        message.nonce = nonce
        if reference is not None:
            message.type = model.MESSAGE_REPLY
        self._remember_version(message, created_ms)
        channel.add(message)
        channel.typing.pop(author.id, None)
        self._place_of[message_id] = channel.id
        if len(channel.order) > self._settings.messages_per_channel_max:
            self._forget(channel.order[0])
        while len(self._place_of) > self._settings.messages_max:
            self._forget(next(iter(self._place_of)))
        return message

    def edit_message(self, message: Message, content: str, mentions: Mentions) -> None:
        """Change what a message says; the former words stay in its history."""
        message.content = content
        if mentions is not message.mentions:
            message.mentions = mentions
            message.expanded = message.expanded.joined(mentions)
        message.edits += 1
        message.edited_ms = milliseconds_of(self.new_id())
        self._remember_version(message, message.edited_ms)

    def delete_message(self, message: Message) -> None:
        """Delete a message for everyone; the control API can still read it."""
        message.deleted_ms = milliseconds_of(self.new_id())

    def message(self, channel: Channel, message_id: int) -> Message | None:
        """Find a message that is not deleted."""
        message = channel.messages.get(message_id)
        return None if message is None or message.deleted_ms is not None else message

    def find_message(self, message_id: int) -> tuple[Channel, Message] | None:
        """Find a message anywhere, deleted or not, with its channel."""
        channel = self.channels.get(self._place_of.get(message_id, 0))
        message = None if channel is None else channel.messages.get(message_id)
        return None if channel is None or message is None else (channel, message)

    def _forget(self, message_id: int) -> None:
        channel = self.channels.get(self._place_of.pop(message_id, 0))
        if channel is not None:
            self._drop_versions(channel.messages[message_id], keep=0)
            channel.forget(message_id)

    def _remember_version(self, message: Message, at_ms: int) -> None:
        most = self._settings.versions_characters_max
        message.versions.append(Version(at_ms, message.content))
        self._version_characters += len(message.content)
        if len(message.versions) > 1:
            self._with_history[message.id] = None
        self._drop_versions(message, keep=self._settings.versions_per_message_max)
        while self._with_history and self._version_characters > most:
            message_id, _ = self._with_history.popitem(last=False)
            found = self.find_message(message_id)
            if found is not None:
                self._drop_versions(found[1], keep=1)

    def _drop_versions(self, message: Message, *, keep: int) -> None:
        surplus = len(message.versions) - keep
        if surplus > 0:
            self._version_characters -= sum(len(v.content) for v in message.versions[:surplus])
            del message.versions[:surplus]
        if keep <= 1:
            self._with_history.pop(message.id, None)

    def _new_channel_id(self) -> int:
        if len(self.channels) >= self._settings.channels_max:
            raise WorldFullError("too many channels")
        return self.new_id()


def _user_key(name: str) -> str:
    key = name.strip().lower()
    if not 1 <= len(key) <= _NAME_LENGTH_MAX:
        raise ValueError(f"a user's name has 1 to {_NAME_LENGTH_MAX} characters")
    return key


_NAME_LENGTH_MAX = 32
