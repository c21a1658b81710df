"""What a message is never broken inside of: grapheme clusters, links, Discord's own tokens.

Every function looks at a window that the caller has bounded, and every pattern is possessive or
stops at the first character that cannot belong, so that work grows with the window alone.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache

import regex

# One alternative for each kind of unit, by the character that it begins with; that character is
# matched outside of them, so that the search skips at the speed of a character set. A masked
# link's label may hold one pair of brackets, its address one pair of parentheses; a bare address
# ends where Discord's client ends it.
_CODE_SPAN = (
    r"(?<=`)(?<!``)(?P<more>`*+)"
    r"[^`\n]*+(?:(?!`(?P=more)(?!`))`++[^`\n]*+)*+`(?P=more)(?!`)"
)
_MASKED_LINK = (
    r"(?<=\[)(?!\[\[)(?:[^\[\]\n]++|\[[^\[\]\n]*+\])*+\]\("
    r"(?:<[^<>\n]*+>|[^\s()<>]*+(?:\([^\s()<>]*+\)[^\s()<>]*+)*+)"
    r"(?:[ \t]++\"[^\"\n]*+\")?+[ \t]*+\)"
)
_ANGLES = r"(?<=<)(?:/[^<>\n]{1,100}+|[^\s<>]++)>"  # a mention, emoji, timestamp or <address>
_ADDRESS = r"(?<=[hH])ttps?://[^\s<>]++"
_MARKS = r"(?<=`)`++|(?<=~)~++"


@cache
def _unit_pattern(*, code: bool, links: bool, angles: bool) -> regex.Pattern[str]:
    """Compile the alternatives that can occur; a window of brackets alone has no link.

    By `regex`, not `re`, whose possessive groups miss matches before Python 3.11.4.
    """
    links = links and not code
    kinds = [
        *([] if code else [_CODE_SPAN]),
        *([_MASKED_LINK] if links else []),
        *([_ANGLES] if angles else []),
        _ADDRESS,
        _MARKS,
    ]
    beginnings = "`~hH" + (r"\[" if links else "") + ("<" if angles else "")
    return regex.compile(f"[{beginnings}](?:{'|'.join(kinds)})")


_CLUSTER = regex.compile(r"\X")
# Between two of these neighbours there is always a cluster boundary (Unicode annex 29: neither
# extends, is prepended, or is a syllable's part; pictographs join over a ZWJ only; a regional
# indicator joins another only).
_PLAIN = (
    r"[\n -~[[\p{Han}\p{Hiragana}\p{Katakana}\p{Cyrillic}\p{Latin}\p{Greek}]&&\p{GCB=Other}]"
    r"\p{Extended_Pictographic}]"
)
_SAFE_PAIR = regex.compile(rf"(?V1)(?r){_PLAIN}{{2}}|{_PLAIN}\p{{GCB=RI}}|\p{{GCB=RI}}{_PLAIN}")
_SAFE_PAIR_DISTANCE = 128
"""Characters to look back for such a pair, before counting clusters from the beginning."""

_REGIONAL_INDICATORS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_PREPENDED = regex.compile(r"\p{GCB=Prepend}")


class Units:
    """The indivisible units of one line, none of them longer than a message."""

    def __init__(self, text: str, start: int, last: int, *, length_max: int, code: bool) -> None:
        """Find the units of text[start:] that begin at `last` or before."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        pattern = _unit_pattern(
            code=code, links=text.find("](", start) >= 0, angles=text.find(">", start) >= 0
        )
        position = start
        while position <= last:
            unit = pattern.search(text, position)
            if unit is None or unit.start() > last:
                return
            position = unit.end()
            if unit.end() - unit.start() <= length_max:
                self._starts.append(unit.start())
                self._ends.append(unit.end())
            elif text[unit.start()] == "[":
                position = unit.start() + 1  # too long as a whole: keep the address in it whole

    def around(self, position: int) -> tuple[int, int] | None:
        """Give the unit that a break at `position` would cut in two."""
        index = bisect_right(self._starts, position) - 1
        if index < 0 or not self._starts[index] < position < self._ends[index]:
            return None
        return self._starts[index], self._ends[index]

    def at(self, position: int) -> int:
        """Give the end of the unit that begins at `position`, or `position` where none does."""
        index = bisect_right(self._starts, position) - 1
        return self._ends[index] if index >= 0 and self._starts[index] == position else position


def cluster_floor(text: str, position: int) -> int:
    """Give the last grapheme cluster boundary in `text` at `position` or before."""
    if position <= 0 or position >= len(text):
        return max(0, min(position, len(text)))
    before, after = text[position - 1], text[position]
    if before.isascii() and after.isascii():
        return position - 1 if before == "\r" and after == "\n" else position
    if _SAFE_PAIR.fullmatch(text, position - 1, position + 1):
        return position
    if before in _REGIONAL_INDICATORS and after in _REGIONAL_INDICATORS:
        # Flags are pairs, counted from the first; \X would count anew for each.
        run = position - len(text[:position].rstrip(_REGIONAL_INDICATORS))
        return position if run % 2 == 0 else cluster_floor(text, position - 1)
    safe = _SAFE_PAIR.search(text, max(0, position - _SAFE_PAIR_DISTANCE), position)
    origin = safe.start() + 1 if safe else 0
    for cluster in _CLUSTER.finditer(text, origin, position + 1):
        if cluster.end() > position:
            return int(cluster.start())
        if cluster.end() == position:
            break
    return position


def cluster_end(text: str, start: int) -> int:
    """Give the end of the grapheme cluster that begins at `start`."""
    cluster = _CLUSTER.match(text, start)
    return int(cluster.end()) if cluster else start


def content_end(text: str, position: int) -> int:
    """Give the end of text[:position] without its trailing whitespace.

    One space stays where it belongs to the cluster of a prepended mark before it.
    """
    end = len(text[:position].rstrip())
    if 0 < end < position and _PREPENDED.match(text, end - 1) and cluster_floor(text, end) < end:
        return end + 1
    return end


def joins_backwards(text: str, position: int) -> bool:
    """Say whether the character at `position` forms one cluster with the one before it."""
    if position <= 0 or position >= len(text) or text[position].isascii():
        return False
    return cluster_end(text[position - 1 : position + 1], 0) > 1
