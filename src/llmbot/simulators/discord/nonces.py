"""Which message was made with which nonce, for `enforce_nonce`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_NONCES_MAX = 50_000


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    channel_id: int
    message_id: int


class Nonces:
    """Remembers nonces for "the past few minutes"."""

    def __init__(self, window_s: float, now: Callable[[], float]) -> None:
        self._window_s = window_s
        self._now = now
        self._seen: OrderedDict[tuple[int, str], _Seen] = OrderedDict()

    def find(self, author_id: int, nonce: str | int) -> tuple[int, int] | None:
        """Return channel and message id of the author's message with this nonce, if recent."""
        seen = self._seen.get((author_id, str(nonce)))
        if seen is None or self._now() - seen.at > self._window_s:
            return None
        return seen.channel_id, seen.message_id

    def remember(self, author_id: int, nonce: str | int, channel_id: int, message_id: int) -> None:
        """Keep a nonce; old ones are forgotten."""
        now = self._now()
        key = (author_id, str(nonce))
        self._seen.pop(key, None)
        self._seen[key] = _Seen(now, channel_id, message_id)
        while self._seen:
            oldest = next(iter(self._seen))
            if now - self._seen[oldest].at <= self._window_s and len(self._seen) <= _NONCES_MAX:
                break
            del self._seen[oldest]
