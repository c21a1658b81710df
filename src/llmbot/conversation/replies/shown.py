"""The parts of one reply as they stand on Discord, and their record."""

from __future__ import annotations

from dataclasses import dataclass

from llmbot.conversation.jobs import Job, SentPart
from llmbot.conversation.ledger.parts import Parts
from llmbot.conversation.ports import Sent


@dataclass(slots=True)
class ShownPart:
    """A part as it stands on Discord; `text` is None where only its id is known.

    `spoken` says that it holds words of the answer that this attempt put there.
    """

    discord_id: int
    text: str | None
    spoken: bool = False


class Shown:
    """The parts in their order; each change goes into the job and its record."""

    def __init__(self, job: Job, parts: Parts) -> None:
        """Begin with what the record of `job` says; write to `parts`."""
        self._job = job
        self._parts = parts
        self._shown = [ShownPart(part.discord_id, None) for part in job.parts]

    def __len__(self) -> int:
        """How many stand there."""
        return len(self._shown)

    def __getitem__(self, number: int) -> ShownPart:
        """One part; -1 is the last."""
        return self._shown[number]

    def add(self, discord_id: int, text: str) -> None:
        """A part was sent."""
        self._shown.append(ShownPart(discord_id, text))
        self._record()

    def drop_last(self) -> None:
        """The last part was deleted: as its nonce may give it back, its successor has another."""
        gone = self._shown.pop()
        self._job.gone[len(self._shown)] = gone.discord_id
        self._record()

    def take_in(self, found: list[Sent]) -> None:
        """A look has found these.

        It may have ended before the last part. Up to what it has found it is sure: what is recorded
        of that and was not found is gone.
        """
        texts = {sent.id: sent.content for sent in found}
        reached = max(texts, default=0)
        stands = {}
        for number, shown in enumerate(self._shown):
            if shown.discord_id in texts or shown.discord_id > reached:
                shown.text = texts.pop(shown.discord_id, shown.text)
                stands[shown.discord_id] = shown
            else:
                self._job.gone[number] = shown.discord_id
        stands |= {discord_id: ShownPart(discord_id, text) for discord_id, text in texts.items()}
        self._shown = [stands[discord_id] for discord_id in sorted(stands)]
        self._record()

    def _record(self) -> None:
        """Keep which parts there are, where that has changed."""
        job, before = self._job, self._job.parts
        job.parts = tuple(SentPart(n, shown.discord_id) for n, shown in enumerate(self._shown))
        for part in job.parts:
            if part not in before:
                self._parts.sent(job.message_id, part.part, part.discord_id)
        for part in before:
            if part.part >= len(job.parts):
                self._parts.dropped(job.message_id, part.part)


__all__ = ["Shown", "ShownPart"]
