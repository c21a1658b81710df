"""Questions whose stored words are damaged, made anew from where they were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from llmbot.conversation.jobs import Job, JobState, Priority
from llmbot.conversation.ledger.entries import Place
from llmbot.conversation.messages import ChannelMessage, Inbound, Source
from llmbot.kernel.events import Level


@dataclass(frozen=True, slots=True)
class QuestionDamaged:
    """What was stored of an open question is not what was asked."""

    level: ClassVar[Level] = Level.ERROR
    message_id: int
    found: bool
    """Whether it was read again on Discord; else nobody can answer it."""

    def describe(self) -> str:
        """See `Event.describe`."""
        end = "read again on Discord" if self.found else "a dead letter: it is not there any more"
        return f"Data validation failed: the stored words of message {self.message_id}; {end}"


def reread(message_id: int, place: Place, page: Sequence[ChannelMessage], now_s: float) -> Job:
    """The job of a question from what its channel says; without words where it is not there."""
    said = page[0] if page and page[0].id == message_id else None
    inbound = Inbound(
        message_id=message_id,
        channel_id=place.channel_id,
        guild_id=place.guild_id,
        author_id=place.author_id,
        author_name=said.author_name if said else "",
        content=said.content if said else "",
        source=Source.BACKFILLED,
        is_direct=place.is_direct,
        mentions_us=True,
        reply_to=said.reply_to if said else None,
        attachments=said.attachments if said else (),
    )
    # What an earlier life had sent of it is looked for before anything is said.
    return Job(
        inbound, Priority.USER, JobState.WAITING, created_s=now_s, due_s=now_s,
        in_flight_before=True,
    )  # fmt: skip
