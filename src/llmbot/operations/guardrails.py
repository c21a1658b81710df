"""The guard rails: whether a runbook may act now. They stand in the executor, not in the runbooks.

All state is read from the journal, so that a restart forgets no cap and no cool-down. Wall-clock
times of earlier lives are turned into monotonic ones once, at load: a clock that jumps later opens
no rail.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from llmbot.kernel.clock import Clock
from llmbot.operations.causes import CAUSES
from llmbot.operations.diagnosis import explains
from llmbot.operations.journal import Entry
from llmbot.operations.ports import VERBS, Act, Part

__all__ = ["RailSettings", "Rails", "Refusal"]

_HOUR_S = 3600.0
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class RailSettings:
    """Defaults of the failure catalogue."""

    runs_per_cause_max: int = 3
    """In an hour."""
    runs_max: int = 6
    """In an hour, for all causes."""
    cool_down_success_s: float = 300.0
    cool_down_failure_s: float = 900.0
    cool_down_max_s: float = 86_400.0
    subsystems_max: int = 1
    """Parts of the bot that one run may change."""
    documents_share_max: float = 0.05
    """Of all documents, for one run; one document it always may."""
    failures_max: int = 2
    """After so many failures in a row a runbook is set aside for a person."""
    approval_s: float = 600.0
    """An approval that is not given within this time is a no."""
    quiet_start_s: float = 60.0
    storm_faults: int = 3
    """Parts of the bot whose roots are raised within `storm_within_s`."""
    storm_within_s: float = 15.0
    storm_calm_s: float = 60.0
    flaps_max: int = 4
    """A cause that comes so often within `flap_within_s` is flapping: told, not treated."""
    flap_within_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rail that says no, and why."""

    rail: str
    reason: str


@dataclass(slots=True)
class _Record:
    """What the rails remember of one runbook for one cause; times are monotonic."""

    last_end: float = float("-inf")
    cool_down_s: float = 0.0


@dataclass(slots=True)
class _Book:
    """What the rails remember of one runbook."""

    failures: int = 0
    set_aside: str = ""


