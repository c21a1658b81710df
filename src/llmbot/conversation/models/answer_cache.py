"""Answers given earlier, for the same question asked again while no model can answer.

Honest within limits: the same words in the same channel (what was said there was said to all who
read there), a question that stands on its own, an answer that was whole and is not old; and the
reply says what it is and how old. Kept in memory only, and never between channels.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from dataclasses import dataclass

from llmbot.conversation.jobs import Job
from llmbot.conversation.text.notices import notice, span
from llmbot.conversation.transcript import strip_address
from llmbot.kernel.clock import Clock

__all__ = ["AnswerCache", "CacheSettings", "Cleared"]

_OVERHEAD_BYTES = 400
"""About what an entry costs beside its texts."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Limits of what is kept."""

    age_max_s: float = 3600.0
    """0 keeps nothing."""
    entries_max: int = 1000
    answer_characters_max: int = 8000
    question_characters_max: int = 1000
    words_min: int = 3
    """A shorter question leans on what was said before it."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What an emptied cache held."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: str
    at: float


class AnswerCache:
    """The last answers by channel, persona and question."""

    def __init__(self, clock: Clock, persona: str, settings: CacheSettings) -> None:
        """Keep answers of this persona."""
        self._clock = clock
        self.persona = persona
        self.settings = settings
        self._kept: OrderedDict[tuple[int, str, str], _Kept] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return sum(
            _OVERHEAD_BYTES + len(key[2]) + len(kept.answer) for key, kept in self._kept.items()
        )

    def keep(self, job: Job, answer: str) -> None:
        """Remember a whole answer to a question that stands on its own."""
        key = self._key(job)
        if key is None or len(answer) > self.settings.answer_characters_max:
            return
        self._kept[key] = _Kept(answer, self._clock.monotonic())
        self._kept.move_to_end(key)
        if len(self._kept) > self.settings.entries_max:
            self._kept.popitem(last=False)

    def find(self, job: Job) -> str | None:
        """The earlier answer to the same question, saying what it is; None where there is none."""
        key = self._key(job)
        kept = None if key is None else self._kept.get(key)
        if key is None or kept is None:
            return None
        age_s = self._clock.monotonic() - kept.at
        if age_s > self.settings.age_max_s:
            del self._kept[key]
            return None
        locale = job.inbound.locale
        return f"{kept.answer}\n\n-# {notice('cached', locale, wait=span(age_s, locale))}"

    def forget(self, channel_id: int) -> None:
        """Forget what was answered in a channel."""
        for key in [key for key in self._kept if key[0] == channel_id]:
            del self._kept[key]

    def clear(self) -> Cleared:
        """Forget all."""
        cleared = Cleared(len(self), self.bytes)
        self._kept.clear()
        return cleared

    def _key(self, job: Job) -> tuple[int, str, str] | None:
        """What must be equal for the same answer to do; None where none would."""
        inbound = job.inbound
        if self.settings.age_max_s <= 0 or inbound.attachments or inbound.reply_to is not None:
            return None
        # A mention anywhere is taken out: people write it before or after the same question.
        question = strip_address(inbound.content[: self.settings.question_characters_max + 1], None)
        words = unicodedata.normalize("NFKC", question).casefold().split()
        asked = [word for word in words if not (word.startswith("<@") and word.endswith(">"))]
        text = " ".join(asked).rstrip("?!. ")
        if len(asked) < self.settings.words_min:
            return None
        if len(text) > self.settings.question_characters_max:
            return None
        return (inbound.channel_id, job.rules.persona or self.persona, text)
