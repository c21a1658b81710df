"""Rows of the queue as jobs, as far as they are what was stored."""

from __future__ import annotations

import contextlib

from llmbot.conversation.jobs import Job, JobState, Priority, SentPart
from llmbot.conversation.ledger.payloads import load_inbound
from llmbot.conversation.ledger.sealed import unseal
from llmbot.storage.database.opening import Row, Session, Value


def jobs_of(session: Session, rows: list[Row]) -> list[Job]:
    """The jobs of rows with the columns of `job_store`, those that can be read."""
    jobs: list[Job] = []
    for row in rows:
        # A damaged one is left out: nobody may be answered what was never asked.
        with contextlib.suppress(ValueError):
            jobs.append(_job(session, row))
    return jobs


def _job(session: Session, row: Row) -> Job:
    message_id, priority, state, attempts, created, due, payload, answer, note, noticed = row
    inbound = load_inbound(str(payload))
    if inbound.message_id != message_id:
        raise ValueError("the row of another message")
    parts = session.execute(
        "SELECT part, discord_id FROM parts WHERE message_id = ? ORDER BY part", (message_id,)
    )
    return Job(
        inbound=inbound,
        priority=Priority(priority),
        state=JobState(str(state)),
        created_s=float(created or 0),
        due_s=float(due or 0),
        attempts=int(attempts or 0),
        answer=_unsealed(answer),
        answer_note=str(note or ""),
        noticed=str(noticed or ""),
        parts=tuple(SentPart(int(p), int(d)) for p, d in parts),
        in_flight_before=state in ("leased", "generating", "delivering"),
    )


def _unsealed(answer: Value) -> str | None:
    """The answer as it was stored; a damaged one is none: the model is asked again."""
    try:
        return None if answer is None else unseal(str(answer))
    except ValueError:
        return None
