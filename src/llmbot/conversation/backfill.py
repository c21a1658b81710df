"""Messages that were sent while the gateway was away, fetched and put through the same claim.

After a new session Discord replays nothing. The gateway has told each channel's last message id, so
only channels with news are asked; the newest first, within limits of age, pages and calls. What is
found goes through the durable claim like everything else, so looking too far back does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmbot.conversation.inbound import Inbox
from llmbot.conversation.job_store import JobStore
from llmbot.conversation.messages import ChannelMessage, Inbound, Source
from llmbot.conversation.ports import DiscordRest, KnownChannel
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
    pages_per_channel_max: int = 5
    direct_channels_max: int = 50
    unknown_channels_max: int = 50
    """How many channels without a known last message are asked, where the gateway tells none."""


class Backfill:
    """Looks for missed messages."""

    def __init__(
        self,
        rest: DiscordRest,
        inbox: Inbox,
        store: JobStore,
        bus: EventBus,
        clock: Clock,
        our_id: Callable[[], int | None],
        settings: BackfillSettings,
    ) -> None:
        """Fetch with `rest`, accept through `inbox`."""
        self._rest = rest
        self._inbox = inbox
        self._store = store
        self._bus = bus
        self._clock = clock
        self._our_id = our_id
        self._settings = settings

    async def run(self, channels: Sequence[KnownChannel], heard_s: float) -> BackfillDone:
        """Look for messages since the gateway was last heard, at `heard_s` wall-clock seconds."""
        since_s = max(
            heard_s - self._settings.margin_s, self._clock.wall() - self._settings.horizon_s
        )
        since = snowflake_at(since_s)
        targets = await self._targets(channels, since)
        calls = found = 0
        complete = True
        for channel, is_direct in targets:
            if calls >= self._settings.calls_max:
                complete = False
                break
            try:
                used, accepted, whole = await self._channel(channel, since, is_direct=is_direct)
            except TransientError:
                used, accepted, whole = 1, 0, False
            except LlmbotError:
                # A channel that may not be read, or is gone, holds nothing for us.
                used, accepted, whole = 1, 0, True
            calls, found, complete = calls + used, found + accepted, complete and whole
        done = BackfillDone(len(targets), found, calls, complete)
        self._bus.publish(done)
        return done

    async def _targets(
        self, channels: Sequence[KnownChannel], since: int
    ) -> list[tuple[KnownChannel, bool]]:
        """The channels with news, newest first, and the direct ones spoken in lately."""
        claimed = await self._store.last_claimed(self._settings.calls_max)
        spoken_in = {channel_id for channel_id, _, _ in claimed}
        readable = [channel for channel in channels if channel.may_read]
        news = [c for c in readable if c.last_message_id is not None and c.last_message_id > since]
        unknown = [c for c in readable if c.last_message_id is None]
        # Where the gateway told no last message, those we were spoken to in come first.
        unknown.sort(key=lambda c: c.id not in spoken_in)
        news.sort(key=lambda c: c.last_message_id or 0, reverse=True)
        told = {channel.id for channel in channels}
        direct = [
            KnownChannel(channel_id, None, None)
            for channel_id, _, is_direct in claimed
            if is_direct and channel_id not in told
        ]
        return [
            *((channel, channel.guild_id is None) for channel in news),
            *((channel, True) for channel in direct[: self._settings.direct_channels_max]),
            *((channel, False) for channel in unknown[: self._settings.unknown_channels_max]),
        ]

    async def _channel(
        self, channel: KnownChannel, since: int, *, is_direct: bool
    ) -> tuple[int, int, bool]:
        """One channel; (calls, messages accepted, whether its end was reached)."""
        after, accepted = since, 0
        for page_number in range(1, self._settings.pages_per_channel_max + 1):
            page = await self._rest.history(channel.id, after=after, limit=_PAGE)
            for message in page:
                inbound = await self._as_inbound(message, channel, is_direct=is_direct)
                if inbound is not None and await self._inbox.accept(inbound, None):
                    accepted += 1
            if len(page) < _PAGE:
                return page_number, accepted, True
            after = page[-1].id
        return self._settings.pages_per_channel_max, accepted, False

    async def _as_inbound(
        self, message: ChannelMessage, channel: KnownChannel, *, is_direct: bool
    ) -> Inbound | None:
        """The message if it is meant for us; history tells less of that than the gateway does."""
        if message.author_is_bot or message.author_is_us:
            return None
        our_id = self._our_id()
        mentioned = f"<@{our_id}>" in message.content or f"<@!{our_id}>" in message.content
        is_reply = message.reply_to is not None and bool(
            await self._store.is_ours(message.reply_to)
        )
        if not (is_direct or mentioned or is_reply):
            return None
        return Inbound(
            message_id=message.id,
            channel_id=message.channel_id,
            guild_id=channel.guild_id,
            author_id=message.author_id,
            author_name=message.author_name,
            content=message.content,
            source=Source.BACKFILLED,
            is_direct=is_direct,
            mentions_us=mentioned,
            reply_to=message.reply_to,
            replies_to_us=is_reply,
            attachments=message.attachments,
        )
