"""One bug as a small replacement in the source, and where it is caught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`before` stands exactly once in `path` (below `src/llmbot`); `tests` must fail without it."""

    bug: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]

    def file(self, root: Path = ROOT) -> Path:
        """The file that is changed, in this tree or a copy of it."""
        return root / "src" / "llmbot" / self.path

    def put_in(self, text: str) -> str:
        """The source with the bug.

        Raises:
            ValueError: what is to be replaced does not stand there exactly once.
        """
        count = text.count(self.before)
        if count != 1:
            raise ValueError(f"{self.path} holds what {self.bug!r} replaces {count} times")
        return text.replace(self.before, self.after)
