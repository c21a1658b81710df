"""The quotas of the models, counted exactly as the provider says they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from llmbot.simulators.gemini.errors import quota_exceeded
from llmbot.simulators.gemini.settings import Quota
from llmbot.simulators.gemini.strikes import DAY_QUOTA, MINUTE_QUOTA

TOKEN_QUOTA = "GenerateContentInputTokensPerModelPerMinute-FreeTier"  # noqa: S105  # an id of Google's, no secret
_WINDOW_S = 60.0


@dataclass(slots=True)
class _Usage:
    requests: deque[float] = field(default_factory=deque)
    tokens: deque[tuple[float, int]] = field(default_factory=deque)
    day: str = ""
    of_day: int = 0


class Quotas:
    """What each model has left; only requests that were granted count."""

    def __init__(self, quotas: Mapping[str, Quota], now: Callable[[], float]) -> None:
        """`now` is the wall clock in seconds since 1970."""
        self._quotas = dict(quotas)
        self._now = now
        self._zone = _pacific()
        self._usage: dict[str, _Usage] = {}

    def set(self, model: str, quota: Quota) -> None:
        """Change what a model grants from now on."""
        self._quotas[model] = quota

    def snapshot(self) -> dict[str, dict[str, int | None]]:
        """What each model grants and has granted, for the control API."""
        answer: dict[str, dict[str, int | None]] = {}
        for model, quota in self._quotas.items():
            usage = self._current(model)
            answer[model] = {
                "rpm": quota.rpm,
                "rpd": quota.rpd,
                "tpm": quota.tpm,
                "requestsLastMinute": len(usage.requests),
                "requestsToday": usage.of_day,
            }
        return answer

    def reset(self) -> None:
        """Forget what was used."""
        self._usage.clear()

    def spend(self, model: str, tokens: int) -> None:
        """Grant one request of that many input tokens.

        Raises:
            GeminiError: 429 naming the quota that is used up and, for the quotas of a minute, the
                seconds until it has room again.
        """
        quota = self._quotas.get(model)
        if quota is None:
            return
        usage, now = self._current(model), self._now()
        if quota.rpd is not None and usage.of_day >= quota.rpd:
            # The live API names a wait of seconds even where the day is over.
            self._refuse(model, DAY_QUOTA, quota.rpd, 36.0)
        if quota.rpm is not None and len(usage.requests) >= quota.rpm:
            oldest = usage.requests[len(usage.requests) - quota.rpm] if quota.rpm else now
            self._refuse(model, MINUTE_QUOTA, quota.rpm, _WINDOW_S - (now - oldest))
        if quota.tpm is not None and tokens + sum(n for _, n in usage.tokens) > quota.tpm:
            oldest = usage.tokens[0][0] if usage.tokens else now
            self._refuse(model, TOKEN_QUOTA, quota.tpm, _WINDOW_S - (now - oldest))
        usage.of_day += 1
        if quota.rpm is not None:
            usage.requests.append(now)
        if quota.tpm is not None:
            usage.tokens.append((now, tokens))

    def _current(self, model: str) -> _Usage:
        usage, now = self._usage.setdefault(model, _Usage()), self._now()
        while usage.requests and usage.requests[0] <= now - _WINDOW_S:
            usage.requests.popleft()
        while usage.tokens and usage.tokens[0][0] <= now - _WINDOW_S:
            usage.tokens.popleft()
        day = datetime.fromtimestamp(now, self._zone).date().isoformat()
        if usage.day != day:
            usage.day, usage.of_day = day, 0
        return usage

    def _refuse(self, model: str, quota_id: str, limit: int, retry_s: float) -> None:
        raise quota_exceeded(
            model,
            quota_id=quota_id,
            limit=limit,
            retry_s=max(retry_s, 1.0),
            outcome="quota_day" if "PerDay" in quota_id else "quota_minute",
        )


def _pacific() -> tzinfo:
    """The provider's time zone; winter time where the host has no time-zone data."""
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        return timezone(timedelta(hours=-8))
