"""Messages that were given up: an operator can see them, have them tried again, or drop them."""

from __future__ import annotations

from llmbot.conversation.jobs import Job
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.storage.database.opening import Database, Row, Session

_LETTERS_MAX = 1000


class DeadLetters:
    """Reads and drops dead letters; they keep their texts until then."""

    def __init__(self, database: Database, store: JobStore) -> None:
        """Look into `database`; `store` reads single jobs."""
        self._db = database
        self._store = store

    async def dead(self, limit: int = 100) -> list[Job]:
        """Those that were given up, newest first; none that were dropped."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT message_id FROM jobs WHERE state = 'dead' AND payload <> '' "
                "ORDER BY message_id DESC LIMIT ?",
                (min(limit, _LETTERS_MAX),),
            )

        ids = [int(message_id) for (message_id,) in await self._db.read(work)]
        found = [await self._store.job(message_id) for message_id in ids]
        return [job for job in found if job is not None]

    async def job(self, message_id: int) -> Job | None:
        """One job as it is stored."""
        return await self._store.job(message_id)

    async def drop_dead(self, message_id: int) -> bool:
        """Forget one's texts for good; False where there is no such dead letter.

        The record of its id stays, so that the message is never answered by mistake.
        """

        def work(session: Session) -> bool:
            rows = session.execute(
                "UPDATE jobs SET payload = '', answer = NULL "
                "WHERE message_id = ? AND state = 'dead' AND payload <> '' RETURNING message_id",
                (message_id,),
            )
            return bool(rows)

        return await self._db.write(work)
