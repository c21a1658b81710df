"""Proves the replies that were brought to their end after a kill: do they stand as delivered?

A call that the dead process had under way may land after the last one of its successor, and what it
had sent may stand where its successor did not look: in a busy channel too far below the question.
So the whole channel is read once from the oldest of these questions on, over several rounds if need
be; their texts are kept until then, through further kills, for no longer than the window.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from llmbot.conversation.ledger.entries import Entry, Ledger
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ledger.rounds import ReconcileSettings, Round, Standing
from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.ports import DiscordRest
from llmbot.kernel.errors import LlmbotError

__all__ = ["Proofs"]


@dataclass(slots=True)
class _Pass:
    """A reading of a channel for the replies that had ended when it began."""

    after: int
    members: frozenset[int]


class Proofs:
    """Goes on with the readings in each round of the reconciler."""

    def __init__(
        self, rest: DiscordRest, store: JobStore, ledger: Ledger, settings: ReconcileSettings
    ) -> None:
        """Look through `rest` at what `ledger` holds as unproven."""
        self._rest = rest
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._standing = Standing(rest)
        self._passes: dict[int, _Pass] = {}

    async def look(self, now: float, current: Round) -> bool:
        """Read on (`now` in epoch seconds); whether all that had ended is proven.

        Raises:
            StoreUnavailableError: the ledger could not be read or written.
        """
        settings = self._settings
        entries = await self._ledger.unproven(now - settings.settled_s, settings.messages_max)
        by_channel: dict[int, list[Entry]] = {}
        for entry in entries:
            by_channel.setdefault(entry.channel_id, []).append(entry)
        self._passes = {c: begun for c, begun in self._passes.items() if c in by_channel}
        proven = {e.message_id for e in entries if e.ended_s < now - settings.window_s}
        for channel_id, members in by_channel.items():
            with contextlib.suppress(LlmbotError):
                proven |= await self._read_on(channel_id, members, current)
        if proven:
            await self._store.proven(tuple(proven))
        return len(proven) == len(entries)

    async def _read_on(
        self, channel_id: int, entries: Sequence[Entry], current: Round
    ) -> frozenset[int]:
        """The messages whose channel is read to its end by now."""
        pages = self._settings.calls_max - current.calls
        if pages <= 0 or self._rest.is_tight(channel_id, "edit"):
            return frozenset()
        ids = frozenset(entry.message_id for entry in entries)
        begun = self._passes.setdefault(channel_id, _Pass(min(ids) - 1, ids))
        page, whole = await self._standing.read(channel_id, begun.after, current, pages)
        await self._compare(entries, page, current)
        if not whole:
            begun.after = page[-1].id
            return frozenset()
        del self._passes[channel_id]
        return begun.members & ids

    async def _compare(
        self, entries: Sequence[Entry], page: Sequence[ChannelMessage], current: Round
    ) -> None:
        answering: dict[int, Entry] = {}
        for entry in entries:
            # The further parts of an answer to a command refer to its first.
            answering |= {entry.message_id: entry} | dict.fromkeys(entry.parts[:1], entry)
        for message in page:
            answered = answering.get(message.reply_to or 0)
            if message.author_is_us and answered and message.id not in answered.parts:
                await self._judge_surplus(message, answered, current)
        standing = {message.id: message for message in page}
        for entry in entries:
            if any(part in standing for part in entry.parts):  # to split a text costs something
                await self._standing.compare_texts(entry, entry.text, standing, current)

    async def _judge_surplus(self, surplus: ChannelMessage, entry: Entry, current: Round) -> None:
        """Take away what its reply does not know, unless the reply itself is gone."""
        current.calls += 1
        if entry.parts and await self._rest.message(entry.channel_id, entry.parts[0]) is not None:
            await self._standing.take_away(surplus, current)
