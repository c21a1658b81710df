"""The document store of a running bot: durable when told so, grouped, in order, bounded."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.disk import WatchedDisk
from tests.support.documents import KINDS, NOTE, ONE, PLAIN, Heard, Note, note, shelf
from tests.support.waiting import PATIENCE_S

from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import DefectError, ShuttingDownError, StoreUnavailableError
from llmbot.storage.atomic import second_name
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.facts import (
    DataEdited,
    DataInvalid,
    DataMigrated,
    DataOverwritten,
    DataUnsaved,
    Source,
    Status,
    StoreCondition,
)
from llmbot.storage.documents.kinds import Kinds, NewerDocumentError, UnknownDocumentError
from llmbot.storage.documents.patrol import Patrol, PatrolSettings
from llmbot.storage.documents.reader import DocumentReader
from llmbot.storage.documents.recovery import DocumentShelf, NoGenerationError
from llmbot.storage.documents.store import DocumentStore, StoreSettings
from llmbot.storage.documents.writer import Saving
from llmbot.storage.filesystem import RealFileSystem, Space


class Rig:
    """A store on a real disk that can be told to refuse."""

    def __init__(self, root: Path, settings: StoreSettings | None = None) -> None:
        self.root = root
        self.disk = WatchedDisk(RealFileSystem())
        self.heard = Heard()
        self.store = DocumentStore(
            root,
            KINDS,
            SystemClock(),
            self.heard,
            files=self.disk,
            settings=settings or StoreSettings(retry_first_s=0.02, retry_max_s=0.05),
        )
        self.admin = DocumentAdmin(self.store, self.heard)

    def refuse(self, number: int, *names: str) -> None:
        """From now on these calls fail."""

        def before(_: int, name: str) -> None:
            if name in names:
                raise OSError(number, "refused")

        self.disk.before = before

    def obey(self) -> None:
        """From now on nothing fails."""
        self.disk.before = lambda _number, _name: None

    def json(self, name: str) -> dict[str, object]:
        """A document as `jq` reads it."""
        whole = json.loads((self.root / name).read_text(encoding="utf-8"))
        assert isinstance(whole, dict)
        return whole


@asynccontextmanager
async def opened(root: Path, settings: StoreSettings | None = None) -> AsyncIterator[Rig]:
    """A rig whose store runs."""
    rig = Rig(root, settings)
    await rig.store.start()
    try:
        yield rig
    finally:
        rig.obey()
        await rig.store.stop()


async def test_what_was_saved_is_read_by_the_next_life(tmp_path: Path) -> None:
    """A durable value survives; it is JSON with umlauts that people can read, and has a `.bak`."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        assert rig.json("notes/1.json")["text"] == "Nummer 1: schön"
        assert "schön" in (tmp_path / "notes/1.json").read_text(encoding="utf-8")
        assert rig.json("notes/1.json.bak")["count"] == 1
        await rig.store.put(ONE, note(2))
        assert rig.json("notes/1.json.bak")["count"] == 1
    async with opened(tmp_path) as rig:
        assert await rig.store.get(ONE) == note(2)
        assert await rig.store.get(NOTE.ref(2)) is None
        assert rig.heard.events == []


async def test_documents_are_for_their_owner_only(tmp_path: Path) -> None:
    """Neither a document nor its folder can be read by other users of the machine."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
    for path in (tmp_path / "notes", tmp_path / "notes/1.json", tmp_path / "notes/1.json.bak"):
        assert path.stat().st_mode & 0o077 == 0


async def test_a_put_is_seen_before_it_is_durable(tmp_path: Path) -> None:
    """A value is read as put at once, while the disk still works on it."""
    async with opened(tmp_path) as rig:
        go_on = threading.Event()

        def wait(_number: int, name: str) -> None:
            if name == "sync":
                go_on.wait(PATIENCE_S)

        rig.disk.before = wait
        saving = rig.store.put(ONE, note(1))
        assert await rig.store.get(ONE) == note(1)
        assert not saving.done()
        go_on.set()
        await saving


async def test_versions_that_wait_are_saved_once(tmp_path: Path) -> None:
    """Of many versions of a document the disk sees the newest, and all who wait are told."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(0))
        saves = rig.store.facts().saves
        await asyncio.gather(*[rig.store.put(ONE, note(n)) for n in range(200)])
        assert rig.store.facts().saves - saves <= 2
        assert rig.json("notes/1.json")["count"] == 199


