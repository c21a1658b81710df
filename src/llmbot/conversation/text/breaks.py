"""Where one message ends: the best break of a bounded window of text.

The order of preference is paragraph, line, sentence, word, anywhere. The first four are taken only
in the second half of the room, so that no tiny message is left behind; a word or link that would
fit the next message whole is an exception, and stays whole.

The choice looks at a window of twice the message's length and a little more, never further. So it
costs the same at the end of a long answer as at its beginning, and while an answer is still
streaming it can be told whether more text could change it: `Cut.settled`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import regex

from llmbot.conversation.text.fences import FENCE_RUN_MAX, Fence, Region, regions_of
from llmbot.conversation.text.indivisible import Units, cluster_end, cluster_floor, content_end

_LOOKAHEAD = FENCE_RUN_MAX + 28
"""Characters beyond the room that tell whether its last line is a fence."""

_BLANK_LINE = regex.compile(r"(?r)\n[^\S\n]*+\n")
_SENTENCE_END = regex.compile(
    "(?r)"
    r"(?:[.!?\u2026][)\]\"'\u201d\u2019\u00bb*_]{0,3}(?=\s)"
    r"|[\u3002\uff01\uff1f\uff61][\u300d\u300f\u201d\u2019\uff09]?)"
)
_BLANK = re.compile(r"\s")
_LAST_BLANK = regex.compile(r"(?r)[\s\x1c-\x1f]")  # the four that str.isspace counts besides
_UNIT_BEGINS = re.compile(r"[`\[<]")


def window_length(max_length: int) -> int:
    """Give how many characters a choice may look at."""
    return 2 * max_length + _LOOKAHEAD


@dataclass(frozen=True, slots=True)
class Cut:
    """One part: window[begin:end], what is added to it, and the block that goes on after it."""

    begin: int
    end: int
    opening: str
    closing: str
    fence: Fence | None
    settled: bool
    """Whether no text after the window's end could change any of this."""


def choose_cut(
    window: str, content: int, fence: Fence | None, *, at_line_start: bool, max_length: int
) -> Cut:
    """Cut the first part off `window`.

    `content` is the length of all text from the window's start on without the whitespace at its
    end, which may be more than the window; `fence` is the code block that the text continues.
    """
    choice = _Choice(window, fence, at_line_start=at_line_start, max_length=max_length)
    if content <= choice.room:
        last = choice.regions[-1]
        closing = choice.closing_of(last.fence)
        if content + len(closing) <= choice.room:
            return Cut(0, content, choice.opening, closing, last.fence, settled=False)
    return choice.cut(overflows=content > choice.room)


