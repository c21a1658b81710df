"""The restart-loop brake: how many lives in a row ended before they were of any use, durably.

A life is noted before anything else of it can fail, and struck out once all its services run, or
when its operator ends it. Lives that served and were killed do not count, however many, and a
message that kills its bot again and again is given up by its own count of attempts. The file is a
few numbers; one that cannot be read or written brakes nothing, for the brake must never be the
reason why a bot stays down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from llmbot.kernel.clock import Clock
from llmbot.storage.files import create_private, replace_durably

FILE_NAME = "starts"
WITHIN_S = 600.0
"""Lives that began longer ago are forgotten."""

FREE = 5
"""So many failed starts in a row cost no pause: kills may well hit a start or two."""

PAUSE_MAX_S = 60.0
KEPT_MAX = 100


@dataclass(frozen=True, slots=True)
class Braked:
    """What the brake says at a start."""

    in_vain: int
    """Lives before this one that served nobody, in a row."""
    pause_s: float
    """How long this one waits before it tries, with the operator API up."""


class Brake:
    """The record of one data directory; its calls block for a disk write each."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        """Keep the record beside the data."""
        self._path = data_dir / FILE_NAME
        self._clock = clock

    def begin(self) -> Braked:
        """A life begins."""
        now = self._clock.wall()
        # A clock that was set back must not make old lives count for ever.
        before = [at for at in self._read() if 0 <= now - at <= WITHIN_S][-KEPT_MAX:]
        self._write([*before, now])
        excess = len(before) - FREE
        return Braked(len(before), min(PAUSE_MAX_S, 2.0**excess) if excess >= 0 else 0.0)

    def served(self) -> None:
        """The life was of use: what was before counts no more."""
        self._write([])

    def _read(self) -> list[float]:
        try:
            found = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return []
        if not isinstance(found, list):
            return []
        return [float(at) for at in found if isinstance(at, int | float)]

    def _write(self, starts: list[float]) -> None:
        partial = self._path.with_name(f"{FILE_NAME}.partial")
        try:
            create_private(partial)
            partial.write_bytes(orjson.dumps(starts))
            replace_durably(partial, self._path)
        except OSError:
            return  # see the module's docstring
