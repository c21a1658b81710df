"""Documents after a power cut: every legal state of the disk, at every step of every write path."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.support.disk import SimulatedDisk, WatchedDisk
from tests.support.documents import NOTE, ONE, Note, note, shelf

from llmbot.kernel.clock import ManualClock
from llmbot.storage.documents.facts import DataLost
from llmbot.storage.documents.recovery import DocumentShelf
from llmbot.storage.documents.writer import Saving

TWO = NOTE.ref(2)


def saved(*counts: int) -> tuple[WatchedDisk, DocumentShelf, ManualClock]:
    """A disk on which these versions were saved, with enough time between them to be all kept."""
    disk, clock = WatchedDisk(SimulatedDisk()), ManualClock()
    one = shelf(disk, clock)
    for count in counts:
        one.writer.save_one(Saving(ONE, note(count)))
        clock.advance(60)
    return disk, one, clock


def states_at_each_step(
    disk: WatchedDisk, work: Callable[[], object]
) -> list[tuple[bool, SimulatedDisk]]:
    """Every state after a power cut at every step of some work, and whether it had returned."""
    simulated = disk.disk
    assert isinstance(simulated, SimulatedDisk)
    states: list[tuple[bool, SimulatedDisk]] = []

    def cut(_number: int, name: str) -> None:
        if name not in {"read", "list", "facts", "space"}:
            states.extend((False, state) for state in simulated.after_power_cut())

    disk.done = cut
    work()
    disk.done = lambda _number, _name: None
    states.extend((True, state) for state in simulated.after_power_cut())
    return states


def read_back(disk: SimulatedDisk) -> tuple[Note | None, DocumentShelf]:
    """What the next life reads, and the shelf it read with."""
    one = shelf(disk)
    loaded = one.load(ONE)
    return (None if loaded is None else loaded.value), one


def all_parse(disk: SimulatedDisk) -> None:
    """No file that calls itself JSON, and no `.bak`, is none."""
    for path, data in disk.files().items():
        if path.endswith((".json", ".bak")) and "/backups/" not in path:
            assert isinstance(json.loads(data), dict), path


WORK: dict[str, tuple[tuple[int, ...], Callable[[DocumentShelf], object], Note | None]] = {
    "a first save": ((), lambda s: s.writer.save_one(Saving(ONE, note(1))), note(1)),
    "a second save": ((1,), lambda s: s.writer.save_one(Saving(ONE, note(9))), note(9)),
    "a later save": ((1, 2, 3), lambda s: s.writer.save_one(Saving(ONE, note(9))), note(9)),
    "a backup": ((1, 2), lambda s: s.backup(ONE), note(2)),
    "a restore": ((1, 2, 3), lambda s: s.restore(ONE, ManualClock().wall() + 1), note(1)),
}


@pytest.mark.parametrize("name", WORK)
def test_a_power_cut_leaves_the_old_version_or_the_new_one(name: str) -> None:
    """Whatever a power cut leaves, the next life reads the old version or the new one, whole."""
    before, work, new = WORK[name]
    disk, one, _ = saved(*before)
    old = note(before[-1]) if before else None
    states = states_at_each_step(disk, lambda: work(one))
    assert len(states) > 5
    for acknowledged, state in states:
        value, next_life = read_back(state)
        assert value in ([new] if acknowledged else [old, new])
        assert not [e for e in next_life.writer.events if isinstance(e, DataLost)]
        all_parse(state)


def test_a_power_cut_while_mending_leaves_what_can_be_mended_again() -> None:
    """A recovery that is cut short can be repeated: the same version comes back."""
    disk, one, _ = saved(1, 2, 3)
    path = one.reader.path(ONE)
    raw = disk.read(path, 10**6)
    disk.unlink(path)
    descriptor = disk.create(path)
    disk.write(descriptor, raw[: len(raw) // 2])
    disk.sync(descriptor)
    disk.close(descriptor)
    disk.sync_folder(path.parent)
    for _, state in states_at_each_step(disk, lambda: one.recover(ONE)):
        value, _ = read_back(state)
        assert value == note(2)


def test_a_power_cut_in_a_batch_harms_no_document_of_it() -> None:
    """Of documents that are saved together each is old or new, and all are new once it returned."""
    disk, one, _ = saved(1)
    one.writer.save_one(Saving(TWO, note(1)))
    savings = [Saving(ONE, note(9)), Saving(TWO, note(9))]
    for acknowledged, state in states_at_each_step(disk, lambda: one.writer.save(savings)):
        next_life = shelf(state)
        for ref in (ONE, TWO):
            loaded = next_life.load(ref)
            assert loaded is not None
            assert loaded.value in ([note(9)] if acknowledged else [note(1), note(9)])


def test_a_removal_that_is_cut_short_can_be_repeated() -> None:
    """After a removal returned nothing of the document is left; before, it is whole or gone."""
    disk, one, _ = saved(1, 2, 3)
    for acknowledged, state in states_at_each_step(disk, lambda: one.writer.remove(ONE)):
        value, next_life = read_back(state)
        assert value in ([None] if acknowledged else [None, note(3)])
        next_life.writer.remove(ONE)
        assert not state.files()
