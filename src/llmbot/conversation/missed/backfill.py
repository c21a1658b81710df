"""Messages that were sent while the gateway was away, fetched and put through the same claim.

After a new session Discord replays nothing. The gateway has told each channel's last message id, so
only channels with news are asked; the newest first, within limits of age, pages and calls. What is
found goes through the durable claim like everything else, so looking too far back does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmbot.conversation.inbound import Inbox
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.messages import ChannelMessage, Inbound, Source
from llmbot.conversation.missed.open_questions import OpenQuestions
from llmbot.conversation.ports import DiscordRest, KnownChannel
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, TransientError
from llmbot.kernel.events import BackfillDone, EventBus
from llmbot.kernel.ids import snowflake_at

_PAGE = 100


@dataclass(frozen=True, slots=True)
class BackfillSettings:
    """Limits of looking back."""

    horizon_s: float = 6 * 3600
    """Never look further back; what is older was asked of nobody."""
    margin_s: float = 30.0
    """Look so much further back than the last event heard: it may have been stored late."""
    calls_max: int = 200
    """Calls of one round; what is left is asked in the next one."""
    calls_total_max: int = 5000
    """Calls of all rounds together: half a million messages; the gap is then given up."""
    pages_per_channel_max: int = 5
    """Pages of one channel in one round, so that one busy channel does not hold up the others."""
    direct_channels_max: int = 500
    open_questions_max: int = 500
    """So many questions that were claimed before the gap are looked up, the newest first."""
    open_calls_max: int = 40
    """Calls for them after one gap."""
    unknown_channels_max: int = 50
    """How many channels without a known last message are asked, where the gateway tells none."""


@dataclass(slots=True)
class Search:
    """What is looked for, and how far: it goes on where the last round stopped."""

    since: int
    """Messages after this id."""
    channels: tuple[KnownChannel, ...]
    fresh: bool
    """Whether the channels' last message ids were told just now."""
    partial: bool = False
    """Whether there are other channels, which nobody has told yet."""
    left: list[tuple[KnownChannel, bool]] | None = None
    """Channels that were not searched to their end, and whether they are direct; None: all."""
    reached: dict[int, int] = field(default_factory=dict)
    """Up to which message a channel was looked at."""
    calls: int = 0
    open: OpenQuestions | None = None
    """What was claimed before; None before the first round."""
    pages: int = 0
    """Calls that were answered."""
    outdated: bool = False
    """Whether another gap has begun since: what this one has read says nothing of that."""


