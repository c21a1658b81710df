"""The reconciler, put together, and the service that gives it its rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.app.parts import House, Mechanisms
from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.ledger.entries import Ledger
from llmbot.conversation.ledger.reconcile import Reconciler
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.workers import Workers


def build_reconciler(
    house: House,
    mechanisms: Mechanisms,
    rest: DiscordRest,
    inbox: Inbox,
    workers: Workers,
    acknowledgement: Acknowledgement,
) -> Reconciler:
    """A reconciler that hears of every answer and knows whoever has a message in hand."""
    queue, sure = mechanisms.queue, mechanisms.store.sure

    def in_hand(message_id: int) -> bool:
        # What has ended here, and not yet on a disk that refuses, is in hand too.
        waits = queue.knows(message_id) or inbox.has(message_id)
        return waits or workers.has(message_id) or (message_id, "state") in sure

    ledger = Ledger(mechanisms.database)
    reconciler = Reconciler(rest, mechanisms.store, ledger, queue, in_hand, house.bus, house.clock)
    acknowledgement.delivered = reconciler.delivered
    return reconciler


@dataclass(slots=True)
class ReconcileService:
    """Compares ledger and channels while the workers run."""

    reconciler: Reconciler
    supervisor: Callable[[], Supervisor]
    name: str = "reconciler"
    needs: tuple[str, ...] = ("workers",)

    async def start(self) -> None:
        """Begin the rounds."""
        self.supervisor().watch("reconcile", self.reconciler.run, owner=self.name)

    async def stop(self) -> None:
        """The supervisor ends the task."""

    def trouble(self) -> str:
        """What the last round found and could not mend."""
        facts = self.reconciler.facts()
        if not (facts.lost or facts.doubled or facts.cut):
            return ""
        return f"{facts.lost} lost, {facts.doubled} doubled, {facts.cut} cut"
