"""People are told once, durably, by signed posts."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from llmbot.kernel.clock import ManualClock
from llmbot.operations.incidents.incidents import Incidents
from llmbot.operations.incidents.log import IncidentChanged
from llmbot.operations.incidents.notify import Notice, Notifier, signed
from llmbot.operations.journal import Journal

CHANGE = IncidentChanged("inc-1", "opened", "P1", "A model's provider answers with errors")


class Wire:
    """A channel that refuses as long as it is told to, and keeps what arrived."""

    name = "wire"

    def __init__(self) -> None:
        self.down = False
        self.arrived: list[str] = []

    async def send(self, notice: Notice) -> None:
        """See `Channel`."""
        if self.down:
            raise OSError("down")
        self.arrived.append(notice.key)


def build(folder: Path, clock: ManualClock, wire: Wire) -> Notifier:
    """A notifier on a journal."""
    journal = Journal(folder, clock, lambda text: text)
    notifier = Notifier(journal, clock, (wire,))
    journal.subscribe(notifier.hear)
    return notifier


async def test_the_same_change_is_told_once(tmp_path: Path) -> None:
    """However often a change is told within a minute, it arrives once."""
    wire = Wire()
    notifier = build(tmp_path, ManualClock(), wire)
    for _ in range(3):
        notifier.tell(CHANGE)
    await notifier.round()
    await notifier.round()
    assert len(wire.arrived) == 1


async def test_what_was_not_sent_is_sent_by_the_next_life(tmp_path: Path) -> None:
    """A notice that could not be sent survives a kill, and arrives with the same key."""
    clock, wire = ManualClock(), Wire()
    wire.down = True
    first = build(tmp_path, clock, wire)
    first.tell(CHANGE)
    await first.round()
    assert wire.arrived == []
    wire.down = False
    second = build(tmp_path, clock, wire)
    await second.journal.load()
    await second.round()
    assert len(wire.arrived) == 1
    third = build(tmp_path, clock, wire)
    await third.journal.load()
    await third.round()
    assert len(wire.arrived) == 1


async def test_a_channel_that_fails_is_tried_with_growing_pauses(tmp_path: Path) -> None:
    """After a failure nothing is sent before the pause is over."""
    clock, wire = ManualClock(), Wire()
    wire.down = True
    notifier = build(tmp_path, clock, wire)
    notifier.tell(CHANGE)
    await notifier.round()
    await notifier.round()
    assert notifier.failed == 1
    wire.down = False
    clock.advance(5)
    await notifier.round()
    assert (notifier.sent, notifier.waiting) == (1, 0)


def test_a_post_is_signed_over_its_time_and_body() -> None:
    """Whoever knows the key can check that neither body nor time was changed."""
    notice = Notice("k", "inc-1", "opened", "P1", "title", 1.0)
    body, headers = signed(notice, "secret-key", 1_800_000_000.0)
    stamp = headers["X-Llmbot-Timestamp"]
    wanted = hmac.new(b"secret-key", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Llmbot-Signature"] == f"sha256={wanted}"
    assert "X-Llmbot-Signature" not in signed(notice, "", 1.0)[1]


async def test_news_that_a_kill_kept_from_the_outbox_is_told_by_the_next_life(
    tmp_path: Path,
) -> None:
    """An incident that the journal has and the outbox has not is told, and told once."""
    clock, wire = ManualClock(), Wire()
    book = build(tmp_path, clock, wire).journal
    await book.add("incident.opened", incident="inc-1", severity="P1")
    for kind in ("", "incident.closed"):
        for _ in range(2):
            clock.advance(120)
            life, incidents = build(tmp_path, clock, wire), Incidents()
            life.journal.subscribe(incidents.hear)
            await life.journal.load()
            if kind and incidents.all()[0].open:
                await life.journal.add(kind, incident="inc-1", checks=[], impact={})
            life.catch_up(incidents.all())
            await life.round()
    assert [key.split(":")[1] for key in wire.arrived] == ["opened", "closed"]
