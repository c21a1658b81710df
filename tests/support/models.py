"""A model that says what a test wants, by the laws of `ports.Model`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field

from llmbot.conversation.ports import Finish, FinishReason, ModelDeadlines, Prompt, Words
from llmbot.kernel.errors import LlmbotError

Piece = str | LlmbotError | FinishReason | asyncio.Event


def echo(prompt: Prompt) -> Iterable[Piece]:
    """Answer with the question, word by word."""
    text = prompt.turns[-1].text.split("\n", 1)[1].rsplit("\n", 1)[0]
    return [f"You said: {text}"]


@dataclass(slots=True)
class ScriptedModel:
    """Answers each prompt with the pieces that `script` gives for it.

    A text is words, an error is raised, an event is waited for, a finish reason ends the stream
    (STOP where the script names none).
    """

    script: Callable[[Prompt], Iterable[Piece]] = echo
    name: str = "scripted-1"
    provider: str = "scripted"
    prompts: list[Prompt] = field(default_factory=list)

    async def stream(
        self, prompt: Prompt, deadlines: ModelDeadlines
    ) -> AsyncGenerator[Words | Finish]:
        """See `Model.stream`."""
        del deadlines
        self.prompts.append(prompt)
        for piece in self.script(prompt):
            if isinstance(piece, LlmbotError):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, FinishReason):
                yield Finish(piece, self.name, 10, 10)
                return
            else:
                yield Words(piece)
        yield Finish(FinishReason.STOP, self.name, 10, 10)
