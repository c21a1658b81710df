"""Documents that were damaged: every byte flipped, every length cut, of every kind of file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.disk import SimulatedDisk
from tests.support.documents import ONE, Note, note, shelf

from llmbot.kernel.clock import ManualClock
from llmbot.storage.documents.facts import DataInvalid, DataLost, DataRecovered, Source, Status
from llmbot.storage.documents.format import HEADER, decode
from llmbot.storage.documents.recovery import DocumentShelf
from llmbot.storage.documents.writer import Saving

OLD, NEW = note(2), note(3)
MASKS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x55, 0xFF)


def overwrite(disk: SimulatedDisk, path: Path, data: bytes) -> None:
    """Put other bytes into a file, as damage does."""
    disk.unlink(path)
    descriptor = disk.create(path)
    disk.write(descriptor, data)
    disk.close(descriptor)


def three_versions() -> tuple[SimulatedDisk, DocumentShelf]:
    """A document with `.bak` and a generation, and a shelf of a new life."""
    disk, clock = SimulatedDisk(), ManualClock()
    one = shelf(disk, clock)
    for count in (1, 2, 3):
        one.writer.save_one(Saving(ONE, note(count)))
        clock.advance(60)
    return disk, shelf(disk, clock)


def kinds_of_files() -> dict[str, Path]:
    """The document, the version before it, and an older one."""
    _, one = three_versions()
    [generation] = one.reader.backups.of(ONE)
    return {
        "document": one.reader.path(ONE),
        "bak": one.reader.backups.bak(ONE),
        "generation": generation.path,
    }


FILES = kinds_of_files()


def check_damaged(which: str, damaged: bytes, intact: bytes) -> None:
    """The law for one damage of one file."""
    disk, one = three_versions()
    overwrite(disk, FILES[which], damaged)
    status = one.reader.look(ONE, FILES[which]).status
    loaded = one.load(ONE)
    assert loaded is not None
    assert loaded.value in (OLD, NEW)
    one.prove_copies(ONE)
    events = one.writer.events
    assert not [event for event in events if isinstance(event, DataLost)]
    same = json_of(damaged) == json_of(intact)
    # What says the same with other bytes is no damage to what is said, yet it is put in order.
    assert events or (same and which != "document")
    if not same:
        assert status in {Status.DAMAGED, Status.FLIPPED}
        assert any(isinstance(event, DataInvalid) for event in events)
        kept = [data for path, data in disk.files().items() if path.endswith(".quarantined")]
        assert damaged in kept or not damaged
    for path, data in disk.files().items():
        if path.endswith((".json", ".bak")):
            assert decode(data).state == "proven", path


def json_of(data: bytes) -> object:
    """What is said, if it is JSON; of the header what counts as said."""
    try:
        whole = json.loads(data)
    except ValueError:
        return None
    if isinstance(whole, dict) and isinstance(whole.get(HEADER), dict):
        said = ("schema", "version", "savedAt", "sha256")
        whole[HEADER] = {name: whole[HEADER].get(name) for name in said}
    return whole


@pytest.mark.parametrize("which", FILES)
def test_every_flipped_byte_is_noticed_and_undone(which: str) -> None:
    """Whichever byte is flipped, however: the same value is read, and it is said."""
    disk, _ = three_versions()
    intact = disk.read(FILES[which], 10**6)
    for place in range(len(intact)):
        mask = MASKS[place % len(MASKS)]
        damaged = bytearray(intact)
        damaged[place] ^= mask
        check_damaged(which, bytes(damaged), intact)


def test_every_flip_of_every_byte_gives_the_document_back_unharmed() -> None:
    """A document with one wrong byte is read as it was saved, not as an older version."""
    disk, _ = three_versions()
    intact = disk.read(FILES["document"], 10**6)
    said = decode(intact)
    for place in range(len(intact)):
        for mask in MASKS:
            damaged = bytearray(intact)
            damaged[place] ^= mask
            found = decode(bytes(damaged))
            assert found.state in {"proven", "flipped"}
            assert (found.body, found.stamp) == (said.body, said.stamp)
            assert not found.as_saved


@pytest.mark.parametrize("which", FILES)
def test_every_cut_is_noticed(which: str) -> None:
    """At whatever length a file is cut: old or new is read, and it is said."""
    disk, _ = three_versions()
    intact = disk.read(FILES[which], 10**6)
    for length in range(len(intact)):
        check_damaged(which, intact[:length], intact)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"null",
        b"\x00" * 700,
        b"\xff\xfe{",
        b'{"text": 5}',
        b'{"text": "a", "what": "is this"}',
        b"[" * 5000,
    ],
)
def test_what_was_never_a_document_is_put_aside(damage: bytes) -> None:
    """Empty files, zeros, other JSON and `{}` are damage: the last good version comes back."""
    disk, one = three_versions()
    overwrite(disk, FILES["document"], damage)
    recovery = one.recover(ONE)
    assert recovery.before is Status.DAMAGED
    assert recovery.source is Source.GENERATION
    assert recovery.file == "notes/1.json.bak"
    assert recovery.after.status is Status.VALID
    assert one.reader.look(ONE).value == OLD
    [invalid] = [event for event in one.writer.events if isinstance(event, DataInvalid)]
    assert invalid.describe().startswith("Data validation failed for notes/1.json")
    if damage:
        assert disk.read(Path("/") / invalid.quarantined, 10**6) == damage


def test_the_next_generation_serves_when_the_last_is_damaged_too() -> None:
    """Every generation is tried, newest first, and only those of exactly this document."""
    disk, one = three_versions()
    other = Path("/backups/notes/11.20990101T000000000Z.json")
    descriptor = disk.create(other)
    disk.write(descriptor, disk.read(FILES["document"], 10**6))
    disk.close(descriptor)
    overwrite(disk, FILES["document"], b"{")
    overwrite(disk, FILES["bak"], b"")
    recovery = one.recover(ONE)
    assert recovery.file == str(FILES["generation"]).removeprefix("/")
    assert one.reader.look(ONE).value == note(1)
    assert any(isinstance(event, DataRecovered) for event in one.writer.events)


def test_a_missing_document_with_copies_is_damage_and_not_absence() -> None:
    """A document that vanished comes back from its copies; one that never was stays absent."""
    disk, one = three_versions()
    disk.unlink(FILES["document"])
    loaded = one.load(ONE)
    assert loaded is not None
    assert loaded.value == OLD
    assert shelf(SimulatedDisk()).load(ONE) is None


def test_salvage_says_what_is_missing() -> None:
    """Without any good version what still parses is kept, and what does not is named."""
    disk, one = three_versions()
    for which in ("bak", "generation"):
        disk.unlink(FILES[which])
    intact = disk.read(FILES["document"], 10**6)
    cut = intact[: intact.index(b'"y"')]
    overwrite(disk, FILES["document"], cut.replace(b'"count": 3', b'"count": 3333'))
    recovery = one.recover(ONE)
    assert recovery.source is Source.SALVAGE
    assert set(recovery.missing) == {"count", "parts.?"}
    assert one.reader.look(ONE).value == Note(text=NEW.text, count=0, tags=NEW.tags, parts={"x": 3})


def test_a_total_loss_is_said() -> None:
    """Where nothing can be read the document starts afresh, which is told as a loss."""
    disk, one = three_versions()
    for which in FILES:
        overwrite(disk, FILES[which], b"\x00" * 100)
    recovery = one.recover(ONE)
    assert recovery.source is Source.FRESH
    assert one.reader.look(ONE).value == Note()
    [lost] = [event for event in one.writer.events if isinstance(event, DataLost)]
    assert "LOST" in lost.describe()
    assert recovery.quarantined == lost.quarantined
