"""Documents on a disk that refuses: every n-th call of every operation, with each error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from tests.support.disk import SimulatedDisk, WatchedDisk, refuse_all_from
from tests.support.documents import ONE, Note, note, shelf

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import LlmbotError
from llmbot.storage.documents.facts import DataLost
from llmbot.storage.documents.recovery import DocumentShelf
from llmbot.storage.documents.writer import Saving

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


def prepared(*counts: int) -> tuple[WatchedDisk, DocumentShelf]:
    """A disk on which these versions were saved."""
    disk, clock = WatchedDisk(SimulatedDisk()), ManualClock()
    one = shelf(disk, clock)
    for count in counts:
        one.writer.save_one(Saving(ONE, note(count)))
        clock.advance(60)
    return disk, one


def cut(disk: WatchedDisk, one: DocumentShelf) -> None:
    """Leave half of the document."""
    path = one.reader.path(ONE)
    raw = disk.disk.read(path, 10**6)
    disk.disk.unlink(path)
    descriptor = disk.disk.create(path)
    disk.disk.write(descriptor, raw[: len(raw) // 2])
    disk.disk.close(descriptor)


def flip(disk: WatchedDisk, one: DocumentShelf) -> None:
    """Change one byte of the document."""
    path = one.reader.path(ONE)
    raw = bytearray(disk.disk.read(path, 10**6))
    raw[raw.index(b"Nummer")] ^= 1
    disk.disk.unlink(path)
    descriptor = disk.disk.create(path)
    disk.disk.write(descriptor, bytes(raw))
    disk.disk.close(descriptor)


def cut_bak(disk: WatchedDisk, one: DocumentShelf) -> None:
    """Leave half of the last version before the present one."""
    path = one.reader.backups.bak(ONE)
    raw = disk.disk.read(path, 10**6)
    disk.disk.unlink(path)
    descriptor = disk.disk.create(path)
    disk.disk.write(descriptor, raw[: len(raw) // 2])
    disk.disk.close(descriptor)


def save(one: DocumentShelf) -> object:
    """Save the new version."""
    return one.writer.save_one(Saving(ONE, note(9)))


def nothing(_disk: WatchedDisk, _one: DocumentShelf) -> None:
    """No damage."""


Damage = Callable[[WatchedDisk, DocumentShelf], None]
Work = Callable[[DocumentShelf], object]
WORK: dict[str, tuple[tuple[int, ...], Damage, Work, Note]] = {
    "a first save": ((), nothing, save, note(9)),
    "a later save": ((1, 2, 3), nothing, save, note(9)),
    "a save over a cut one": ((1, 2), cut, save, note(9)),
    "a load of a cut one": ((1, 2), cut, lambda s: s.load(ONE), note(1)),
    "a load of a flipped one": ((1, 2), flip, lambda s: s.load(ONE), note(2)),
    "a recovery": ((1, 2), cut, lambda s: s.recover(ONE), note(1)),
    "a restore": ((1, 2, 3), nothing, lambda s: s.restore(ONE, ManualClock().wall()), note(1)),
    "a backup": ((1, 2), nothing, lambda s: s.backup(ONE), note(2)),
    "a proof of the copies": ((1, 2, 3), cut_bak, lambda s: s.prove_copies(ONE), note(3)),
}


@pytest.mark.parametrize("forever", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", WORK)
def test_a_refusing_disk_costs_no_version(name: str, *, forever: bool) -> None:
    """Whichever call is refused, and with whatever error: old or new is read, and never a third.

    What returned as done is the new one; and the same work succeeds once the disk is well again.
    """
    before, damage, work, new = WORK[name]
    disk, one = prepared(*before)
    damage(disk, one)
    began = len(disk.calls)
    work(one)
    calls = len(disk.calls) - began
    assert calls > 3
    allowed = [new] if not before else [note(count) for count in before] + [new]
    for number in ERRORS:
        for call in range(calls):
            disk, one = prepared(*before)
            damage(disk, one)
            first = len(disk.calls) + call
            refuse_all_from(disk, first, number, None if forever else first)
            done = True
            try:
                work(one)
            except (LlmbotError, OSError):
                done = False
            disk.before = lambda _number, _name: None
            assert isinstance(disk.disk, SimulatedDisk)
            next_life = shelf(disk.disk.settled())
            loaded = next_life.load(ONE)
            context = (name, os.strerror(number), call, disk.calls[first])
            if loaded is None:
                assert not before, context
                assert not done, context
            else:
                assert loaded.value in ([new] if done else allowed), context
            assert not [e for e in next_life.writer.events if isinstance(e, DataLost)], context
            work(one)
            again = one.load(ONE)
            assert again is not None, context
            assert again.value == new or name in {"a restore", "a backup"}, context


def test_a_full_disk_is_no_damage() -> None:
    """A save that ran out of space leaves the old version valid, its `.bak` too, and no debris."""
    disk, one = prepared(1, 2)
    assert isinstance(disk.disk, SimulatedDisk)
    disk.disk.free_bytes = 40
    with pytest.raises(LlmbotError, match="ENOSPC"):
        one.writer.save_one(Saving(ONE, note(3)))
    check = one.reader.check(ONE)
    assert (check.status, check.bak) == ("valid", "valid")
    assert not [path for path in disk.disk.files() if ".new-" in path]
    disk.disk.free_bytes = 10**6
    one.writer.save_one(Saving(ONE, note(3)))
    loaded = one.load(ONE)
    assert loaded is not None
    assert loaded.value == note(3)


def test_a_sector_that_cannot_be_read_is_not_taken_for_an_absent_document() -> None:
    """A document that the disk cannot read is neither absent nor damaged until told to recover."""
    disk, one = prepared(1, 2)

    def unreadable(_number: int, name: str) -> None:
        if name == "read":
            raise OSError(errno.EIO, "bad sector")

    disk.before = unreadable
    with pytest.raises(OSError, match="bad sector"):
        one.load(ONE)
    disk.before = lambda _number, _name: None
    loaded = one.load(ONE)
    assert loaded is not None
    assert loaded.value == note(2)
    assert one.writer.events == []