async def test_documents_that_wait_are_saved_together(tmp_path: Path) -> None:
    """Saves of different documents that wait at the same moment share their folder's sync."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        before = rig.disk.calls.count("sync_folder")
        await asyncio.gather(*[rig.store.put(NOTE.ref(n), note(n)) for n in range(2, 42)])
        assert rig.disk.calls.count("sync_folder") - before <= 2


async def test_changes_build_on_each_other(tmp_path: Path) -> None:
    """Changes of one document happen one after the other, however many come at once."""
    async with opened(tmp_path) as rig:

        def one_more(value: Note) -> Note:
            return value.model_copy(update={"count": value.count + 1})

        await asyncio.gather(*[rig.store.update(ONE, one_more) for _ in range(100)])
        assert rig.json("notes/1.json")["count"] == 100


async def test_nothing_runs_on_the_event_loop(tmp_path: Path) -> None:
    """No call to the disk is made on the event loop's thread."""
    async with opened(tmp_path) as rig:
        here = threading.get_ident()
        seen: set[int] = set()
        rig.disk.before = lambda _number, _name: seen.add(threading.get_ident())
        await rig.store.put(ONE, note(1))
        rig.store.drop_clean()
        await rig.store.get(ONE)
        await rig.admin.validate_all()
        await rig.admin.scan()
        await rig.admin.recover("notes/1.json")
        await rig.store.remove(ONE)
        assert seen
        assert here not in seen


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
async def test_what_the_disk_refuses_is_kept_and_tried_again(tmp_path: Path, number: int) -> None:
    """A refused save is not acknowledged, its value stays in force, and it lands in the end."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        rig.refuse(number, "create", "write", "sync", "link", "rename")
        with pytest.raises(StoreUnavailableError, match=errno.errorcode[number]):
            await rig.store.put(ONE, note(2))
        assert await rig.store.get(ONE) == note(2)
        assert rig.json("notes/1.json")["count"] == 1
        facts = rig.store.facts()
        assert (facts.unsaved, errno.errorcode[number] in facts.condition) == (1, True)
        rig.obey()
        await rig.store.saved()
        assert rig.json("notes/1.json")["count"] == 2
        assert rig.store.facts().condition == ""
        assert [event.state for event in rig.heard.of(StoreCondition)] == ["failing", "well"]


async def test_what_is_not_saved_has_a_limit(tmp_path: Path) -> None:
    """Beyond a limit of unsaved documents new ones are refused at once, in memory as well."""
    settings = StoreSettings(unsaved_max=3, retry_first_s=0.02, retry_max_s=0.05)
    async with opened(tmp_path, settings) as rig:
        await rig.store.put(ONE, note(1))
        rig.refuse(errno.ENOSPC, "create", "link")
        waiting = [rig.store.put(NOTE.ref(n), note(n)) for n in range(2, 5)]
        with pytest.raises(StoreUnavailableError, match="Too many"):
            await rig.store.put(NOTE.ref(9), note(9))
        assert rig.store.peek(NOTE.ref(9)) is None
        for future in waiting:
            with pytest.raises(StoreUnavailableError):
                await future


async def test_what_may_wait_is_not_written_without_room(tmp_path: Path) -> None:
    """On a nearly full disk optional documents stay in memory; others are saved."""
    rig = Rig(tmp_path)
    rig.disk.room = Space(free=1000, total=10**12)
    await rig.store.start()
    try:
        assert rig.store.facts().room == "critical"
        rig.store.put(NOTE.ref(2), note(2), optional=True)
        await rig.store.put(ONE, note(1))
        assert (tmp_path / "notes/1.json").exists()
        assert not (tmp_path / "notes/2.json").exists()
        assert rig.store.facts().unsaved == 1
        assert [event.state for event in rig.heard.of(StoreCondition)] == ["critical"]
    finally:
        await rig.store.stop()
    assert (tmp_path / "notes/2.json").exists()


async def test_a_stop_saves_what_waits(tmp_path: Path) -> None:
    """What was put is on the disk after a stop, even if nobody waited for it."""
    async with opened(tmp_path) as rig:
        rig.store.put(ONE, note(5), within_s=3600)
    assert rig.json("notes/1.json")["count"] == 5
    with pytest.raises(ShuttingDownError):
        await rig.store.put(ONE, note(6))


async def test_what_was_never_saved_is_said_at_the_stop(tmp_path: Path) -> None:
    """A value that the disk refused to the end is named, and whoever waits for it is told."""
    rig = Rig(tmp_path)
    await rig.store.start()
    rig.refuse(errno.EROFS, "create")
    rig.store.put(ONE, note(1))
    await rig.store.stop()
    [unsaved] = rig.heard.of(DataUnsaved)
    assert unsaved.name == "notes/1.json"


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """What is held in memory stays within its limit; the disk has the rest."""
    async with opened(tmp_path, StoreSettings(held_bytes_max=20_000)) as rig:
        for number in range(100):
            await rig.store.put(NOTE.ref(number), note(number))
        assert rig.store.facts().bytes_in_memory <= 20_000
        assert await rig.store.get(NOTE.ref(3)) == note(3)
        dropped, freed = rig.store.drop_clean()
        assert dropped > 0
        assert freed > 0
        assert rig.store.facts().documents_in_memory == 0


async def test_a_body_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    """A document beyond its size is a defect: it keeps its former value, the others are saved."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        good = rig.store.put(NOTE.ref(2), note(2))
        with pytest.raises(DefectError):
            await rig.store.put(ONE, Note(text="x" * 2_000_000))
        await good
        assert await rig.store.get(ONE) == note(1)
        assert rig.json("notes/1.json")["count"] == 1


