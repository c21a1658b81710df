"""Which messages of ours answer what: the parts of replies, as they stand on Discord.

Also tells where an author's answers have come to in a channel: the next one stands below.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from llmbot.conversation.jobs import Job, SentPart
from llmbot.conversation.ledger.story import tell
from llmbot.conversation.ledger.sure_writes import SureWrites
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.storage.database.opening import Database, Row, Session

SAVE_PART = """
INSERT INTO parts (message_id, part, discord_id, sent_s) VALUES (?, ?, ?, ?)
ON CONFLICT (message_id, part) DO UPDATE SET discord_id = excluded.discord_id
"""

_BELOW = """
SELECT 1 FROM parts JOIN jobs ON jobs.message_id = parts.message_id
WHERE parts.discord_id > ? AND jobs.state = 'done'
AND +jobs.message_id < ? AND +jobs.channel_id = ? AND +jobs.author_id = ? LIMIT 1
"""
"""The plus keeps SQLite from walking through all that was ever asked in the channel."""

_SENT_LATELY_MAX = 500
_LINES_MAX = 5000
_LOOK_S = 2.0


class Parts:
    """The parts on the disk, and in memory those of late."""

    def __init__(self, database: Database, sure: SureWrites, clock: Clock) -> None:
        """Write to `database`, through `sure`."""
        self._db = database
        self._sure = sure
        self._clock = clock
        self._sent_lately: OrderedDict[int, int] = OrderedDict()
        self._reached: OrderedDict[tuple[int, int], int] = OrderedDict()

    def sent(self, message_id: int, part: int, discord_id: int) -> asyncio.Future[None]:
        """Keep the Discord id of a part as it is sent."""
        now = self._clock.wall()
        self.seen(discord_id, message_id)

        def work(session: Session) -> None:
            session.execute(SAVE_PART, (message_id, part, discord_id, now))
            tell(session, message_id, now, "part sent", f"{part}: {discord_id}")

        return self._sure.write((message_id, "part", part), work, trailing=True)

    def dropped(self, message_id: int, part: int) -> asyncio.Future[None]:
        """Forget a part that was deleted."""

        def work(session: Session) -> None:
            session.execute(
                "DELETE FROM parts WHERE message_id = ? AND part = ?", (message_id, part)
            )

        return self._sure.write((message_id, "part", part), work)

    def seen(self, discord_id: int, message_id: int) -> None:
        """A message of ours stands on Discord; a dead process may never have recorded it."""
        self._sent_lately[discord_id] = message_id
        if len(self._sent_lately) > _SENT_LATELY_MAX:
            self._sent_lately.popitem(last=False)

    async def is_ours(self, discord_id: int) -> int | None:
        """The question that a message of ours answers, or None where it is no part of ours.

        Raises:
            StoreUnavailableError: the database could not be read.
        """
        if discord_id in self._sent_lately:
            # A reply may come before the part's own record is on the disk.
            return self._sent_lately[discord_id]

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT message_id FROM parts WHERE discord_id = ?", (discord_id,)
            )

        rows = await self._db.read(work)
        return int(rows[0][0]) if rows else None

    async def of_answer(self, message_id: int) -> tuple[SentPart, ...]:
        """The parts of the answer to a message; empty where it was not answered.

        Raises:
            StoreUnavailableError: the database could not be read.
        """

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT part, discord_id FROM parts WHERE message_id = ? AND EXISTS (SELECT 1 "
                "FROM jobs WHERE message_id = ? AND state = 'done') ORDER BY part",
                (message_id, message_id),
            )

        return tuple(SentPart(int(p), int(d)) for p, d in await self._db.read(work))

    # ── the order of an author's answers ────────────────────────────────────────────────────────

    def answered(self, job: Job) -> None:
        """An answer is whole: those to later messages of its author stand below it.

        Answers come in their order; a notice of overload does not, and counts for nothing here.
        """
        if not job.parts:
            return
        key, last = job.order_key, max(part.discord_id for part in job.parts)
        self._reached[key] = max(last, self._reached.pop(key, 0))
        if len(self._reached) > _LINES_MAX:
            self._reached.popitem(last=False)

    async def is_overtaken(self, job: Job, discord_id: int, *, of_earlier_life: bool) -> bool:
        """Whether an answer to an earlier message of the author stands below this message of ours.

        Where the message may be `of_earlier_life`, the database is asked, too; one that does not
        answer in time is taken for a no.
        """
        if self._reached.get(job.order_key, 0) > discord_id:
            return True
        if not of_earlier_life:
            return False
        asked = job.inbound
        params = (discord_id, asked.message_id, asked.channel_id, asked.author_id)
        try:
            async with asyncio.timeout(_LOOK_S):
                return bool(await self._db.read(lambda session: session.execute(_BELOW, params)))
        except (LlmbotError, TimeoutError):
            return False
