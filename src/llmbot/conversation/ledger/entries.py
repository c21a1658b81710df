"""What the reconciler reads of the ledger: which messages ended lately, which are open."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmbot.conversation.ledger.sealed import unseal
from llmbot.kernel.ids import snowflake_at
from llmbot.storage.database.opening import Database, Row, Session, Value


@dataclass(frozen=True, slots=True)
class Place:
    """Where and by whom a message was asked, from its record's plain columns."""

    channel_id: int
    guild_id: int | None
    author_id: int
    is_direct: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that was answered or noticed, and the Discord ids of its parts in their order."""

    message_id: int
    channel_id: int
    parts: tuple[int, ...]
    text: str = ""
    """The whole reply, while it is not proven that it stands; empty where it is not kept."""
    ended_s: float = 0.0
    """When that reply was brought to its end, in epoch seconds; 0.0 where it was not asked for."""


class Ledger:
    """Reads; the writing is in `job_store.py`."""

    def __init__(self, database: Database) -> None:
        """Read from `database`."""
        self._db = database

    async def recent(self, since_s: float, before_s: float, limit: int) -> list[Entry]:
        """Messages asked since, and ended before (both epoch seconds), the newest first.

        Raises:
            StoreUnavailableError: the database could not be read.
        """
        first = snowflake_at(since_s)

        def work(session: Session) -> list[Entry]:
            rows = session.execute(
                "SELECT message_id, channel_id FROM jobs WHERE message_id >= ? "
                "AND state IN ('done', 'noticed') AND updated_s < ? "
                "ORDER BY message_id DESC LIMIT ?",
                (first, before_s, limit),
            )
            return [_entry(session, int(m), int(c)) for m, c in rows]

        return await self._db.read(work)

    async def unproven(self, before_s: float, limit: int) -> list[Entry]:
        """Replies that a late call may have overwritten, ended before (epoch seconds).

        Raises:
            StoreUnavailableError: the database could not be read.
        """

        def work(session: Session) -> list[Entry]:
            rows = session.execute(
                "SELECT message_id, channel_id, answer, updated_s FROM jobs "
                "WHERE answer IS NOT NULL AND state IN ('done', 'noticed') AND updated_s < ? "
                "ORDER BY message_id LIMIT ?",
                (before_s, limit),
            )
            return [
                replace(_entry(session, int(m), int(c)), text=_text(t), ended_s=float(at))
                for m, c, t, at in rows
            ]

        return await self._db.read(work)

    async def place(self, message_id: int) -> Place | None:
        """Where an open message was asked.

        Raises:
            StoreUnavailableError: the database could not be read.
        """

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT channel_id, guild_id, author_id, is_direct FROM jobs "
                "WHERE message_id = ? AND state NOT IN ('done', 'noticed', 'dead')",
                (message_id,),
            )

        for channel_id, guild_id, author_id, is_direct in await self._db.read(work):
            guild = None if guild_id is None else int(guild_id)
            return Place(int(channel_id), guild, int(author_id), bool(is_direct))
        return None

    async def unended(self, before_s: float, limit: int) -> list[int]:
        """Open messages whose record was not touched since, the oldest first.

        Raises:
            StoreUnavailableError: the database could not be read.
        """

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT message_id FROM jobs WHERE state NOT IN ('done', 'noticed', 'dead') "
                "AND updated_s < ? ORDER BY message_id LIMIT ?",
                (before_s, limit),
            )

        return [int(message_id) for (message_id,) in await self._db.read(work)]


def _text(sealed: Value) -> str:
    """A damaged text proves nothing and is none."""
    try:
        return unseal(str(sealed))
    except ValueError:
        return ""


def _entry(session: Session, message_id: int, channel_id: int) -> Entry:
    parts = session.execute(
        "SELECT discord_id FROM parts WHERE message_id = ? ORDER BY part", (message_id,)
    )
    return Entry(message_id, channel_id, tuple(int(discord_id) for (discord_id,) in parts))
