"""Split an answer into messages that Discord takes, and that read well.

Length is counted in Unicode code points, which is what `len` of a `str` counts. Discord's staff say
so ("Our API uses Python 3, so the API calculates length based on the number of codepoints",
discord/discord-api-docs issue 1315); serenity's MESSAGE_CODE_LIMIT and discordeno's validateLength
agree. Bots that count UTF-16 units are merely stricter than Discord; parts are not made smaller
for them.

The laws, for every text and every maximum length (tests/unit/test_splitting.py proves them):

- A part is its opening, then text[start:end], then its closing; opening and closing are the fence
  that reopens and closes a code block, or empty. Between two parts, before the first and after the
  last there is nothing but whitespace, so that no character is lost and none comes twice.
- A part has at most the maximum length, begins and ends with something to see (Discord trims a
  message and refuses an empty one with 50006), and closes each code block that it opens. The
  indentation of code is kept, for the fence stands before it; blank lines at a border are not.
- No part ends inside a grapheme cluster, a link, a mention, emoji or timestamp that a message could
  hold whole; nor, where another break is at hand, inside inline code, a word, a sentence.
- A message too small to hold a fence and some code carries the code bare.
- The work is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmbot.conversation.text.breaks import choose_cut, window_length
from llmbot.conversation.text.fences import Fence
from llmbot.conversation.text.indivisible import joins_backwards
from llmbot.kernel.errors import DefectError

DISCORD_MESSAGE_LENGTH_MAX = 2000
"""Characters in the longest message of a bot (Discord documentation, Create Message)."""

MAX_LENGTH_MIN = 1
MAX_LENGTH_MAX = 4000
"""Characters in the longest content that Discord's own schema names (MessageCreateRequest)."""

_BLANKS = re.compile(r"\s*")


class MaxLengthError(DefectError, ValueError):
    """The maximum length of a message must be from 1 to 4000."""

    code = "max_length"
    remedy = "Pass max_length from 1 to 4000; Discord takes 2000 from a bot."


@dataclass(frozen=True, slots=True)
class PartSpan:
    """One part: the text's characters [start, end) between the fences that were added."""

    start: int
    end: int
    opening: str = ""
    closing: str = ""

    def of(self, text: str) -> str:
        """Give the part as it is sent."""
        return f"{self.opening}{text[self.start : self.end]}{self.closing}"


def split_message(text: str, max_length: int = DISCORD_MESSAGE_LENGTH_MAX) -> list[str]:
    """Split `text` into messages of at most `max_length` characters; blank text gives none.

    Raises:
        MaxLengthError: `max_length` is not from 1 to 4000.
    """
    return [span.of(text) for span in split_spans(text, max_length)]


def split_spans(text: str, max_length: int = DISCORD_MESSAGE_LENGTH_MAX) -> list[PartSpan]:
    """Split as `split_message` does, and say where in `text` each part comes from.

    Raises:
        MaxLengthError: `max_length` is not from 1 to 4000.
    """
    _check(max_length)
    return [step.span for step in _walk(text, _BEGIN, max_length)]


def cut_text(text: str, characters_max: int) -> Iterator[str]:
    """Cut a long text at the same borders into pieces of any size; lazily, blank text gives none.

    The same laws hold as for messages: paragraphs before lines before sentences before words, code
    blocks closed and opened again, nothing torn that could stay whole, linear work.
    """
    return (step.span.of(text) for step in _walk(text, _BEGIN, characters_max))


def split_growing(text: str, max_length: int = DISCORD_MESSAGE_LENGTH_MAX) -> tuple[list[str], int]:
    """Split text that may still grow; say how many leading parts no further text can change.

    The parts are those of `split_message`. The last one always may change.

    Raises:
        MaxLengthError: `max_length` is not from 1 to 4000.
    """
    growing = GrowingSplit(max_length)
    growing.feed(text)
    return growing.parts(), growing.stable


