"""The rate limits of models, users, channels and servers: one exact limiter, kept across kills.

What is counted is written down with the next commit, before the call that it counts can have been
answered; a kill forgets at most what was sent within the last milliseconds. Limits that a provider
names as it refuses are learnt, so that the chain moves on before it is refused again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf

import orjson

from llmbot.app.settings.tree import Settings
from llmbot.conversation.ledger.schema import SET_META
from llmbot.conversation.messages import Inbound
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelRateLimitedError
from llmbot.resilience.limiter import Limiter
from llmbot.resilience.limits import DAY_S, Forecast, LocalDay, RateLimits, Scope, Wait, WindowFacts
from llmbot.storage.database.opening import Database, Row, Session

GEMINI_DAY_ZONE = "America/Los_Angeles"
"""Gemini's daily quotas end at midnight there. Source: Gemini API, "Rate limits"."""

GEMINI_PREFIX = "gemini:"

MARGIN = 0.05
"""Share of each model's limit left unused: for calls that others make with the same key."""

SLACK_S = 1.0
"""The provider counts a call when it arrives, we when it is sent."""

DAY_HOLD_S = 60.0
DAY_HOLD_MAX_S = 3600.0
"""A used-up day is asked about again with pauses that double from the first to the second: the
provider's day may end earlier than we think, and its operator may have bought more."""

NOT_IN_TIER_HOLD_S = 3600.0
"""How long a model is left alone of which this plan has none."""

LEARNT_S = DAY_S
"""How long a limit holds that a provider named: plans change."""

MEMBER = "member@"
"""Kind of scope of one user in one server, with the server's id behind it."""

SCRATCH_LIMIT = 3
"""Of a scope that only the operator's test of the limiter uses."""

_PREFIX = "limits:"
_LEARNT = "limit-learnt:"
_MANY = 500
_MANY_PAUSE_S = 0.5
"""Longer logs are written down so often at most; what a kill then forgets is within the margin."""


def rate_limits(settings: Settings) -> dict[str, RateLimits]:
    """The limits that hold for each kind of scope; 0 in the settings is no limit."""
    given = settings.limits
    return {
        "model": _of_model(given.rate_rpm or None, given.rate_daily or None),
        "user": RateLimits(per_minute=given.rate_user_rpm or None),
        "channel": RateLimits(per_minute=given.rate_channel_rpm or None),
        "guild": RateLimits(per_minute=given.rate_guild_rpm or None),
        "scratch": RateLimits(per_minute=SCRATCH_LIMIT),
    }


def _of_model(per_minute: int | None, per_day: int | None) -> RateLimits:
    return RateLimits(
        per_minute=per_minute,
        per_day=per_day,
        day_zone=GEMINI_DAY_ZONE,
        margin=MARGIN,
        slack_s=SLACK_S,
    )


