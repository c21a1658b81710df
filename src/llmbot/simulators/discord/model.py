"""What the simulated world is made of: users, servers, channels, messages."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Any

TEXT = 0
DIRECT = 1
PUBLIC_THREAD = 11
PRIVATE_THREAD = 12

MESSAGE_DEFAULT = 0
MESSAGE_REPLY = 19
MESSAGE_COMMAND = 20

FLAG_EPHEMERAL = 1 << 6
FLAG_LOADING = 1 << 7


@dataclass(slots=True)
class User:
    """Anyone who can write: a person, our bot, another bot."""

    id: int
    name: str
    bot: bool = False
    accepts_dms: bool = True
    card: dict[str, Any] = field(default_factory=dict)  # its JSON, made once


@dataclass(slots=True)
class Role:
    """A role of a server; the one with the server's own id is everyone's."""

    id: int
    name: str
    permissions: int
    position: int = 0
    managed_by: int | None = None  # the bot whose own role this is


@dataclass(slots=True)
class Member:
    """A user's place in a server."""

    user: User
    joined_ms: int
    nick: str | None = None
    roles: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Overwrite:
    """What a channel adds to or takes from a role (type 0) or a member (type 1)."""

    id: int
    type: int
    allow: int = 0
    deny: int = 0


@dataclass(slots=True)
class Attachment:
    """A file on a message; its bytes are in the file store."""

    id: int
    filename: str
    size: int
    content_type: str
    description: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Mentions:
    """Who a message really pings, after `allowed_mentions` and permissions."""

    users: tuple[User, ...] = ()
    roles: tuple[int, ...] = ()
    everyone: bool = False
    replied_user: bool = False

    @property
    def count(self) -> int:
        """How many mentions were expanded."""
        return len(self.users) + len(self.roles) + int(self.everyone)

    def joined(self, other: Mentions) -> Mentions:
        """Return what either of the two expands."""
        return Mentions(
            tuple({user.id: user for user in self.users + other.users}.values()),
            tuple(dict.fromkeys(self.roles + other.roles)),
            self.everyone or other.everyone,
            self.replied_user or other.replied_user,
        )


NOBODY = Mentions()


@dataclass(frozen=True, slots=True)
class Version:
    """What a message said from a moment on."""

    at_ms: int
    content: str


@dataclass(slots=True)
class Message:
    """A message with its whole history."""

    id: int
    channel_id: int
    author: User
    content: str
    created_ms: int
    type: int = MESSAGE_DEFAULT
    edited_ms: int | None = None
    deleted_ms: int | None = None
    nonce: str | int | None = None
    reference: tuple[int, int] | None = None  # channel, message
    attachments: list[Attachment] = field(default_factory=list)
    embeds: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    mentions: Mentions = NOBODY  # of what it says now
    expanded: Mentions = NOBODY  # of all it ever said
    reactions: dict[str, list[int]] = field(default_factory=dict)
    flags: int = 0
    tts: bool = False
    pinned: bool = False
    interaction: dict[str, Any] | None = None  # id, type, name, user: what it answers
    edits: int = 0
    old_edits: int = 0  # in the present window, made when the message was old
    old_edits_until: float = 0.0  # end of that window (monotonic)
    versions: list[Version] = field(default_factory=list)

    @property
    def ephemeral(self) -> bool:
        """Whether only the user of the interaction sees it."""
        return bool(self.flags & FLAG_EPHEMERAL)


@dataclass(slots=True)
class Channel:
    """A text channel, a thread or a direct channel, with its messages in order."""

    id: int
    type: int
    name: str
    guild_id: int | None = None
    parent_id: int | None = None
    position: int = 0
    topic: str | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    recipient: User | None = None
    last_message_id: int | None = None
    messages: dict[int, Message] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)  # ids of the messages, oldest first
    owner_id: int | None = None
    thread_members: dict[int, int] = field(default_factory=dict)  # user -> joined (ms)
    archived: bool = False
    locked: bool = False
    auto_archive_min: int = 1440
    messages_sent: int = 0
    typing: dict[int, float] = field(default_factory=dict)  # user -> until (monotonic)

    @property
    def is_thread(self) -> bool:
        """Whether it hangs on another channel."""
        return self.type in (PUBLIC_THREAD, PRIVATE_THREAD)

    @property
    def is_private_thread(self) -> bool:
        """Whether only its members see it."""
        return self.type == PRIVATE_THREAD

    def add(self, message: Message) -> None:
        """Append a message; its id is the greatest so far."""
        self.messages[message.id] = message
        self.order.append(message.id)
        self.last_message_id = message.id
        self.messages_sent += 1

    def forget(self, message_id: int) -> None:
        """Drop a message and its history altogether."""
        if self.messages.pop(message_id, None) is not None:
            index = bisect_left(self.order, message_id)
            del self.order[index]

    def page(
        self, limit: int, *, before: int | None = None, after: int | None = None
    ) -> list[Message]:
        """Return up to `limit` messages, newest first, next to `before` or `after` (exclusive)."""
        found: list[Message] = []
        if after is not None:
            index = bisect_right(self.order, after)
            while index < len(self.order) and len(found) < limit:
                self._collect(found, index)
                index += 1
            found.reverse()
            return found
        index = len(self.order) if before is None else bisect_left(self.order, before)
        while index > 0 and len(found) < limit:
            index -= 1
            self._collect(found, index)
        return found

    def _collect(self, found: list[Message], index: int) -> None:
        message = self.messages[self.order[index]]
        if message.deleted_ms is None and not message.ephemeral:
            found.append(message)


@dataclass(slots=True)
class Guild:
    """A server."""

    id: int
    name: str
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)  # threads too
