"""The simulated Discord: channels of messages, nonces that are forgotten, sessions that replay."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.ports import KnownChannel
from llmbot.kernel.clock import Random
from llmbot.kernel.errors import DiscordNotFoundError
from llmbot.kernel.ids import snowflake_at
from tests.simulation.loop import SimulatedClock, Timeline

OUR_ID = 42
APPLICATION_ID = 43
TOKEN_S = 900.0
NONCE_S = (100.0, 300.0)
"""How long a nonce is remembered: "the past few minutes", so it differs."""
SESSION_S = 180.0
"""How long a session without a connection can be resumed."""


@dataclass(slots=True, eq=False)
class Post:
    """A message as Discord keeps it."""

    id: int
    channel_id: int
    author_id: int
    content: str
    reply_to: int | None = None
    nonce: str = ""
    interaction_id: int | None = None
    deleted: bool = False
    sent_s: float = 0.0
    heard_s: dict[str, float] = field(default_factory=dict)
    """When the bot heard, or saw, what its author did to it: "edit" and "delete"."""
    contents: int = 1
    page_line: ChannelMessage | None = None
    """As history shows it, until it is edited: a page of them is made often."""

    @property
    def ours(self) -> bool:
        """Whether the bot wrote it."""
        return self.author_id == OUR_ID

    def seen(self) -> ChannelMessage:
        """As the port tells it."""
        return ChannelMessage(
            id=self.id,
            channel_id=self.channel_id,
            author_id=self.author_id,
            author_name=f"user{self.author_id}",
            content=self.content,
            author_is_bot=self.ours,
            author_is_us=self.ours,
            reply_to=self.reply_to,
            nonce=self.nonce,
            interaction_id=self.interaction_id if self.reply_to is None else None,
        )


@dataclass(slots=True)
class Channel:
    """A channel; `guild_id` is None for a direct one."""

    id: int
    guild_id: int | None
    is_thread: bool = False
    posts: list[Post] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    def known(self) -> KnownChannel:
        """As a new session tells of it."""
        last = self.ids[-1] if self.ids else None
        return KnownChannel(self.id, self.guild_id, last, in_our_thread=self.is_thread)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the gateway; `post` as it stood then."""

    kind: str
    post: Post
    content: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What travels on a connection; `sequence` is None for what is no event."""

    kind: str
    sequence: int | None = None
    event: Event | None = None
    session_id: str = ""


class Listener(Protocol):
    """The connection of a session, as the server sees it."""

    def push(self, frame: Frame) -> None:
        """Send a frame."""
        ...


@dataclass(slots=True)
class GatewaySession:
    """A session: what happened in it, and who listens."""

    id: str
    sequence: int = 0
    events: deque[tuple[int, Event | None]] = field(default_factory=lambda: deque(maxlen=5000))
    listener: Listener | None = None
    left_s: float = 0.0


class Server:
    """Discord."""

    def __init__(self, timeline: Timeline, clock: SimulatedClock, rng: Random) -> None:
        self.channels: dict[int, Channel] = {}
        self.posts: dict[int, Post] = {}
        self.sessions: dict[str, GatewaySession] = {}
        self.interactions: dict[int, Post | None] = {}
        """The original of each interaction, once it is acknowledged."""
        self.asked_in: dict[int, int] = {}
        self.garbled: set[tuple[int | None, Event]] = set()
        """Frames that were lost on their way once; their replay arrives, as over any sound line."""
        self.gateway_down = False
        self.spoken_s: dict[int, float] = {}
        """When the first call began that carried words of the answer to a message."""
        self.duplicated = 0.02
        """Share of the events that Discord tells twice."""
        self.on_post: Callable[[Post, str], None] = lambda _post, _kind: None
        self.note: Callable[[str], None] = lambda _line: None
        self._timeline = timeline
        self._clock = clock
        self._rng = rng
        self._nonces: OrderedDict[tuple[int, str], tuple[int, float]] = OrderedDict()
        self._last_id = 0
        self._sessions_made = 0

    # ── messages ────────────────────────────────────────────────────────────────────────────────

    def new_id(self) -> int:
        """A snowflake of now."""
        self._last_id = max(self._last_id + 1, snowflake_at(self._clock.wall()))
        return self._last_id

    def post(
        self,
        channel_id: int,
        author_id: int,
        content: str,
        *,
        reply_to: int | None = None,
        nonce: str = "",
        interaction_id: int | None = None,
    ) -> Post:
        """A new message; everyone hears of it."""
        post = Post(
            self.new_id(),
            channel_id,
            author_id,
            content,
            reply_to,
            nonce,
            interaction_id,
            sent_s=self._timeline.now,
        )
        channel = self.channels[channel_id]
        channel.posts.append(post)
        channel.ids.append(post.id)
        self.posts[post.id] = post
        self.on_post(post, "post")
        self.dispatch(Event("create", post, content))
        return post

    def send(self, channel_id: int, content: str, nonce: str, reply_to: int | None) -> Post:
        """The bot's message, once for each nonce while that is remembered."""
        now = self._timeline.now
        known = self._nonces.get((channel_id, nonce))
        if known is not None and known[1] > now:
            return self.posts[known[0]]
        post = self.post(channel_id, OUR_ID, content, reply_to=reply_to, nonce=nonce)
        self._nonces[channel_id, nonce] = (post.id, now + self._rng.uniform(*NONCE_S))
        return post

    def edit(self, message_id: int, content: str) -> Post:
        """Replace a text.

        Raises:
            DiscordNotFoundError: it is gone.
        """
        post = self.posts.get(message_id)
        if post is None or post.deleted:
            raise DiscordNotFoundError
        post.content, post.page_line = content, None
        post.contents += 1
        self.on_post(post, "edit")
        self.dispatch(Event("edit", post, content))
        return post

    def delete(self, message_id: int) -> None:
        """Take a message away; one that is gone already is no error."""
        post = self.posts.get(message_id)
        if post is None or post.deleted:
            return
        post.deleted = True
        channel = self.channels[post.channel_id]
        place = channel.ids.index(post.id)
        del channel.ids[place], channel.posts[place]
        self.on_post(post, "delete")
        self.dispatch(Event("delete", post, ""))

    def history(
        self, channel_id: int, before: int | None, after: int | None, limit: int
    ) -> list[ChannelMessage]:
        """A page, oldest first."""
        channel = self.channels[channel_id]
        limit = max(1, min(100, limit))
        if after is not None:
            first = bisect_right(channel.ids, after)
            found = channel.posts[first : first + limit]
        else:
            end = len(channel.ids) if before is None else bisect_right(channel.ids, before - 1)
            found = channel.posts[max(0, end - limit) : end]
        return [self._seen(post) for post in found]

    def message(self, message_id: int) -> ChannelMessage | None:
        """One message, or None where it is gone."""
        post = self.posts.get(message_id)
        return None if post is None or post.deleted else self._seen(post)

    def _seen(self, post: Post) -> ChannelMessage:
        if post.page_line is None:
            parent = self.posts.get(post.reply_to or 0)
            ours = None if parent is None else parent.ours
            post.page_line = replace(post.seen(), replies_to_us=ours)
        return post.page_line

    # ── commands ────────────────────────────────────────────────────────────────────────────────

    def ask_command(self, channel_id: int, author_id: int, text: str) -> Post:
        """A user's slash command; it stands nowhere, only its answer does."""
        post = Post(self.new_id(), channel_id, author_id, text, sent_s=self._timeline.now)
        self.interactions[post.id] = None
        self.asked_in[post.id] = channel_id
        self.dispatch(Event("command", post, text))
        return post

    def acknowledge(self, interaction_id: int) -> None:
        """Show "is thinking".

        Raises:
            DiscordNotFoundError: it came later than three seconds.
        """
        if self.interactions.get(interaction_id) is not None:
            return
        if self._age_s(interaction_id) > 3.0:
            raise DiscordNotFoundError
        self.interactions[interaction_id] = self.post(
            self.asked_in[interaction_id], OUR_ID, "", interaction_id=interaction_id
        )

    def original(self, interaction_id: int) -> Post:
        """The message that shows "is thinking".

        Raises:
            DiscordNotFoundError: there is none, or its token has ended.
        """
        post = self.interactions.get(interaction_id)
        if post is None or self._age_s(interaction_id) > TOKEN_S:
            raise DiscordNotFoundError
        return post

    def _age_s(self, snowflake: int) -> float:
        return (snowflake_at(self._clock.wall()) - snowflake) / (1000 << 22)

    # ── the gateway ─────────────────────────────────────────────────────────────────────────────

    def dispatch(self, event: Event) -> None:
        """Tell every session; Discord tells some twice."""
        for session in list(self.sessions.values()):
            if session.listener is None and self._timeline.now - session.left_s > SESSION_S:
                del self.sessions[session.id]
                continue
            self._tell(session, event)
            if event.kind in ("create", "command") and self._rng.random() < self.duplicated:
                self._tell_again(session, event)

    def _tell_again(self, session: GatewaySession, event: Event) -> None:
        self._timeline.at(self._rng.uniform(0.0, 8.0), lambda: self._tell(session, event))

    def _tell(self, session: GatewaySession, event: Event) -> None:
        session.sequence += 1
        session.events.append((session.sequence, event))
        if session.listener is not None:
            session.listener.push(Frame("event", session.sequence, event))

    def identify(self, listener: Listener) -> None:
        """A new session."""
        self._sessions_made += 1
        session = GatewaySession(f"s{self._sessions_made}", 1, listener=listener)
        self.sessions[session.id] = session
        self.note(f"gateway identify {session.id}")
        listener.push(Frame("READY", 1, session_id=session.id))

    def resume(self, listener: Listener, session_id: str, sequence: int) -> None:
        """Replay what was missed, or refuse."""
        session = self.sessions.get(session_id)
        replayable = session is not None and (
            sequence >= session.sequence
            or (session.events and session.events[0][0] <= sequence + 1)
        )
        if session is None or not replayable:
            self.note(f"gateway resume {session_id} refused")
            listener.push(Frame("INVALID"))
            return
        session.listener = listener
        self.note(f"gateway resume {session_id} from {sequence} to {session.sequence}")
        for number, event in session.events:
            if number > sequence:
                listener.push(Frame("event" if event else "nothing", number, event))
        # Its number goes on from the last event's: a listener that lacks one sees it here.
        session.sequence += 1
        session.events.append((session.sequence, None))
        listener.push(Frame("RESUMED", session.sequence))

    def leave(self, listener: Listener) -> None:
        """A connection has ended; its session waits for another."""
        for session in self.sessions.values():
            if session.listener is listener:
                self.note(f"gateway {session.id} left at {session.sequence}")
                session.listener = None
                session.left_s = self._timeline.now

    def forget_sessions(self) -> None:
        """No session can be resumed any more; those that are connected go on."""
        for session in list(self.sessions.values()):
            if session.listener is None:
                del self.sessions[session.id]
