"""Snapshots of incidents reach the disk, now or as soon as it takes them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.support.waiting import PATIENCE_S

from llmbot.app.healing.collector import RETRY_S, WAITING_MAX, Collector
from llmbot.kernel.clock import ManualClock, SystemClock


async def test_a_snapshot_that_the_disk_refuses_is_kept_and_told(tmp_path: Path) -> None:
    """While the folder cannot be written that is told; once it can, each snapshot is there."""
    clock, count = ManualClock(), 0

    def snapshot() -> dict[str, object]:
        nonlocal count
        count += 1
        return {"memory-usage": {"number": count}}

    folder = tmp_path / "recovery-metrics"
    folder.write_text("no folder")
    collector = Collector(folder, tmp_path / "no.log", snapshot, clock)
    for number in range(WAITING_MAX + 1):
        await collector.collect(f"inc-{number}")
    await collector.collect("inc-2")
    assert collector.trouble.startswith("recovery-metrics cannot be written")
    running = asyncio.create_task(collector.run())
    folder.unlink()
    async with asyncio.timeout(PATIENCE_S):
        while collector.trouble:
            clock.advance(RETRY_S)
            await SystemClock().sleep(0.001)
    running.cancel()
    await asyncio.wait({running})
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        f"inc-{number}" for number in range(1, WAITING_MAX + 1)
    )
    kept = json.loads((folder / "inc-2" / "memory-usage.json").read_text())
    assert kept == {"number": WAITING_MAX + 2}
