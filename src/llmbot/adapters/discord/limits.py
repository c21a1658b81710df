"""Discord's rate limits as its headers tell them: buckets, the global limit, invalid requests.

discord.py's own buckets hold an answer back until the bucket refills (the caller learns seconds
late what was sent) and can stop every request for good when a caller is cancelled in a global
wait; these only ever hold back the next request. Source of the rules: Discord API reference,
"Rate Limits".
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DiscordRateLimitedError, DiscordUnavailableError

_BUCKETS_MAX = 4096
_IDLE_S = 10.0
_GLOBAL_PER_S = 48
"""Discord allows 50 a second; two are left for clocks that disagree."""
_GLOBAL_WATCH_S = 600.0
_INVALID_WINDOW_S = 600.0
_GLOBAL_CAREFUL_PER_S = 40
_INVALID_CAREFUL = 5_000
_INVALID_MAX = 9_000
"""Discord bans the address at 10,000 in ten minutes; the rest is left for other programs on it."""


@dataclass(slots=True)
class Bucket:
    """One rate limit: how many requests are left until when."""

    limit: int | None = None  # None until an answer has told
    remaining: int = 1
    resets_at: float = 0.0
    in_flight: int = 0
    unlimited: bool = False  # answers came without headers
    used_at: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    answered: asyncio.Event | None = None
    """Made where somebody waits for it: it is most of a bucket's bytes, and there are thousands."""

    def ready_in(self, now: float) -> float | None:
        """Seconds until one more request may go; None where only an answer can tell."""
        if self.resets_at > now and self.remaining <= 0:
            return self.resets_at - now
        if self.limit is None:
            return 0.0 if self.unlimited or self.in_flight == 0 else None
        if self.resets_at <= now:
            # The new window begins with the next answer; until then those in flight count.
            self.remaining = self.limit - self.in_flight
        return 0.0 if self.remaining > 0 else None


