"""Where long texts come from: files that were sent along, and what was said in a channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from llmbot.conversation.attachments import Files
from llmbot.conversation.large.plan import Gathered, Source
from llmbot.conversation.messages import ChannelMessage, Inbound, LongRequest
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.transcript import wrap
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    Blame,
    DiscordForbiddenError,
    DiscordNotFoundError,
    DiscordRateLimitedError,
    RefusedError,
)

__all__ = ["HistoryReader", "NothingToReadError", "gathered_files"]

_PAGE = 100
_PATIENCE = 5
_WAIT_S = 1.0
_WAIT_MAX_S = 10.0


class NothingToReadError(RefusedError):
    """There is no text to work on."""

    code = "nothing_to_read"
    blame = Blame.USER
    notice = "context_nothing"


class HistoryClosedError(RefusedError):
    """The bot may not read the history there."""

    code = "history_closed"
    blame = Blame.USER
    notice = "context_closed"


def gathered_files(files: Files) -> Gathered:
    """The text files of a message; pictures and PDFs do not go along with a long text.

    Raises:
        NothingToReadError: there is no text among them.
    """
    sources = tuple(Source(name, text) for name, text in files.texts if text.strip())
    if not sources:
        raise NothingToReadError
    beside = tuple((blob.name, "beside_long") for blob in files.blobs)
    title = ", ".join(source.label for source in sources)
    return Gathered(title, sources, (*files.left_out, *beside))


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads what was said in a channel, the newest first, within limits."""

    rest: DiscordRest
    cleared_up_to: Callable[[int], Awaitable[int]]
    """The message up to which a channel was to be forgotten."""
    clock: Clock
    messages_max: int
    characters_max: int

    async def read(self, inbound: Inbound, long: LongRequest) -> Gathered:
        """What was said before the command, as far back as it asks.

        Raises:
            HistoryClosedError: the bot may not read there.
            NothingToReadError: nothing was said.
            TransientError: Discord is away.
        """
        channel_id = long.channel_id or inbound.channel_id
        try:
            kept, older = await self._messages(inbound, channel_id, long.since_s)
        except (DiscordForbiddenError, DiscordNotFoundError):
            # Not the channel of the question: that one is not to be set aside for it.
            raise HistoryClosedError from None
        if not kept:
            raise NothingToReadError
        text = "\n\n".join(_told(message) for message in reversed(kept))
        return Gathered(f"{len(kept)} messages", (Source("history", text),), older=older)

    async def _messages(
        self, inbound: Inbound, channel_id: int, since_s: float
    ) -> tuple[list[ChannelMessage], bool]:
        """The newest first, and whether older ones were too many."""
        cleared = await self.cleared_up_to(channel_id)
        since = self.clock.wall() - since_s if since_s else 0.0
        kept: list[ChannelMessage] = []
        before, size = inbound.message_id, 0
        while True:
            page = await self._page(channel_id, before)
            for message in sorted(page, key=lambda m: m.id, reverse=True):
                if message.id <= cleared or message.created_s < since:
                    return kept, False
                size += len(message.content)
                if len(kept) >= self.messages_max or size > self.characters_max:
                    return kept, True
                if message.content.strip():
                    kept.append(message)
            if len(page) < _PAGE:
                return kept, False
            before = min(message.id for message in page)

    async def _page(self, channel_id: int, before: int) -> list[ChannelMessage]:
        tries = 0
        while True:
            try:
                return await self.rest.history(channel_id, before=before, limit=_PAGE)
            except DiscordRateLimitedError as error:
                tries += 1
                if tries > _PATIENCE:
                    raise
                await self.clock.sleep(min(error.retry_after_s or _WAIT_S, _WAIT_MAX_S))


def _told(message: ChannelMessage) -> str:
    at = datetime.fromtimestamp(message.created_s, UTC).strftime("%Y-%m-%d %H:%M")
    return wrap(f"{message.author_name}, {at}", message.content)
