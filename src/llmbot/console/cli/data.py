"""`llmbot data`: asked of the bot that runs here; with the bot down, done on its files.

With the bot down what changes something holds the lock of the data directory, so that no bot can
start meanwhile. Names are looked up among the documents there are, and never joined into a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from llmbot.console.cli.client import CommandError, Entry, Remote, running
from llmbot.kernel.clock import SystemClock

__all__ = ["REFUSALS", "DataDesk", "data_commands", "finish", "wall_s"]

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory of the bot; else by DATA_DIR.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
File = Annotated[str, typer.Argument(help="As `data validate-all` names it.", metavar="FILE")]
At = Annotated[str, typer.Option("--at", help="RFC 3339: as it was then.", metavar="TIME")]

DATABASE = "llmbot.db"
"""The database, of which copies are kept like versions of a document."""

LIST = "status"
"""The one verb that only looks, and leaves no record in the audit."""

_DEADLINE_S = 120.0
REFUSALS = tuple(range(400, 600))


def data_commands(entry: Entry) -> typer.Typer:
    """The commands below `llmbot data`."""
    data = typer.Typer(
        help="Documents of the data directory; works with the bot up or down.",
        no_args_is_help=True,
    )

    @data.command(help="Check one document.")
    def validate(file: File, as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("validate", file), as_json=as_json)

    @data.command(help="Check every document.")
    def validate_all(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("validate-all"), as_json=as_json)

    @data.command("list", help="Every document: state, size, age, older versions.")
    def list_(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do(LIST), as_json=as_json)

    @data.command(help="Check everything, older versions and what was put aside included.")
    def scan(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("scan"), as_json=as_json)

    @data.command(help="The older versions of a document, newest first.")
    def versions(file: File, as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("versions", file), as_json=as_json)

    @data.command(help="Repair a document from its newest valid version.")
    def recover(file: File, as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("recover", file), as_json=as_json)

    @data.command(help="Keep a version of every document now.")
    def backup(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("backup"), as_json=as_json)

    @data.command(help="Bring back a document as it was at a time; the present one is kept.")
    def restore(file: File, at: At, as_json: AsJson = False, data_dir: DataDir = None) -> None:
        finish(DataDesk(entry, data_dir).do("restore", file, at=at), as_json=as_json)

    return data


@dataclass(frozen=True, slots=True)
class DataDesk:
    """Does it by the running bot, or itself where none runs."""

    entry: Entry
    data_dir: Path | None

    def do(self, verb: str, name: str = "", *, at: str = "") -> dict[str, Any]:
        """What `POST /api/admin/datastore/VERB/NAME` answers, from whoever can do it.

        Raises:
            CommandError: it could not be done.
            SecondInstanceError: a bot has the files and cannot be asked.
        """
        at_s = wall_s(at) if at else None
        local = self.entry.local(self.data_dir)
        facts = running(local)
        if name == DATABASE:
            return self._database(local.data_dir, verb, at, at_s)
        if facts is None:
            return self._alone(local.data_dir, verb, name, at)
        path = f"/api/admin/datastore/{verb}/{quote(name, safe='/')}".rstrip("/")
        return Remote(facts.http_address, local.token).ask(
            "GET" if verb == LIST else "POST",
            path,
            {"at": at} if at else None,
            accept=REFUSALS,
            deadline_s=_DEADLINE_S,
        )

    def _database(self, data_dir: Path, verb: str, at: str, at_s: float | None) -> dict[str, Any]:
        from llmbot.console.cli.data_alone import change_alone  # noqa: PLC0415 - see `main.py`
        from llmbot.console.documents_told import database_copy_told  # noqa: PLC0415 - as above
        from llmbot.storage.database.backups import DatabaseBackups  # noqa: PLC0415 - as above

        if verb == "versions":
            copies = DatabaseBackups(data_dir / "backups", SystemClock()).copies()
            return {"file": DATABASE, "versions": [database_copy_told(copy) for copy in copies]}
        if verb != "restore" or at_s is None:
            raise CommandError("Of the database there are `versions` and, bot down, `restore`.")
        restore = partial(self.entry.restore_database, data_dir, at_s)
        return change_alone(data_dir, verb, DATABASE, at, restore)

    def _alone(self, data_dir: Path, verb: str, name: str, at: str) -> dict[str, Any]:
        from llmbot.console.cli.data_alone import change_alone  # noqa: PLC0415 - see `main.py`
        from llmbot.console.documents_alone import CHANGING, alone  # noqa: PLC0415 - as above
        from llmbot.storage.documents.kinds import UnknownDocumentError  # noqa: PLC0415 - as above

        shelf = self.entry.shelf(data_dir)

        def work() -> dict[str, Any]:
            try:
                return alone(shelf, verb, name, wall_s(at) if at else None)
            except UnknownDocumentError as error:
                known = ", ".join(error.known) or "none"
                words = f"There is no document of this name; known: {known}."
                raise CommandError(words) from None
            except OSError as error:
                raise CommandError(f"The disk refused: {error.strerror}.") from None

        if verb not in CHANGING:
            return work()
        return change_alone(data_dir, verb, name, at, work)


def wall_s(text: str) -> float:
    """A time as people write it, in seconds since the Unix epoch.

    Raises:
        CommandError: it is no time.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise CommandError(f"{text} is no time; 2026-11-23T18:00:00Z is one.") from None


def finish(found: dict[str, Any], *, as_json: bool) -> None:
    """Print an answer; exit code 1 where it says that something is not as it should be."""
    from llmbot.console.cli.show import show, show_json  # noqa: PLC0415 - rich is slow

    well = found.get("success") is not False and found.get("valid") is not False
    (show_json if as_json else show)(found)
    raise typer.Exit(0 if well else 1)
