"""The hand of the control plane on the running bot: `operations.ports.Hand`, act by act."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Protocol

from llmbot.app.parts import Bot
from llmbot.app.supervisor import RestartUnderWayError, UnknownServiceError
from llmbot.kernel.errors import DefectError, DiscordUnavailableError, RefusedError
from llmbot.operations.ports import Act, Effect, Verb
from llmbot.resilience.degradation import Degradation
from llmbot.resilience.mutex_facts import CleanupFacts, Deadlock, HolderFacts, MutexFacts

MIB = 1024 * 1024

Do = Callable[[str, str], Awaitable[Effect]]


class Locks(Protocol):
    """The named locks as the control plane needs them; see `resilience.mutex.Mutexes`."""

    def status(self) -> dict[str, MutexFacts]:
        """Every lock by name."""
        ...

    def deadlocks(self) -> tuple[Deadlock, ...]:
        """Every circle of waits."""
        ...

    def cleanup(self) -> CleanupFacts:
        """Free those whose holder is gone."""
        ...

    def force_release(self, name: str, reason: str) -> HolderFacts | None:
        """Take one from its holder."""
        ...


class BotHand:
    """See `operations.ports.Hand`."""

    def __init__(
        self, bot: Bot, ask_restart: Callable[[], bool], mutexes: Locks | None = None
    ) -> None:
        """`ask_restart` begins a restart of the process."""
        self._bot = bot
        self._ask_restart = ask_restart
        self._mutexes = mutexes
        self._acts: dict[Verb, Do] = {
            Verb.RESET_BREAKER: self._reset_breaker,
            Verb.RECONNECT: self._reconnect,
            Verb.REATTACH_HANDLERS: self._reconnect,
            Verb.RESTART_SERVICE: self._restart_service,
            Verb.RESTART_BOT: self._restart_bot,
            Verb.COLLECT: self._collect,
            Verb.CLEAR_CACHES: self._collect,
            Verb.DEGRADE: self._degrade,
            Verb.RELEASE_DEGRADATION: self._release,
            Verb.REDUCE_WORKERS: self._reduce,
            Verb.RESTORE_WORKERS: self._restore,
            Verb.QUEUE_ALL: self._queue_all,
            Verb.SERVE_AT_ONCE: self._serve_at_once,
            Verb.HASTEN_QUEUE: self._hasten,
            Verb.RESET_LIMITS: self._reset_limits,
            Verb.CLEAN_LOCKS: self._clean_locks,
            Verb.RELEASE_LOCK: self._release_lock,
            Verb.RECOVER_DOCUMENT: self._recover_document,
        }

    def can(self, verb: Verb) -> bool:
        """Whether this bot has what the act works on."""
        return verb in self._acts

    async def perform(self, act: Act, reason: str) -> Effect:
        """See `Hand.perform`."""
        do = self._acts.get(act.verb)
        if do is None:
            raise RefusedError(f"this bot has nothing that {act.verb} would work on")
        return await do(act.target, reason)

    async def _reset_breaker(self, name: str, reason: str) -> Effect:
        controls = self._bot.conversation.controls
        before = controls.breaker_facts()
        after = controls.reset_breaker(name, reason)
        was = before[name].state if name in before else "unknown"
        return Effect(str(was), str(after.state))

    async def _reconnect(self, _: str, __: str) -> Effect:
        before = str(self._bot.edges.discord.facts().state)
        done = await self._bot.edges.discord.reconnect()
        if not done.ready:
            raise DiscordUnavailableError(f"not connected: {done.detail}")
        return Effect(before, f"ready, {done.detail}")

    async def _restart_service(self, name: str, _: str) -> Effect:
        states = {s.name: str(s.state) for s in self._bot.supervisor.facts()}
        try:
            done = await self._bot.supervisor.restart(name)
        except (UnknownServiceError, RestartUnderWayError) as error:
            raise RefusedError(str(error)) from None
        return Effect(
            states.get(name, "unknown"),
            f"running, with {len(done.services)} service(s) in {done.duration_ms} ms",
        )

    async def _restart_bot(self, _: str, __: str) -> Effect:
        if not self._ask_restart():
            raise RefusedError("the bot is stopping already")
        return Effect("running", "stops cleanly and is started again")

    async def _collect(self, _: str, __: str) -> Effect:
        host = self._bot.edges.host
        before = host.resident_bytes()
        # A collection holds the interpreter wherever it runs; on a thread it is at least split.
        await asyncio.to_thread(gc.collect)
        return Effect(f"{before // MIB} MiB", f"{host.resident_bytes() // MIB} MiB")

    async def _degrade(self, level: str, reason: str) -> Effect:
        controls = self._bot.conversation.controls
        before = controls.mode_facts().degradation.level
        after = controls.degrade(Degradation(level or "medium"), reason)
        return Effect(str(before), str(after.level))

    async def _release(self, _: str, reason: str) -> Effect:
        controls = self._bot.conversation.controls
        before = controls.mode_facts().degradation.level
        after = controls.degrade(None, reason)
        return Effect(str(before), str(after.level))

    async def _reduce(self, _: str, __: str) -> Effect:
        controls = self._bot.conversation.controls
        before = controls.pool_facts()
        after = before if before.reduced else controls.reduce_concurrency()
        return Effect(f"{before.limit} workers", f"{after.limit} workers")

    async def _restore(self, _: str, __: str) -> Effect:
        controls = self._bot.conversation.controls
        before = controls.pool_facts()
        after = controls.restore_concurrency()
        return Effect(f"{before.limit} workers", f"{after.limit} workers, growing back")

    async def _queue_all(self, _: str, reason: str) -> Effect:
        changed = await self._bot.conversation.controls.force_queueing(reason, on=True)
        return Effect("served at once" if changed else "queued already", "every message queued")

    async def _serve_at_once(self, _: str, reason: str) -> Effect:
        changed = await self._bot.conversation.controls.force_queueing(reason, on=False)
        return Effect("every message queued" if changed else "served already", "served at once")

    async def _hasten(self, _: str, __: str) -> Effect:
        moved = self._bot.conversation.controls.process_priority_now()
        return Effect(f"{moved} not due", "due now")

    async def _reset_limits(self, selector: str, _: str) -> Effect:
        forgotten = self._bot.conversation.controls.reset_rate_limits(selector or None)
        return Effect(f"{forgotten} counts", "none")

    async def _clean_locks(self, _: str, __: str) -> Effect:
        facts = self._locks().cleanup()
        return Effect(f"{len(facts.freed)} without a holder", "freed")

    async def _release_lock(self, name: str, reason: str) -> Effect:
        holder = self._locks().force_release(name, reason)
        return Effect("free" if holder is None else f"held by {holder.owner}", "free")

    def _locks(self) -> Locks:
        if self._mutexes is None:
            raise DefectError("this bot has no named locks")
        return self._mutexes

    async def _recover_document(self, name: str, _: str) -> Effect:
        recovery = await self._bot.mechanisms.documents.admin.recover(name)
        return Effect("damaged", f"recovered from {recovery.source}")
