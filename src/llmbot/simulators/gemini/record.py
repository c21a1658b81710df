"""What the simulator was asked, bounded, for tests and for the curious."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

_TEXT_CHARS = 20_000  # of each text in a logged request
_MODELS_MAX = 64  # names in the statistics: a client may ask for any
_KEPT_BYTES_MAX = 32 * 1024 * 1024  # of all logged requests together


@dataclass(slots=True)
class Entry:
    """One request; `outcome` is empty while it is being answered."""

    number: int
    at: float
    version: str
    model: str
    method: str
    size: int
    stream: bool
    request: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    text_chars: int = 0
    kept_bytes: int = 0

    def body(self) -> dict[str, Any]:
        """The entry as JSON; files are told by type, size and digest."""
        return {
            "number": self.number,
            "at": self.at,
            "version": self.version,
            "model": self.model,
            "method": self.method,
            "bytes": self.size,
            "stream": self.stream,
            "contents": self.request.get("contents", []),
            "systemInstruction": self.request.get("systemInstruction"),
            "generationConfig": self.request.get("generationConfig", {}),
            "safetySettings": self.request.get("safetySettings", []),
            "outcome": self.outcome,
            "answerCharacters": self.text_chars,
        }


class Record:
    """The last requests, and counts of all of them by model and outcome."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        """`limit` requests are kept; `now` is the wall clock."""
        self._limit = limit
        self._now = now
        self._entries: deque[Entry] = deque()
        self._kept_bytes = 0
        self._counts: dict[str, Counter[str]] = {}
        self._number = 0
        self.in_flight = 0
        self.in_flight_most = 0

    def open(self, version: str, model: str, method: str, size: int) -> Entry:
        """Note that a request has come in."""
        self._number += 1
        stream = method == "streamGenerateContent"
        entry = Entry(self._number, self._now(), version, model, method, size, stream)
        self._entries.append(entry)
        self._trim()
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        return entry

    def keep(self, entry: Entry, request: dict[str, Any]) -> None:
        """Remember what a request said; its files by size and digest, long texts cut."""
        entry.request = shown(request)
        entry.kept_bytes = len(orjson.dumps(entry.request))
        self._kept_bytes += entry.kept_bytes
        self._trim()

    def _trim(self) -> None:
        while self._entries and (
            len(self._entries) > self._limit or self._kept_bytes > _KEPT_BYTES_MAX
        ):
            dropped = self._entries.popleft()
            self._kept_bytes -= dropped.kept_bytes
            # It may still be on its way: what it weighs then must not be counted off twice.
            dropped.kept_bytes, dropped.request = 0, {}

    def close(self, entry: Entry, outcome: str) -> None:
        """Note how it ended."""
        entry.outcome = outcome
        self.in_flight -= 1
        name = entry.model or "(none)"
        known = name in self._counts or len(self._counts) < _MODELS_MAX
        model = name if known else "(other)"
        self._counts.setdefault(model, Counter())[outcome] += 1

    def entries(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The last requests, oldest first."""
        entries = list(self._entries)
        return [entry.body() for entry in (entries if limit is None else entries[-limit:])]

    def stats(self) -> dict[str, Any]:
        """Counts of all requests since the start or the last reset."""
        outcomes: Counter[str] = Counter()
        for counts in self._counts.values():
            outcomes.update(counts)
        return {
            "requests": self._number,
            "inFlight": self.in_flight,
            "inFlightMost": self.in_flight_most,
            "outcomes": dict(outcomes),
            "models": {model: dict(counts) for model, counts in self._counts.items()},
        }

    def reset(self) -> None:
        """Forget everything but what is being answered now."""
        self._entries.clear()
        self._kept_bytes = 0
        self._counts.clear()
        self._number = 0
        self.in_flight_most = self.in_flight


def shown(value: Any) -> Any:
    """A value of a checked request as JSON: bytes by size and digest, long texts cut."""
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, bytes):
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, str) and len(value) > _TEXT_CHARS:
        return value[:_TEXT_CHARS] + f"… ({len(value)} characters)"
    return value