class Backfill:
    """Looks for missed messages."""

    def __init__(
        self,
        rest: DiscordRest,
        inbox: Inbox,
        queue: JobQueue,
        store: JobStore,
        bus: EventBus,
        clock: Clock,
        our_id: Callable[[], int | None],
        settings: BackfillSettings,
    ) -> None:
        """Fetch with `rest`, accept through `inbox`; `queue` has what is open already."""
        self._rest = rest
        self.inbox = inbox
        self._queue = queue
        self._store = store
        self._bus = bus
        self._clock = clock
        self._our_id = our_id
        self._settings = settings
        self.judged: Callable[[Inbound], Inbound] = lambda inbound: inbound
        """A message as the rules of its server see it; history does not tell its author's roles."""

    def plan(
        self,
        channels: Sequence[KnownChannel],
        heard_s: float,
        *,
        fresh: bool,
        reached: dict[int, int],
        partial: bool = False,
    ) -> Search:
        """A search for messages since the gateway was last heard, at `heard_s` wall seconds.

        `reached` is filled with the newest message that was looked at in each channel.
        """
        since_s = max(
            heard_s - self._settings.margin_s, self._clock.wall() - self._settings.horizon_s
        )
        return Search(snowflake_at(since_s), tuple(channels), fresh, partial, reached=reached)

    async def run(self, search: Search) -> BackfillDone:
        """One round; `complete` in what it answers says whether another one is needed.

        Raises:
            StoreUnavailableError: which channels to search could not be read.
        """
        if search.open is None:
            search.open = self._open_questions()
        calls, looked = await search.open.look()
        search.pages += calls
        if search.left is None:
            search.left = await self._targets(search)
            if not (search.partial or search.outdated):
                self.inbox.gap.only_in([channel.id for channel, _ in search.left])
        targets, left = search.left, list[tuple[KnownChannel, bool]]()
        found = 0
        for channel, is_direct in targets:
            if calls >= self._settings.calls_max:
                left.append((channel, is_direct))
                continue
            used, accepted, whole = await self._channel(search, channel, is_direct=is_direct)
            calls, found = calls + used, found + accepted
            if not whole:
                left.append((channel, is_direct))
            elif not search.outdated:
                self.inbox.gap.searched(channel.id)
        search.left = left
        search.calls += calls
        done = BackfillDone(len(targets), found, calls, looked and not left)
        self._bus.publish(done)
        return done

    def _open_questions(self) -> OpenQuestions:
        given = self._settings
        jobs = [*self._queue.newest(given.open_questions_max), *self.inbox.gap.jobs()]
        since = snowflake_at(self._clock.wall() - given.horizon_s)
        newest = [job for job in jobs if job.message_id > since][: given.open_questions_max]
        return OpenQuestions(newest, self._queue, self.inbox, self._rest, given.open_calls_max)

    def exhausted(self, search: Search) -> bool:
        """Whether a search has used all the calls it may."""
        return search.calls >= self._settings.calls_total_max

    async def _targets(self, search: Search) -> list[tuple[KnownChannel, bool]]:
        """The channels with news, newest first, and the direct ones spoken in lately."""
        spoken_in = {c for c, _, _ in await self._store.last_claimed(self._settings.calls_max)}
        readable = [channel for channel in search.channels if channel.may_read]
        news = [
            c
            for c in readable
            if c.last_message_id is not None
            and (not search.fresh or c.last_message_id > search.since)
        ]
        unknown = [c for c in readable if c.last_message_id is None]
        # Where the gateway told no last message, those we were spoken to in come first.
        unknown.sort(key=lambda c: c.id not in spoken_in)
        news.sort(key=lambda c: c.last_message_id or 0, reverse=True)
        unknown = unknown[: self._settings.unknown_channels_max]
        # A new session tells no direct channels: what is known of their last messages is old.
        told = {channel.id for channel in (*news, *unknown)}
        direct = [
            KnownChannel(channel_id, None, None)
            for channel_id in await self._store.direct_channels(self._settings.direct_channels_max)
            if channel_id not in told
        ]
        return [
            *((channel, channel.guild_id is None) for channel in news),
            *((channel, True) for channel in direct),
            *((channel, channel.guild_id is None) for channel in unknown),
        ]

    async def _channel(
        self, search: Search, channel: KnownChannel, *, is_direct: bool
    ) -> tuple[int, int, bool]:
        """One channel; (calls, messages accepted, whether its end was reached)."""
        accepted = 0
        for number in range(1, self._settings.pages_per_channel_max + 1):
            after = max(search.since, search.reached.get(channel.id, 0))
            try:
                page = await self._rest.history(channel.id, after=after, limit=_PAGE)
            except TransientError:
                return number, accepted, False
            except LlmbotError:
                # A channel that may not be read, or is gone, holds nothing for us.
                return number, accepted, True
            search.pages += 1
            for message in page:
                self.inbox.gap.reached(channel.id, message.id)
                inbound = await self._as_inbound(message, channel, is_direct=is_direct)
                if (
                    inbound is not None
                    and inbound.may_speak
                    and await self.inbox.accept(inbound, None)
                ):
                    accepted += 1
                search.reached[channel.id] = message.id
            if len(page) < _PAGE:
                return number, accepted, True
        return self._settings.pages_per_channel_max, accepted, False

    async def _as_inbound(
        self, message: ChannelMessage, channel: KnownChannel, *, is_direct: bool
    ) -> Inbound | None:
        """The message if it is meant for us; history tells less of that than the gateway does."""
        if message.author_is_bot or message.author_is_us:
            return None
        our_id = self._our_id()
        mentioned = (
            f"<@{our_id}>" in message.content
            or f"<@!{our_id}>" in message.content
            or (channel.own_role is not None and f"<@&{channel.own_role}>" in message.content)
        )
        is_reply = message.replies_to_us
        if is_reply is None:
            to = message.reply_to
            is_reply = to is not None and await self._store.parts.is_ours(to) is not None
        addressed = is_direct or mentioned or is_reply
        among_us = (
            channel.in_our_thread and message.reply_to is None and "<@" not in message.content
        )
        if not (addressed or among_us):
            return None
        return self.judged(
            Inbound(
                message_id=message.id,
                channel_id=message.channel_id,
                guild_id=channel.guild_id,
                author_id=message.author_id,
                author_name=message.author_name,
                content=message.content,
                source=Source.BACKFILLED,
                is_direct=is_direct,
                is_thread=channel.in_our_thread,
                in_our_thread=channel.in_our_thread,
                mentions_us=mentioned,
                reply_to=message.reply_to,
                replies_to_us=is_reply,
                attachments=message.attachments,
            )
        )
