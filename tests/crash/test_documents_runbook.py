"""The operators' own script against our documents, and a disk of 256 KiB that fills up."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.documents import KINDS, NOTE, ONE, Heard, note
from tests.support.tiny_disk import fill, tiny_disk

from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.store import DocumentStore, StoreSettings

SCRIPT = Path(__file__).parents[3] / "shared/seed/scripts/datastore-recovery.sh"
QUICK = StoreSettings(retry_first_s=0.02, retry_max_s=0.05)


def run_script(workdir: Path) -> str:
    """The runbook's script as it stands, on `data/` below a directory; its last call may fail."""
    done = subprocess.run(  # noqa: S603 - the operators' own script
        ["bash", str(SCRIPT), "data/"],  # noqa: S607 - bash from the PATH
        cwd=workdir,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.mark.skipif(
    not SCRIPT.exists() or not shutil.which("jq"), reason="needs the runbook's scripts, and jq"
)
async def test_the_runbooks_script_restores_what_the_bot_takes_over(tmp_path: Path) -> None:
    """After the script every document is valid, the good ones untouched, the cut one its `.bak`."""
    root = tmp_path / "data"
    root.mkdir()
    store = DocumentStore(root, KINDS, SystemClock(), Heard(), settings=QUICK)
    await store.start()
    admin = DocumentAdmin(store, Heard())
    for number in (1, 2, 3):
        await store.put(NOTE.ref(number), note(number))
        await store.put(NOTE.ref(number), note(number + 100))
    (root / "notes/3.json").write_text("{")
    await admin.recover("notes/3.json")
    cut = root / "notes/1.json"
    cut.write_bytes(cut.read_bytes()[:100])
    told = await asyncio.to_thread(run_script, tmp_path)
    assert told.count("Found corrupted file") == 1
    assert "Successfully restored" in told
    assert (await admin.validate_all()).ok
    assert await store.get(ONE) == note(1)
    assert await store.get(NOTE.ref(2)) == note(102)
    assert await store.get(NOTE.ref(3)) == note(103)
    await store.stop()


def test_a_disk_that_fills_up_costs_nothing_that_was_promised(tmp_path: Path) -> None:
    """On a full disk saves are refused, none is half done, and all land once there is room."""
    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        asyncio.run(fill_up(disk))


async def fill_up(tiny_disk: Path) -> None:
    """Save, fill the disk, save on, make room."""
    heard = Heard()
    store = DocumentStore(tiny_disk, KINDS, SystemClock(), heard, settings=QUICK)
    await store.start()
    admin = DocumentAdmin(store, heard)
    promised: list[int] = []
    filler = tiny_disk / "filler"
    for number in range(200):
        if number == 5:
            filler = fill(tiny_disk)
        try:
            await store.put(NOTE.ref(number), note(number))
        except StoreUnavailableError:
            break
        promised.append(number)
    assert 0 < len(promised) < 200
    assert store.facts().condition
    checks = (await admin.validate_all()).documents
    assert all(checks[f"notes/{number}.json"].ok for number in promised)
    filler.unlink()
    await store.saved()
    await store.stop()
    again = DocumentStore(tiny_disk, KINDS, SystemClock(), heard)
    await again.start()
    for number in (*promised, len(promised)):
        assert await again.get(NOTE.ref(number)) == note(number)
    await again.stop()
