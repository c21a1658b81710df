"""The desk where actions are asked for: each in a task of its own, in time, and in the audit.

An action goes on when who asked for it is gone; the desk owns it until it has ended. What an action
does is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from llmbot.console.actions import ActionError, Actions, ActionSpec, Asked, BusyError, Done
from llmbot.console.gate.roles import Caller
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DefectError, FencedError, LlmbotError, RefusedError
from llmbot.operations.audit.lines import Act
from llmbot.operations.audit.trail import Ended
from llmbot.resilience.mutex import Mutexes

__all__ = ["ActionDesk", "Audit", "Outcome"]

CLOSE_GRACE_S = 10.0

T = TypeVar("T")


class Audit(Protocol):
    """Where acts are recorded; see `operations.audit.AuditTrail`."""

    async def begin(
        self,
        who: str,
        via: str,
        action: str,
        target: str = "",
        options: Mapping[str, object] | None = None,
    ) -> Act:
        """Note that an act begins."""
        ...

    async def end(self, act: Act, ended: Ended) -> None:
        """Record how it ended."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action that did its work."""

    action: str
    duration_ms: int
    audit_id: str
    done: Done = field(default_factory=Done)


class ActionDesk:
    """Performs actions for API, command line, page and Discord alike."""

    def __init__(self, actions: Actions, audit: Audit, mutexes: Mutexes, clock: Clock) -> None:
        """Let `actions` do the work; those that exclude each other share a mutex."""
        self.actions = actions
        self._audit = audit
        self._mutexes = mutexes
        self._clock = clock
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._alone_now: set[str] = set()

    async def perform(self, spec: ActionSpec, asked: Asked, who: Caller) -> Outcome:
        """Do it and record it.

        Raises:
            LlmbotError: as `Actions.perform`; the audit's id is its `audit_id`.
        """
        return await self._own(self._recorded(spec, asked, who), spec)

    async def test(self, spec: ActionSpec, asked: Asked) -> Outcome:
        """Run a test of `/api/test`; tests change nothing that would have to be recorded.

        Raises:
            LlmbotError: as `Actions.perform`.
        """
        return await self._own(self._timed(spec, f"test/{spec.name}", asked), spec)

    async def refused(self, action: str, target: str, who: Caller, code: str, detail: str) -> str:
        """Record what was asked for and never became an action; its id in the audit.

        Raises:
            StoreUnavailableError: too many records could not be written already.
        """
        act = await self._audit.begin(who.name, who.via, action, target[:200])
        await self._audit.end(act, Ended("refused", code, detail[:500]))
        return act.id

    async def record(
        self,
        action: str,
        target: str,
        who: Caller,
        work: Callable[[], Awaitable[T]],
        options: Mapping[str, object] | None = None,
    ) -> T:
        """Do what is no action of the list, of the control plane for example, and record it.

        Raises:
            BaseException: what `work` raises, recorded as failed or refused.
        """
        act = await self._audit.begin(who.name, who.via, action, target, options)
        began = self._clock.monotonic()
        try:
            result = await work()
        except BaseException as error:
            await self._audit.end(act, self._ended_by(error, began, BusyError, RefusedError))
            raise
        await self._audit.end(act, Ended("done", duration_ms=self._since_ms(began)))
        return result

    async def close(self) -> None:
        """Let what is under way end within a grace; the rest is cancelled."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=CLOSE_GRACE_S)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    async def _own(self, work: Coroutine[Any, Any, Outcome], spec: ActionSpec) -> Outcome:
        task = asyncio.create_task(work, name=f"action {spec.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Outcome]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, for the case that nobody waits any more

    async def _recorded(self, spec: ActionSpec, asked: Asked, who: Caller) -> Outcome:
        options = {k: v for k, v in asked.options.items() if k not in spec.unrecorded}
        act = await self._audit.begin(who.name, who.via, spec.name, asked.target, options)
        began = self._clock.monotonic()
        try:
            outcome = await self._timed(spec, spec.name, asked)
        except BaseException as error:
            if isinstance(error, LlmbotError):
                error.audit_id = act.id  # type: ignore[attr-defined] # carried to whoever answers
            await self._audit.end(act, self._ended_by(error, began, BusyError))
            raise
        done = outcome.done
        await self._audit.end(
            act,
            Ended("done", before=done.before, after=done.after, duration_ms=outcome.duration_ms),
        )
        return Outcome(outcome.action, outcome.duration_ms, act.id, done)

    def _ended_by(self, error: BaseException, began: float, *refusals: type[LlmbotError]) -> Ended:
        took_ms = self._since_ms(began)
        if not isinstance(error, LlmbotError):
            return Ended("failed", "defect", type(error).__name__, duration_ms=took_ms)
        refused = isinstance(error, refusals) or error.blame == "operator"
        known = getattr(error, "facts", None)
        outcome = "refused" if refused else "failed"
        return Ended(outcome, error.code, str(error), after=known, duration_ms=took_ms)

    def _since_ms(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1000)

    async def _timed(self, spec: ActionSpec, name: str, asked: Asked) -> Outcome:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(spec.deadline_s):
                done = await self._alone_or_not(spec, name, asked)
        except TimeoutError:
            raise ActionError(
                f"It did not end within {spec.deadline_s:g} s and was broken off.",
                code="timeout",
                remedy="See /api/health/status for what is slow, then try again.",
            ) from None
        return Outcome(spec.name, self._since_ms(began), "", done)

    async def _alone_or_not(self, spec: ActionSpec, name: str, asked: Asked) -> Done:
        if not spec.alone:
            return await self._performed(name, asked)
        if spec.alone in self._alone_now:
            raise BusyError(f"{spec.name} or something like it is under way already.")
        self._alone_now.add(spec.alone)
        lock = f"action:{spec.alone}"
        try:
            # Held for all to see, and so that it can be taken away from an action that hangs.
            async with self._mutexes.hold(lock, reason=spec.name, lease_s=spec.deadline_s):
                return await self._performed(name, asked)
        except FencedError:
            words = "It was broken off: its mutex was released by force."
            raise ActionError(words, code="fenced", remedy="Look how things stand.") from None
        finally:
            self._alone_now.discard(spec.alone)

    async def _performed(self, name: str, asked: Asked) -> Done:
        try:
            return await self.actions.perform(name, asked)
        except (LlmbotError, TimeoutError):
            raise
        except Exception as error:
            # A bug in an action must not take the API down, nor show what it was working on.
            raise DefectError(f"The action made a mistake ({type(error).__name__}).") from error
