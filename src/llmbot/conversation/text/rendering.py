"""The answer as it is sent: the model's words and, small beneath, what must be said of them."""

from __future__ import annotations

from collections.abc import Sequence

from llmbot.conversation.attachments import Files
from llmbot.conversation.generation import Answer
from llmbot.conversation.text.notices import notice


def render_answer(
    answer: Answer,
    files: Files,
    locale: str,
    *,
    stand_in_note: bool = True,
    more: Sequence[str] = (),
) -> str:
    """The final text; footnotes in Discord's subtext markup, one line each."""
    footnotes = [*more, *files.footnotes(locale)]
    if answer.ended == "length":
        footnotes.append(notice("cut", locale))
    if answer.ended == "blocked":
        footnotes.append(notice("blocked_partly", locale))
    if answer.stand_in and stand_in_note:
        footnotes.append(notice("stand_in", locale, name=answer.model))
    if not footnotes:
        return answer.text
    return answer.text + "\n\n" + "\n".join(f"-# {line}" for line in footnotes)
