"""Approvals of people: asked for by the executor, given by a person, expiring as *no*."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmbot.kernel.clock import Clock
from llmbot.operations.journal import Entry, Journal

__all__ = ["Approval", "Approvals"]


@dataclass(frozen=True, slots=True)
class Approval:
    """One question to a person; times in seconds since the Unix epoch."""

    what: str
    """`runbook` for a proposal, `runbook: act` for one irreversible act."""
    runbook: str
    asked_s: float
    expires_s: float
    given_by: str = ""


class Approvals:
    """Holds the open questions; read from the journal."""

    def __init__(self, journal: Journal, clock: Clock, valid_s: float) -> None:
        """A question, and an approval once given, holds for `valid_s` seconds."""
        self._journal = journal
        self._clock = clock
        self._valid_s = valid_s
        self._open: dict[str, Approval] = {}

    def hear(self, entry: Entry) -> None:
        """Learn from the journal."""
        what = entry.text("what")
        match entry.kind:
            case "approval.asked":
                expires = float(entry.data["expires"])
                self._open[what] = Approval(what, entry.text("runbook"), entry.at_s, expires)
            case "approval.given" if what in self._open:
                expires = float(entry.data["expires"])
                self._open[what] = replace(
                    self._open[what], given_by=entry.text("by"), expires_s=expires
                )
            case "approval.expired" | "approval.used":
                self._open.pop(what, None)

    def open(self) -> tuple[Approval, ...]:
        """Every question that is not expired, given or not.

        A clock that was set back makes none last longer: what was asked later than now is a no.
        """
        now = self._clock.wall()
        return tuple(e for e in self._open.values() if e.asked_s - 1.0 <= now < e.expires_s)

    async def ask(self, what: str, runbook: str) -> None:
        """Ask once; asked again while it is open, nothing changes."""
        await self.expire()
        if what not in self._open:
            expires = round(self._clock.wall() + self._valid_s, 3)
            await self._journal.add("approval.asked", what=what, runbook=runbook, expires=expires)

    async def give(self, runbook: str, by: str) -> tuple[str, ...]:
        """Say yes to every open question of a runbook; which those were."""
        await self.expire()
        given = [each.what for each in self.open() if each.runbook == runbook]
        expires = round(self._clock.wall() + self._valid_s, 3)
        for what in given:
            await self._journal.add("approval.given", what=what, by=by, expires=expires)
        return tuple(given)

    def has(self, what: str) -> bool:
        """Whether a person said yes and that still holds."""
        return any(each.what == what and each.given_by for each in self.open())

    async def use(self, what: str) -> None:
        """An approval is for one time."""
        if what in self._open:
            await self._journal.add("approval.used", what=what)

    async def lapse(self, runbook: str) -> None:
        """Its cause is over: a yes to what was asked is none to what comes later."""
        for what in [each.what for each in self._open.values() if each.runbook == runbook]:
            await self._journal.add("approval.expired", what=what, meaning="the cause is over")

    async def expire(self) -> None:
        """Record what nobody answered in time: it counts as *no*."""
        valid = {each.what for each in self.open()}
        for what in [what for what in self._open if what not in valid]:
            await self._journal.add("approval.expired", what=what, meaning="no")
