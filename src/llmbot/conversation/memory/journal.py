"""The journal of conversations: turns in the commit that ends their job, until a document has them.

A document that is written behind needs no disk of its own for every answer: what it lacks after a
kill stands here, in the same transaction that says the message was answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmbot.conversation.ledger.schema import SET_META
from llmbot.storage.database.opening import Database, Row, Session

Key = tuple[int, int, bool]
"""Channel, message, and whether the turn is ours."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One turn of a conversation's memory."""

    channel_id: int
    message_id: int
    author_id: int
    author_name: str
    by_us: bool
    text: str

    @property
    def key(self) -> Key:
        """What no other turn has."""
        return (self.channel_id, self.message_id, self.by_us)


class MemoryJournal:
    """The turns that no document has for certain."""

    def __init__(self, database: Database) -> None:
        """Keep them in `database`, where `write_turns` puts them."""
        self._db = database

    async def left(self) -> list[Remembered]:
        """What an earlier life had not brought into documents, oldest first."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT channel_id, message_id, author_id, author_name, by_us, text FROM memory "
                "ORDER BY message_id, by_us"
            )

        return [
            Remembered(int(c), int(m), int(a), str(n), bool(u), str(t))
            for c, m, a, n, u, t in await self._db.read(work)
        ]

    def done(self, keys: Sequence[Key]) -> asyncio.Future[None]:
        """Documents have these turns now."""
        rows = [(channel, message, int(ours)) for channel, message, ours in keys]

        def work(session: Session) -> None:
            session.execute_many(
                "DELETE FROM memory WHERE channel_id = ? AND message_id = ? AND by_us = ?", rows
            )

        return self._db.write(work)

    async def forget(self, channel_id: int, up_to_id: int) -> None:
        """Forget a conversation up to a message, and that nothing before it is to be told.

        Raises:
            StoreUnavailableError: it could not be stored.
        """

        def work(session: Session) -> None:
            session.execute(
                "DELETE FROM memory WHERE channel_id = ? AND message_id <= ?",
                (channel_id, up_to_id),
            )
            session.execute(SET_META, (f"cleared:{channel_id}", str(up_to_id)))

        await self._db.write(work)

    async def cleared_up_to(self, channel_id: int) -> int:
        """The message up to which a channel was forgotten; 0 for never."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT value FROM meta WHERE name = ?", (f"cleared:{channel_id}",)
            )

        rows = await self._db.read(work)
        return int(rows[0][0]) if rows else 0


def write_turns(
    session: Session, channel_id: int, turns: Iterable[Remembered], turns_max: int
) -> None:
    """Write turns in a unit of work, then cut the conversation to its `turns_max` newest."""
    session.execute_many(
        "INSERT INTO memory (channel_id, message_id, author_id, author_name, by_us, text) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (channel_id, message_id, by_us) DO NOTHING",
        [
            (t.channel_id, t.message_id, t.author_id, t.author_name, int(t.by_us), t.text)
            for t in turns
        ],
    )
    session.execute(
        "DELETE FROM memory WHERE channel_id = ? AND message_id < COALESCE((SELECT message_id "
        "FROM memory WHERE channel_id = ? ORDER BY message_id DESC LIMIT 1 OFFSET ?), 0)",
        (channel_id, channel_id, turns_max),
    )
