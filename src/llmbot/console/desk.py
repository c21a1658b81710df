"""What the operator's side may ask of the control plane; fulfilled by `app/healing/desk.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmbot.operations.executor import Result
from llmbot.operations.incidents.incidents import Incident
from llmbot.operations.ports import Check
from llmbot.operations.runbook import Runbook


class Desk(Protocol):
    """Everything plain returns at once; what acts goes through the executor's guard rails."""

    def explain(self) -> Mapping[str, Any]:
        """What is wrong now, why, and what was ruled out; fit for JSON."""
        ...

    def incidents(self) -> Sequence[Incident]:
        """All that are remembered, the newest first."""
        ...

    def incident(self, key: str) -> Incident | None:
        """One by its id, or the newest for `last`."""
        ...

    async def note(self, key: str, text: str, by: str) -> bool:
        """Add a person's note; False where there is no such incident."""
        ...

    def runbooks(self) -> Sequence[Runbook]:
        """All runbooks."""
        ...

    def state_of(self, runbook: str) -> Mapping[str, Any]:
        """What the guard rails say of a runbook now; fit for JSON."""
        ...

    async def run(self, runbook: Runbook, target: str, by: str, *, dry: bool) -> Result:
        """Run a runbook by hand, or tell what it would do."""
        ...

    async def approve(self, runbook: str, by: str) -> Sequence[str]:
        """Say yes to what a runbook asked; what that was."""
        ...

    async def return_to_use(self, runbook: str, by: str) -> None:
        """Let a runbook that was set aside act again."""
        ...

    def history(self) -> Sequence[Mapping[str, Any]]:
        """The last runs, the newest first; fit for JSON."""
        ...

    def rails(self) -> Mapping[str, Any]:
        """Mode, switches and caps; fit for JSON."""
        ...

    async def kill(self, reason: str, by: str) -> None:
        """Throw the kill switch with a reason; an empty reason lets automation act again."""
        ...

    async def pause(self, reason: str, by: str, for_s: float | None = None) -> None:
        """Pause what is automatic with a reason, for so long; an empty reason ends the pause."""
        ...

    async def verify(self) -> Sequence[Check]:
        """The validation checklist, looked at for real."""
        ...