class _Choice:
    """The candidates of one window."""

    def __init__(
        self, window: str, fence: Fence | None, *, at_line_start: bool, max_length: int
    ) -> None:
        self.text = window
        self.max_length = max_length
        self.opening = fence.framing(max_length)[0] if fence else ""
        self.room = max_length - len(self.opening)
        self.floor = max(1, self.room // 2)
        self.view = min(len(window), self.room + _LOOKAHEAD)
        self.regions = regions_of(
            window, fence, last=self.room, stop=self.view, at_line_start=at_line_start
        )

    def closing_of(self, fence: Fence | None) -> str:
        return fence.framing(self.max_length)[1] if fence else ""

    def limit(self, region: Region) -> int:
        """Give the last position of `region` where a part still has room for its closing."""
        return min(region.end, self.room - len(self.closing_of(region.fence)))

    def cut(self, *, overflows: bool) -> Cut:
        line = self._paragraph() or self._code_paragraph() or self._line()
        end = line or self._sentence() or self._word() or self._before_long_word()
        if end is None:
            end = self._outside_units(cluster_floor(self.text, self._last_limit))
            if end <= self._indentation and (bare := self._bare_unit(overflows=overflows)):
                return bare
            if end <= self._indentation:
                end = self._torn()
            elif end + len(self.closing_of(self._region_at(end).fence)) > self.room:
                end = self._last_limit
            end = content_end(self.text, end) or end
        region = self._region_at(end)
        settled = overflows and self._is_settled(lines_only=line is not None)
        fence = region.fence_at(self.text, end)
        return Cut(0, end, self.opening, self.closing_of(region.fence), fence, settled)

    def _region_at(self, position: int) -> Region:
        return next(r for r in reversed(self.regions) if r.start <= position)

    @cached_property
    def _last(self) -> Region:
        """The last region with any room in it."""
        return next((r for r in reversed(self.regions) if self.limit(r) > r.start), self.regions[0])

    @cached_property
    def _last_limit(self) -> int:
        return max(1, self.limit(self._last))

    @cached_property
    def _indentation(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    @cached_property
    def _line_begin(self) -> int:
        """Where the line of the last candidates begins; units never cross a line's end."""
        start = self._last.start
        return max(start, self.text.rfind("\n", start, max(start, self.floor)) + 1)

    @cached_property
    def _units(self) -> Units:
        return Units(
            self.text,
            self._line_begin,
            self._last_limit,
            length_max=self.max_length,
            code=self._last.fence is not None,
        )

    def _paragraph(self) -> int | None:
        """Break at a blank line of prose, before a code block, or after one."""
        for region in reversed(self.regions):
            if region.fence is not None:
                continue
            limit = self.limit(region)
            if region.before_opening:
                end = content_end(self.text, region.end)
                if self.floor <= end <= limit:
                    return end
            blank_line = self._blank_line(region, limit)
            if blank_line is not None:
                return blank_line
            if region.after_closing and self.floor <= region.start <= self.room:
                return region.start
        return None

    def _code_paragraph(self) -> int | None:
        for region in reversed(self.regions):
            if region.fence is not None:
                end = self._blank_line(region, self.limit(region))
                if end is not None and end >= region.code_start:
                    return end
        return None

    def _blank_line(self, region: Region, limit: int) -> int | None:
        low, high = max(region.start, self.floor), min(region.end, limit + 2)
        found = _BLANK_LINE.search(self.text, low, high) if low < high else None
        if found is None:
            return None
        end = content_end(self.text, found.start())
        return end if self.floor <= end <= limit and end > region.start else None

    def _line(self) -> int | None:
        """Break at a line's end, but not so as to part a fence from its code."""
        for region in reversed(self.regions):
            low = max(region.code_start, self.floor) if region.fence else self.floor
            low = max(region.start, low)
            high = self.limit(region) + 1
            if region.closed:
                high = min(high, region.end - 1)
            at = self.text.rfind("\n", low, high) if low < high else -1
            end = content_end(self.text, at) if at > 0 else 0
            if end >= max(low, 1):
                return end
        return None

    def _sentence(self) -> int | None:
        region, limit = self._last, self._last_limit
        if region.fence is not None:
            return None
        low, high = max(region.start, self.floor), limit + 1
        while low < high and (found := _SENTENCE_END.search(self.text, low, high)):
            end = int(found.end())
            unit = self._units.around(end)
            if end <= limit and unit is None and cluster_floor(self.text, end) == end:
                return end
            high = min(end - 1, unit[0]) if unit else end - 1
        return None

    def _word(self) -> int | None:
        low, limit = max(self._last.start, self.floor), self._last_limit
        high = limit + 1
        while low < high and (found := _LAST_BLANK.search(self.text, low, high)):
            at = int(found.start())
            unit = self._units.around(at)
            if unit is not None:
                high = unit[0]
                continue
            end = content_end(self.text, at)
            if end < low:
                return None
            if end <= limit and cluster_floor(self.text, end) == end:
                return end
            high = at
        return None

    def _before_long_word(self) -> int | None:
        """Break before a word that is cut here but fits the next part whole, however early."""
        limit = self._last_limit
        if self.text[limit : limit + 1].isspace():
            return None
        found = _LAST_BLANK.search(self.text, 0, limit)
        if found is None:
            return None
        begin = int(found.start()) + 1
        unit = self._units.around(begin)
        if unit is not None:
            return None  # a blank inside a link: the way out is before the link
        after = _BLANK.search(self.text, limit)
        word_end = after.start() if after else len(self.text)
        end = content_end(self.text, begin)
        region = self._region_at(end)
        framing = region.fence.framing(self.max_length) if region.fence else ("", "")
        if word_end - begin > self.max_length - len(framing[0]) - len(framing[1]):
            return None
        fits = end <= self.limit(region) and cluster_floor(self.text, end) == end
        return end if end > 0 and fits else None

    def _outside_units(self, end: int) -> int:
        """Move `end` back until it cuts neither a unit nor a cluster."""
        while (unit := self._units.around(end)) is not None:
            end = cluster_floor(self.text, unit[0])
        return end

    def _torn(self) -> int:
        """Cut through a cluster that no message can hold; where it is the last resort."""
        if self._last_limit == self.room:
            return self.room
        whole = cluster_end(self.text, 0)
        closing = self.closing_of(self._region_at(whole).fence)
        return whole if whole + len(closing) <= self.room else self._last_limit

    def _bare_unit(self, *, overflows: bool) -> Cut | None:
        """Send alone, without its fence, what fits a message but not one with a fence."""
        if not self.opening:
            return None
        begin = self._indentation
        end = max(self._units.at(begin), cluster_end(self.text, begin))
        if end - begin > self.max_length:
            return None
        fence = self.regions[0].fence_at(self.text, end)
        seen = len(self.text) == window_length(self.max_length)
        return Cut(begin, end, "", "", fence, settled=overflows and seen)

    def _is_settled(self, *, lines_only: bool) -> bool:
        """Say whether all that the choice looked at is in the window."""
        text, room = self.text, self.room
        if len(text) == window_length(self.max_length) or text.find("\n", room) >= 0:
            return True
        if len(text) < room + _LOOKAHEAD or lines_only:
            return lines_only and len(text) >= room + _LOOKAHEAD
        return (
            _BLANK.search(text, self._last_limit) is not None
            and _UNIT_BEGINS.search(text, self._line_begin, self._last_limit) is None
        )
