"""The laws of a model's stream and its deadlines, kept here once for every provider.

An adapter turns its wire into `Piece`s; `lawful` makes of them what `conversation.ports.Model`
promises. Below it stands `model_transport`, which knows connections and lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llmbot.adapters.models.transport import timed_out
from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Words
from llmbot.kernel.errors import (
    ModelEmptyError,
    ModelGarbledError,
    ModelStreamCutError,
    TransientError,
)

LINGER_S: Final = 1.0
"""How long the rest of a stream is awaited once the finish reason is here: it holds the figures of
usage, and a connection read to its end can serve again. Servers send it with the finish reason."""


class Ending(StrEnum):
    """What a provider's finish reason means for the answer, where it is no error."""

    STOP = "stop"
    LENGTH = "length"
    UNKNOWN = "unknown"
    """A reason this version does not know: whole where there are words, else not understood."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a provider counted."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_thought: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk of a provider's stream, understood."""

    text: str = ""
    ending: Ending | None = None
    usage: Usage | None = None
    model: str = ""


class Patience:
    """Counts down the deadlines of one call; begins with the waiting for the first words.

    The time that a reader takes between two pieces counts towards the whole answer alone.
    """

    __slots__ = ("_between_s", "_end", "_loop", "_stage", "_whole_end")

    def __init__(self, deadlines: ModelDeadlines) -> None:
        """Begin now."""
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._between_s = deadlines.between_words_s
        self._whole_end = now + deadlines.whole_answer_s
        self._end = now + deadlines.first_words_s
        self._stage = "first_words"

    def heard_words(self) -> None:
        """Await the next words from now on."""
        self._end = self._loop.time() + self._between_s
        self._stage = "between_words"

    def heard_ending(self) -> None:
        """Await nothing but the end of the stream from now on."""
        self._end = self._loop.time() + LINGER_S

    async def next_of(self, pieces: AsyncGenerator[Piece]) -> Piece | None:
        """The next piece, or None at the end.

        Raises:
            ModelTimeoutError: the deadline of the stage has passed.
        """
        late_as_a_whole = self._whole_end < self._end
        timer = asyncio.timeout_at(self._whole_end if late_as_a_whole else self._end)
        try:
            async with timer:
                return await anext(pieces, None)
        except TimeoutError:
            if not timer.expired():
                raise
        raise timed_out("whole_answer" if late_as_a_whole else self._stage)


async def lawful(
    pieces: AsyncGenerator[Piece], *, model: str, deadlines: ModelDeadlines
) -> AsyncGenerator[Words | Finish]:
    """The stream that `conversation.ports.Model` promises, made of a provider's pieces.

    White space before the first word is held back until there is one, so that an answer of nothing
    but white space counts as empty. `pieces` is closed on every way out.
    """
    patience = Patience(deadlines)
    ending: Ending | None = None
    usage, held, spoken = Usage(), "", False
    try:
        while (piece := await _next_piece(patience, pieces, ended=ending is not None)) is not None:
            usage = piece.usage or usage
            model = piece.model or model
            if piece.text:
                held += piece.text
                if spoken or not held.isspace():
                    words, held, spoken = Words(held), "", True
                    yield words
                    patience.heard_words()
            if piece.ending is not None:
                ending = piece.ending
                patience.heard_ending()
        yield _finish(ending, usage, model, spoken=spoken)
    finally:
        await pieces.aclose()


async def _next_piece(
    patience: Patience, pieces: AsyncGenerator[Piece], *, ended: bool
) -> Piece | None:
    """The next piece; once the answer is whole, trouble with the rest is no trouble of ours."""
    try:
        return await patience.next_of(pieces)
    except TransientError:
        if not ended:
            raise
        return None


def _finish(ending: Ending | None, usage: Usage, model: str, *, spoken: bool) -> Finish:
    if ending is None:
        raise ModelStreamCutError
    if not spoken and ending is Ending.STOP:
        raise ModelEmptyError
    if not spoken and ending is Ending.UNKNOWN:
        raise ModelGarbledError("The model finished without a word, for a reason not known here.")
    reason = FinishReason.LENGTH if ending is Ending.LENGTH else FinishReason.STOP
    return Finish(reason, model, usage.tokens_in, usage.tokens_out, usage.tokens_thought)