async def test_generations_are_kept_by_time_and_count(tmp_path: Path) -> None:
    """Versions that lie far enough apart are kept, and no more of them than the limit."""
    clock, disk = ManualClock(), RealFileSystem()
    one = shelf(disk, clock, str(tmp_path))
    for count in range(30):
        one.writer.save_one(Saving(ONE, note(count)))
        clock.advance(5)
    kept = one.reader.backups.of(ONE)
    assert len(kept) == NOTE.generations_max
    values = [one.reader.look(ONE, file.path).value for file in kept]
    assert values == [note(count) for count in range(26, 10, -2)]
    clock.advance(NOTE.generation_age_max_s * 2)
    one.writer.save_one(Saving(ONE, note(31)))
    one.writer.save_one(Saving(ONE, note(32)))
    assert len(one.reader.backups.of(ONE)) == 1


# ── what people do to the files ─────────────────────────────────────────────────────────────────


async def test_an_edit_by_hand_that_fits_is_accepted_and_said(tmp_path: Path) -> None:
    """An operator's change of a document takes effect, gets a new checksum, and is announced."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        heard: list[Note | None] = []
        rig.store.listen(NOTE, lambda _ref, value: heard.append(value))
        whole = rig.json("notes/1.json")
        (tmp_path / "notes/1.json").write_text(json.dumps(whole | {"count": 77}))
        check = await rig.admin.validate("notes/1.json")
        assert check.status is Status.VALID
        assert await rig.store.get(ONE) == note(1).model_copy(update={"count": 77})
        assert [value.count for value in heard if value] == [77]
        [edited] = rig.heard.of(DataEdited)
        assert edited.changed == ("count",)


async def test_an_edit_that_does_not_fit_is_refused_and_said(tmp_path: Path) -> None:
    """A misshapen edit does not take effect; what was in force is, and the edit is kept aside."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        edit = json.dumps(rig.json("notes/1.json") | {"count": -7})
        (tmp_path / "notes/1.json").write_text(edit)
        check = await rig.admin.validate("notes/1.json")
        assert not check.ok
        assert "count" in check.problem
        assert "Data validation failed for notes/1.json" in rig.heard.lines()
        recovery = await rig.admin.recover("notes/1.json")
        assert recovery.source is Source.MEMORY
        assert (tmp_path / recovery.quarantined).read_text() == edit
        assert await rig.store.get(ONE) == note(1)


