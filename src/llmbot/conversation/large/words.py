"""What people are told of a long text: while it is read, and beside the answer."""

from __future__ import annotations

from collections.abc import Sequence

from llmbot.conversation.attachments import safe_name
from llmbot.conversation.text.notices import notice

__all__ = ["missing_words", "progress_words"]

BAR_CELLS = 16
_FULL, _EMPTY = "█", "░"
_RANGES_MAX = 12


def progress_words(title: str, done: int, total: int, locale: str, *, resting: bool) -> str:
    """A line with a bar; the bar is full only when all is done."""
    filled = BAR_CELLS * done // max(1, total)
    bar = f"`{_FULL * filled}{_EMPTY * (BAR_CELLS - filled)}` {done}/{total}"
    words = notice("context_reading", locale, name=f"`{safe_name(title)}`", reason=bar)
    return f"{words}\n-# {notice('context_resting', locale)}" if resting else words


def missing_words(missing: Sequence[int], total: int, locale: str) -> str:
    """Which parts the answer does not rest on; they are counted from 1."""
    name = f"{len(missing)}/{total}"
    return notice("context_parts", locale, name=name, reason=_ranges(missing))


def _ranges(numbers: Sequence[int]) -> str:
    """Such as 1, 3-5, 9."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges[:_RANGES_MAX]]
    return ", ".join(shown) + (", …" if len(ranges) > _RANGES_MAX else "")
