"""The audit: every act once, chained, through kills, torn lines and disks that refuse."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from tests.support.tiny_disk import remount, tiny_disk

from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.events import EventBus, Published
from llmbot.operations.audit.files import HEAD, MEND, NAME, AuditFiles, tail, verify
from llmbot.operations.audit.lines import BEGINNING, Act, line_of, read_line
from llmbot.operations.audit.trail import AuditDamaged, AuditRecorded, AuditTrail, Ended


def files_in(directory: Path) -> dict[str, int]:
    """The names in a directory, with the rights of each."""
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


async def opened(directory: Path) -> AuditTrail:
    """A trail that is ready."""
    clock = SystemClock()
    trail = AuditTrail(directory, clock, EventBus(clock))
    await trail.open()
    return trail


async def recorded(trail: AuditTrail, action: str, **more: object) -> str:
    """One act from begin to end; its id."""
    act = await trail.begin("loopback", "api", action)
    await trail.end(act, Ended("done", **more))  # type: ignore[arg-type] # fields of Ended
    return act.id


async def test_an_act_leaves_one_record(tmp_path: Path) -> None:
    """A record says who, when, what, the state before and after, the outcome and how long."""
    trail = await opened(tmp_path)
    act = await trail.begin("admin token", "api", "circuit/reset", "gemini", {"reason": "over"})
    assert set(files_in(tmp_path)) == {f"begun-{act.id}.note"}
    ended = Ended("done", before={"state": "open"}, after={"state": "closed"}, duration_ms=3)
    await trail.end(act, ended)
    assert trail.unwritten == 0
    (record,) = tail(tmp_path, 10)
    assert record.act == act
    assert (record.outcome, record.duration_ms) == ("done", 3)
    assert (record.before, record.after) == ({"state": "open"}, {"state": "closed"})
    assert record.previous == BEGINNING
    await trail.close()
    assert set(files_in(tmp_path)) == {NAME, HEAD}


async def test_records_are_chained_over_lives(tmp_path: Path) -> None:
    """A new life goes on with the number and the hash of the last one."""
    for action in ("gc", "cache/clear"):
        trail = await opened(tmp_path)
        await recorded(trail, action)
        await trail.close()
    first, second = tail(tmp_path, 10)
    assert (first.number, second.number) == (1, 2)
    assert second.previous == first.hash
    assert verify(tmp_path).whole


async def test_acts_side_by_side_are_written_together(tmp_path: Path) -> None:
    """Acts that end at once are all recorded, each once, in one chain."""
    trail = await opened(tmp_path)
    ids = await asyncio.gather(*(recorded(trail, "gc") for _ in range(50)))
    await trail.close()
    assert {record.act.id for record in tail(tmp_path, 100)} == set(ids)
    found = verify(tmp_path)
    assert (found.records, found.problems) == (50, ())


async def test_every_change_is_seen(tmp_path: Path) -> None:
    """A changed word, a line taken out, two lines swapped and a forged line are each found."""
    trail = await opened(tmp_path)
    for number in range(4):
        await recorded(trail, f"action/{number}")
    await trail.close()
    path = tmp_path / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    forged, _ = line_of(2, "f" * 64, Act("x", "nobody", "api", "gc"), outcome="done")
    for spoiled in (
        [lines[0].replace(b"loopback", b"somebody"), *lines[1:]],
        [lines[0], *lines[2:]],
        [lines[0], lines[2], lines[1], lines[3]],
        [lines[0], forged, *lines[2:]],
        [b"{}\n", *lines],
    ):
        path.write_bytes(b"".join(spoiled))
        assert not verify(tmp_path).whole
    path.write_bytes(b"".join(lines))
    assert verify(tmp_path).whole


@pytest.mark.parametrize("cut", [1, 40, -1])
async def test_a_torn_last_line_is_cut_off_and_told(tmp_path: Path, cut: int) -> None:
    """A last line that a kill cut in two is removed at the next start, and that is recorded."""
    trail = await opened(tmp_path)
    await recorded(trail, "gc")
    await trail.close()
    path = tmp_path / NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut])
    assert not verify(tmp_path).whole
    trail = await opened(tmp_path)
    await recorded(trail, "cache/clear")
    await trail.close()
    assert [record.act.action for record in tail(tmp_path, 9)] == [
        "gc",
        "audit/mend",
        "cache/clear",
    ]
    assert verify(tmp_path).whole


async def test_every_cut_of_the_file_can_be_gone_on_from(tmp_path: Path) -> None:
    """Wherever the file was cut, a new life finds what is whole and goes on with a whole chain."""
    trail = await opened(tmp_path)
    await recorded(trail, "gc")
    await recorded(trail, "gc")
    await trail.close()
    whole = (tmp_path / NAME).read_bytes()
    for length in range(0, len(whole), 7):
        place = tmp_path / f"cut-{length}"
        place.mkdir()
        (place / NAME).write_bytes(whole[:length])
        trail = await opened(place)
        await recorded(trail, "gc")
        await trail.close()
        assert verify(place).problems == ()


async def test_an_act_that_a_kill_interrupted_is_recorded(tmp_path: Path) -> None:
    """What was begun when the process was killed is in the audit of the next life, once."""
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from llmbot.kernel.clock import SystemClock\n"
        "from llmbot.kernel.events import EventBus\n"
        "from llmbot.operations.audit.trail import AuditTrail\n"
        "async def main():\n"
        "    clock = SystemClock()\n"
        "    trail = AuditTrail(Path(sys.argv[1]), clock, EventBus(clock))\n"
        "    await trail.open()\n"
        "    await trail.begin('loopback', 'api', 'service/restart', 'discord')\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(tmp_path)], check=False
    )
    assert done.returncode == -9
    for _ in range(2):
        trail = await opened(tmp_path)
        await trail.close()
    (record,) = tail(tmp_path, 10)
    assert (record.act.action, record.act.target) == ("service/restart", "discord")
    assert record.outcome == "interrupted"


async def test_a_disk_that_refuses_does_not_stop_the_operator(tmp_path: Path) -> None:
    """While records cannot be written acts go on; they are counted, and written later in order."""
    clock = ManualClock()
    directory = tmp_path / "audit"
    trail = AuditTrail(directory, clock, EventBus(clock))
    await trail.open()
    # A directory in its place refuses every write, for root too.
    (directory / NAME).mkdir()
    acts = [await trail.begin("loopback", "api", "temp/cleanup") for _ in range(3)]
    ends = [asyncio.create_task(trail.end(act, Ended("done"))) for act in acts]
    while not clock.sleepers:
        await clock.sleep(0)
    assert trail.unwritten == 3
    assert trail.last_error
    (directory / NAME).rmdir()
    clock.advance(1.0)
    await asyncio.gather(*ends)
    assert trail.unwritten == 0
    await trail.close()
    assert [record.act for record in tail(directory, 10)] == acts
    assert verify(directory).whole


def test_full_files_are_put_aside_and_the_oldest_go(tmp_path: Path) -> None:
    """The chain goes on over files; what is kept is bounded and still whole."""
    files = AuditFiles(tmp_path, file_bytes_max=2000, files_max=3)
    files.open()
    previous = BEGINNING
    for number in range(1, 41):
        line, previous = line_of(
            number, previous, Act(f"{number}", "loopback", "api", "gc"), outcome="done"
        )
        files.append(line)
    found = verify(tmp_path)
    assert found.whole
    assert found.last == 40
    assert found.first > 1
    assert found.files == 4
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * 2000
    assert [record.number for record in tail(tmp_path, 12)] == list(range(29, 41))


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """What a failed try left in the file is gone once the next one succeeds."""
    files = AuditFiles(tmp_path)
    files.open()
    first, digest = line_of(1, BEGINNING, Act("1", "loopback", "api", "gc"), outcome="done")
    files.append(first)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b"half a li")
    second, _ = line_of(2, digest, Act("2", "loopback", "api", "gc"), outcome="done")
    files.append(second)
    assert verify(tmp_path).whole


async def test_nothing_in_it_ends_in_json(tmp_path: Path) -> None:
    """The runbook's script mends every .json below data; the audit has none."""
    trail = await opened(tmp_path)
    await trail.begin("loopback", "api", "gc")
    await recorded(trail, "gc")
    await trail.close()
    found = files_in(tmp_path)
    assert len(found) == 3
    assert not [name for name in found if name.endswith(".json")]
    assert all(rights == 0o600 for rights in found.values())


