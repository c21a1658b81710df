"""Code fences as Discord shows them: where code begins and ends, and how to reopen it.

The rules are CommonMark's (section 4.5, runs of three or more backticks or tildes, closed by a run
at least as long), widened where Discord is wider: its client takes a fence at any indentation,
after a list or quote mark, and closes it at the end of a line of code as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

FENCE_RUN_MAX = 100
"""Characters in the longest run that counts as a fence; a longer one is a drawn line, not code."""

LANGUAGE_LENGTH_MAX = 32
"""Characters in the longest language that is repeated; no highlighter knows a longer one."""

CODE_ROOM_MIN = 8
"""Characters of code that must fit between the added marks; with less, code goes out bare."""

_RUN = re.compile(r"`{3,}|~{3,}")
_LANGUAGE_ALONE = re.compile(r"(?:[A-Za-z][\w+#.-]*)?\s*\Z")


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code block: its run of marks and its language ("" where it names none)."""

    marks: str
    language: str

    def framing(self, max_length: int) -> tuple[str, str]:
        """Give what reopens and what closes this block in a message of `max_length` characters.

        The language is left out where it would take the room of the code. Both are empty where
        there is no room for any fence.
        """
        closing = "\n" + self.marks
        for opening in (self.marks + self.language + "\n", self.marks + "\n"):
            if len(opening) + len(closing) + CODE_ROOM_MIN <= max_length:
                return opening, closing
        return "", ""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch [start, end) of text that is all prose or all one code block.

    The lines' marks lie between two regions. `code_start` is where the opening line has ended;
    `before_opening` and `after_closing` say what the region borders on.
    """

    start: int
    end: int
    fence: Fence | None
    code_start: int
    after_closing: bool
    before_opening: bool = False
    closed: bool = False

    def fence_at(self, text: str, position: int) -> Fence | None:
        """Give the block that text after `position` continues; half a language is none."""
        fence = self.fence
        if fence is None or position >= self.code_start:
            return fence
        if not text[position : self.code_start].strip():
            return fence
        return replace(fence, language="")


def regions_of(
    text: str, fence: Fence | None, *, last: int, stop: int, at_line_start: bool
) -> list[Region]:
    """Tell prose from code in text[:stop], looking at runs that begin at `last` or before.

    `fence` is the block that the text continues; `at_line_start` says whether it begins a line.
    """
    if text.find("```", 0, stop) < 0 and text.find("~~~", 0, stop) < 0:
        return [Region(0, stop, fence, 0, after_closing=False)]
    regions: list[Region] = []
    start, code_start, line_start, line_end, runs_before = 0, 0, 0, -1, 0
    for run in _RUN.finditer(text, 0, stop):
        at = run.start()
        if at > last:
            break
        if at > line_end:
            line_start, runs_before = text.rfind("\n", 0, at) + 1, 0
            line_end = text.find("\n", run.end(), stop)
            line_end = stop if line_end < 0 else line_end
        else:
            runs_before += 1
        if run.end() - at > FENCE_RUN_MAX:
            continue
        blank_before = (line_start > 0 or at_line_start) and not text[line_start:at].strip()
        before, after = text[line_start:at], text[run.end() : line_end]
        opened = None
        if fence is None:
            alone = blank_before or (not runs_before and _LANGUAGE_ALONE.match(after))
            opened = _opened(run.group(), after, blank_before=blank_before) if alone else None
        elif not _closes(fence, run.group(), before, after, blank_before=blank_before):
            continue
        if fence is None and opened is None:
            continue
        edge = line_start if blank_before else at
        regions.append(
            Region(
                start,
                edge,
                fence,
                code_start,
                after_closing=bool(regions) and fence is None,
                before_opening=opened is not None and blank_before,
                closed=fence is not None,
            )
        )
        fence, start = opened, run.end()
        code_start = line_end + 1 if opened else start
    regions.append(Region(start, stop, fence, code_start, bool(regions) and fence is None))
    return regions


def _opened(marks: str, after: str, *, blank_before: bool) -> Fence | None:
    """Give the block that this run of marks opens, if it opens one."""
    if marks[0] == "`" and "`" in after:
        return None  # an inline code span
    if marks[0] == "~" and not blank_before:
        return None
    words = after.split(maxsplit=1)
    language = words[0] if words and len(words[0]) <= LANGUAGE_LENGTH_MAX else ""
    return Fence(marks, language)


def _closes(fence: Fence, marks: str, before: str, after: str, *, blank_before: bool) -> bool:
    """Say whether this run of marks closes `fence`."""
    if not marks.startswith(fence.marks) or after.strip():
        return False
    return blank_before or (marks[0] == "`" and "`" not in before)
