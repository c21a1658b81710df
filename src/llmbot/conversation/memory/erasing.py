"""Forgets one message wholly: its job, its parts and its story."""

from __future__ import annotations

import asyncio

from llmbot.storage.database.opening import Database, Session

__all__ = ["erase_message"]


def erase_message(database: Database, message_id: int) -> asyncio.Future[None]:
    """Leave no row of a message that no person wrote, so that no record counts it later."""

    def work(session: Session) -> None:
        session.execute("DELETE FROM jobs WHERE message_id = ?", (message_id,))
        session.execute("DELETE FROM parts WHERE message_id = ?", (message_id,))
        session.execute("DELETE FROM story WHERE message_id = ?", (message_id,))

    return database.write(work)
