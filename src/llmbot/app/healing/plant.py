"""What the control plane sees of the running bot: `operations.ports.Plant`, read off its parts."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmbot.app.healing.probes import Probes, model_name
from llmbot.app.running import Running
from llmbot.app.synthetic.messages import LOAD_CHANNEL
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import Published
from llmbot.operations.ports import (
    CallReading,
    Check,
    GateReading,
    GatewayReading,
    HostReading,
    Impact,
    LockReading,
    Part,
    QueueReading,
    ServiceReading,
)
from llmbot.operations.stats import Percentiles, Performance
from llmbot.resilience.breaker_facts import BreakerFacts
from llmbot.resilience.concurrency import PoolFacts
from llmbot.storage.database.contract import DatabaseFacts, Session
from llmbot.storage.documents.facts import DataInvalid, DataLost, DataRecovered

PERFORMANCE_S = 60.0
_CACHED_S = 2.0
_CALLS_MIN = 5
"""Fewer answers tell nothing of a model's usual time."""
_DISK_EVERY_S = 2.0
_DAMAGE_S = 120.0
"""Damage that nobody confirms for so long was mended by its finder."""

_IMPACT = """
SELECT COUNT(*), COUNT(DISTINCT author_id),
       COUNT(CASE WHEN state = 'done' THEN 1 END),
       COUNT(CASE WHEN state = 'noticed' THEN 1 END),
       COUNT(CASE WHEN state = 'dead' THEN 1 END)
FROM jobs WHERE created_s >= ? AND created_s <= ? AND channel_id > ?
"""


