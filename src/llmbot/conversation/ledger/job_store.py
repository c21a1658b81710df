"""Claims, queue, sent parts and their story in the durable database: one statement of truth.

Every function that writes submits its work at once and returns a future; what must be durable
before the next step is awaited, what may trail behind is not. Works on SQLite and PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmbot.conversation.jobs import ENDED, Job, JobState, Priority
from llmbot.conversation.ledger.job_rows import jobs_of
from llmbot.conversation.ledger.known_claims import KnownClaims
from llmbot.conversation.ledger.parts import SAVE_PART, Parts
from llmbot.conversation.ledger.payloads import dump_inbound
from llmbot.conversation.ledger.schema import SET_META
from llmbot.conversation.ledger.sealed import seal
from llmbot.conversation.ledger.story import StoryLine, story_of, tell
from llmbot.conversation.ledger.sure_writes import SureWrites
from llmbot.conversation.memory.journal import Remembered, write_turns
from llmbot.conversation.messages import Inbound, SessionCursor
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.ids import Owner
from llmbot.storage.database.opening import Database, Row, Session

_CLAIM = """
INSERT INTO jobs (message_id, channel_id, guild_id, author_id, is_direct, priority, state, attempts,
                  owner, created_s, due_s, updated_s, payload)
VALUES (?, ?, ?, ?, ?, ?, 'waiting', 0, '', ?, ?, ?, ?)
ON CONFLICT (message_id) DO NOTHING RETURNING message_id
"""

_SELECT_JOB = """
SELECT message_id, priority, state, attempts, created_s, due_s,
       payload, answer, answer_note, noticed
FROM jobs
"""

_SELECT_UNFINISHED = (
    _SELECT_JOB
    + """