async def test_an_edit_of_one_byte_is_taken_for_a_flip_until_it_is_accepted(
    tmp_path: Path,
) -> None:
    """One changed byte is undone, since a flipped one looks the same; `accept` brings it back."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        path = tmp_path / "notes/1.json"
        path.write_text(path.read_text().replace('"y": 2', '"y": 3'))
        recovery = await rig.admin.recover("notes/1.json")
        assert (recovery.before, recovery.after.status) == (Status.FLIPPED, Status.VALID)
        assert rig.json("notes/1.json")["parts"] == {"x": 1, "y": 2}
        await rig.admin.accept("notes/1.json")
        value = await rig.store.get(ONE)
        assert value is not None
        assert value.parts == {"x": 1, "y": 3}


async def test_one_byte_may_be_changed_without_the_checksum(tmp_path: Path) -> None:
    """Who changes one byte and removes the line of the checksum is believed."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        path = tmp_path / "notes/1.json"
        lines = path.read_text().replace('"y": 2', '"y": 3').splitlines()
        kept = [line for line in lines if '"crc32"' not in line]
        path.write_text("\n".join(kept).replace('",\n  },', '"\n  },'))
        await rig.admin.validate("notes/1.json")
        value = await rig.store.get(ONE)
        assert value is not None
        assert value.parts == {"x": 1, "y": 3}


async def test_a_bak_copied_over_its_document_is_a_document(tmp_path: Path) -> None:
    """The runbook's manual recovery works: the copy is valid, and the running bot takes it over."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        await rig.store.put(ONE, note(2))
        shutil.copy(tmp_path / "notes/1.json.bak", tmp_path / "notes/1.json")
        assert (await rig.admin.validate_all()).ok
        assert await rig.store.get(ONE) == note(1)


async def test_an_edit_that_meets_a_newer_version_is_kept(tmp_path: Path) -> None:
    """An edit that nobody had noticed when a newer version was saved survives as a generation."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        edit = json.dumps(rig.json("notes/1.json") | {"count": 77})
        (tmp_path / "notes/1.json").write_text(edit)
        await rig.store.put(ONE, note(2))
        assert await rig.store.get(ONE) == note(2)
        [overwritten] = rig.heard.of(DataOverwritten)
        kept = json.loads((tmp_path / overwritten.kept_as).read_text())
        assert kept["count"] == 77


async def test_a_newer_llmbots_document_is_left_alone(tmp_path: Path) -> None:
    """A document of a later shape is neither used nor overwritten nor taken for damage."""
    later = dataclasses.replace(NOTE, version=2, migrations={1: lambda body: body})
    writer = DocumentShelf(
        DocumentReader(tmp_path, Kinds([later]), RealFileSystem()), SystemClock()
    ).writer
    writer.save_one(Saving(later.ref(1), note(1)))
    before = (tmp_path / "notes/1.json").read_bytes()
    async with opened(tmp_path) as rig:
        with pytest.raises(NewerDocumentError):
            await rig.store.get(ONE)
        with pytest.raises(NewerDocumentError):
            await rig.store.put(ONE, note(2))
        assert (await rig.admin.validate("notes/1.json")).status is Status.NEWER
    assert (tmp_path / "notes/1.json").read_bytes() == before


