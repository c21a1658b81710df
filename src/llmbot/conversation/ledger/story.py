"""What happened to a message, line by line, as the ledger tells it."""

from __future__ import annotations

from dataclasses import dataclass

from llmbot.storage.database.opening import Session


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One line of a message's story in the ledger."""

    wall_s: float
    fact: str
    detail: str


def tell(session: Session, message_id: int, wall_s: float, fact: str, detail: str) -> None:
    """Add a line to a message's story."""
    session.execute(
        "INSERT INTO story (message_id, number, at_s, fact, detail) VALUES (?, "
        "(SELECT COALESCE(MAX(number), 0) + 1 FROM story WHERE message_id = ?), ?, ?, ?)",
        (message_id, message_id, wall_s, fact, detail),
    )


def story_of(session: Session, message_id: int) -> list[StoryLine]:
    """What happened to a message, in order."""
    rows = session.execute(
        "SELECT at_s, fact, detail FROM story WHERE message_id = ? ORDER BY number", (message_id,)
    )
    return [StoryLine(float(at), str(fact), str(detail)) for at, fact, detail in rows]