WHERE state NOT IN ('done', 'noticed', 'dead') AND message_id > ? ORDER BY message_id LIMIT ?
"""
)

_PRUNE = """
DELETE FROM jobs WHERE message_id IN (
    SELECT message_id FROM jobs
    WHERE message_id < ? AND state IN ('done', 'noticed', 'dead') ORDER BY message_id LIMIT ?
) RETURNING message_id
"""

_TRAILING = frozenset({JobState.LEASED, JobState.GENERATING})
"""States that others follow soon; a lost word of them costs nothing."""


class JobStore:
    """The queue's durable side; `Database` decides when a write is on the disk."""

    def __init__(self, database: Database, clock: Clock, owner: Owner) -> None:
        """Write as `owner`, so that a later life knows whose leases these were."""
        self._db = database
        self._clock = clock
        self._owner = str(owner)
        self.sure = SureWrites(database)
        self.parts = Parts(database, self.sure, clock)
        self.known = KnownClaims(database)

    # ── the claim ───────────────────────────────────────────────────────────────────────────────

    def claim(
        self,
        inbound: Inbound,
        priority: Priority,
        cursor: SessionCursor | None,
        *,
        after: int | None = None,
    ) -> asyncio.Future[bool]:
        """Claim and enqueue in one commit, with the session's place; False for a duplicate.

        Refused as if by the disk while the message `after` which it may come is not claimed.
        """
        now = self._clock.wall()
        row = (
            inbound.message_id,
            inbound.channel_id,
            inbound.guild_id,
            inbound.author_id,
            int(inbound.is_direct),
            int(priority),
            now,
            now,
            now,
            dump_inbound(inbound),
        )
        place = None if cursor is None else _cursor_text(cursor)

        def work(session: Session) -> bool:
            known = "SELECT 1 FROM jobs WHERE message_id = ?"
            if after is not None and not session.execute(known, (after,)):
                raise StoreUnavailableError("an earlier message of its author is not stored yet")
            fresh = bool(session.execute(_CLAIM, row))
            if fresh:
                tell(session, inbound.message_id, now, "claimed", inbound.source)
            if place is not None:
                session.execute(SET_META, ("gateway_session", place))
            return fresh

        return self.known.hear(inbound.message_id, self._db.write(work))

    # ── moving on ───────────────────────────────────────────────────────────────────────────────

    def move(
        self,
        job: Job,
        after: JobState,
        reason: str,
        *,
        remember: Sequence[Remembered] = (),
        memory_max: int = 0,
        unproven: str | None = None,
    ) -> asyncio.Future[None]:
        """Write the job as it stands now, in its new state; an end forgets its texts.

        Only what is `unproven`, the reply as it was delivered, is kept until `proven`.

        An end names all parts of the reply once more: whatever became of the trailing writes, what
        stands on Discord for an ended message and is not in its record is a surplus.

        `remember` goes into the conversation's memory in the same commit, which is then cut to the
        `memory_max` newest turns.
        """
        now = self._clock.wall()
        ended = after in ENDED and after is not JobState.DEAD
        owner = "" if after in ENDED or after is JobState.WAITING else self._owner
        row = (
            after.value,
            job.attempts,
            owner,
            job.due_s,
            now,
            _sealed(unproven if ended else job.answer),
            job.answer_note,
            job.noticed,
            job.message_id,
        )
        message_id, channel_id = job.message_id, job.inbound.channel_id
        parts = job.parts if after in ENDED else ()
        if after is JobState.DONE:
            self.parts.answered(job)

        def work(session: Session) -> None:
            for sent in parts:
                session.execute(SAVE_PART, (message_id, sent.part, sent.discord_id, now))
            session.execute(
                "UPDATE jobs SET state = ?, attempts = ?, owner = ?, due_s = ?, updated_s = ?, "
                "answer = ?, answer_note = ?, noticed = ? WHERE message_id = ?",
                row,
            )
            if ended:
                session.execute(
                    "UPDATE jobs SET payload = ? WHERE message_id = ?", ("", message_id)
                )
            tell(session, message_id, now, after.value, reason)
            if remember:
                write_turns(session, channel_id, remember, memory_max)

        return self.sure.write((message_id, "state"), work, trailing=after in _TRAILING)

    def proven(self, message_ids: Sequence[int]) -> asyncio.Future[None]:
        """Forget the texts of replies that stand as they were delivered, or are past helping."""

        def work(session: Session) -> None:
            for message_id in message_ids:
                session.execute(
                    "UPDATE jobs SET answer = NULL "
                    "WHERE message_id = ? AND state IN ('done', 'noticed')",
                    (message_id,),
                )

        return self._db.write(work)

    def amend(self, job: Job) -> asyncio.Future[None]:
        """Keep the question as its author edited it, and forget the answer to the former one."""
        payload, answer = dump_inbound(job.inbound), _sealed(job.answer)
        message_id = job.message_id

        def work(session: Session) -> None:
            session.execute(
                "UPDATE jobs SET payload = ?, answer = ? "
                "WHERE message_id = ? AND state NOT IN ('done', 'noticed')",
                (payload, answer, message_id),
            )

        return self.sure.write((message_id, "question"), work)

    def tell(
        self, message_id: int, fact: str, detail: str, *, trailing: bool = False
    ) -> asyncio.Future[None]:
        """Add a line to a message's story; one that nobody waits for is `trailing`."""
        told = (message_id, self._clock.wall(), fact, detail)
        return self._db.write(lambda session: tell(session, *told), trailing=trailing)

    # ── reading back ────────────────────────────────────────────────────────────────────────────

    async def unfinished(self, after_id: int = 0, limit: int = 500) -> list[Job]:
        """Jobs of earlier lives that have not ended, oldest first, a page at a time.

        A row that cannot be read comes to nobody's queue; the reconciler looks after those.
        """

        def work(session: Session) -> list[Job]:
            return jobs_of(session, session.execute(_SELECT_UNFINISHED, (after_id, limit)))

        return await self._db.read(work)

    async def job(self, message_id: int) -> Job | None:
        """One job as it is stored, or None where the id was never claimed or has ended long ago."""

        def work(session: Session) -> list[Job]:
            return jobs_of(
                session, session.execute(f"{_SELECT_JOB} WHERE message_id = ?", (message_id,))
            )

        found = await self._db.read(work)
        return found[0] if found else None

    async def state_of(self, message_id: int) -> JobState | None:
        """The state of a message that was claimed, None for one that never was."""

        def work(session: Session) -> list[Row]:
            return session.execute("SELECT state FROM jobs WHERE message_id = ?", (message_id,))

        rows = await self._db.read(work)
        return JobState(str(rows[0][0])) if rows else None

    async def story(self, message_id: int) -> list[StoryLine]:
        """What happened to a message, in order."""
        return await self._db.read(lambda session: story_of(session, message_id))

    async def counts(self) -> dict[str, int]:
        """How many jobs stand in each state."""

        def work(session: Session) -> list[Row]:
            return session.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state")

        return {str(state): int(count) for state, count in await self._db.read(work)}

    async def last_claimed(self, channels_max: int) -> list[tuple[int, int, bool]]:
        """(channel, newest claimed message, is direct) of the channels last spoken in."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT channel_id, MAX(message_id), MAX(is_direct) FROM jobs "
                "GROUP BY channel_id ORDER BY 2 DESC LIMIT ?",
                (channels_max,),
            )

        return [(int(c), int(m), bool(d)) for c, m, d in await self._db.read(work)]

    async def direct_channels(self, channels_max: int) -> list[int]:
        """The direct channels that were spoken in, the newest first."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT channel_id FROM jobs WHERE is_direct = 1 "
                "GROUP BY channel_id ORDER BY MAX(message_id) DESC LIMIT ?",
                (channels_max,),
            )

        return [int(channel_id) for (channel_id,) in await self._db.read(work)]

    # ── small facts ─────────────────────────────────────────────────────────────────────────────

    def set_meta(self, name: str, value: str) -> asyncio.Future[None]:
        """Keep a small fact under a name."""

        def work(session: Session) -> None:
            session.execute(SET_META, (name, value))

        return self._db.write(work)

    async def meta(self, name: str) -> str | None:
        """A small fact kept earlier."""

        def work(session: Session) -> list[Row]:
            return session.execute("SELECT value FROM meta WHERE name = ?", (name,))

        rows = await self._db.read(work)
        return str(rows[0][0]) if rows else None

    async def metas(self, prefix: str) -> list[tuple[str, str]]:
        """All small facts whose names begin so."""

        def work(session: Session) -> list[Row]:
            return session.execute(
                "SELECT name, value FROM meta WHERE name >= ? AND name < ? ORDER BY name",
                (prefix, prefix + "\uffff"),
            )

        return [(str(name), str(value)) for name, value in await self._db.read(work)]

    async def session_cursor(self) -> SessionCursor | None:
        """The place in the gateway's stream that an earlier life had stored."""
        text = await self.meta("gateway_session")
        if not text or text.count("\n") != 2:  # noqa: PLR2004 - three fields, see _cursor_text
            return None
        session_id, sequence, resume_url = text.split("\n")
        return SessionCursor(session_id, int(sequence), resume_url)

    def keep_cursor(self, cursor: SessionCursor | None) -> asyncio.Future[None]:
        """Store the session's place outside of a claim, or forget a session that is no more."""
        return self.set_meta("gateway_session", "" if cursor is None else _cursor_text(cursor))

    def prune(self, ended_before_id: int, rows_max: int = 1000) -> asyncio.Future[int]:
        """Forget ended jobs older than a message id, a bounded number at a time."""

        def work(session: Session) -> int:
            rows = session.execute(_PRUNE, (ended_before_id, rows_max))
            for (message_id,) in rows:
                session.execute("DELETE FROM parts WHERE message_id = ?", (message_id,))
                session.execute("DELETE FROM story WHERE message_id = ?", (message_id,))
            return len(rows)

        return self._db.write(work)


def _cursor_text(cursor: SessionCursor) -> str:
    return f"{cursor.session_id}\n{cursor.sequence}\n{cursor.resume_url}"


def _sealed(answer: str | None) -> str | None:
    return None if answer is None else seal(answer)
