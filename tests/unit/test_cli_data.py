"""`llmbot data` and `llmbot config versions`: by the bot where one runs, else on its files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.here import bot_here, empty_directory

from llmbot.app.cli_entry import AppEntry
from llmbot.console.cli.main import main
from llmbot.conversation.ledger.schema import MIGRATIONS
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.ids import this_owner
from llmbot.operations.audit.files import tail, verify
from llmbot.storage.database.backups import DatabaseBackups
from llmbot.storage.database.opening import open_database
from llmbot.storage.documents.writer import Saving
from llmbot.storage.instance import acquire

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command beside the files of a bot that is down: three versions of its settings."""
    empty_directory(tmp_path, monkeypatch)
    Path("data").mkdir()
    shelf = AppEntry().shelf(Path("data"))
    kind = next(kind for kind in shelf.reader.kinds.all if kind.name == "settings")
    ref = kind.ref(kind.key)
    for days in (3, 4, 5):
        shelf.writer.save_one(Saving(ref, kind.fitted({"settings": {"MEMORY_DAYS": days}})))

    def command(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(AppEntry(), [*words, "--json"])
        told = capsys.readouterr()
        return code, json.loads(told.out) if told.out else told.err

    return command


def settings_now() -> Any:
    """What the settings file says."""
    return json.loads(Path("data/settings.json").read_text())["settings"]["MEMORY_DAYS"]


def test_documents_are_checked_with_the_bot_down(run: Run) -> None:
    """Sound files pass with exit code 0; a damaged one is named with exit code 1, and kept."""
    assert run("data", "validate", "settings.json")[0] == 0
    code, found = run("data", "validate-all")
    assert (code, found["valid"], list(found["files"])) == (0, True, ["settings.json"])
    assert run("data", "scan")[1]["generationsBad"] == []
    Path("data/settings.json").write_text("{")
    code, found = run("data", "validate", "settings.json")
    assert (code, found["valid"], found["status"]) == (1, False, "damaged")
    assert run("data", "validate-all")[0] == 1
    assert Path("data/settings.json").read_text() == "{"


def test_a_damaged_document_is_recovered_with_the_bot_down(run: Run) -> None:
    """The newest valid version comes back, what was there is put aside, and all of it is told."""
    Path("data/settings.json").write_text("{")
    code, found = run("data", "recover", "settings.json")
    assert (code, found["valid"], found["source"]) == (0, True, "generation")
    assert settings_now() == 5
    assert (Path("data") / found["quarantined"]).read_text() == "{"
    assert any("Data validation failed" in line for line in found["told"])


def test_what_is_changed_with_the_bot_down_stands_in_the_audit(run: Run) -> None:
    """Each act leaves one record, a failed one too; looking leaves none, and the chain holds."""
    run("data", "validate-all")
    assert not Path("data/audit").exists()
    run("data", "recover", "settings.json")
    run("data", "restore", "settings.json", "--at", "2001-01-01T00:00:00Z")
    done, failed = tail(Path("data/audit"), 10)
    assert (done.act.who, done.act.via, done.act.action) == ("shell", "cli", "datastore/recover")
    assert (done.act.target, done.outcome, done.after["valid"]) == ("settings.json", "done", True)
    assert (failed.act.action, failed.outcome) == ("datastore/restore", "failed")
    assert verify(Path("data/audit")).whole


def test_the_settings_go_back_one_version(run: Run) -> None:
    """Versions are listed newest first; a rollback without a time takes the one before."""
    code, found = run("config", "versions")
    assert code == 0
    times = [version["savedAt"] for version in found["versions"]]
    assert times == sorted(times, reverse=True)
    assert run("config", "rollback")[0] == 0
    assert settings_now() == 4
    assert run("data", "restore", "settings.json", "--at", times[-1])[0] == 0
    assert settings_now() == 3
    assert run("config", "rollback", "--at", times[0])[0] == 0
    assert settings_now() == 5
    assert run("data", "restore", "settings.json", "--at", "2001-01-01T00:00:00Z")[0] == 1
    assert run("data", "backup")[1]["count"] == 1


@pytest.mark.parametrize("name", ["nope.json", "../settings.json", "/etc/passwd", "data"])
def test_names_are_looked_up_and_never_joined(run: Run, name: str) -> None:
    """A name that no document has is refused with those that there are, whatever it looks like."""
    code, told = run("data", "validate", name)
    assert code == 1
    assert "known: settings.json" in told


def test_a_time_that_is_none_is_refused(run: Run) -> None:
    """A restore wants a time that can be read."""
    code, told = run("data", "restore", "settings.json", "--at", "yesterday")
    assert code == 1
    assert "is no time" in told


def test_what_changes_files_needs_them_alone(run: Run) -> None:
    """While a bot that cannot be asked holds the data, looking is allowed and changing is not."""
    lock = acquire(Path("data"), this_owner(), SystemClock())
    try:
        assert run("data", "validate-all")[0] == 0
        code, told = run("data", "recover", "settings.json")
    finally:
        lock.release()
    assert code != 0
    assert "already" in told or "another" in told.lower()


def test_looking_at_the_list_changes_nothing(run: Run) -> None:
    """Every document is listed with its state; a damaged one is shown and left as it is."""
    code, found = run("data", "list")
    assert (code, found["valid"], found["count"]) == (0, True, 1)
    Path("data/settings.json").write_text("{")
    code, found = run("data", "list")
    assert (code, found["files"]["settings.json"]["status"]) == (1, "damaged")
    assert Path("data/settings.json").read_text() == "{"


async def test_settings_are_changed_through_the_running_bot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """New values, resets, dry run and reason are sent as they were given."""
    async with bot_here(tmp_path, monkeypatch, capsys) as here:
        words = ("ATTEMPTS_MAX=3", "PERSONA=a=b", "--reset", "MEMORY_DAYS", "--dry-run")
        assert (await here.run("config", "change", *words, "--reason", "a test"))[0] == 0
        assert (await here.run("config", "change", "ATTEMPTS_MAX"))[0] == 1
        ((name, asked),) = here.served.hands.asked
        assert name == "config/change"
        assert asked.options == {
            "settings": {"ATTEMPTS_MAX": "3", "PERSONA": "a=b"},
            "reset": ["MEMORY_DAYS"],
            "dry_run": True,
            "reason": "a test",
        }


async def test_the_database_goes_back_to_a_copy(run: Run) -> None:
    """Copies of the database are listed, and one is brought back while no bot runs."""
    clock = SystemClock()
    database = open_database("sqlite:///data/llmbot.db", migrations=MIGRATIONS, clock=clock)
    await database.start()
    await DatabaseBackups(Path("data/backups"), clock).take(database)
    await database.stop()
    code, found = run("data", "versions", "llmbot.db")
    assert (code, len(found["versions"])) == (0, 1)
    at = "2100-01-01T00:00:00Z"
    lock = acquire(Path("data"), this_owner(), clock)
    try:
        restore = ("data", "restore", "llmbot.db", "--at", at)
        assert (await asyncio.to_thread(run, *restore))[0] != 0
    finally:
        lock.release()
    code, found = await asyncio.to_thread(run, *restore)
    assert code == 0
    record = tail(Path("data/audit"), 1)[0]
    assert (record.act.action, record.act.target) == ("datastore/restore", "llmbot.db")
    assert (record.act.options, record.outcome) == ({"at": at}, "done")
    assert (Path("data") / found["putAside"]).exists()
    assert run("data", "recover", "llmbot.db")[0] == 1


async def test_a_running_bot_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a bot runs, its API does what the command names, with the file and the time."""
    async with bot_here(tmp_path, monkeypatch, capsys) as here:
        at = "2026-11-23T18:00:00Z"
        assert (await here.run("data", "recover", "servers/7.json"))[0] == 0
        assert (await here.run("data", "restore", "settings.json", "--at", at, "--json"))[0] == 0
        assert (await here.run("config", "rollback", "--at", at))[0] == 0
        assert (await here.run("data", "scan"))[0] == 0
        asked = [(name, given.target) for name, given in here.served.hands.asked]
        assert asked == [
            ("datastore/recover", "servers/7.json"),
            ("datastore/restore", "settings.json"),
            ("datastore/restore", "settings.json"),
            ("datastore/scan", ""),
        ]
        assert here.served.hands.asked[1][1].options["at"]
