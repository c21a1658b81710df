"""What automation has switched on and nobody has switched off: relief that outlives its run.

A level of degradation helps as long as memory is short, whether or not the run that set it ended
well. It is taken back when its cause is over, also by a later life; what cannot be taken back in
one try is told and left to people.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmbot.operations.journal import Entry
from llmbot.operations.ports import VERBS, Act, Verb

__all__ = ["Standing"]

_RUNS_MAX = 200


@dataclass(slots=True)
class _Run:
    cause: str
    incident: str
    ended: bool = False
    acts: list[Act] = field(default_factory=list)


class Standing:
    """Read from the journal."""

    def __init__(self) -> None:
        """Nothing stands."""
        self._runs: dict[str, _Run] = {}

    def hear(self, entry: Entry) -> None:
        """Learn from the journal."""
        key = entry.text("run")
        if entry.kind == "run.started" and entry.text("by") == "automation":
            self._runs[key] = _Run(entry.text("cause"), entry.text("incident"))
            while len(self._runs) > _RUNS_MAX:
                del self._runs[next(iter(self._runs))]
        run = self._runs.get(key)
        if run is None:
            return
        if entry.kind == "step.begun":  # whether it was done, a kill may have kept from the journal
            act = _act(entry.text("act"))
            if VERBS[act.verb].undo is not None:
                run.acts.append(act)
        elif entry.kind in {"step.undone", "step.stuck"}:
            undone = _act(entry.text("act"))
            run.acts = [a for a in run.acts if Act(_undo(a), a.target) != undone]
        elif entry.kind == "run.ended":
            run.ended = True
        if run.ended and not run.acts:
            del self._runs[key]

    def causes(self) -> frozenset[str]:
        """Causes for whose sake something stands."""
        return frozenset(run.cause for run in self._runs.values() if run.ended and run.acts)

    def of(self, cause: str) -> tuple[tuple[str, str, Act], ...]:
        """(run, incident, act) of all that stands for a cause, the last first."""
        return tuple(
            (key, run.incident, act)
            for key, run in reversed(self._runs.items())
            if run.cause == cause and run.ended
            for act in reversed(run.acts)
        )


def _undo(act: Act) -> Verb:
    undo = VERBS[act.verb].undo
    return act.verb if undo is None else undo


def _act(text: str) -> Act:
    verb, _, target = text.partition(" ")
    return Act(Verb(verb), target)
