"""Rate limits as Discord keeps them: a bucket per route and major id, 50 a second, and a ban.

The windows begin with the first request, which is how Discord's buckets behave.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from llmbot.simulators.discord.settings import DiscordSettings

INVALID_WINDOW_S = 600.0
_BUCKETS_MAX = 20_000
_DEFAULT = (50, 1.0)

# Observed on the real service (it publishes none); a setting may replace any of them.
_OBSERVED: dict[str, tuple[int, float]] = {
    "POST /channels/{}/messages": (5, 5.0),
    "PATCH /channels/{}/messages/{}": (5, 5.0),
    "DELETE /channels/{}/messages/{}": (5, 1.0),
    "GET /channels/{}/messages": (50, 1.0),
    "POST /channels/{}/typing": (5, 5.0),
    "PUT /channels/{}/messages/{}/reactions/{}/@me": (1, 0.25),
    "POST /webhooks/{}/{}": (5, 2.0),
    "PATCH /webhooks/{}/{}/messages/{}": (5, 2.0),
    "POST /users/@me/channels": (10, 10.0),
}


@dataclass(slots=True)
class _Bucket:
    remaining: int
    resets_at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and the headers that its answer carries."""

    headers: dict[str, str]
    retry_after_s: float | None = None
    everywhere: bool = False

    @property
    def limited(self) -> bool:
        """Whether the request is refused with 429."""
        return self.retry_after_s is not None


class RateLimits:
    """All buckets of the one client there is."""

    def __init__(self, settings: DiscordSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._limits = _OBSERVED | dict(settings.bucket_limits)
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._second = _Bucket(settings.global_limit, 0.0)
        self._invalid: deque[float] = deque()
        self.enabled = settings.rate_limits

    def take(self, route: str, major: str, *, exempt: bool = False) -> Verdict:
        """Count a request.

        Args:
            route: the route with `{}` for ids, e.g. `POST /channels/{}/messages`.
            major: the id that parts the buckets of a route: channel, server or webhook.
            exempt: whether the global limit does not count it (interactions).
        """
        now = self._now()
        if not exempt and not self._take_globally(now):
            wait = self._second.resets_at - now
            return Verdict({"X-RateLimit-Global": "true"} | _refusal(wait, "global"), wait, True)
        limit, window_s = self._limits.get(route, _DEFAULT)
        bucket = self._buckets.get((route, major))
        if bucket is None or now >= bucket.resets_at:
            bucket = _Bucket(limit, now + window_s)
            self._buckets.pop((route, major), None)
            self._buckets[route, major] = bucket
            self._prune(now)
        wait = bucket.resets_at - now
        if bucket.remaining <= 0:
            return Verdict(_headers(route, limit, bucket, wait) | _refusal(wait, "user"), wait)
        bucket.remaining -= 1
        return Verdict(_headers(route, limit, bucket, wait))

    def count_invalid(self) -> None:
        """Count an answer of 401, 403 or 429."""
        self._invalid.append(self._now())
        if len(self._invalid) > self._settings.invalid_requests_max:
            self._invalid.popleft()

    @property
    def invalid(self) -> int:
        """How many invalid requests there were in the last ten minutes."""
        oldest = self._now() - INVALID_WINDOW_S
        while self._invalid and self._invalid[0] < oldest:
            self._invalid.popleft()
        return len(self._invalid)

    @property
    def banned(self) -> bool:
        """Whether Discord's front would refuse the address altogether."""
        return self.invalid >= self._settings.invalid_requests_max

    def forgive(self) -> None:
        """Forget every bucket and every invalid request."""
        self._buckets.clear()
        self._invalid.clear()
        self._second = _Bucket(self._settings.global_limit, 0.0)

    def _take_globally(self, now: float) -> bool:
        if now >= self._second.resets_at:
            self._second = _Bucket(self._settings.global_limit, now + 1.0)
        if self._second.remaining <= 0:
            return False
        self._second.remaining -= 1
        return True

    def _prune(self, now: float) -> None:
        if len(self._buckets) > _BUCKETS_MAX:
            ended = [key for key, bucket in self._buckets.items() if now >= bucket.resets_at]
            for key in ended or list(self._buckets)[: _BUCKETS_MAX // 2]:
                del self._buckets[key]


@lru_cache(maxsize=256)
def bucket_hash(route: str) -> str:
    """Return the opaque name of a route's bucket."""
    return hashlib.blake2s(route.encode(), digest_size=16).hexdigest()


def _headers(route: str, limit: int, bucket: _Bucket, wait_s: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(bucket.remaining),
        "X-RateLimit-Reset": f"{time.time() + wait_s:.3f}",
        "X-RateLimit-Reset-After": f"{wait_s:.3f}",
        "X-RateLimit-Bucket": bucket_hash(route),
    }


def _refusal(wait_s: float, scope: str) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(wait_s)), "X-RateLimit-Scope": scope}
