"""What the control plane sees of the running bot: `operations.ports.Plant`, read off its parts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

import httpx2

from llmbot.adapters.model_transport import new_http_client
from llmbot.app.healing_hand import Locks
from llmbot.app.parts import Bot
from llmbot.conversation.generation import Candidate
from llmbot.conversation.ports import Finish, ModelDeadlines, Prompt, Role, Turn
from llmbot.kernel.errors import LlmbotError, ModelEmptyError
from llmbot.kernel.events import Published
from llmbot.operations.ports import (
    Check,
    GatewayReading,
    HostReading,
    Impact,
    LockReading,
    Part,
    QueueReading,
    ServiceReading,
)
from llmbot.operations.stats import Performance
from llmbot.resilience.breaker_facts import BreakerFacts
from llmbot.resilience.concurrency import PoolFacts
from llmbot.resilience.deadline import Deadline
from llmbot.storage.contract import DatabaseFacts, Session
from llmbot.storage.document_facts import DataInvalid, DataLost, DataRecovered

PROBE_S = 8.0
PERFORMANCE_S = 60.0
_CACHED_S = 2.0
_DISK_EVERY_S = 5.0
_OK = 200
_DAMAGE_S = 120.0
"""Damage that nobody confirms for so long was mended by its finder."""

_DEADLINES = ModelDeadlines(
    connect_s=3.0, first_words_s=5.0, between_words_s=3.0, whole_answer_s=PROBE_S
)
_PROBE = Prompt(
    system="Answer with one word.",
    turns=(Turn(Role.USER, "Say ok."),),
    output_tokens_max=16,
    little_thinking=True,
)

_IMPACT = """
SELECT COUNT(*), COUNT(DISTINCT author_id),
       COUNT(CASE WHEN state = 'done' THEN 1 END),
       COUNT(CASE WHEN state = 'noticed' THEN 1 END),
       COUNT(CASE WHEN state = 'dead' THEN 1 END)