def test_an_older_shape_is_brought_up_with_a_backup_before(tmp_path: Path) -> None:
    """A document of an earlier version is migrated when read, and its former self is kept."""
    old = shelf(RealFileSystem(), ManualClock(), str(tmp_path))
    old.writer.save_one(Saving(ONE, note(1)))

    def more_text(body: dict[str, object]) -> dict[str, object]:
        return body | {"text": f"{body['text']}!"}

    later = dataclasses.replace(NOTE, version=2, migrations={1: more_text})
    new = DocumentShelf(DocumentReader(tmp_path, Kinds([later]), RealFileSystem()), ManualClock())
    loaded = new.load(later.ref(1))
    assert loaded is not None
    assert loaded.value.text == note(1).text + "!"
    [migrated] = [event for event in new.writer.events if isinstance(event, DataMigrated)]
    assert json.loads((tmp_path / migrated.kept_as).read_text())["text"] == note(1).text
    assert json.loads((tmp_path / "notes/1.json").read_text())["_llmbot"]["version"] == 2
    again = new.load(later.ref(1))
    assert again is not None
    assert again.value == loaded.value


# ── what operators ask for ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "notes/2.json",
        "notes/../notes/1.json",
        "/etc/passwd",
        "notes/1",
        "notes/1.json.bak",
        "../notes/1.json",
        "notes//1.json",
        "notes/1.json/",
        "notes/\u0661.json",
        "",
        "backups/notes/1.json",
        "quarantine/x.json",
        "other.json",
    ],
)
async def test_names_are_looked_up_and_never_joined(tmp_path: Path, name: str) -> None:
    """A name that no document has is unknown, whatever path it would make; known ones are told."""
    (tmp_path / "other.json").write_text("{}")
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        for ask in (rig.admin.validate, rig.admin.recover, rig.admin.backup):
            with pytest.raises(UnknownDocumentError) as refused:
                await ask(name)
            assert refused.value.known == ("notes/1.json",)


async def test_restore_brings_back_the_version_of_a_time(tmp_path: Path) -> None:
    """The version in force at a time comes back, and the present one can be brought back too."""
    async with opened(tmp_path) as rig:
        await rig.store.put(PLAIN.ref("plain"), note(1))
        times = []
        for count in (2, 3):
            generation = await rig.admin.backup("plain.json")
            times.append(generation.saved_at_s)
            await rig.store.put(PLAIN.ref("plain"), note(count))
        with pytest.raises(NoGenerationError):
            await rig.admin.restore("plain.json", times[0] - 60)
        restored = await rig.admin.restore("plain.json", times[0])
        assert restored.saved_at_s == times[0]
        assert await rig.store.get(PLAIN.ref("plain")) == note(1)
        generations = await rig.admin.generations("plain.json")
        latest = max(generation.saved_at_s for generation in generations)
        await rig.admin.restore("plain.json", times[1])
        assert await rig.store.get(PLAIN.ref("plain")) == note(2)
        await rig.admin.restore("plain.json", latest)
        assert await rig.store.get(PLAIN.ref("plain")) == note(3)


async def test_a_removal_leaves_no_copy(tmp_path: Path) -> None:
    """A removed document is gone with all copies of it; one whose name begins so keeps its own."""
    async with opened(tmp_path) as rig:
        for count in range(3):
            await rig.store.put(ONE, note(count))
            await rig.admin.backup("notes/1.json")
        (tmp_path / "notes/1.json").write_text("{")
        await rig.admin.recover("notes/1.json")
        await rig.store.put(NOTE.ref(11), note(5))
        await rig.admin.backup("notes/11.json")
        kept = await rig.admin.generations("notes/11.json")
        await rig.store.remove(ONE)
        assert await rig.store.get(ONE) is None
        assert await rig.admin.generations("notes/11.json") == kept != []
        left = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240 - a test may wait for its own disk
        assert {path.name.partition(".")[0] for path in left} == {"11"}


