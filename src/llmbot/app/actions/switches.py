"""Actions that switch something on or off: modes, breakers, limits, queue, workers, mutexes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from llmbot.app.running import Running
from llmbot.app.views.health import circuit_of, degradation_of
from llmbot.app.views.work import deadlocks_of
from llmbot.console.actions import ActionError, Asked, Done, UnknownTargetError
from llmbot.resilience.breaker_facts import BreakerFacts, BreakerState
from llmbot.resilience.concurrency import PoolFacts
from llmbot.resilience.degradation import Degradation

__all__ = ["switch_actions"]

Handler = Callable[[Asked], Awaitable[Done]]


def switch_actions(bot: Running) -> Mapping[str, Handler]:
    """The actions by name."""
    switches = _Switches(bot)
    return {
        "maintenance/enable": lambda asked: switches.maintenance(asked, on=True),
        "maintenance/disable": lambda asked: switches.maintenance(asked, on=False),
        "degradation/enable": switches.degrade,
        "degradation/disable": switches.restore,
        "circuit/reset": switches.reset,
        "circuit/reset/all": switches.reset_all,
        "circuit/trip": switches.trip,
        "circuit/trip/all": switches.trip_all,
        "ratelimit/reset": switches.reset_limits,
        "queue/enable": lambda asked: switches.queueing(asked, on=True),
        "queue/disable": lambda asked: switches.queueing(asked, on=False),
        "queue/process": lambda asked: switches.process(asked, all_of_them=True),
        "queue/process-priority": lambda asked: switches.process(asked, all_of_them=False),
        "concurrency/reduce": switches.reduce,
        "concurrency/restore": switches.raise_again,
        "mutex/cleanup": switches.clean_mutexes,
        "mutex/force-release": switches.release_mutex,
        "mutex/reset-stats": switches.reset_mutex_stats,
        "race-condition/clear": switches.clear_processed,
    }


class _Switches:
    def __init__(self, bot: Running) -> None:
        self._bot = bot
        self._controls = bot.conversation.controls
        self._one_mode_at_a_time = asyncio.Lock()
        """A mode is stored before it holds; who switches meanwhile would be read back instead."""

    # ── modes ───────────────────────────────────────────────────────────────────────────────────

    async def maintenance(self, asked: Asked, *, on: bool) -> Done:
        async with self._one_mode_at_a_time:
            before = self._modes()
            await self._controls.maintenance(asked.reason, on=on)
            after = self._modes()
        if after["maintenance"] is not on:
            raise ActionError(f"Maintenance is still {'off' if on else 'on'}.")
        # The presence follows within seconds; who reads it meanwhile is told at once.
        await self._bot.edges.discord.presence.show(
            "idle" if on else "online", "maintenance: messages wait" if on else ""
        )
        return Done(before, after)

    async def queueing(self, asked: Asked, *, on: bool) -> Done:
        async with self._one_mode_at_a_time:
            before = self._modes()
            await self._controls.force_queueing(asked.reason, on=on)
            after = self._modes()
        if after["queueing"] is not on:
            raise ActionError(f"Queueing of every message is still {'off' if on else 'on'}.")
        return Done(before, after)

    def _modes(self) -> dict[str, object]:
        facts = self._controls.mode_facts()
        return {
            "maintenance": facts.maintenance,
            "queueing": facts.queueing,
            "waiting": len(self._bot.mechanisms.queue),
        }

    async def degrade(self, asked: Asked) -> Done:
        level = Degradation(str(asked.options.get("level", "medium")))
        before = self._level()
        facts = self._controls.degrade(level, asked.reason)
        if facts.level is not level or not facts.manual:
            raise ActionError(f"The level is {facts.level} and not {level}.")
        return Done(before, self._level())

    async def restore(self, asked: Asked) -> Done:
        before = self._level()
        facts = self._controls.degrade(None, asked.reason)
        if facts.manual:
            raise ActionError(f"The level {facts.level} is still held by hand.")
        return Done(before, self._level())

    def _level(self) -> dict[str, object]:
        facts = degradation_of(self._bot)
        return {"level": facts.level, "mode": facts.mode, "switchedOff": facts.switched_off}

    # ── circuit breakers ────────────────────────────────────────────────────────────────────────

    async def reset(self, asked: Asked) -> Done:
        before = self._circuit(asked.target)
        self._bot.mechanisms.limits.serves_again(asked.target)
        after = self._controls.reset_breaker(asked.target, asked.reason)
        self._bot.operations.externals.forget(asked.target)
        if after.state is not BreakerState.CLOSED or after.failures:
            raise ActionError(f"The breaker is {after.state} again: {after.reason}.")
        return Done(_circuit(before), _circuit(after), {"state": str(after.state)})

    async def trip(self, asked: Asked) -> Done:
        before = self._circuit(asked.target)
        after = self._controls.trip_breaker(
            asked.target, asked.reason, for_s=_seconds(asked.options.get("seconds"))
        )
        if after.state is not BreakerState.OPEN:
            raise ActionError(f"The breaker is {after.state} again.")
        return Done(_circuit(before), _circuit(after), {"state": str(after.state)})

    async def reset_all(self, asked: Asked) -> Done:
        before = self._states()
        after = self._controls.reset_all_breakers(asked.reason)
        for name in self._bot.operations.externals.names:
            self._bot.operations.externals.forget(name)
        still = [name for name, facts in after.items() if facts.state is not BreakerState.CLOSED]
        if still:
            raise ActionError(f"Not closed: {', '.join(still)}.")
        return Done(before, self._states())

    async def trip_all(self, asked: Asked) -> Done:
        before = self._states()
        seconds = _seconds(asked.options.get("seconds"))
        for breaker in self._bot.mechanisms.breakers.all():
            breaker.trip(asked.reason, for_s=seconds, by_hand=True)
        after = self._states()
        still = [name for name, state in after.items() if state != BreakerState.OPEN]
        if still:
            raise ActionError(f"Not open: {', '.join(still)}.")
        return Done(before, after)

    def _circuit(self, name: str) -> BreakerFacts:
        breaker = self._bot.mechanisms.breakers.find(name)
        if breaker is None:
            raise UnknownTargetError("circuit breaker", self._bot.mechanisms.breakers.names())
        return breaker.facts()

    def _states(self) -> dict[str, object]:
        return {name: str(f.state) for name, f in self._controls.breaker_facts().items()}

    # ── limits ──────────────────────────────────────────────────────────────────────────────────

    async def reset_limits(self, asked: Asked) -> Done:
        selector = asked.options.get("scope")
        windows = self._controls.rate_limits()
        scopes = {str(window.scope) for window in windows}
        kinds = {window.scope.kind for window in windows} | set(self._bot.mechanisms.limits.by_kind)
        if selector is not None and ":" in str(selector) and selector not in scopes:
            raise UnknownTargetError("scope in use", sorted(scopes)[:50])
        if selector is not None and ":" not in str(selector) and selector not in kinds:
            raise UnknownTargetError("kind of scope", sorted(kinds))
        before = self._used(selector)
        count = self._controls.reset_rate_limits(None if selector is None else str(selector))
        after = self._used(selector)
        return Done(before, after, {"scopesReset": count})

    def _used(self, selector: object) -> dict[str, object]:
        windows = [
            window
            for window in self._controls.rate_limits()
            if selector in (None, str(window.scope), window.scope.kind)
        ]
        return {
            "scopes": len({window.scope for window in windows}),
            "used": sum(window.used for window in windows),
        }

    # ── queue and workers ───────────────────────────────────────────────────────────────────────

    async def process(self, asked: Asked, *, all_of_them: bool) -> Done:
        del asked
        before = self._waiting()
        controls = self._controls
        moved = controls.process_now() if all_of_them else controls.process_priority_now()
        return Done(before, self._waiting(), {"moved": moved, "processed": moved})

    def _waiting(self) -> dict[str, object]:
        facts = self._controls.queue_facts()
        return {
            "waiting": facts.waiting,
            "inFlight": facts.in_flight,
            "retrying": facts.retrying,
            "held": facts.held,
        }

    async def reduce(self, asked: Asked) -> Done:
        del asked
        before = self._controls.pool_facts()
        after = self._controls.reduce_concurrency()
        if after.limit > before.limit or (before.limit > 1 and after.limit >= before.limit):
            raise ActionError(f"There are still {after.limit} workers.")
        return Done(_workers(before), _workers(after))

    async def raise_again(self, asked: Asked) -> Done:
        del asked
        before = self._controls.pool_facts()
        return Done(_workers(before), _workers(self._controls.restore_concurrency()))

    # ── mutexes and duplicates ──────────────────────────────────────────────────────────────────

    async def clean_mutexes(self, asked: Asked) -> Done:
        del asked
        mutexes = self._bot.operations.mutexes
        before = self._locks()
        cleaned = mutexes.cleanup()
        told = {"freed": list(cleaned.freed), "dropped": cleaned.dropped}
        return Done(before, self._locks(), told)

    async def release_mutex(self, asked: Asked) -> Done:
        mutexes = self._bot.operations.mutexes
        if asked.target not in mutexes.names():
            raise UnknownTargetError("mutex", mutexes.names())
        before = self._lock(asked.target)
        holder = mutexes.force_release(asked.target, asked.reason)
        after = self._lock(asked.target)
        if holder is not None and after.get("token") == holder.token:
            raise ActionError("Its holder still has it.")
        return Done(before, after, {"released": holder is not None})

    async def reset_mutex_stats(self, asked: Asked) -> Done:
        del asked
        before = self._bot.operations.mutexes.totals().figures.acquisitions
        self._bot.operations.mutexes.reset_stats()
        after = self._bot.operations.mutexes.totals().figures.acquisitions
        return Done({"acquisitions": before}, {"acquisitions": after})

    def _locks(self) -> dict[str, object]:
        totals = self._bot.operations.mutexes.totals()
        return {
            "names": totals.names,
            "held": totals.held,
            "waiting": totals.waiting,
            "deadlocks": deadlocks_of(self._bot).count,
        }

    def _lock(self, name: str) -> dict[str, object]:
        facts = self._bot.operations.mutexes.status().get(name)
        if facts is None:
            return {"holder": None, "waiters": 0}
        holder = facts.holder
        return {
            "holder": None if holder is None else holder.owner,
            "token": None if holder is None else holder.token,
            "waiters": len(facts.waiters),
        }

    async def clear_processed(self, asked: Asked) -> Done:
        del asked
        claims = self._bot.mechanisms.claims
        before = claims.remembered
        claims.forget()
        if claims.remembered:
            raise ActionError("The memory of processed messages is not empty.")
        told = {"cleared": before, "durableRecord": "kept"}
        return Done({"memoryEntries": before}, {"memoryEntries": claims.remembered}, told)


def _circuit(facts: BreakerFacts) -> dict[str, object]:
    shown = circuit_of(facts)
    return {
        "state": shown.state,
        "reason": shown.reason,
        "failures": shown.failures,
        "openedAt": shown.opened_at,
        "nextProbeAt": shown.next_probe_at,
    }


def _workers(facts: PoolFacts) -> dict[str, object]:
    return {
        "workers": facts.limit,
        "workersMax": facts.limit_max,
        "busy": facts.in_flight,
        "reduced": facts.reduced,
    }


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
