"""Limits, mutexes, the queue and what was processed, read off their parts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmbot.app.externals import quota_of
from llmbot.app.running import Running
from llmbot.console.facts.contexts import ContextsFacts, ContextState
from llmbot.console.facts.facts import (
    DeadlockFacts,
    MutexesFacts,
    MutexFigures,
    MutexHolder,
    MutexState,
    MutexWaiter,
    ProcessedFacts,
    QueueState,
    QuotaFacts,
    RateLimitFacts,
    ScopeFacts,
    WaitFacts,
    WorkerFacts,
    moment,
)
from llmbot.console.facts.figures import (
    LedgerFacts,
    StoryFacts,
)
from llmbot.conversation.jobs import Priority
from llmbot.conversation.large.files import ContextUse
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.ids import snowflake_time
from llmbot.resilience import mutex_facts
from llmbot.storage.database.opening import Row, Session

__all__ = [
    "contexts_of",
    "deadlocks_of",
    "ledger_of",
    "mutexes_of",
    "processed_of",
    "queue_of",
    "rate_limits_of",
]

SCOPES_SHOWN_MAX = 500
TEXTS_SHOWN_MAX = 12
TEXTS_DEADLINE_S = 8.0


def rate_limits_of(bot: Running) -> RateLimitFacts:
    """See `Views.rate_limits`."""
    scopes: dict[str, dict[str, QuotaFacts]] = {}
    kinds: dict[str, str] = {}
    total = 0
    for window in bot.conversation.controls.rate_limits():
        name = str(window.scope)
        if name not in scopes:
            total += 1
            if len(scopes) >= SCOPES_SHOWN_MAX:
                continue
            kinds[name] = window.scope.kind
        scopes.setdefault(name, {})[window.window] = QuotaFacts(
            window.used, window.limit, window.remaining, moment(window.resets_at)
        )
    gateway = bot.edges.discord.facts()
    return RateLimitFacts(
        limits={
            kind: {window.label: window.limit for window in limits.windows}
            for kind, limits in bot.mechanisms.limits.by_kind.items()
        },
        scopes={name: ScopeFacts(kinds[name], windows) for name, windows in scopes.items()},
        scopes_total=total,
        providers={
            "discord": {
                "rateLimited": gateway.rest_rate_limited,
                "invalidRequests": gateway.invalid_requests,
                "identifiesLeft": gateway.identifies_left,
            },
            **{
                f"{c.model.provider}:{c.model.name}": {
                    window: {"used": quota.used, "remaining": quota.remaining}
                    for window, quota in quota_of(
                        bot.mechanisms.limits.forecast(f"{c.model.provider}:{c.model.name}")
                    ).items()
                }
                for c in bot.conversation.generation.chain
            },
        },
    )


# ── long texts ──────────────────────────────────────────────────────────────────────────────────


async def contexts_of(bot: Running) -> ContextsFacts:
    """See `Views.contexts`."""
    large = bot.conversation.large
    problem, use = "", ContextUse(0, 0, 0)
    try:
        use = await large.keeper.use()
    except OSError as error:
        problem = str(error.strerror)
    return ContextsFacts(
        allowed=large.allowed,
        jobs={
            str(each.message_id): ContextState(
                "waiting" if each.waiting else "resting" if each.resting else "reading",
                each.parts,
                each.read,
                each.failed,
            )
            for each in large.facts()
        },
        reading_max=large.settings.jobs_max,
        line_max=large.settings.line_max,
        failed_chunks=large.failed,
        folders=use.folders,
        bytes=use.bytes,
        bytes_max=large.keeper.bytes_max,
        disk_free=use.disk_free,
        problem=problem,
    )


# ── mutexes ─────────────────────────────────────────────────────────────────────────────────────


def mutexes_of(bot: Running) -> MutexesFacts:
    """See `Views.mutexes`."""
    mutexes = bot.operations.mutexes
    totals = mutexes.totals()
    return MutexesFacts(
        mutexes={name: _mutex(facts) for name, facts in mutexes.status().items()},
        held=totals.held,
        waiting=totals.waiting,
        totals=_figures(totals.figures),
    )


def deadlocks_of(bot: Running) -> DeadlockFacts:
    """See `Views.deadlocks`."""
    found = bot.operations.mutexes.deadlocks()
    names = dict.fromkeys(edge.mutex for circle in found for edge in circle)
    return DeadlockFacts(
        count=len(found),
        deadlocks=[
            [WaitFacts(edge.waiter, edge.mutex, edge.holder) for edge in circle] for circle in found
        ],
        mutexes=list(names),
    )


def _mutex(facts: mutex_facts.MutexFacts) -> MutexState:
    holder = facts.holder
    return MutexState(
        holder=None
        if holder is None
        else MutexHolder(
            owner=holder.owner,
            reason=holder.reason,
            since=moment(holder.since),
            held_for_ms=_ms(holder.held_for_s),
            lease_left_ms=max(0, _ms(holder.lease_left_s)),
            gone=holder.gone,
            token=holder.token,
        ),
        waiters=[MutexWaiter(w.owner, w.reason, _ms(w.waits_for_s)) for w in facts.waiters],
        figures=_figures(facts.figures),
    )


def _figures(figures: mutex_facts.MutexFigures) -> MutexFigures:
    share = figures.contended / figures.acquisitions if figures.acquisitions else 0.0
    return MutexFigures(
        acquisitions=figures.acquisitions,
        contended=figures.contended,
        contention=round(min(1.0, share), 4),
        timeouts=figures.timeouts,
        cancelled=figures.cancelled,
        deadlocks=figures.deadlocks,
        broken=figures.broken,
        wait_total_ms=_ms(figures.wait_total_s),
        wait_max_ms=_ms(figures.wait_max_s),
        hold_total_ms=_ms(figures.hold_total_s),
        hold_max_ms=_ms(figures.hold_max_s),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


# ── messages ────────────────────────────────────────────────────────────────────────────────────


async def queue_of(bot: Running) -> QueueState:
    """See `Views.queue`."""
    controls = bot.conversation.controls
    facts, pool = controls.queue_facts(), controls.pool_facts()
    counts = await bot.mechanisms.store.counts()
    figures = bot.mechanisms.stats.performance(60.0)
    return QueueState(
        depth=facts.waiting,
        by_priority=dict(facts.by_priority),
        by_state={
            "waiting": max(0, facts.waiting - facts.retrying),
            "leased": facts.in_flight,
            "retrying": facts.retrying,
            "dead": counts.get("dead", 0),
        },
        oldest_age_seconds=round(facts.oldest_s),
        capacity=facts.capacity,
        rates={
            "receivedPerMinute": float(figures.received),
            "endedPerMinute": round(figures.per_minute, 2),
        },
        forced=controls.modes.queueing,
        held=facts.held,
        workers=WorkerFacts(
            limit=pool.limit,
            limit_max=pool.limit_max,
            busy=bot.conversation.workers.busy,
            reduced=pool.reduced,
        ),
    )


async def processed_of(bot: Running) -> ProcessedFacts:
    """See `Views.processed`."""
    claims = bot.mechanisms.claims

    def work(session: Session) -> list[Row]:
        return session.execute("SELECT COUNT(*), MIN(message_id) FROM jobs")

    ((count, oldest),) = await bot.mechanisms.database.read(work)
    return ProcessedFacts(
        memory_entries=claims.remembered,
        memory_capacity=claims.capacity,
        duplicates=dict(claims.duplicates),
        duplicates_total=sum(claims.duplicates.values()),
        record_entries=int(count),
        oldest_entry=None if oldest is None else moment(snowflake_time(int(oldest))),
    )


async def ledger_of(bot: Running, message_id: int) -> LedgerFacts | None:
    """See `Views.ledger`; words are asked of Discord, for a job that has ended has none left."""
    store = bot.mechanisms.store

    def work(session: Session) -> tuple[list[Row], list[Row]]:
        job = session.execute(
            "SELECT state, channel_id, priority, attempts, created_s, is_direct FROM jobs "
            "WHERE message_id = ?",
            (message_id,),
        )
        parts = session.execute(
            "SELECT discord_id FROM parts WHERE message_id = ? ORDER BY part", (message_id,)
        )
        return job, parts

    rows, parts = await bot.mechanisms.database.read(work)
    if not rows:
        return None
    state, channel_id, priority, attempts, created_s, is_direct = rows[0]
    ids = [int(discord_id) for (discord_id,) in parts]
    texts, hidden = await _texts(bot, int(channel_id), (message_id, *ids), private=bool(is_direct))
    story = await store.story(message_id)
    return LedgerFacts(
        message_id=str(message_id),
        state=str(state),
        channel_id=str(channel_id),
        source=story[0].detail if story else "",
        priority=Priority(int(priority)).name.lower(),
        attempts=int(attempts),
        created_at=moment(float(created_s)),
        parts=[str(discord_id) for discord_id in ids],
        story=[StoryFacts(moment(line.wall_s), line.fact, line.detail) for line in story],
        texts=texts,
        texts_hidden=hidden,
    )


async def _texts(
    bot: Running, channel_id: int, ids: Sequence[int], *, private: bool
) -> tuple[list[str], str]:
    """What these messages say, where operators may see it; else why they may not."""
    if not bot.mechanisms.documents.current.settings.logs.user_text:
        return [], "LOG_USER_TEXT is false"
    if private:
        return [], "it was written in private"
    try:
        async with asyncio.timeout(TEXTS_DEADLINE_S):
            found = [
                await bot.conversation.discord.message(channel_id, each)
                for each in ids[:TEXTS_SHOWN_MAX]
            ]
    except (LlmbotError, TimeoutError):
        return [], "Discord does not answer"
    return [each.content if each is not None else "(deleted)" for each in found], ""