async def test_a_scan_sees_documents_copies_and_strangers(tmp_path: Path) -> None:
    """A scan counts all there is, and names files that call themselves JSON and are none."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/good.json").write_text("{}")
    (tmp_path / "elsewhere/bad.json").write_text("{")
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        await rig.admin.backup("notes/1.json")
        scan = await rig.admin.scan()
        assert [check.name for check in scan.documents] == ["notes/1.json"]
        assert scan.generations == 2
        assert {(stray.file, stray.parses) for stray in scan.strays} == {
            ("elsewhere/good.json", True),
            ("elsewhere/bad.json", False),
        }
        assert not (await rig.admin.validate_all()).ok


# ── the patrol ──────────────────────────────────────────────────────────────────────────────────


async def test_the_patrol_finds_damage_before_it_is_needed(tmp_path: Path) -> None:
    """One round mends damaged documents and damaged copies, and says both."""
    async with opened(tmp_path) as rig:
        for number in range(1, 6):
            await rig.store.put(NOTE.ref(number), note(number))
            await rig.store.put(NOTE.ref(number), note(number + 100))
        rig.store.drop_clean()
        (tmp_path / "notes/2.json").write_bytes(b"")
        (tmp_path / "notes/3.json.bak").write_bytes(b"{")
        patrol = Patrol(rig.store, rig.admin, SystemClock(), PatrolSettings())
        assert await patrol.round(hurry=True) == 2
        assert {event.file for event in rig.heard.of(DataInvalid)} == {
            "notes/2.json",
            "notes/3.json.bak",
        }
        assert await rig.store.get(NOTE.ref(2)) == note(2)
        assert rig.json("notes/3.json.bak")["count"] == 103
        assert await patrol.round(hurry=True) == 0


async def test_a_running_bot_mends_from_memory(tmp_path: Path) -> None:
    """What the process still holds of a damaged document is newer than any copy, and is used."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        await rig.store.put(ONE, note(2))
        (tmp_path / "notes/1.json").write_bytes(b"\0" * 50)
        recovery = await rig.admin.recover("notes/1.json")
        assert recovery.source is Source.MEMORY
        assert rig.json("notes/1.json")["count"] == 2


async def test_debris_of_an_earlier_life_is_cleared(tmp_path: Path) -> None:
    """What was being written when the process was killed is removed at the next start."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/1.json.new-3").write_text("half")
    async with opened(tmp_path):
        assert list((tmp_path / "notes").iterdir()) == []


async def test_what_is_not_saved_yet_is_listed(tmp_path: Path) -> None:
    """The keys of a kind hold those that only the memory has so far, each once."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        rig.store.put(ONE, note(2), within_s=3600)
        rig.store.put(NOTE.ref(2), note(2), within_s=3600)
        assert sorted(await rig.store.keys(NOTE)) == ["1", "2"]


async def test_the_keys_of_one_kind_cost_no_look_at_the_others(tmp_path: Path) -> None:
    """A folder of ten thousand conversations keeps nobody waiting who asks for something else."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        await rig.store.put(PLAIN.ref("plain"), note(2))
        rig.disk.calls.clear()
        assert await rig.store.keys(NOTE) == ["1"]
        assert rig.disk.calls == ["list", "list"], "its folder, and that of its generations"
        assert await rig.store.keys(PLAIN) == ["plain"]


def test_a_second_name_that_is_there_already_leaves_no_rubbish(tmp_path: Path) -> None:
    """Naming a file twice by the same second name leaves the two names, and nothing beside them."""
    files, source = RealFileSystem(), tmp_path / "a.json"
    source.write_bytes(b"{}")
    for _ in range(3):
        second_name(files, source, tmp_path / "a.json.bak", b"{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.bak"]


async def test_a_backup_on_demand_outlives_an_edit_in_place(tmp_path: Path) -> None:
    """Whoever writes into the document's own file afterwards does not reach the copy."""
    async with opened(tmp_path) as rig:
        await rig.store.put(ONE, note(1))
        kept = await rig.admin.backup(ONE.name)
        (tmp_path / ONE.name).write_text("{")
        versions = await rig.admin.generations(ONE.name)
        assert [one.status for one in versions if one.file == kept.file] == [Status.VALID]