class GrowingSplit:
    """Splits an answer while it streams; parts that can no longer change are not split again.

    However many chunks an answer comes in, a chunk costs at most one look at a window.
    """

    def __init__(self, max_length: int = DISCORD_MESSAGE_LENGTH_MAX) -> None:
        """Begin an empty answer.

        Raises:
            MaxLengthError: `max_length` is not from 1 to 4000.
        """
        _check(max_length)
        self._max_length = max_length
        self._stable: list[str] = []
        self._tail = ""
        self._blanks: list[str] = []
        self._state = _BEGIN

    @property
    def stable(self) -> int:
        """How many leading parts no further text can change."""
        return len(self._stable)

    def feed(self, chunk: str) -> None:
        """Take the next piece of the answer."""
        if not chunk or chunk.isspace():
            self._blanks.append(chunk)  # whitespace alone changes no part
            return
        self._tail += "".join(self._blanks) + chunk
        self._blanks.clear()
        if len(self._tail) <= self._max_length - _opening_length(self._state, self._max_length):
            return
        position = 0
        for step in _walk(self._tail, self._state, self._max_length):
            if not step.settled:
                break
            self._stable.append(step.span.of(self._tail))
            self._state, position = step.state, step.resume
        self._tail = self._tail[position:]

    def parts(self) -> list[str]:
        """Give the parts of the answer so far, as `split_message` would."""
        steps = _walk(self._tail, self._state, self._max_length)
        return self._stable + [step.span.of(self._tail) for step in steps]


@dataclass(frozen=True, slots=True)
class _State:
    """What a part must know of the text before it."""

    fence: Fence | None
    at_line_start: bool


@dataclass(frozen=True, slots=True)
class _Step:
    """One part, where the text goes on after it, and in which state."""

    span: PartSpan
    resume: int
    state: _State
    settled: bool


_BEGIN = _State(fence=None, at_line_start=True)


def _check(max_length: int) -> None:
    if not MAX_LENGTH_MIN <= max_length <= MAX_LENGTH_MAX:
        raise MaxLengthError(
            f"max_length must be from {MAX_LENGTH_MIN} to {MAX_LENGTH_MAX}, not {max_length}"
        )


def _opening_length(state: _State, max_length: int) -> int:
    return len(state.fence.framing(max_length)[0]) if state.fence else 0


def _walk(text: str, state: _State, max_length: int) -> Iterator[_Step]:
    """Cut part after part off `text`."""
    content_end = len(text.rstrip())
    breadth = window_length(max_length)
    start = 0
    if state is _BEGIN:
        start = _resume(text, 0, None, max_length)
    while start < content_end:
        cut = choose_cut(
            text[start : start + breadth],
            content_end - start,
            state.fence,
            at_line_start=state.at_line_start,
            max_length=max_length,
        )
        end = start + cut.end
        span = PartSpan(start + cut.begin, end, cut.opening, cut.closing)
        start = _resume(text, end, cut.fence, max_length)
        state = _State(cut.fence, at_line_start=_begins_line(text, end, start))
        yield _Step(span, start, state, cut.settled)


def _resume(text: str, end: int, fence: Fence | None, max_length: int) -> int:
    """Give where the next part begins: code keeps its indentation, prose begins with a word."""
    blanks = _BLANKS.match(text, end)
    content = blanks.end() if blanks else end
    opening, closing = fence.framing(max_length) if fence else ("", "")
    if opening:
        newline = text.rfind("\n", end, content)
        begin = newline + 1 if newline >= 0 else end
        # Indentation that would fill the part is whitespace like any other.
        if content - begin < (max_length - len(opening) - len(closing)) // 2:
            return begin
    if content > end and max_length > 1 and joins_backwards(text, content):
        return content - 1  # a space that carries a combining mark is no blank
    return content


def _begins_line(text: str, end: int, start: int) -> bool:
    return text.find("\n", end, start) >= 0


__all__ = [
    "DISCORD_MESSAGE_LENGTH_MAX",
    "GrowingSplit",
    "MaxLengthError",
    "PartSpan",
    "cut_text",
    "split_growing",
    "split_message",
    "split_spans",
]