@dataclass(slots=True)
class RateLimits:
    """Lets requests go when Discord's limits allow, first come first served in each bucket."""

    clock: Clock
    always_global: bool
    """Keep the global limit from the start; else only for a while after it was once exceeded."""
    rate_limited: int = 0
    _hashes: dict[str, str] = field(default_factory=dict)
    _buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    _held_until: float = 0.0
    _watch_until: float = 0.0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_GLOBAL_PER_S))
    _invalid: deque[float] = field(default_factory=lambda: deque(maxlen=_INVALID_MAX))

    async def enter(self, key: str, major: str, *, ends: float, exempt: bool) -> Bucket:
        """Wait for a place; give it back with `leave`.

        Args:
            key: method and path template.
            major: the ids that part the buckets of a route.
            ends: monotonic time after which nobody waits for the answer any more.
            exempt: whether the global limit does not count it (interactions and webhooks).

        Raises:
            DiscordRateLimitedError: the place would come too late.
            DiscordUnavailableError: so many requests were refused that Discord would ban us.
        """
        if self.invalid_requests >= _INVALID_MAX:
            raise DiscordUnavailableError(
                "too many refused requests in ten minutes; waiting, lest Discord bans the address"
            )
        bucket = self._bucket(key, major)
        async with bucket.turn:
            while (wait := bucket.ready_in(self.clock.monotonic())) != 0.0:
                if wait is None:
                    bucket.answered = asyncio.Event()
                    await bucket.answered.wait()
                else:
                    await self._sleep(wait, ends)
            # Taken before the global wait, so that cancelling there gives it back by `leave`.
            bucket.remaining -= 1
            bucket.in_flight += 1
        try:
            if not exempt:
                await self._global_place(ends)
        except BaseException:
            self.leave(bucket)
            raise
        return bucket

    def leave(self, bucket: Bucket) -> None:
        """The request has ended, with an answer or without."""
        bucket.in_flight -= 1
        bucket.used_at = self.clock.monotonic()
        if bucket.answered is not None:
            bucket.answered.set()
            bucket.answered = None

    def learn(
        self, key: str, major: str, bucket: Bucket, status: int, headers: Mapping[str, str]
    ) -> None:
        """Take from an answer what it says of its bucket; call before `leave`."""
        if "X-RateLimit-Remaining" not in headers:
            bucket.unlimited = bucket.unlimited or bucket.limit is None
            return
        now = self.clock.monotonic()
        try:
            limit = int(headers.get("X-RateLimit-Limit", "1"))
            remaining = int(headers["X-RateLimit-Remaining"])
            resets_at = now + float(headers.get("X-RateLimit-Reset-After", "1"))
        except ValueError:
            return
        # Others that are in flight will take from what this answer says is left.
        left = max(0, remaining - (bucket.in_flight - 1))
        same_window = bucket.limit is not None and bucket.resets_at > now
        bucket.remaining = min(bucket.remaining, left) if same_window else left
        bucket.limit, bucket.resets_at = max(1, limit), resets_at
        name = headers.get("X-RateLimit-Bucket")
        if name and status < 400 and self._hashes.get(key) != name:  # noqa: PLR2004 - refusals may name another bucket
            self._hashes[key] = name
            self._buckets[f"{name}:{major}"] = bucket

    def hold(self, bucket: Bucket, wait_s: float, *, everywhere: bool) -> None:
        """Discord asked for a wait (429), of this bucket or of everything."""
        self.rate_limited += 1
        until = self.clock.monotonic() + wait_s
        if everywhere:
            self._held_until = max(self._held_until, until)
            self._watch_until = until + _GLOBAL_WATCH_S
        else:
            bucket.remaining, bucket.resets_at = 0, max(bucket.resets_at, until)

    def is_tight(self, key: str, major: str) -> bool:
        """Whether one more request would take the last place, or wait; asks nobody.

        What can be done without then gives way: growing texts to final ones, notices to answers.
        """
        now = self.clock.monotonic()
        if self._held_until > now or self.invalid_requests >= _INVALID_CAREFUL:
            return True
        busy = sum(at > now - 1.0 for at in self._recent)
        if (self.always_global or now < self._watch_until) and busy >= _GLOBAL_CAREFUL_PER_S:
            return True
        bucket = self._buckets.get(f"{self._hashes.get(key, key)}:{major}")
        if bucket is None or bucket.limit is None:
            return False
        if bucket.turn.locked():
            return True
        # Behind the reset the whole window is there again, less what is in flight.
        left = bucket.remaining if bucket.resets_at > now else bucket.limit - bucket.in_flight
        return left <= (1 if bucket.limit > 1 else 0)

    def count_invalid(self) -> None:
        """An answer of 401, 403 or 429 came; ten thousand in ten minutes ban the address."""
        self._invalid.append(self.clock.monotonic())

    @property
    def invalid_requests(self) -> int:
        """How many requests of the last ten minutes Discord counts as invalid."""
        oldest = self.clock.monotonic() - _INVALID_WINDOW_S
        while self._invalid and self._invalid[0] < oldest:
            self._invalid.popleft()
        return len(self._invalid)

    async def _global_place(self, ends: float) -> None:
        while True:
            now = self.clock.monotonic()
            wait = self._held_until - now
            if wait <= 0 and (self.always_global or now < self._watch_until):
                full = len(self._recent) == self._recent.maxlen
                wait = self._recent[0] + 1.0 - now if full else 0.0
            if wait <= 0:
                self._recent.append(now)
                return
            await self._sleep(wait, ends)

    async def _sleep(self, wait_s: float, ends: float) -> None:
        if self.clock.monotonic() + wait_s > ends:
            raise DiscordRateLimitedError(
                "Discord's rate limit allows this only after its deadline", retry_after_s=wait_s
            )
        await self.clock.sleep(wait_s)

    def _bucket(self, key: str, major: str) -> Bucket:
        full_key = f"{self._hashes.get(key, key)}:{major}"
        bucket = self._buckets.get(full_key)
        if bucket is None:
            bucket = self._buckets[full_key] = Bucket()
            if len(self._buckets) > _BUCKETS_MAX:
                self._forget_idle()
        else:
            self._buckets.move_to_end(full_key)
        return bucket

    def _forget_idle(self) -> None:
        now = self.clock.monotonic()
        for full_key in list(self._buckets)[: _BUCKETS_MAX // 4]:
            bucket = self._buckets[full_key]
            idle = bucket.in_flight == 0 and not bucket.turn.locked()
            if idle and bucket.resets_at <= now and now - bucket.used_at > _IDLE_S:
                del self._buckets[full_key]
