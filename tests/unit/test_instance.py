"""One bot on one data directory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest
from tests.support.tiny_disk import fill, remount, tiny_disk

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import DataDirectoryError, SecondInstanceError
from llmbot.kernel.ids import Owner, this_owner
from llmbot.storage.instance import InstanceLock, acquire, read_instance

HOLDER = """
import sys, time
from pathlib import Path
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.ids import this_owner
from llmbot.storage.instance import acquire

lock = acquire(Path(sys.argv[1]), this_owner(), SystemClock())
lock.publish(http_address="http://127.0.0.1:3000")
print("held", flush=True)
sys.stdin.read()
"""


def take(data_dir: Path) -> InstanceLock:
    """The lock, taken by this process."""
    return acquire(data_dir, this_owner(), ManualClock())


async def test_second_instance(tmp_path: Path) -> None:
    """A second bot is refused and told the process of the first; a killed one is no hindrance."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLDER,
        str(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(SecondInstanceError, match=f"process {holder.pid}"):
        take(tmp_path)
    facts = read_instance(tmp_path)
    assert facts is not None
    assert (facts.pid, facts.http_address) == (holder.pid, "http://127.0.0.1:3000")
    holder.send_signal(signal.SIGKILL)
    await holder.wait()
    assert read_instance(tmp_path) is None
    take(tmp_path).release()


def test_facts(tmp_path: Path) -> None:
    """While a bot holds the directory its facts can be read; afterwards there are none."""
    assert read_instance(tmp_path / "data") is None
    lock = take(tmp_path / "data")
    lock.publish(version="1.2.3", http_address="http://127.0.0.1:3000")
    lock.publish(simulator_address="http://127.0.0.1:4000")
    facts = read_instance(tmp_path / "data")
    assert facts == lock.facts
    assert facts is not None
    assert facts.pid == os.getpid()
    assert facts.started_s == ManualClock().wall()
    assert facts.working_directory == str(Path.cwd())
    assert (facts.version, facts.http_address, facts.simulator_address) == (
        "1.2.3",
        "http://127.0.0.1:3000",
        "http://127.0.0.1:4000",
    )
    lock.release()
    lock.release()
    assert read_instance(tmp_path / "data") is None


def test_files(tmp_path: Path) -> None:
    """The lock and the facts are private files, and neither is named as a document."""
    lock = take(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["instance.facts", "instance.lock"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    lock.release()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"owner": 1}', b'{"owner": "other", "pid": 7}']
)
def test_facts_of_another_life(tmp_path: Path, content: bytes) -> None:
    """Facts that are damaged or of another life are not believed; the process is still named."""
    lock = take(tmp_path)
    (tmp_path / "instance.facts").write_bytes(content)
    facts = read_instance(tmp_path)
    assert facts is not None
    assert (facts.pid, facts.http_address) == (os.getpid(), "")
    lock.release()


def test_facts_of_a_newer_version(tmp_path: Path) -> None:
    """Facts that this version does not know are passed over."""
    lock = take(tmp_path)
    path = tmp_path / "instance.facts"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "green", "version": "9"}))
    facts = read_instance(tmp_path)
    assert facts is not None
    assert facts.version == "9"
    lock.release()


def test_looks_do_not_hinder(tmp_path: Path) -> None:
    """A bot that starts while others look for it is never told that another one runs."""
    take(tmp_path).release()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            read_instance(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            take(tmp_path).release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_removed_lock_file(tmp_path: Path) -> None:
    """A lock file that was removed while nobody held it is made anew."""
    take(tmp_path).release()
    (tmp_path / "instance.lock").unlink()
    lock = take(tmp_path)
    with pytest.raises(SecondInstanceError):
        take(tmp_path)
    lock.release()


def test_unwritable(tmp_path: Path) -> None:
    """A data directory that cannot be made is told with its path and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="file/data cannot be written: Not a directory"):
        acquire(tmp_path / "file" / "data", Owner("boot", 1, "token"), ManualClock())


@pytest.mark.parametrize("name", ["instance.lock", "instance.facts"])
def test_a_directory_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    """The sentence says which one it is, and what to do."""
    (tmp_path / name).mkdir()
    with pytest.raises(DataDirectoryError, match=rf"{name} is a directory.*; move it away"):
        take(tmp_path)
    (tmp_path / name).rmdir()
    take(tmp_path).release()


def test_a_full_disk_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """The lock holds without words; where the bot is found is told once there is room."""
    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        filler = fill(disk)
        lock = take(disk)
        with pytest.raises(SecondInstanceError):
            take(disk)
        assert not lock.publish(http_address="http://127.0.0.1:3000")
        filler.unlink()
        assert lock.publish()
        facts = read_instance(disk)
        assert facts is not None
        assert facts.http_address == "http://127.0.0.1:3000"
        lock.release()


def test_a_full_disk_hides_no_bot(tmp_path: Path) -> None:
    """In the lock's file of an earlier life there is room to say where the bot listens."""
    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        take(disk).release()
        fill(disk)
        lock = take(disk)
        assert not lock.publish(http_address="http://127.0.0.1:3000")
        facts = read_instance(disk)
        assert facts is not None
        assert (facts.pid, facts.http_address) == (os.getpid(), "http://127.0.0.1:3000")
        lock.release()


def test_a_read_only_disk_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """With the lock's file there, as any life but the first finds it."""
    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        take(disk).release()
        remount(disk, "ro")
        lock = take(disk)
        with pytest.raises(SecondInstanceError):
            take(disk)
        remount(disk, "rw")
        assert lock.publish()
        lock.release()
