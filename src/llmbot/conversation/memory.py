"""A conversation's memory: what was asked and answered in a channel, never in another.

Turns are written in the commit that ends a job, and cut to the newest few; see `JobStore.move`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmbot.conversation.schema import SET_META
from llmbot.storage.database import Database, Row, Session


@dataclass(frozen=True, slots=True)
class Remembered:
    """One turn of a conversation's memory."""

    channel_id: int
    message_id: int
    author_id: int
    author_name: str
    by_us: bool
    text: str


class Memory:
    """Reads and forgets conversations."""

    def __init__(self, database: Database) -> None:
        """Remember in `database`."""
        self._db = database

    async def recall(self, channel_id: int, before_id: int, limit: int) -> list[Remembered]:
        """The newest turns of a conversation before a message, oldest first."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT channel_id, message_id, author_id, author_name, by_us, text FROM memory "
                "WHERE channel_id = ? AND message_id < ? "
                "ORDER BY message_id DESC, by_us DESC LIMIT ?",
                (channel_id, before_id, limit),
            )

        rows = await self._db.read(work)
        return [
            Remembered(int(c), int(m), int(a), str(n), bool(u), str(t))
            for c, m, a, n, u, t in reversed(rows)
        ]

    async def forget(self, channel_id: int, up_to_id: int) -> int:
        """Forget a conversation's memory up to a message; answers how many turns that were."""

        def work(session: Session) -> int:
            rows = session.execute(
                "DELETE FROM memory WHERE channel_id = ? AND message_id <= ? RETURNING message_id",
                (channel_id, up_to_id),
            )
            session.execute(SET_META, (f"cleared:{channel_id}", str(up_to_id)))
            return len(rows)

        return await self._db.write(work)

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
