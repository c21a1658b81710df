"""What can still be read of a document that is no JSON any more, and what it then lacks.

First the text: whatever parses is kept, and after what does not the reader goes on where the next
member of the same or an outer object begins, which our indentation shows. Then the shape: what
does not fit is taken out until the rest does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llmbot.storage.documents.format import HEADER, JsonObject
from llmbot.storage.documents.kinds import Kind, MisfitError, NewerDocumentError, Place

T = TypeVar("T")

_SPACE = re.compile(r"[ \t\r\n]*")
_INDENT = 2
_DEPTH_MAX = 64
_MISFITS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Salvage(Generic[T]):
    """What was saved; `missing` names the places that were not."""

    value: T
    body: JsonObject
    missing: tuple[str, ...]


def salvage(kind: Kind[T], raw: bytes) -> Salvage[T] | None:
    """What can be saved of a broken document; None where that is nothing."""
    reader = _Reader(raw.decode("utf-8", "replace"))
    body = reader.whole()
    header = body.pop(HEADER, None)
    # A header that lost its version is taken for the present one; what does not fit is left out.
    said = header.get("version") if isinstance(header, dict) else None
    version = said if isinstance(said, int) and said <= kind.version else kind.version
    if not body:
        return None
    missing = [place for place in reader.missing if place[:1] != (HEADER,)]
    try:
        body = kind.migrated(version, body)
    except (MisfitError, NewerDocumentError):
        return None
    fitting = _fitting(kind, body)
    if fitting is None:
        return None
    value, taken_out = fitting
    if kind.dump(value) == kind.dump(kind.default()):
        return None
    places = [*missing, *taken_out]
    return Salvage(value, body, tuple(".".join(map(str, place)) or "?" for place in places))


def _fitting(kind: Kind[T], body: JsonObject) -> tuple[T, list[Place]] | None:
    """The value after all that does not fit was taken out; None where the rest never fits."""
    taken_out: list[Place] = []
    for _ in range(_MISFITS_MAX):
        try:
            return kind.fitted(body), taken_out
        except MisfitError as error:
            # From the end, so that the places in a list stay right while it becomes shorter.
            places = sorted({p.place for p in error.problems}, key=_order, reverse=True)
            removed = [found for place in places if (found := _take_out(body, place)) is not None]
        if not removed:
            return None
        taken_out += removed
    return None


def _order(place: Place) -> tuple[tuple[int, str, int], ...]:
    return tuple((0, "", p) if isinstance(p, int) else (1, p, 0) for p in place)


def _take_out(body: JsonObject, place: Place) -> Place | None:
    """Remove what stands at a place, or the nearest thing around it that does; where that was."""
    holder: Any = body
    trail: list[tuple[Any, str | int]] = []
    for step in place:
        there = (
            step in holder
            if isinstance(holder, dict)
            else isinstance(holder, list) and isinstance(step, int) and 0 <= step < len(holder)
        )
        if not there:
            break
        trail.append((holder, step))
        holder = holder[step]
    if not trail:
        return None
    around, step = trail[-1]
    del around[step]
    return tuple(step for _, step in trail)


class _Reader:
    """Reads as much of a text as parses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder(strict=False)
        self.missing: list[Place] = []

    def whole(self) -> JsonObject:
        start = self._text.find("{")
        if start < 0:
            return {}
        return self._object(start, (), 0)[0]

    def _value(self, at: int, place: Place, depth: int) -> tuple[Any, int]:
        """A value and where it ends; raises ValueError where nothing of it can be read."""
        try:
            return self._decoder.raw_decode(self._text, at)
        except (ValueError, RecursionError):
            opens = self._text[at : at + 1]
        if opens == "{" and depth < _DEPTH_MAX:
            return self._object(at, place, depth)
        if opens == "[" and depth < _DEPTH_MAX:
            return self._list(at, place, depth)
        raise ValueError("nothing can be read here")

    def _object(self, at: int, place: Place, depth: int) -> tuple[JsonObject, int]:
        found: JsonObject = {}
        at = self._after_space(at + 1)
        while not self._text.startswith("}", at):
            member: Place = (*place, "?")
            whole = False
            try:
                key, at = self._decoder.raw_decode(self._text, at)
                if not isinstance(key, str):
                    raise ValueError("no key")  # noqa: TRY004, TRY301 - all that cannot be read ends below
                member = (*place, key)
                at = self._after(":", at)
                found[key], at = self._value(at, member, depth + 1)
                whole = True
                at = self._next(at, "}")
            except ValueError:
                self.missing += [] if whole else [member]
                resumed = self._resume(at, depth, '"')
                if resumed is None:
                    return found, self._end_of(depth, at, "}")
                at = resumed
        return found, at + 1

    def _list(self, at: int, place: Place, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        number = 0
        at = self._after_space(at + 1)
        while not self._text.startswith("]", at):
            member = (*place, number)
            number += 1
            whole = False
            try:
                value, at = self._value(at, member, depth + 1)
                found.append(value)
                whole = True
                at = self._next(at, "]")
            except ValueError:
                self.missing += [] if whole else [member]
                resumed = self._resume(at, depth, '{["-0123456789tfn')
                if resumed is None:
                    return found, self._end_of(depth, at, "]")
                at = resumed
        return found, at + 1

    def _after_space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _after(self, mark: str, at: int) -> int:
        at = self._after_space(at)
        if not self._text.startswith(mark, at):
            raise ValueError(f"{mark} is missing")
        return self._after_space(at + 1)

    def _next(self, at: int, closing: str) -> int:
        """Behind the comma, or at the closing mark."""
        at = self._after_space(at)
        return at if self._text.startswith(closing, at) else self._after(",", at)

    def _resume(self, at: int, depth: int, begins: str) -> int | None:
        """Where the next member at this depth begins, unless its holder ends before."""
        margin = " " * (_INDENT * (depth + 1))
        member = re.compile(rf"\n{margin}(?=[{re.escape(begins)}])").search(self._text, at)
        outer = re.compile(rf"\n {{0,{_INDENT * depth}}}[\]}}\"]").search(self._text, at)
        if member is None or (outer is not None and outer.start() < member.start()):
            return None
        return member.end()

    def _end_of(self, depth: int, at: int, closing: str) -> int:
        """Behind the closing mark of this holder, or the end of the text."""
        margin = " " * (_INDENT * depth)
        found = re.compile(rf"\n{margin}{re.escape(closing)}").search(self._text, at)
        return found.end() if found else len(self._text)