async def test_the_log_knows_each_hash(tmp_path: Path) -> None:
    """Each record is told to the log with its hash, so that a cut end of the audit shows."""
    clock = SystemClock()
    bus = EventBus(clock)
    trail = AuditTrail(tmp_path, clock, bus)
    await trail.open()
    heard = bus.expect(AuditRecorded)
    await recorded(trail, "gc")
    assert (await heard).hash == tail(tmp_path, 1)[0].hash
    await trail.close()


def test_large_state_is_left_out() -> None:
    """A state that would make the line endless is left out, and the record says so."""
    line, _ = line_of(
        1, BEGINNING, Act("1", "x", "api", "gc"), outcome="done", after={"a": "b" * 100_000}
    )
    assert len(line) < 2000
    assert "leftOut" in orjson.dumps(dict(read_line(line).after)).decode()


async def told_at_start(directory: Path) -> list[AuditDamaged]:
    """What a start tells of the audit's damage."""
    clock = SystemClock()
    bus = EventBus(clock)
    told: list[AuditDamaged] = []

    def hear(heard: Published) -> None:
        if isinstance(heard.event, AuditDamaged):
            told.append(heard.event)

    bus.subscribe(hear)
    trail = AuditTrail(directory, clock, bus)
    await trail.open()
    await trail.close()
    return told


