"""What becomes of stored data stands in the audit."""

from __future__ import annotations

from pathlib import Path

from tests.support.documents import KINDS, ONE, note

from llmbot.app.data_audit import DataAudit
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.events import EventBus
from llmbot.operations.audit.files import tail
from llmbot.operations.audit.trail import AuditTrail
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.store import DocumentStore


async def test_damage_repair_and_edits_are_recorded(tmp_path: Path) -> None:
    """A damaged document leaves a record of the damage and of its repair; an edit by hand one."""
    clock = SystemClock()
    bus = EventBus(clock)
    trail = AuditTrail(tmp_path / "audit", clock, bus)
    await trail.open()
    seat: list[Supervisor] = []
    supervisor = Supervisor([DataAudit(trail, bus, lambda: seat[0])], bus, clock)
    seat.append(supervisor)
    await supervisor.start_all()
    store = DocumentStore(tmp_path / "data", KINDS, clock, bus.publish)
    (tmp_path / "data").mkdir()
    await store.start()
    await store.put(ONE, note(1))
    path = tmp_path / "data" / ONE.name
    admin = DocumentAdmin(store, bus.publish)
    path.write_text(path.read_text().replace('"count": 1', '"count": 21'))
    await admin.validate(ONE.name)
    path.write_bytes(path.read_bytes()[:50])
    await admin.recover(ONE.name)
    await store.stop()
    await supervisor.stop_all()
    await trail.close()
    records = tail(tmp_path / "audit", 10)
    told = [(r.act.action, r.act.target, r.outcome) for r in records]
    assert told == [
        ("datastore/accept", ONE.name, "done"),
        ("datastore/validate", ONE.name, "failed"),
        ("datastore/recover", ONE.name, "done"),
    ]
    assert {record.act.who for record in records} == {"llmbot"}
    assert records[1].detail.startswith("Data validation failed")