@dataclass(slots=True)
class Rails:
    """Says no; never acts."""

    clock: Clock
    settings: RailSettings
    started_s: float
    """When this life of the process began, monotonic."""
    killed: str = ""
    """The kill switch with its reason; empty while automation may act."""
    paused: str = ""
    """Why a person paused what is automatic; see `pause` for whether that still holds."""
    paused_until_s: float | None = None
    """When the pause ends by itself, in seconds since the Unix epoch, or None."""
    running: str = ""
    """Name of the runbook that runs now."""
    _starts: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _records: dict[tuple[str, str], _Record] = field(default_factory=dict)
    _books: dict[str, _Book] = field(default_factory=dict)
    _alarms: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _storm_until: float = float("-inf")
    _acting: dict[str, tuple[str, str]] = field(default_factory=dict)

    # ── what is heard ───────────────────────────────────────────────────────────────────────────

    def alarm(self, cause: str) -> bool:
        """A cause was newly raised; whether that begins a storm."""
        now = self.clock.monotonic()
        self._alarms.append((now, cause))
        was = self.storm
        border = now - self.settings.storm_within_s
        names = {name for at, name in self._alarms if at >= border}
        # One fault has many names: its consequences, and what else it does to the same part.
        roots = {name for name in names if not any(explains(other, name) for other in names)}
        parts = {CAUSES[name].part if name in CAUSES else name for name in roots}
        if len(parts) >= self.settings.storm_faults or was:
            self._storm_until = now + self.settings.storm_calm_s
        return self.storm and not was

    @property
    def storm(self) -> bool:
        """Whether too many alarms came at once: collect, do not act, tell a human."""
        return self.clock.monotonic() < self._storm_until

    @property
    def pause(self) -> str:
        """Why automation rests now; empty where nobody paused it or the pause is over."""
        over = self.paused_until_s is not None and self.clock.wall() >= self.paused_until_s
        return "" if over else self.paused

    def hear(self, entry: Entry) -> None:
        """Learn from the journal; entries of earlier lives count as of their wall-clock time."""
        at = self.clock.monotonic() - max(0.0, self.clock.wall() - entry.at_s)
        runbook, cause = entry.text("runbook"), entry.text("cause")
        match entry.kind:
            case "run.started":
                self._starts.append((at, cause))
                self._acting[entry.text("run")] = (runbook, cause)
            case "run.ended":
                self._ended(entry, at)
            case "incident.cause" if at < self.started_s:  # this life's are told by `alarm`
                self._alarms.append((at, cause))
            case "book.returned":
                self._books[runbook] = _Book()
            case "rails.killed":
                self.killed = entry.text("reason")
            case "rails.paused":
                self.paused = entry.text("reason")
                until = entry.data.get("until")
                self.paused_until_s = float(until) if isinstance(until, int | float) else None

    def _ended(self, entry: Entry, at: float) -> None:
        found = self._acting.pop(entry.text("run"), None)
        if found is None:
            return
        runbook, cause = found
        record = self._records.setdefault((runbook, cause), _Record())
        book = self._books.setdefault(runbook, _Book())
        record.last_end = at
        settings = self.settings
        if entry.text("outcome") == "mended":
            record.cool_down_s = settings.cool_down_success_s
            book.failures = 0
            return
        if entry.text("outcome") in {"awaits approval", "aborted"}:
            # A person decides: that says nothing against the runbook.
            record.cool_down_s = settings.cool_down_success_s
            return
        book.failures += 1
        first = settings.cool_down_failure_s
        doubled = first * 2 ** min(book.failures - 1, 16)
        record.cool_down_s = min(settings.cool_down_max_s, doubled)
        if book.failures >= settings.failures_max:
            book.set_aside = f"failed {book.failures} times in a row"

    # ── what is asked ───────────────────────────────────────────────────────────────────────────

    def set_aside(self) -> dict[str, str]:
        """Runbooks that wait for a person, with the reason."""
        return {name: book.set_aside for name, book in self._books.items() if book.set_aside}

    def permit(
        self, runbook: str, cause: str, *, automatic: bool, draining: bool
    ) -> tuple[Refusal, ...]:
        """Every rail that says no to beginning this run now.

        A person may do what automation may not (caps, cool-downs, quiet start, storm, pause,
        set aside), but starts no second run, and acts neither while draining nor when killed.
        """
        refusals = []
        if self.killed:
            refusals.append(Refusal("kill switch", self.killed))
        if self.running:
            refusals.append(Refusal("one run at a time", f"{self.running} runs"))
        if draining:
            refusals.append(Refusal("draining", "the bot is starting or stopping"))
        return (*refusals, *(self._automatic(runbook, cause) if automatic else ()))

    def _automatic(self, runbook: str, cause: str) -> list[Refusal]:
        now, settings = self.clock.monotonic(), self.settings
        refusals = []
        up = now - self.started_s
        if up < settings.quiet_start_s:
            refusals.append(Refusal("quiet start", f"the bot runs for {up:.0f} s only"))
        if self.pause:
            refusals.append(Refusal("pause", self.pause))
        if self.storm:
            refusals.append(Refusal("storm", "many alarms at once: collecting, not acting"))
        aside = self._books.get(runbook, _Book()).set_aside
        if aside:
            refusals.append(Refusal("set aside", f"{aside}; a person must return it to use"))
        starts = [name for at, name in self._starts if at > now - _HOUR_S]
        if len(starts) >= settings.runs_max:
            refusals.append(Refusal("cap", f"{len(starts)} runs within the hour"))
        if starts.count(cause) >= settings.runs_per_cause_max:
            refusals.append(Refusal("cap of the cause", f"{starts.count(cause)} in the hour"))
        record = self._records.get((runbook, cause))
        left = 0.0 if record is None else record.last_end + record.cool_down_s - now
        if left > 0:
            refusals.append(Refusal("cool-down", f"{left:.0f} s left"))
        border = now - settings.flap_within_s
        flaps = sum(1 for at, name in self._alarms if name == cause and at >= border)
        if flaps >= settings.flaps_max:
            refusals.append(Refusal("flapping", f"raised {flaps} times: told, not treated"))
        return refusals

    def check_acts(
        self,
        acts: tuple[Act, ...],
        *,
        part: Part,
        unwell: frozenset[Part],
        documents: int,
        confirmed: bool,
        automatic: bool,
    ) -> tuple[Refusal, ...]:
        """Every rail that says no to these acts of one run.

        Args:
            acts: what the run would do, all steps together.
            part: the one subsystem that the run may change.
            unwell: the parts that do not work now.
            documents: how many documents there are.
            confirmed: whether a second look confirms the alarm.
            automatic: whether no person asked for it.
        """
        refusals = []
        # Restarting the bot is the last step of several runbooks and has an approval of its own.
        parts = {VERBS[a.verb].part for a in acts if not VERBS[a.verb].irreversible} - {part}
        if len(parts) >= self.settings.subsystems_max:
            names = ", ".join(sorted(parts))
            refusals.append(Refusal("subsystems", f"{names} beside {part}"))
        touched = {act.target for act in acts if VERBS[act.verb].part is Part.DOCUMENTS}
        if len(touched) > max(1, int(documents * self.settings.documents_share_max)):
            refusals.append(Refusal("share of documents", f"{len(touched)} of {documents}"))
        for act in acts:
            lacking = VERBS[act.verb].needs & unwell
            if lacking:
                names = ", ".join(sorted(lacking))
                refusals.append(Refusal("needs what failed", f"{act} needs {names}"))
            if VERBS[act.verb].destructive and automatic and not confirmed:
                refusals.append(Refusal("not confirmed", f"{act}: a second look says all is well"))
        return tuple(refusals)
