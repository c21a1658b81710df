"""The newest of everything the page shows, and a bell that wakes who waits for news.

Readers keep nothing but a number: what they have seen. Each takes what is newer when it is ready
for it, so a slow page misses what was overtaken meanwhile, costs no memory and holds nobody back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ["Board"]


@dataclass(frozen=True, slots=True)
class _Section:
    version: int
    body: bytes


class Board:
    """Sections of JSON by name, each with the version at which it last changed."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._sections: dict[str, _Section] = {}
        self.bell = asyncio.Event()
        """Rung at the next change; to miss none, take it before looking."""
        self.version = 0

    def put(self, name: str, body: bytes) -> bool:
        """Take in a section; False where it says what it said before, which is no news."""
        known = self._sections.get(name)
        if known is not None and known.body == body:
            return False
        self._sections[name] = _Section(self.next_version(), body)
        self.ring()
        return True

    def next_version(self) -> int:
        """A number for a change that is kept elsewhere; `ring` tells of it."""
        self.version += 1
        return self.version

    def newer(self, than: int) -> list[tuple[str, bytes]]:
        """The sections that changed after a version."""
        return [(n, s.body) for n, s in self._sections.items() if s.version > than]

    def ring(self) -> None:
        """Wake everybody who waits; a new bell hangs for the next time."""
        bell, self.bell = self.bell, asyncio.Event()
        bell.set()
