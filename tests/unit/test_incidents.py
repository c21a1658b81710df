"""The journal behind incidents: in order, chained, scrubbed, and kept through a bad disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.redact import MASK, Redactor
from llmbot.operations.drills.drills import DRILLS, Seen, judge
from llmbot.operations.incidents.incidents import Incidents
from llmbot.operations.incidents.report import as_json, as_markdown
from llmbot.operations.journal import Journal


def journal(folder: Path, **limits: int) -> Journal:
    """A journal in a folder."""
    return Journal(folder, ManualClock(), lambda text: text, **limits)


def files(folder: Path) -> int:
    """How many files the journal has."""
    return len(list(folder.glob("journal-*.log")))


async def test_a_changed_line_is_found(tmp_path: Path) -> None:
    """Whoever changes a line of the journal is found out by its hash."""
    book = journal(tmp_path)
    for number in range(3):
        await book.add("incident.note", incident="i", text=f"line {number}", by="x")
    path = tmp_path / "journal-000001.log"
    path.write_bytes(path.read_bytes().replace(b"line 1", b"lime 1"))
    again = journal(tmp_path)
    await again.load()
    assert "changed" in again.broken


async def test_a_missing_line_is_found(tmp_path: Path) -> None:
    """Whoever takes a line out is found out by the chain."""
    book = journal(tmp_path)
    for number in range(3):
        await book.add("x", number=number)
    path = tmp_path / "journal-000001.log"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    again = journal(tmp_path)
    await again.load()
    assert "missing" in again.broken


async def test_a_cut_line_is_taken_off_and_the_chain_goes_on(tmp_path: Path) -> None:
    """A line that a kill had cut is dropped, and what follows fits what stands before."""
    book = journal(tmp_path)
    await book.add("x", number=1)
    await book.add("x", number=2)
    path = tmp_path / "journal-000001.log"
    path.write_bytes(path.read_bytes()[:-5])
    again = journal(tmp_path)
    assert await again.load() == 1
    await again.add("x", number=3)
    third = journal(tmp_path)
    assert await third.load() == 2
    assert (third.broken, third.torn) == ("", 0)


async def test_no_secret_reaches_the_journal(tmp_path: Path) -> None:
    """Secrets are scrubbed from every field, however deep."""
    key = "AIza" + "x" * 35
    book = Journal(tmp_path, ManualClock(), Redactor((key,)).scrub)
    entry = await book.add("x", text=key, deep=[{"more": f"key={key}"}])
    assert key.encode() not in (tmp_path / "journal-000001.log").read_bytes()
    assert entry.data["text"] == MASK


async def test_a_disk_that_refuses_loses_no_entry(tmp_path: Path) -> None:
    """What could not be written is kept, and written before the next entry."""
    folder = tmp_path / "journal"
    folder.write_text("a file where the folder should be")
    book = journal(folder)
    await book.add("x", number=1)
    assert (book.kept, book.failures) == (False, 1)
    folder.unlink()
    await book.add("x", number=2)
    assert book.kept
    assert await journal(folder).load() == 2


async def test_old_files_are_dropped(tmp_path: Path) -> None:
    """The journal has a limit on the disk."""
    book = journal(tmp_path, file_bytes_max=200, files_max=3)
    for number in range(40):
        await book.add("x", number=number, text="y" * 100)
    assert files(tmp_path) <= 3


async def told_of(book: Journal, cause: str) -> None:
    """A cause of the incident `i`."""
    await book.add(
        "incident.cause",
        incident="i",
        cause=cause,
        row=16,
        words="w",
        runbook="memory",
        remedy="r",
        evidence=["e"],
        ruledOut=[],
        consequences=[],
        confidence=0.8,
    )


async def test_trouble_that_comes_back_soon_opens_the_old_incident(tmp_path: Path) -> None:
    """The same root within minutes is the same episode; what came beside it is trouble anew."""
    book, incidents = journal(tmp_path), Incidents()
    book.subscribe(incidents.hear)
    await book.add("incident.opened", incident="i", severity="P1")
    await told_of(book, "memory")
    await told_of(book, "duplicates")
    await book.add("incident.closed", incident="i", checks=[], impact={})
    assert incidents.current is None
    assert incidents.lately("memory", 0.0) is not None
    assert incidents.lately("duplicates", 0.0) is None
    assert incidents.lately("locks", 0.0) is None
    await book.add("incident.reopened", incident="i", reason="again")
    assert incidents.current is not None


@pytest.mark.parametrize("name", list(DRILLS))
def test_a_drill_is_passed_only_if_everything_held(name: str) -> None:
    """Late notice, late repair, a wrong name or a lost answer each fail a drill."""
    drill = DRILLS[name]
    good = Seen(0.5, 2.0, 8.0, 20.0, drill.causes, drill.runbooks, 9, 9, 0, 0)
    assert judge(drill, good).passed
    late = Seen(0.5, drill.shows_after_s + 9.0, 8.0, 20.0, drill.causes, drill.runbooks, 9, 9, 0, 0)
    never = Seen(0.5, 2.0, 8.0, None, drill.causes, drill.runbooks, 9, 9, 0, 0)
    wrong = Seen(0.5, 2.0, 8.0, 20.0, frozenset(), drill.runbooks, 9, 9, 0, 0)
    missed = drill.may_miss + 1
    lost = Seen(0.5, 2.0, 8.0, 20.0, drill.causes, drill.runbooks, 9, 9 - missed, 0, missed)
    assert not any(judge(drill, seen).passed for seen in (late, never, wrong, lost))


async def test_a_cause_that_comes_and_goes_does_not_bury_the_story(tmp_path: Path) -> None:
    """Its first times are told and then each doubling; all are counted, and stay in the journal."""
    book, incidents = journal(tmp_path), Incidents()
    book.subscribe(incidents.hear)
    await book.add("incident.opened", incident="inc-1", severity="P1")
    cause = {"row": 9, "words": "Calls fail", "runbook": "discord-rest", "remedy": "Wait."}
    found = {"evidence": ["503"], "ruledOut": [], "consequences": [], "confidence": 0.6}
    for _ in range(100):
        said = {"incident": "inc-1", "cause": "discord-rest"}
        await book.add("incident.cause", **said, **cause, **found)
        await book.add("incident.over", **said)
    await book.add("incident.said", incident="inc-1", text="the last word")
    incident = incidents.all()[0]
    assert incident.causes["discord-rest"].times == 100
    assert len(incident.timeline) == 2 + 2 * len((1, 2, 3, 4, 8, 16, 32, 64))
    assert incident.timeline[-1].what == "the last word"
    assert incident.lines_left_out == 200 - 16


async def test_what_waits_for_a_person_stands_among_what_was_refused(tmp_path: Path) -> None:
    """A run that stopped before an irreversible step is told as refused, with the reason, once."""
    book, incidents = journal(tmp_path), Incidents()
    book.subscribe(incidents.hear)
    await book.add("incident.opened", incident="i", severity="P1")
    run = {"incident": "i", "run": "run-1", "runbook": "memory", "check": ""}
    why = "restart-bot needs a person's approval"
    for _ in range(3):
        await book.add("run.ended", **run, outcome="awaits approval", reason=why)
    (refused,) = incidents.all()[0].refused
    assert (refused.what, refused.effect) == ("runbook memory", why)


async def test_a_disk_that_takes_writes_again_is_found_without_a_new_entry(tmp_path: Path) -> None:
    """What the disk refused is written as soon as it can be, though nothing further happens."""
    folder = tmp_path / "journal"
    folder.write_text("a file where the folder should be")
    book = journal(folder)
    await book.add("x", number=1)
    await book.settle()
    assert book.failures == 2
    folder.unlink()
    await book.settle()
    assert book.kept
    assert await journal(folder).load() == 1


async def test_an_incident_that_is_opened_again_has_passed_no_check_yet(tmp_path: Path) -> None:
    """What was looked at and counted before tells nothing of what goes on now."""
    book, incidents = journal(tmp_path), Incidents()
    book.subscribe(incidents.hear)
    await book.add("incident.opened", incident="i", severity="P1")
    await told_of(book, "memory")
    checks = [{"name": "status", "passed": True, "detail": "well"}]
    await book.add("incident.closed", incident="i", checks=checks, impact={"users": 1}, lasted=7.0)
    incident = incidents.all()[0]
    assert "- [x] System health restored" in as_markdown(incident)
    assert "(7.0 s)" in as_markdown(incident)
    await book.add("incident.reopened", incident="i", reason="again")
    text = as_markdown(incident)
    assert "[x]" not in text
    assert "None" not in text.partition("## Root Cause")[0]
    assert as_json(incident)["impact"] == {}
    await book.add("incident.closed", incident="i", checks=checks, impact={}, lasted=9.0)
    assert "**Impact**: not known" in as_markdown(incident)