class BotPlant:
    """See `operations.ports.Plant`."""

    def __init__(self, bot: Running, running: Callable[[], bool]) -> None:
        """`running` says whether the bot is neither starting nor stopping."""
        self._bot = bot
        self._running = running
        self._mutexes = bot.operations.mutexes
        self.probes = Probes(bot)
        self._temp_problem = ""
        self._usual: tuple[float, Mapping[str, float]] | None = None
        self._performance: tuple[float, Performance] | None = None
        self._disk_free = self._disk_total = 1 << 62  # not looked at yet
        self._damaged: dict[str, tuple[float, str]] = {}
        self._stop = bot.house.bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    async def watch_disk(self) -> None:
        """Look at the disk's free space and at TEMP_DIR again and again, off the loop."""
        clock, storage = self._bot.house.clock, self._bot.house.settings.storage
        while True:
            try:
                usage = await asyncio.to_thread(shutil.disk_usage, storage.data_dir)
                self._disk_free, self._disk_total = usage.free, usage.total
            except OSError:
                self._disk_free = 0
            self._temp_problem = await asyncio.to_thread(_temp_problem, storage.temp_dir)
            await clock.sleep(_DISK_EVERY_S)

    # ── readings ────────────────────────────────────────────────────────────────────────────────

    def services(self) -> Sequence[ServiceReading]:
        """See `Plant.services`."""
        return tuple(
            ServiceReading(s.name, s.needs, str(s.state), s.trouble, s.last_error, s.restarts)
            for s in self._bot.supervisor.facts()
        )

    def gateway(self) -> GatewayReading:
        """See `Plant.gateway`."""
        facts = self._bot.edges.discord.facts()
        return GatewayReading(
            state=str(facts.state),
            ack_age_s=facts.last_ack_age_s,
            connections=facts.connections,
            resumes=facts.resumes,
            refused_resumes=facts.refused_resumes,
            unparsable=facts.unparsable,
            last_error=facts.last_error,
            remedy=facts.remedy,
            rest_requests=facts.rest_requests,
            rest_retries=facts.rest_retries,
            rest_rate_limited=facts.rest_rate_limited,
            rest_unavailable=facts.rest_unavailable,
            invalid_requests=facts.invalid_requests,
            rest_quiet_s=facts.rest_quiet_s,
        )

    def breakers(self) -> Mapping[str, BreakerFacts]:
        """See `Plant.breakers`."""
        return self._bot.mechanisms.breakers.facts()

    def chain(self) -> Sequence[str]:
        """See `Plant.chain`."""
        return tuple(model_name(each) for each in self._bot.conversation.generation.chain)

    def calls(self) -> Sequence[CallReading]:
        """See `Plant.calls`."""
        usual = self._usual_s()
        return tuple(
            CallReading(model, quiet_s, usual.get(model))
            for model, quiet_s in self._bot.conversation.generation.pulses.quiet()
        )

    def _usual_s(self) -> Mapping[str, float]:
        """In what time each model's first words nearly always come; at most two seconds old."""
        now = self._bot.house.clock.monotonic()
        if self._usual is None or now - self._usual[0] > _CACHED_S:
            models = self._bot.mechanisms.stats.models().values()
            known = [m for m in models if m.first_words.count >= _CALLS_MIN]
            self._usual = (now, {m.name: m.first_words.p95 / 1000 for m in known})
        return self._usual[1]

    def waits(self) -> Mapping[str, float]:
        """See `Plant.waits`."""
        limits, wall = self._bot.mechanisms.limits, self._bot.house.clock.wall()
        until = {name: limits.forecast(name).held_until for name in self.chain()}
        return {name: at - wall for name, at in until.items() if at is not None}

    def queue(self) -> QueueReading:
        """See `Plant.queue`."""
        facts = self._bot.mechanisms.queue.facts()
        return QueueReading(
            facts.waiting,
            facts.in_flight,
            facts.capacity,
            facts.oldest_s,
            facts.retrying,
            facts.held,
            self._bot.conversation.patience.load.drain_s(),
        )

    def pool(self) -> PoolFacts:
        """See `Plant.pool`."""
        return self._bot.mechanisms.pool.facts()

    def database(self) -> DatabaseFacts:
        """See `Plant.database`."""
        return self._bot.mechanisms.database.facts()

    def host(self) -> HostReading:
        """See `Plant.host`."""
        limit = self._bot.house.settings.limits.memory_limit_mb * 1024 * 1024
        return HostReading(
            self._bot.edges.host.resident_bytes(),
            limit,
            self._disk_free,
            self._temp_problem,
            self._disk_total,
        )

    def locks(self) -> LockReading:
        """See `Plant.locks`."""
        contested = self._mutexes.contested()
        held = [(facts.name, facts.holder) for facts in contested if facts.holder is not None]
        return LockReading(
            deadlocks=tuple("; ".join(map(str, c)) for c in self._mutexes.deadlocks()),
            held_too_long=tuple(name for name, holder in held if holder.lease_left_s <= 0),
            holder_gone=tuple(name for name, holder in held if holder.gone),
        )

    def damaged_documents(self) -> Mapping[str, str]:
        """See `Plant.damaged_documents`."""
        border = self._bot.house.clock.monotonic() - _DAMAGE_S
        return {name: words for name, (at, words) in self._damaged.items() if at > border}

    def performance(self, window_s: float = PERFORMANCE_S) -> Performance:
        """See `Plant.performance`; at most two seconds old, for it costs milliseconds."""
        if window_s != PERFORMANCE_S:
            return self._bot.mechanisms.stats.performance(window_s)
        now = self._bot.house.clock.monotonic()
        if self._performance is None or now - self._performance[0] > _CACHED_S:
            self._performance = (now, self._bot.mechanisms.stats.performance(PERFORMANCE_S))
        return self._performance[1]

    def served(self, since_s: float) -> Percentiles:
        """See `Plant.served`."""
        return self._bot.mechanisms.stats.served(since_s)

    def gates(self) -> GateReading:
        """See `Plant.gates`."""
        files = self._bot.conversation.context.reader.refused
        return GateReading(files, self._bot.house.redactor.found)

    def draining(self) -> bool:
        """See `Plant.draining`."""
        return not self._running()

    def documents_count(self) -> int:
        """How many documents there are, as far as the patrol knows."""
        return self._bot.mechanisms.documents.patrol.facts().documents

    async def probe(self, part: Part, subject: str) -> Check:
        """See `Plant.probe`."""
        return await self.probes.look(part, subject)

    async def whole_way(self) -> Check:
        """The whole way of a message, walked for real; costs one answer of a model."""
        return await self.probes.whole_way()

    async def impact(self, since_s: float, until_s: float) -> Impact | None:
        """See `Plant.impact`: of people's messages, not of tests.

        A span begins five seconds early, before trouble could be noticed.
        """

        def work(session: Session) -> list[tuple[Any, ...]]:
            return session.execute(_IMPACT, (since_s - 5.0, until_s, LOAD_CHANNEL))

        try:
            rows = await self._bot.mechanisms.database.read(work)
        except LlmbotError:
            return None
        messages, users, answered, noticed, dead = (int(value or 0) for value in rows[0])
        waiting = messages - answered - noticed - dead
        return Impact(messages, users, answered, noticed, dead, waiting)

    def snapshot(self) -> Mapping[str, object]:
        """See `Plant.snapshot`; the files of the operators' collector."""
        breakers = {name: asdict(each) for name, each in self.breakers().items()}
        gateway = asdict(self.gateway())
        models = self._bot.mechanisms.stats.models()
        return {
            "health-status": {"services": [asdict(each) for each in self.services()]},
            "circuit-status": breakers,
            "memory-usage": asdict(self.host()),
            "performance": asdict(self.performance()),
            "gemini-metrics": {name: asdict(each) for name, each in models.items()},
            "discord-metrics": gateway,
            "queue-metrics": {"queue": asdict(self.queue()), "workers": asdict(self.pool())},
        }

    def _hear(self, published: Published) -> None:
        event = published.event
        if isinstance(event, DataInvalid) and not event.quarantined:
            self._damaged[event.file] = (published.monotonic_s, event.problem)
            while len(self._damaged) > 100:  # noqa: PLR2004 - told one by one up to here
                del self._damaged[next(iter(self._damaged))]
        elif isinstance(event, DataRecovered | DataLost):
            self._damaged.pop(event.name, None)


def _temp_problem(folder: Path) -> str:
    """Why large contexts would find no room; empty where they do. A first job makes the rest."""
    if not folder.is_dir():
        return "TEMP_DIR is gone"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "TEMP_DIR cannot be written"
