"""Runs runbooks: permit, precheck, plan, act, validate, roll back; each step journaled.

The guard rails are asked here and the kill switch before every step, whatever a runbook says. A
run that a kill broke off is found in the journal at the next start and rolled back (`recover`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.operations.approvals import Approvals
from llmbot.operations.guardrails import Rails, Refusal
from llmbot.operations.journal import Entry, Journal
from llmbot.operations.orders import Mode, Order, Outcome, Result
from llmbot.operations.ports import VERBS, Act, Check, Hand, Part, Plant, Verb
from llmbot.operations.runbook import Go, Ready, Situation, Step
from llmbot.operations.standing import Standing
from llmbot.resilience.deadline import Deadline

__all__ = ["Executor", "Mode", "Order", "Outcome", "Result"]

_PRECHECK_S = 15.0
_LOOK_EVERY_S = 1.0


class _KilledError(Exception):
    """The kill switch was thrown while a run was under way."""


class _AwaitsApprovalError(Exception):
    """The next act needs a person."""


@dataclass(slots=True)
class _Run:
    """A run under way."""

    id: str
    order: Order
    situation: Situation
    done: list[Act]


class Executor:
    """One run at a time."""

    def __init__(
        self,
        plant: Plant,
        hand: Hand,
        journal: Journal,
        rails: Rails,
        approvals: Approvals,
        clock: Clock,
        new_id: Callable[[str], str],
        *,
        mode: Mode = Mode.ACT,
        documents: Callable[[], int] = lambda: 0,
    ) -> None:
        """Take the ports; `documents` says how many there are."""
        self._plant = plant
        self._hand = hand
        self._journal = journal
        self._rails = rails
        self._approvals = approvals
        self._clock = clock
        self._new_id = new_id
        self._documents = documents
        self._open: dict[str, list[Entry]] = {}
        self.standing = Standing()
        self.mode = mode

    # ── one order ───────────────────────────────────────────────────────────────────────────────

    async def run(
        self, order: Order, *, unwell: frozenset[Part], confirmed: Callable[[], bool]
    ) -> Result:
        """Do what the runbook says, as far as every guard rail allows.

        Args:
            order: what to run.
            unwell: parts that do not work now, other than the cause's own.
            confirmed: a second look at the alarm, asked before anything destructive.
        """
        book = order.runbook
        situation = Situation(order.cause, order.subjects, self._plant, self._clock)
        ready = await self._precheck(order, situation)
        if ready.go is not Go.ACT:
            outcome = Outcome.NOTHING if ready.go is Go.NOTHING else Outcome.WAITS
            return Result(outcome, ready.reason)
        acts = tuple(
            act
            for step in book.steps
            if not step.unneeded(situation)
            for act in step.plan(situation)
        )
        told = tuple(str(act) for act in acts)
        refusals = self._refusals(order, acts, unwell=unwell, confirmed=confirmed())
        if order.dry:
            return Result(Outcome.TOLD, ready.reason, "", refusals, told)
        if refusals:
            words = "; ".join(f"{r.rail}: {r.reason}" for r in refusals)
            return Result(Outcome.REFUSED, words, "", refusals, told)
        if not acts:
            return Result(Outcome.NOTHING, "no step is needed")
        if self.mode is Mode.PROPOSE and order.automatic:
            await self._approvals.ask(book.name, book.name)
            if not self._approvals.has(book.name):
                return Result(Outcome.AWAITS_APPROVAL, "proposed to a person", "", (), told)
            await self._approvals.use(book.name)
        return await self._journaled(order, situation)

    def _refusals(
        self, order: Order, acts: tuple[Act, ...], *, unwell: frozenset[Part], confirmed: bool
    ) -> tuple[Refusal, ...]:
        book = order.runbook
        refusals = self._rails.permit(
            book.name, order.cause, automatic=order.automatic, draining=self._plant.draining()
        )
        if self.mode is Mode.OBSERVE and order.automatic:
            refusals = (*refusals, Refusal("mode", "HEALING_MODE is observe"))
        return (
            *refusals,
            *self._rails.check_acts(
                acts,
                part=book.part,
                unwell=unwell,
                documents=self._documents(),
                confirmed=confirmed,
                automatic=order.automatic,
            ),
        )

    async def _precheck(self, order: Order, situation: Situation) -> Ready:
        try:
            async with Deadline.after(self._clock, _PRECHECK_S).limit():
                return await order.runbook.precheck(situation)
        except (LlmbotError, OSError, TimeoutError) as error:
            return Ready(Go.WAIT, f"the precheck could not look: {_words(error)}")

    async def _journaled(self, order: Order, situation: Situation) -> Result:
        run = _Run(self._new_id("run"), order, situation, [])
        self._rails.running = order.runbook.name
        try:
            await self._journal.add(
                "run.started",
                run=run.id,
                runbook=order.runbook.name,
                cause=order.cause,
                subjects=list(order.subjects),
                incident=order.incident,
                by=order.by,
            )
            result = await self._steps(run)
            await self._end(run, result)
        finally:
            self._rails.running = ""
        return result

    async def _end(self, run: _Run, result: Result) -> None:
        check = result.check
        await self._journal.add(
            "run.ended",
            run=run.id,
            runbook=run.order.runbook.name,
            incident=run.order.incident,
            outcome=str(result.outcome),
            reason=result.reason,
            check="" if check is None else f"{check.name}: {check.detail}",
        )

    async def _steps(self, run: _Run) -> Result:
        book = run.order.runbook
        try:
            for number, step in enumerate(book.steps, 1):
                await self._step(run, number, step)
            check = await self._validated(run)
        except _KilledError:
            return self._result(run, Outcome.ABORTED, f"kill switch: {self._rails.killed}")
        except _AwaitsApprovalError as asked:
            return self._result(run, Outcome.AWAITS_APPROVAL, str(asked))
        except (LlmbotError, OSError, TimeoutError) as error:
            undone = await self._roll_back(run, _words(error))
            outcome = Outcome.ROLLED_BACK if undone else Outcome.FAILED
            return self._result(run, outcome, _words(error))
        if not check.passed:
            undone = await self._roll_back(run, f"{check.name}: {check.detail}")
            outcome = Outcome.ROLLED_BACK if undone else Outcome.FAILED
            return self._result(run, outcome, f"{check.name}: {check.detail}", check)
        if book.part is Part.QUEUE:
            # Relief for a while: what was held back comes back as the document says.
            await self._roll_back(run, "the load is back to normal")
        return self._result(run, Outcome.MENDED, f"{check.name}: {check.detail}", check)

    def _result(
        self, run: _Run, outcome: Outcome, reason: str, check: Check | None = None
    ) -> Result:
        return Result(outcome, reason, run.id, (), tuple(str(act) for act in run.done), check)

    async def _step(self, run: _Run, number: int, step: Step) -> None:
        """One step: its acts, each recorded before and after."""
        self._stop_if_killed()
        base = {"run": run.id, "incident": run.order.incident, "step": number, "name": step.name}
        skipped = step.unneeded(run.situation)
        acts = () if skipped else step.plan(run.situation)
        if not acts:
            await self._journal.add("step.skipped", **base, reason=skipped or "nothing to do")
            return
        for act in acts:
            self._stop_if_killed()
            await self._approved(run, act)
            key = f"{run.id}:{number}:{act}"
            await self._journal.add("step.begun", **base, act=str(act), key=key)
            if VERBS[act.verb].irreversible and not self._journal.kept:
                raise OSError("the journal cannot be written; nothing irreversible without it")
            reason = f"runbook {run.order.runbook.name} for {run.order.cause}"
            run.done.append(act)
            async with Deadline.after(self._clock, step.deadline_s).limit():
                effect = await self._hand.perform(act, reason)
            await self._journal.add(
                "step.done", **base, act=str(act), key=key, before=effect.before, after=effect.after
            )

    def _stop_if_killed(self) -> None:
        if self._rails.killed:
            raise _KilledError

    async def _approved(self, run: _Run, act: Act) -> None:
        if not VERBS[act.verb].irreversible:
            return
        what = f"{run.order.runbook.name}: {act}"
        if not self._approvals.has(what):
            await self._approvals.ask(what, run.order.runbook.name)
            raise _AwaitsApprovalError(f"{act} needs a person's approval")
        await self._approvals.use(what)

    async def _validated(self, run: _Run) -> Check:
        """Look until all is well or the patience ends."""
        book = run.order.runbook
        deadline = Deadline.after(self._clock, book.settle_s)
        while True:
            self._stop_if_killed()
            check = await self._look(run)
            if check.passed or deadline.expired():
                break
            await self._clock.sleep(_LOOK_EVERY_S)
        await self._journal.add(
            "run.validated",
            run=run.id,
            incident=run.order.incident,
            check=check.name,
            passed=check.passed,
            detail=check.detail,
        )
        return check

    async def _look(self, run: _Run) -> Check:
        try:
            async with Deadline.after(self._clock, _PRECHECK_S).limit():
                return await run.order.runbook.validate(run.situation)
        except (LlmbotError, OSError, TimeoutError) as error:
            return Check("validation", passed=False, detail=_words(error))

    async def _roll_back(self, run: _Run, reason: str) -> bool:
        """Take back what can be, the last first; whether there was anything to take back."""
        undone = False
        for act in reversed(run.done):
            undo = VERBS[act.verb].undo
            if undo is not None:
                undone = True
                await self._undo(run.id, run.order.incident, Act(undo, act.target), reason)
        return undone

    async def _undo(self, run: str, incident: str, act: Act, reason: str) -> None:
        base = {"run": run, "incident": incident, "act": str(act), "reason": reason}
        try:
            async with Deadline.after(self._clock, 30.0).limit():
                effect = await self._hand.perform(act, f"roll back: {reason}")
        except (LlmbotError, OSError, TimeoutError) as error:
            await self._journal.add("step.stuck", **base, error=_words(error))
            return
        await self._journal.add("step.undone", **base, before=effect.before, after=effect.after)

    async def release(self, cause: str) -> None:
        """Take back what still stands of the runs for a cause that is over."""
        for run, incident, act in self.standing.of(cause):
            undo = VERBS[act.verb].undo
            if undo is not None:
                await self._undo(run, incident, Act(undo, act.target), "its cause is over")

    # ── after a kill ────────────────────────────────────────────────────────────────────────────

    def hear(self, entry: Entry) -> None:
        """Learn from the journal which runs have not ended, and what stands."""
        self.standing.hear(entry)
        run = entry.text("run")
        if entry.kind == "run.started":
            self._open[run] = [entry]
        elif entry.kind == "run.ended":
            self._open.pop(run, None)
        elif run in self._open:
            self._open[run].append(entry)

    async def recover(self) -> int:
        """Roll back, or count as done, every run that an earlier life left open; how many.

        An irreversible act that was begun counts as done: the start of this life may be its
        effect. Everything else that has an opposite is taken back; the loop looks anew.
        """
        broken = list(self._open.items())
        for run, entries in broken:
            first = entries[0]
            incident = first.text("incident")
            begun = [_act(e.text("act")) for e in entries if e.kind == "step.begun"]
            undone = {e.text("act") for e in entries if e.kind == "step.undone"}
            final = [act for act in begun if VERBS[act.verb].irreversible]
            for act in reversed(begun):
                undo = VERBS[act.verb].undo
                if undo is not None and str(Act(undo, act.target)) not in undone:
                    opposite = Act(undo, act.target)
                    await self._undo(run, incident, opposite, "the process was killed in the run")
            outcome = Outcome.MENDED if final else Outcome.ROLLED_BACK
            await self._journal.add(
                "run.ended",
                run=run,
                runbook=first.text("runbook"),
                incident=incident,
                outcome=str(outcome),
                reason="resumed after the restart" if final else "rolled back after a kill",
                check="",
            )
        return len(broken)

    def open_runs(self) -> Mapping[str, str]:
        """Runs that have not ended, with their runbooks."""
        return {run: entries[0].text("runbook") for run, entries in self._open.items()}


def _act(text: str) -> Act:
    verb, _, target = text.partition(" ")
    return Act(Verb(verb), target)


def _words(error: BaseException) -> str:
    """What went wrong without anything a user wrote."""
    return str(error) if isinstance(error, LlmbotError | OSError) else type(error).__name__
