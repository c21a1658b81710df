"""Runbooks for load: memory pressure, response times, overload (rate limiter), dead letters."""

from __future__ import annotations

from llmbot.operations.catalog.checks import at_once, only_told, probed
from llmbot.operations.ports import Act, Check, Part, Verb
from llmbot.operations.runbook import Runbook, Situation, Step
from llmbot.operations.stats import Percentiles

_P95_MS = 5000
_FRESH_S = 10.0
"""Older response times tell of what is over."""
_CALM_AGE_S = 20.0


def _fits(situation: Situation) -> str:
    host = situation.plant.host()
    return "memory is below its limit" if host.resident_bytes <= host.memory_limit_bytes else ""


async def _memory_check(situation: Situation) -> Check:
    host = situation.plant.host()
    words = f"{host.resident_bytes // 1024**2} MiB of {host.memory_limit_bytes // 1024**2} MiB"
    return Check("memory", bool(_fits(situation)), words)


def _quick(situation: Situation) -> str:
    response = situation.plant.performance(_FRESH_S).response
    return "" if response.p95 > _P95_MS else f"p95 is {response.p95} ms"


def _no_backlog(situation: Situation) -> str:
    """Forced queueing makes every message wait for seconds: it helps only who waits longer anyway.

    The same with fewer workers: where nobody waits for one, each has what it needs.
    """
    oldest_s = situation.plant.queue().oldest_s
    return _quick(situation) or ("nobody waits for a worker" if oldest_s <= _P95_MS / 1000 else "")


async def _time_check(situation: Situation) -> Check:
    fresh = situation.plant.performance(_FRESH_S)
    queue = fresh.stages.get("queue", Percentiles())
    # What a runbook lets wait on purpose is no slowness of what does the work.
    worked = max(0, fresh.response.p95 - queue.p95)
    words = f"p95 {worked} ms beside the queue over the last {fresh.response.count} answers"
    return Check("response time", worked <= _P95_MS and not _waiting_long(situation), words)


def _waiting_long(situation: Situation) -> bool:
    return situation.plant.queue().oldest_s > _CALM_AGE_S


def _caught_up(situation: Situation) -> str:
    queue = situation.plant.queue()
    return "the queue has caught up" if queue.oldest_s <= _CALM_AGE_S else ""


async def _queue_check(situation: Situation) -> Check:
    queue = situation.plant.queue()
    words = f"{queue.waiting} wait, the oldest for {queue.oldest_s:.0f} s"
    return Check("queue", bool(_caught_up(situation)), words)


def _one(verb: Verb, target: str = "") -> tuple[Act, ...]:
    return (Act(verb, target),)


LOAD_RUNBOOKS = (
    Runbook(
        name="memory",
        title="Memory pressure and optimisation",
        rows=(16,),
        part=Part.MEMORY,
        precheck=at_once,
        # In order of harm: the first costs milliseconds, the last interrupts the service.
        steps=(
            Step("collect garbage", lambda _: _one(Verb.COLLECT)),
            Step("clear caches", lambda _: _one(Verb.CLEAR_CACHES), _fits),
            Step("reduce what is offered", lambda _: _one(Verb.DEGRADE, "medium"), _fits),
            Step("drain and restart", lambda _: _one(Verb.RESTART_BOT), _fits),
        ),
        validate=_memory_check,
        settle_s=5.0,
        people=("Find what grows: /api/health/memory/detailed.",),
    ),
    Runbook(
        name="response-time",
        title="Response time recovery",
        rows=(15,),
        part=Part.QUEUE,
        precheck=at_once,
        steps=(
            Step("queue every message", lambda _: _one(Verb.QUEUE_ALL), _no_backlog),
            Step("halve the workers", lambda _: _one(Verb.REDUCE_WORKERS), _no_backlog),
            Step("work off the backlog", lambda _: _one(Verb.HASTEN_QUEUE), _quick),
        ),
        validate=_time_check,
        settle_s=60.0,
    ),
    Runbook(
        name="rate-limiter",
        title="Overload and rate limiter recovery",
        rows=(14,),
        part=Part.QUEUE,
        precheck=at_once,
        steps=(
            Step("queue every message", lambda _: _one(Verb.QUEUE_ALL), _caught_up),
            Step("halve the workers", lambda _: _one(Verb.REDUCE_WORKERS), _caught_up),
        ),
        validate=_queue_check,
        settle_s=60.0,
        people=("Raise WORKERS_MAX, add models, or limit users.",),
    ),
    Runbook(
        name="dead-letter",
        title="A message that fails each time",
        rows=(21,),
        part=Part.QUEUE,
        precheck=only_told("its user was told; an operator may retry or drop it"),
        validate=probed(Part.QUEUE),
        people=("Look at the dead letters; retry or drop them.",),
    ),
)
