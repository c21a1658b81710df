"""Reads channels once more and compares what stands there with what the ledger says.

A call that a dead process had under way may land after the last one of its successor, and what it
had sent may stand where its successor did not look: in a busy channel too far below the question.
So a channel is read from the oldest question on to its end, a page at a time. A round has a bounded
number of calls; the next goes on where it broke off, in the channel that has waited the longest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from llmbot.conversation.ledger.entries import Entry
from llmbot.conversation.ledger.rounds import ReconcileSettings, Round
from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.splitting import split_message
from llmbot.kernel.errors import LlmbotError

__all__ = ["Readings"]

_PAGE = 100


@dataclass(slots=True)
class _Reading:
    """How far a channel is read, and for which messages: those that had ended when it began."""

    after: int
    message_ids: frozenset[int]


class Readings:
    """The readings that were begun, the one that has waited the longest first."""

    def __init__(self, rest: DiscordRest, settings: ReconcileSettings) -> None:
        """Read and mend through `rest`."""
        self._rest = rest
        self._settings = settings
        self._begun: dict[int, _Reading] = {}

    async def go_on(self, entries: Sequence[Entry], current: Round) -> frozenset[int]:
        """Read on for replies that have ended; answers those whose channel is read to its end."""
        channels: dict[int, list[Entry]] = {}
        for entry in entries:
            channels.setdefault(entry.channel_id, []).append(entry)
        self._begun = {c: begun for c, begun in self._begun.items() if c in channels}
        for channel_id, members in channels.items():
            ids = frozenset(entry.message_id for entry in members)
            self._begun.setdefault(channel_id, _Reading(min(ids) - 1, ids))
        read: set[int] = set()
        turns = deque(self._begun)
        while turns and current.calls < self._settings.calls_max:
            channel_id = turns.popleft()
            if self._rest.is_tight(channel_id, "edit"):
                current.complete = False
                continue
            reading = self._begun.pop(channel_id)
            try:
                whole = await self._read_page(channel_id, reading, channels[channel_id], current)
            except LlmbotError:
                current.complete = whole = False
            else:
                turns.extend(() if whole else (channel_id,))
            if whole:
                read |= reading.message_ids
            else:
                self._begun[channel_id] = reading
        current.complete = current.complete and not turns
        return frozenset(read)

    async def _read_page(
        self, channel_id: int, reading: _Reading, entries: Sequence[Entry], current: Round
    ) -> bool:
        """One page further, compared and mended; whether it was the last."""
        current.calls += 1
        page = await self._rest.history(channel_id, after=reading.after, limit=_PAGE)
        whole = len(page) < _PAGE
        await self._take_away_surplus(entries, page, current)
        standing = {message.id: message for message in page}
        for entry in entries:
            passed = [
                part
                for part in entry.parts
                if reading.after < part and (whole or part <= page[-1].id)
            ]
            current.removed += sum(part not in standing for part in passed)
            if any(part in standing for part in passed):  # to split a text costs something
                await self._put_right(entry, standing, current)
        if page:
            reading.after = page[-1].id
        return whole

    async def _take_away_surplus(
        self, entries: Sequence[Entry], page: Sequence[ChannelMessage], current: Round
    ) -> None:
        """Delete what a reply does not know as its own, unless the reply itself is gone."""
        answering: dict[int, Entry] = {}
        for entry in entries:
            # The further parts of an answer to a command refer to its first.
            answering |= {entry.message_id: entry} | dict.fromkeys(entry.parts[:1], entry)
        for message in page:
            answered = answering.get(message.reply_to or 0)
            if answered is None or not message.author_is_us or message.id in answered.parts:
                continue
            current.calls += 1
            if not await self._stands(answered):
                continue
            current.found["doubled"] += 1
            current.calls += 1
            await self._rest.delete(message.channel_id, message.id)
            current.mended["doubled"] += 1

    async def _stands(self, entry: Entry) -> bool:
        if not entry.parts:
            return False
        return await self._rest.message(entry.channel_id, entry.parts[0]) is not None

    async def _put_right(
        self, entry: Entry, standing: dict[int, ChannelMessage], current: Round
    ) -> None:
        """Give the parts the text that was delivered, where they do not hold it."""
        texts = split_message(entry.text) if entry.text else []
        if len(texts) != len(entry.parts):
            return
        for part, text in zip(entry.parts, texts, strict=True):
            message = standing.get(part)
            if message is not None and message.content.strip() != text.strip():
                current.found["cut"] += 1
                current.calls += 1
                await self._rest.edit(entry.channel_id, part, text)
                current.mended["cut"] += 1
