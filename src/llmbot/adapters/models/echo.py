"""A model that says what it was told: it shows that all around a model works, and costs nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from llmbot.conversation.generation import Prospect
from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Prompt, Words
from llmbot.kernel.errors import LlmbotError

__all__ = ["EchoModel", "OpenGuard"]

_END = "</message>"


class EchoModel:
    """`conversation.ports.Model`: repeats the last message of the prompt."""

    provider = "echo"
    name = "echo"

    async def stream(
        self, prompt: Prompt, deadlines: ModelDeadlines
    ) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`; word by word, so that the reply grows as a real one does."""
        del deadlines
        text = _said(prompt.turns[-1].text)
        words = text.split(" ")
        for number, word in enumerate(words):
            yield Words(word if number == len(words) - 1 else f"{word} ")
        yield Finish(FinishReason.STOP, self.name, tokens_in=len(words), tokens_out=len(words))


class OpenGuard:
    """`conversation.generation.Guard` and `Passage` of what costs nothing: everyone may pass."""

    def enter(self) -> OpenGuard:
        """See `Guard.enter`."""
        return self

    def check(self) -> None:
        """See `Guard.check`."""

    def prospect(self) -> Prospect:
        """See `Guard.prospect`."""
        return Prospect(ready=True, wait_s=0.0)

    def succeeded(self, duration_s: float) -> None:
        """See `Passage.succeeded`."""

    def failed(self, error: LlmbotError) -> None:
        """See `Passage.failed`."""

    def abandoned(self) -> None:
        """See `Passage.abandoned`."""


def _said(turn: str) -> str:
    """What stands inside the last wrapper of a turn; see `conversation.transcript`."""
    begin = turn.rfind("<message ")
    if begin < 0:
        return turn
    inner = turn[turn.find(">", begin) + 1 :]
    inner = inner.rpartition(_END)[0] if _END in inner else inner
    return inner.removeprefix("\n").removesuffix("\n")
