"""The rate limits of models and users: one exact limiter, kept across restarts and kills.

What is counted is written down with the next commit, before the call that it counts can have been
answered; a kill forgets at most what was sent within the last milliseconds.
"""

from __future__ import annotations

import asyncio

import orjson

from llmbot.app.settings import Settings
from llmbot.conversation.job_store import JobStore
from llmbot.conversation.messages import Inbound
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelRateLimitedError
from llmbot.resilience.limiter import Limiter
from llmbot.resilience.limits import RateLimits, Scope, Wait

GEMINI_DAY_ZONE = "America/Los_Angeles"
"""Gemini's daily quotas end at midnight there. Source: Gemini API, "Rate limits"."""

MARGIN = 0.05
"""Share of each model's limit left unused: for calls that others make with the same key."""

SLACK_S = 1.0
"""The provider counts a call when it arrives, we when it is sent."""

_PREFIX = "limits:"


def rate_limits(settings: Settings) -> dict[str, RateLimits]:
    """The limits that hold for each kind of scope; 0 in the settings is no limit."""
    given = settings.limits
    return {
        "model": RateLimits(
            per_minute=given.rate_rpm or None,
            per_day=given.rate_daily or None,
            day_zone=GEMINI_DAY_ZONE,
            margin=MARGIN,
            slack_s=SLACK_S,
        ),
        "user": RateLimits(per_minute=given.rate_user_rpm or None),
    }


class Limits:
    """Counts messages of users and calls of models."""

    def __init__(self, settings: Settings, store: JobStore, clock: Clock) -> None:
        """Keep the counts in `store`."""
        self._store = store
        self.limiter = Limiter(clock, rate_limits(settings), on_change=self._keep)

    async def load(self) -> None:
        """Count what earlier lives of the process had counted."""
        for _, value in await self._store.metas(_PREFIX):
            try:
                self.limiter.restore(orjson.loads(value))
            except ValueError:
                # A damaged count is dropped: it frees too early at worst, and the provider says so.
                continue

    def admit(self, inbound: Inbound) -> float:
        """Count a user's message; the seconds to wait, 0 where it is within the limit."""
        answer = self.limiter.admit(Scope("user", str(inbound.author_id)))
        return answer.seconds if isinstance(answer, Wait) else 0.0

    def spend(self, model: str) -> None:
        """Count a call to a model.

        Raises:
            ModelRateLimitedError: our own limit for it is reached.
        """
        answer = self.limiter.admit(Scope("model", model))
        if isinstance(answer, Wait):
            raise ModelRateLimitedError(
                f"our own limit of {answer.limit} a {answer.window} is reached",
                retry_after_s=answer.seconds,
                per_day=answer.window == "day",
            )

    def _keep(self, scopes: tuple[Scope, ...]) -> None:
        for scope in scopes:
            snapshot = orjson.dumps(self.limiter.snapshot((scope,))).decode()
            _look_at(self._store.set_meta(f"{_PREFIX}{scope}", snapshot))


def _look_at(written: asyncio.Future[None]) -> None:
    written.add_done_callback(lambda done: done.cancelled() or done.exception())