class Limits:
    """Counts messages of users and calls of models."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        """Keep the counts in `database`."""
        self._db = database
        self._clock = clock
        self._given = rate_limits(settings)
        self._learnt: dict[Scope, dict[str, tuple[int, float]]] = {}
        self._learnt_until = inf
        self._day_refusals: dict[Scope, int] = {}
        self._gone_until: dict[Scope, float] = {}
        self._changed: set[Scope] = set()
        self._writing: asyncio.Handle | None = None
        self._members: dict[str, int] = {}
        self.member_limit: Callable[[int], int] = lambda _: 0
        """Most messages a minute of one user in a server; 0 where it set none."""
        self.limiter = Limiter(clock, self._given, on_change=self._keep)

    def configure(self, settings: Settings) -> None:
        """Take new limits; what was counted still counts."""
        self._given = rate_limits(settings)
        self._configure()

    async def load(self) -> None:
        """Count what earlier lives of the process had counted, and forget what is over."""
        for name, value in await self._db.read(_read_learnt):
            try:
                scope = Scope.parse(name.removeprefix(_LEARNT))
                kept = orjson.loads(value)
                self._learnt[scope] = {str(k): (int(v[0]), float(v[1])) for k, v in kept.items()}
            except (ValueError, TypeError, KeyError, IndexError, AttributeError):
                # A damaged limit is dropped: the provider will name it again.
                continue
        self._configure()
        for _, value in await self._db.read(_read_counts):
            try:
                self.limiter.restore(orjson.loads(value))
            except ValueError:
                # A damaged count is dropped: it frees too early at worst, and the provider says so.
                continue

    @property
    def by_kind(self) -> Mapping[str, RateLimits]:
        """The limits of the settings, by kind of scope."""
        return self._given

    # ── messages ────────────────────────────────────────────────────────────────────────────────

    def admit(self, inbound: Inbound) -> float:
        """Count a message for its user, channel and server, or for none of them.

        The seconds to wait; 0 where it is within all limits.
        """
        scopes = [Scope("user", str(inbound.author_id)), Scope("channel", str(inbound.channel_id))]
        if inbound.guild_id is not None:
            scopes.append(Scope("guild", str(inbound.guild_id)))
            scopes += self._of_member(inbound.guild_id, inbound.author_id)
        answer = self.limiter.admit(*scopes)
        return answer.seconds if isinstance(answer, Wait) else 0.0

    def _of_member(self, guild_id: int, user_id: int) -> list[Scope]:
        """The scope of one user in a server that has a limit of its own."""
        most, kind = self.member_limit(guild_id), f"{MEMBER}{guild_id}"
        if most != self._members.get(kind, 0):
            self._members[kind] = most
            self._configure()
        return [Scope(kind, str(user_id))] if most else []

    # ── models ──────────────────────────────────────────────────────────────────────────────────

    def check(self, model: str) -> None:
        """Count nothing, but refuse as `spend` would.

        Raises:
            ModelRateLimitedError: our own limit for it is reached, or the provider's wait holds.
        """
        wait = self.limiter.check(Scope("model", model))
        if wait is not None:
            raise self._too_many(wait)

    def spend(self, model: str) -> None:
        """Count a call to a model.

        Raises:
            ModelRateLimitedError: our own limit for it is reached, or the provider's wait holds.
        """
        if self._clock.wall() >= self._learnt_until:
            self._configure()
        answer = self.limiter.admit(Scope("model", model))
        if isinstance(answer, Wait):
            raise self._too_many(answer)

    def _too_many(self, wait: Wait) -> ModelRateLimitedError:
        gone_s = self._gone_s(wait.scope)
        if wait.window == "hold":
            words = "the wait that its provider named is not over"
        else:
            words = f"our own limit of {wait.limit} a {wait.window} is reached"
        return ModelRateLimitedError(
            words,
            retry_after_s=max(wait.seconds, gone_s),
            per_day=wait.window == "day" or gone_s > 0,
        )

    def wait_s(self, model: str) -> float:
        """Seconds until the model is expected to serve; 0 for now, infinite for never."""
        scope = Scope("model", model)
        wait = self.limiter.check(scope)
        return 0.0 if wait is None else max(wait.seconds, self._gone_s(scope))

    def refused(self, model: str, error: ModelRateLimitedError) -> None:
        """Obey the wait that a provider named, also after a restart, and learn the limit.

        Where the day's quota is gone, the error then names the time until the provider's day ends,
        whatever shorter wait came with it.
        """
        scope = Scope("model", model)
        wait_s = error.retry_after_s or 0.0
        if error.not_in_tier:
            wait_s = max(wait_s, NOT_IN_TIER_HOLD_S)
        elif error.per_day:
            count = self._day_refusals[scope] = self._day_refusals.get(scope, 0) + 1
            wait_s = max(wait_s, min(DAY_HOLD_MAX_S, DAY_HOLD_S * 2.0 ** min(count - 1, 16)))
            if model.startswith(GEMINI_PREFIX):
                self._gone_until[scope] = LocalDay(GEMINI_DAY_ZONE).bounds(self._clock.wall())[1]
        else:
            self._day_refusals.pop(scope, None)
        if error.requests_max:
            self._learn(scope, "day" if error.per_day else "minute", error.requests_max)
        if wait_s > 0:
            self.limiter.hold(scope, wait_s)
        error.retry_after_s = max(wait_s, self._gone_s(scope)) or None

    def _gone_s(self, scope: Scope) -> float:
        """Seconds until the provider's day ends, where its quota for the day is gone."""
        return max(0.0, self._gone_until.get(scope, 0.0) - self._clock.wall())

    def serves_again(self, model: str) -> None:
        """End the wait that a model's provider named; what was counted and learnt stays."""
        scope = Scope("model", model)
        self._day_refusals.pop(scope, None)
        self._gone_until.pop(scope, None)
        self.limiter.release(scope)

    def forecast(self, model: str) -> Forecast:
        """What is left of a model's quota, as far as it is known."""
        return self.limiter.forecast(Scope("model", model))

    def status(self) -> tuple[WindowFacts, ...]:
        """Every window of every scope in use."""
        return self.limiter.status()

    def reset(self, selector: str | None = None) -> int:
        """Forget what was counted and learnt; see `Limiter.reset`."""
        gone = [s for s in self._learnt if selector in (None, str(s), s.kind)]
        for scope in gone:
            del self._learnt[scope]
            self._write({f"{_LEARNT}{scope}": None})
        self._day_refusals.clear()
        self._gone_until.clear()
        if gone:
            self._configure()
        return self.limiter.reset(selector)

    def told_of(self, user_id: int) -> list[str]:
        """What is counted of a user, by its names and numbers."""
        return [
            f"{scope}: {self.limiter.counted(scope)}"
            for scope in self._of_user(user_id)
            if self.limiter.counted(scope)
        ]

    async def forget_user(self, user_id: int) -> None:
        """Forget what is counted of a user, durably.

        Raises:
            StoreUnavailableError: it could not be written.
        """
        scopes = self._of_user(user_id)
        for scope in scopes:
            self.limiter.reset(str(scope))
            self._changed.discard(scope)
        end = f":{user_id}"

        def work(session: Session) -> None:
            for (name,) in session.execute(_SELECT_NAMES, (_PREFIX, _PREFIX + "\uffff")):
                kind = str(name).removeprefix(_PREFIX).partition(":")[0]
                if str(name).endswith(end) and (kind == "user" or kind.startswith(MEMBER)):
                    session.execute("DELETE FROM meta WHERE name = ?", (name,))

        await self._db.write(work)

    def _of_user(self, user_id: int) -> list[Scope]:
        return [Scope(kind, str(user_id)) for kind in ("user", *self._members)]

    def _learn(self, scope: Scope, span: str, requests_max: int) -> None:
        """Take the provider's own limit for ours, where it is stricter."""
        until = self._clock.wall() + LEARNT_S
        learnt = self._learnt.setdefault(scope, {})
        learnt[span] = (requests_max, until)
        self._configure()
        self._write({f"{_LEARNT}{scope}": orjson.dumps(learnt).decode()})

    def _configure(self) -> None:
        now = self._clock.wall()
        limits = dict(self._given)
        for kind, most in self._members.items():
            limits[kind] = RateLimits(per_minute=most or None)
        ends = [until for learnt in self._learnt.values() for _, until in learnt.values()]
        self._learnt_until = min((until for until in ends if until > now), default=inf)
        for scope, learnt in self._learnt.items():
            valid = {span: most for span, (most, until) in learnt.items() if until > now}
            given = self._given[scope.kind]
            limits[str(scope)] = _of_model(
                _stricter(given.per_minute, valid.get("minute")),
                _stricter(given.per_day, valid.get("day")),
            )
        self.limiter.configure(limits)

    # ── keeping ─────────────────────────────────────────────────────────────────────────────────

    def _keep(self, scopes: tuple[Scope, ...]) -> None:
        """Note what changed; all changes of one turn of the loop are one write."""
        self._changed.update(scopes)
        if self._writing is None:
            loop = asyncio.get_running_loop()
            if any(self.limiter.counted(scope) > _MANY for scope in scopes):
                self._writing = loop.call_later(_MANY_PAUSE_S, self._write_changed)
            else:
                self._writing = loop.call_soon(self._write_changed)

    def flush(self) -> None:
        """Submit what is not written yet; call before the database stops."""
        if self._writing is not None:
            self._writing.cancel()
            self._write_changed()

    def _write_changed(self) -> None:
        self._writing = None
        changed, self._changed = self._changed, set()
        rows: dict[str, str | None] = {}
        for scope in changed:
            alive = self.limiter.counted(scope) or self.limiter.forecast(scope).held_until
            snapshot = orjson.dumps(self.limiter.snapshot((scope,))).decode() if alive else None
            rows[f"{_PREFIX}{scope}"] = snapshot
        self._write(rows)

    def _write(self, rows: dict[str, str | None]) -> None:
        """Keep or (None) forget small facts."""

        def work(session: Session) -> None:
            for name, value in rows.items():
                if value is None:
                    session.execute("DELETE FROM meta WHERE name = ?", (name,))
                else:
                    session.execute(SET_META, (name, value))

        _look_at(self._db.write(work))


def _stricter(given: int | None, learnt: int | None) -> int | None:
    least = min(given if given is not None else inf, learnt if learnt is not None else inf)
    return None if least == inf else int(least)


def _read_counts(session: Session) -> list[Row]:
    return session.execute(_SELECT, (_PREFIX, _PREFIX + "\uffff"))


def _read_learnt(session: Session) -> list[Row]:
    return session.execute(_SELECT, (_LEARNT, _LEARNT + "\uffff"))


_SELECT_NAMES = "SELECT name FROM meta WHERE name >= ? AND name < ?"
_SELECT = "SELECT name, value FROM meta WHERE name >= ? AND name < ?"


def _look_at(written: asyncio.Future[None]) -> None:
    written.add_done_callback(lambda done: done.cancelled() or done.exception())
