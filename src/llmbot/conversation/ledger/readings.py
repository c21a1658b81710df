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
        """One page further, compared and mended; whether it was the last.

        With the mend that uses up the round's calls it ends; the next round reads on from there.
        """
        current.calls += 1
        page = await self._rest.history(channel_id, after=reading.after, limit=_PAGE)
        whole, before = len(page) < _PAGE, current.calls
        answering, texts = _answering(entries), _texts(entries, page)
        for number, message in enumerate(page):
            surplus = _surplus_of(answering, message)
            text = texts.get(message.id, message.content)
            if surplus is None and message.content.strip() == text.strip():
                continue
            if before < current.calls >= self._settings.calls_max:
                page, whole = page[:number], False
                break
            if surplus is not None:
                await self._take_away(surplus, message, current)
            else:
                await self._put_right(message, text, current)
        standing = {message.id for message in page}
        for entry in entries:
            current.removed += sum(
                reading.after < part and (whole or part <= page[-1].id) and part not in standing
                for part in entry.parts
            )
        if page:
            reading.after = page[-1].id
        return whole

    async def _take_away(self, answered: Entry, message: ChannelMessage, current: Round) -> None:
        """Delete what a reply does not know as its own, unless the reply itself is gone."""
        current.calls += 1
        if not await self._stands(answered):
            return
        current.found["doubled"] += 1
        current.calls += 1
        await self._rest.delete(message.channel_id, message.id)
        current.mended["doubled"] += 1

    async def _put_right(self, message: ChannelMessage, text: str, current: Round) -> None:
        """Give a part the text that was delivered."""
        current.found["cut"] += 1
        current.calls += 1
        await self._rest.edit(message.channel_id, message.id, text)
        current.mended["cut"] += 1

    async def _stands(self, entry: Entry) -> bool:
        if not entry.parts:
            return False
        return await self._rest.message(entry.channel_id, entry.parts[0]) is not None


def _answering(entries: Sequence[Entry]) -> dict[int, Entry]:
    """By what a part refers to: the question, or for an answer to a command its first part."""
    answering: dict[int, Entry] = {}
    for entry in entries:
        answering |= {entry.message_id: entry} | dict.fromkeys(entry.parts[:1], entry)
    return answering


def _surplus_of(answering: dict[int, Entry], message: ChannelMessage) -> Entry | None:
    """The reply that has a message of ours too many; None where it is no surplus."""
    answered = answering.get(message.reply_to or 0)
    if answered is None or not message.author_is_us or message.id in answered.parts:
        return None
    return answered


def _texts(entries: Sequence[Entry], page: Sequence[ChannelMessage]) -> dict[int, str]:
    """What the parts on a page should hold; to split a text costs something."""
    standing = {message.id for message in page}
    texts: dict[int, str] = {}
    for entry in entries:
        if entry.text and not standing.isdisjoint(entry.parts):
            split = split_message(entry.text)
            if len(split) == len(entry.parts):
                texts |= zip(entry.parts, split, strict=True)
    return texts
