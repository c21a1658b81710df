"""Counts of what happened, so that a test can tell doubled from once."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Statistics:
    """Counters by name, and REST calls by route and status."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, int]] = Counter()
        self._counts: Counter[str] = Counter()
        self._closes: Counter[int] = Counter()

    def call(self, route: str, status: int) -> None:
        """Count an answered REST call; status 0 is a dropped connection."""
        self._calls[route, status] += 1

    def count(self, name: str, number: int = 1) -> None:
        """Count something that happened."""
        self._counts[name] += number

    def closed(self, code: int) -> None:
        """Count a gateway connection closed by us with a code."""
        self._closes[code] += 1

    def reset(self) -> None:
        """Begin at zero."""
        self._calls.clear()
        self._counts.clear()
        self._closes.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return all counts for the control API."""
        calls: dict[str, dict[str, int]] = {}
        for (route, status), number in sorted(self._calls.items()):
            calls.setdefault(route, {})[str(status)] = number
        return {
            "calls": calls,
            "calls_total": sum(self._calls.values()),
            "counts": {name: self._counts[name] for name in _NAMES} | dict(self._counts),
            "gateway_closes": {str(code): n for code, n in sorted(self._closes.items())},
        }


# Shown also while they are zero, so that a reader need not guess the names.
_NAMES = (
    "connections",
    "identifies",
    "identifies_refused",
    "resumes",
    "resumes_refused",
    "events_replayed",
    "heartbeats",
    "heartbeats_missed",
    "messages_by_users",
    "messages_by_bot",
    "edits_by_bot",
    "typing",
    "nonce_duplicates",
    "nonce_reused_unenforced",
    "mentions_expanded",
    "everyone_expanded",
    "rate_limit_hits",
    "invalid_requests",
    "interactions",
    "interactions_late",
    "interactions_twice",
    "slow_readers_dropped",
)