async def test_a_cut_in_the_middle_is_told_once_by_the_next_start(tmp_path: Path) -> None:
    """The start that meets damage says so and records it; verify finds it for ever."""
    trail = await opened(tmp_path)
    for action in ("gc", "cache/clear", "temp/cleanup"):
        await recorded(trail, action)
    await trail.close()
    path = tmp_path / NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 - 30] + whole[len(whole) // 2 + 30 :])
    assert [event.count for event in await told_at_start(tmp_path)] == [2]
    assert await told_at_start(tmp_path) == []
    mends = [record for record in tail(tmp_path, 10) if record.act.action == MEND]
    assert [(record.outcome, record.after) for record in mends] == [("failed", {"problems": 2})]
    assert len(verify(tmp_path).problems) == 2


async def test_a_file_in_the_place_of_the_directory_is_put_aside(tmp_path: Path) -> None:
    """The bot starts and records all the same, and what was there is kept."""
    (tmp_path / "audit").write_text("something")
    trail = await opened(tmp_path / "audit")
    await trail.close()
    (record,) = tail(tmp_path / "audit", 10)
    assert (record.act.action, record.outcome) == (MEND, "failed")
    kept = record.detail.rpartition(" ")[2]
    assert (tmp_path / kept).read_text() == "something"


@pytest.mark.parametrize("what", ["a directory", "a dangling link"])
async def test_what_stands_in_the_audits_place_is_put_aside(tmp_path: Path, what: str) -> None:
    """The bot starts and records all the same."""
    path = tmp_path / NAME
    if what == "a directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere" / "at all")
    trail = await opened(tmp_path)
    await recorded(trail, "gc")
    assert trail.unwritten == 0
    await trail.close()
    records = tail(tmp_path, 10)
    assert [record.act.action for record in records] == [MEND, "gc"]
    assert records[0].detail == f"{NAME} was no file; what was there is {NAME}.1.aside"
    assert verify(tmp_path).whole


@pytest.mark.parametrize("left", [0, 2, None])
async def test_records_that_are_gone_from_the_end_are_missed(
    tmp_path: Path, left: int | None
) -> None:
    """Emptied, cut at a line's end or removed: verify and the next start tell; a chain goes on."""
    trail = await opened(tmp_path)
    for number in range(5):
        await recorded(trail, f"action/{number}")
    await trail.close()
    path = tmp_path / NAME
    if left is None:
        path.unlink()
    else:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:left]))
    first = (left or 0) + 1
    [problem] = verify(tmp_path).problems
    assert f"from number {first} to 5" in problem
    [event] = await told_at_start(tmp_path)
    assert f"from number {first} to 5" in event.describe()
    mend = tail(tmp_path, 1)[0]
    assert (mend.number, mend.act.action, mend.outcome) == (6, MEND, "failed")
    assert mend.after == {"problems": 1, "lostFrom": first, "lostTo": 5}
    trail = await opened(tmp_path)
    await recorded(trail, "gc")
    await trail.close()
    assert await told_at_start(tmp_path) == []
    found = verify(tmp_path)
    assert (found.last, len(found.problems)) == (7, 1)
    assert f"from number {first} to 5" in found.problems[0]


async def test_another_end_than_the_one_written_is_noticed(tmp_path: Path) -> None:
    """A chain that is whole in itself, but is not the one that was written."""
    trail = await opened(tmp_path)
    await recorded(trail, "gc")
    await trail.close()
    forged, _ = line_of(1, BEGINNING, Act("x", "nobody", "api", "gc"), outcome="done")
    (tmp_path / NAME).write_bytes(forged)
    assert not verify(tmp_path).whole
    [event] = await told_at_start(tmp_path)
    assert "not the one that was written" in event.describe()


async def test_a_kill_between_a_record_and_its_name_is_no_damage(tmp_path: Path) -> None:
    """The record is on the disk first: one more than the last that is named is no loss."""
    trail = await opened(tmp_path)
    await recorded(trail, "gc")
    head = (tmp_path / HEAD).read_bytes()
    await recorded(trail, "gc")
    await trail.close()
    (tmp_path / HEAD).write_bytes(head)
    assert verify(tmp_path).whole
    assert await told_at_start(tmp_path) == []


async def test_a_read_only_disk_stops_no_start(tmp_path: Path) -> None:
    """What a kill had left is recorded once the disk takes it, though the start could not."""
    with tiny_disk(tmp_path / "tiny", "256k") as disk:
        directory = disk / "audit"
        trail = await opened(directory)
        await recorded(trail, "gc")
        await trail.begin("loopback", "api", "cache/clear")
        await trail.close()
        with (directory / NAME).open("ab") as file:
            file.write(b'{"number": 2')
        remount(disk, "ro")
        files = AuditFiles(directory)
        place = files.open()
        assert [act.action for act in place.begun] == ["cache/clear"]
        assert place.torn_bytes
        line, _ = line_of(place.number + 1, place.hash, place.begun[0], outcome="interrupted")
        with pytest.raises(OSError, match="Read-only"):
            files.append(line)
        remount(disk, "rw")
        files.append(line)
        assert [record.act.action for record in tail(directory, 9)] == ["gc", "cache/clear"]
        assert verify(directory).whole