FROM jobs WHERE created_s >= ? AND created_s <= ?
"""


class BotPlant:
    """See `operations.ports.Plant`."""

    def __init__(self, bot: Bot, running: Callable[[], bool], mutexes: Locks | None = None) -> None:
        """`running` says whether the bot is neither starting nor stopping."""
        self._bot = bot
        self._running = running
        self._mutexes = mutexes
        self._performance: tuple[float, Performance] | None = None
        self._disk_free = 1 << 62  # not looked at yet
        self._damaged: dict[str, tuple[float, str]] = {}
        self._stop = bot.house.bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    async def watch_disk(self) -> None:
        """Look at the disk's free space again and again, off the loop."""
        clock, folder = self._bot.house.clock, self._bot.house.settings.storage.data_dir
        while True:
            try:
                usage = await asyncio.to_thread(shutil.disk_usage, folder)
                self._disk_free = usage.free
            except OSError:
                self._disk_free = 0
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
        )

    def breakers(self) -> Mapping[str, BreakerFacts]:
        """See `Plant.breakers`."""
        return self._bot.mechanisms.breakers.facts()

    def chain(self) -> Sequence[str]:
        """See `Plant.chain`."""
        return tuple(_name(each) for each in self._bot.conversation.generation.chain)

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
        return HostReading(self._bot.edges.host.resident_bytes(), limit, self._disk_free)

    def locks(self) -> LockReading:
        """See `Plant.locks`."""
        if self._mutexes is None:
            return LockReading((), (), ())
        facts = self._mutexes.status().values()
        held = [(f.name, f.holder) for f in facts if f.holder is not None and f.waiters]
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

    def config_problem(self) -> str:
        """See `Plant.config_problem`."""
        return ""

    def draining(self) -> bool:
        """See `Plant.draining`."""
        return not self._running()

    def documents_count(self) -> int:
        """How many documents there are, as far as the patrol knows."""
        return self._bot.mechanisms.documents.patrol.facts().documents

    # ── looking for real ────────────────────────────────────────────────────────────────────────

    async def probe(self, part: Part, subject: str) -> Check:
        """See `Plant.probe`."""
        looks: dict[Part, Callable[[str], Any]] = {
            Part.MODEL: self._ask_model,
            Part.DISCORD: self._ask_discord,
            Part.DATABASE: self._write_and_read,
            Part.QUEUE: self._whole,
            Part.DOCUMENTS: self._documents_sound,
        }
        look = looks.get(part)
        if look is None:
            return Check(str(part), passed=True, detail="it goes on")
        try:
            async with Deadline.after(self._bot.house.clock, PROBE_S).limit():
                return Check(str(part), passed=True, detail=await look(subject))
        except (LlmbotError, OSError) as error:
            return Check(str(part), passed=False, detail=str(error) or type(error).__name__)
        except TimeoutError:
            return Check(str(part), passed=False, detail=f"no answer within {PROBE_S:g} s")

    async def _ask_model(self, subject: str) -> str:
        """Ask the model that is meant, or the first of the chain that its breaker lets through."""
        chain = self._bot.conversation.generation.chain
        chosen = next((each for each in chain if _name(each) == subject), None) or chain[0]
        began = self._bot.house.clock.monotonic()
        try:
            async with aclosing(chosen.model.stream(_PROBE, _DEADLINES)) as items:
                async for item in items:
                    if isinstance(item, Finish):
                        break
        except ModelEmptyError:
            pass  # it answers, if with nothing to say; that is not what is asked here
        took_ms = round((self._bot.house.clock.monotonic() - began) * 1000)
        return f"{_name(chosen)} answered in {took_ms} ms"

    async def _ask_discord(self, _: str) -> str:
        """Past the bot's own limits and breaker: whether Discord knows this bot now."""
        settings = self._bot.house.settings.discord
        headers = {"Authorization": f"Bot {settings.token.get_secret_value()}"}
        base = settings.api_base_url
        try:
            async with new_http_client(base, connections_max=1) as client:
                answer = await client.get(f"{base}/users/@me", headers=headers)
        except httpx2.HTTPError as error:
            raise OSError(f"Discord: {type(error).__name__}") from None
        if answer.status_code != _OK:
            raise OSError(f"Discord answers {answer.status_code}")
        state = self.gateway().state
        return f"REST answers, the gateway is {state}"

    async def _write_and_read(self, _: str) -> str:
        store, clock = self._bot.mechanisms.store, self._bot.house.clock
        wanted = f"{clock.wall():.3f}"
        began = clock.monotonic()
        await store.set_meta("probe", wanted)
        if await store.meta("probe") != wanted:
            raise OSError("what was written was not read back")
        return f"a test write was read back in {round((clock.monotonic() - began) * 1000)} ms"

    async def _whole(self, subject: str) -> str:
        """A message's way as far as it can be walked without one: store, workers, gateway."""
        words = await self._write_and_read(subject)
        for service in self.services():
            if service.state != "running" or service.trouble:
                raise OSError(f"{service.name}: {service.trouble or service.state}")
        return f"{words}; workers take jobs, the gateway is ready"

    async def _documents_sound(self, subject: str) -> str:
        admin = self._bot.mechanisms.documents.admin
        if subject and subject in await admin.names():
            check = await admin.validate(subject)
            if not check.ok:
                raise OSError(f"{check.name}: {check.problem}")
            return f"{subject} is sound"
        found = await admin.validate_all()
        bad = [name for name, check in found.documents.items() if not check.ok]
        if bad:
            raise OSError(f"damaged: {', '.join(bad[:5])}")
        return f"{len(found.documents)} document(s) are sound"

    async def impact(self, since_s: float, until_s: float) -> Impact:
        """See `Plant.impact`; a span begins five seconds early, before trouble could be noticed."""

        def work(session: Session) -> list[tuple[Any, ...]]:
            return session.execute(_IMPACT, (since_s - 5.0, until_s))

        try:
            rows = await self._bot.mechanisms.database.read(work)
        except LlmbotError:
            return Impact(0, 0, 0, 0, 0, 0)
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


def _name(candidate: Candidate) -> str:
    return f"{candidate.model.provider}:{candidate.model.name}"
