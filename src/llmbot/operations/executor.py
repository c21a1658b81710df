"""Runs runbooks: permit, precheck, plan, act, validate, roll back; each step journaled.

The guard rails are asked here and the kill switch before every step, whatever a runbook says. A
plan that grows under way is asked for anew. A run that a kill broke off is found in the journal
at the next start and rolled back (`recover`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, RefusedError
from llmbot.operations.approvals import Approval, Approvals
from llmbot.operations.catalog.registry import RUNBOOKS
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
    may: Callable[[tuple[Act, ...]], tuple[Refusal, ...]]
    """Every rail that says no to acts that were not planned at the start."""
    permitted: frozenset[Act]
    done: list[Act] = field(default_factory=list)


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
        self._honoured: set[Approval] = set()
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

        def may(wanted: tuple[Act, ...]) -> tuple[Refusal, ...]:
            return self._acts_refused(order, wanted, unwell=unwell, confirmed=confirmed())

        refusals = (*self._refusals(order), *may(acts))
        if order.dry:
            return Result(Outcome.TOLD, ready.reason, "", refusals, told)
        if refusals:
            return Result(Outcome.REFUSED, _told(refusals), "", refusals, told)
        if not acts:
            return Result(Outcome.NOTHING, "no step is needed")
        if self.mode is Mode.PROPOSE and order.automatic:
            await self._approvals.ask(book.name, book.name)
            if not self._approvals.has(book.name):
                return Result(Outcome.AWAITS_APPROVAL, "proposed to a person", "", (), told)
        if self._rails.running:  # begun by a person while the question was written down
            return Result(Outcome.REFUSED, f"{self._rails.running} runs", "", (), told)
        return await self._journaled(
            _Run(self._new_id("run"), order, situation, may, frozenset(acts))
        )

    def _refusals(self, order: Order) -> tuple[Refusal, ...]:
        """Every rail that says no to beginning; who was asked and said yes need wait for none."""
        given = self._given(order) - self._honoured
        refusals = self._rails.permit(
            order.runbook.name,
            order.cause,
            automatic=order.automatic and not given,
            draining=self._plant.draining(),
        )
        if self.mode is Mode.OBSERVE and order.automatic:
            refusals = (*refusals, Refusal("mode", "HEALING_MODE is observe"))
        return refusals

    def _given(self, order: Order) -> set[Approval]:
        mine = (a for a in self._approvals.open() if a.runbook == order.runbook.name)
        return {approval for approval in mine if approval.given_by}

    def _acts_refused(
        self, order: Order, acts: tuple[Act, ...], *, unwell: frozenset[Part], confirmed: bool
    ) -> tuple[Refusal, ...]:
        return self._rails.check_acts(
            acts,
            part=order.runbook.part,
            unwell=unwell,
            documents=self._documents(),
            confirmed=confirmed,
            automatic=order.automatic,
        )

    async def _precheck(self, order: Order, situation: Situation) -> Ready:
        try:
            async with Deadline.after(self._clock, _PRECHECK_S).limit():
                return await order.runbook.precheck(situation)
        except (LlmbotError, OSError, TimeoutError) as error:
            return Ready(Go.WAIT, f"the precheck could not look: {_words(error)}")

    async def _journaled(self, run: _Run) -> Result:
        order = run.order
        self._rails.running = order.runbook.name
        self._honoured = self._given(order)  # a yes is for one run, whether or not it needs it
        try:
            if self.mode is Mode.PROPOSE and order.automatic:
                await self._approvals.use(order.runbook.name)
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
            await self._end(run.id, order.runbook.name, order.incident, result)
        finally:
            self._rails.running = ""
        return result

    async def _end(self, run: str, runbook: str, incident: str, result: Result) -> None:
        check = result.check
        await self._journal.add(
            "run.ended",
            run=run,
            runbook=runbook,
            incident=incident,
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
        if not run.permitted.issuperset(acts):
            refusals = run.may((*run.permitted, *(a for a in acts if a not in run.permitted)))
            if refusals:
                raise RefusedError(_told(refusals))
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
        return await self._take_back(run.id, run.order.incident, run.done, reason)

    async def _take_back(self, run: str, incident: str, acts: Sequence[Act], reason: str) -> bool:
        """Take back what can be, the last first; whether there was something and all of it went."""
        undone = []
        for act in reversed(acts):
            undo = VERBS[act.verb].undo
            if undo is not None:
                undone.append(await self._undo(run, incident, Act(undo, act.target), reason))
        return bool(undone) and all(undone)

    async def _undo(self, run: str, incident: str, act: Act, reason: str) -> bool:
        base = {"run": run, "incident": incident, "act": str(act), "reason": reason}
        try:
            async with Deadline.after(self._clock, 30.0).limit():
                effect = await self._hand.perform(act, f"roll back: {reason}")
        except (LlmbotError, OSError, TimeoutError) as error:
            await self._journal.add("step.stuck", **base, error=_words(error))
            return False
        await self._journal.add("step.undone", **base, before=effect.before, after=effect.after)
        return True

    async def release(self, cause: str) -> None:
        """Take back what still stands of the runs for a cause that is over; nothing when killed."""
        if self._rails.killed:
            return
        for run, incident, act in self.standing.of(cause):
            undo = VERBS[act.verb].undo
            if undo is not None:
                await self._undo(run, incident, Act(undo, act.target), "its cause is over")

    async def over(self, runbook: str) -> None:
        """No cause asks for it any more: nor does anybody need to be asked, or have said yes."""
        if self._rails.running != runbook:
            await self._approvals.lapse(runbook)

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
        effect, and a look says whether it helped. Everything else that has an opposite is taken
        back; the loop looks anew. With the kill switch thrown nothing is done.
        """
        broken = list(self._open.items())
        for key, entries in broken:
            first = entries[0]
            result = await self._ended_by_kill(key, entries)
            await self._end(key, first.text("runbook"), first.text("incident"), result)
        return len(broken)

    async def _ended_by_kill(self, key: str, entries: Sequence[Entry]) -> Result:
        if self._rails.killed:
            return Result(Outcome.ABORTED, f"kill switch: {self._rails.killed}")
        first = entries[0]
        undone = {e.text("act") for e in entries if e.kind == "step.undone"}
        begun = [_act(e.text("act")) for e in entries if e.kind == "step.begun"]
        stands = [
            act for act in begun if f"{VERBS[act.verb].undo} {act.target}".rstrip() not in undone
        ]
        why = "the process was killed in the run"
        taken_back = await self._take_back(key, first.text("incident"), stands, why)
        book = RUNBOOKS.get(first.text("runbook"))
        if book is not None and any(VERBS[act.verb].irreversible for act in begun):
            subjects = tuple(first.data.get("subjects", ()))
            order = Order(book, first.text("cause"), subjects, first.text("incident"))
            situation = Situation(order.cause, subjects, self._plant, self._clock)
            check = await self._validated(_Run(key, order, situation, lambda _: (), frozenset()))
            outcome = Outcome.MENDED if check.passed else Outcome.FAILED
            return Result(outcome, "resumed after the restart", check=check)
        if taken_back:
            return Result(Outcome.ROLLED_BACK, "rolled back after a kill")
        return Result(Outcome.FAILED, "broken off by a kill; there was nothing left to take back")

    def open_runs(self) -> Mapping[str, str]:
        """Runs that have not ended, with their runbooks."""
        return {run: entries[0].text("runbook") for run, entries in self._open.items()}


def _act(text: str) -> Act:
    verb, _, target = text.partition(" ")
    return Act(Verb(verb), target)


def _told(refusals: Sequence[Refusal]) -> str:
    return "; ".join(f"{refusal.rail}: {refusal.reason}" for refusal in refusals)


def _words(error: BaseException) -> str:
    """What went wrong without anything a user wrote."""
    return str(error) if isinstance(error, LlmbotError | OSError) else type(error).__name__
