"""The last hour of a few figures, kept in memory so that a reload of the page loses nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

__all__ = ["EVERY_S", "POINTS_MAX", "History", "Series"]

EVERY_S = 10.0
POINTS_MAX = 360
"""An hour."""

Series = Mapping[str, Sequence[str]]
"""A name for each series, and the way to its figure: section, then keys."""


class History:
    """One point of every series each ten seconds; None where a figure was not known."""

    def __init__(self, series: Series) -> None:
        """Begin empty."""
        self._ways = dict(series)
        self._points: dict[str, deque[float | None]] = {
            name: deque(maxlen=POINTS_MAX) for name in series
        }
        self._last_at = 0.0

    def add(self, at: float, sections: Mapping[str, object]) -> None:
        """Take one point of every series; `at` in seconds since the Unix epoch."""
        self._last_at = at
        for name, way in self._ways.items():
            self._points[name].append(_figure(sections, way))

    def view(self) -> dict[str, object]:
        """As the page reads it: the last point of each series is of `lastAt`."""
        return {
            "lastAt": self._last_at,
            "everySeconds": EVERY_S,
            "series": {name: list(points) for name, points in self._points.items()},
        }


def _figure(sections: Mapping[str, object], way: Sequence[str]) -> float | None:
    found: object = sections
    for key in way:
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return round(found, 2)
