"""`llmbot audit`: read from the files, so that it works with the bot up or down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmbot.console.cli.client import CommandError, Entry
from llmbot.console.cli.incidents import AsJson, DataDir

COUNT_MAX = 5000
UNSHOWN = frozenset({"id", "options", "before", "after"})
"""Too much for a table; `--json` has them."""


def add_audit(audit: typer.Typer, entry: Entry) -> None:
    """The commands below `llmbot audit`."""

    def directory(data_dir: Path | None) -> Path:
        from llmbot.operations.audit.files import DIRECTORY  # noqa: PLC0415 - see `main.py`

        return entry.local(data_dir).data_dir / DIRECTORY

    @audit.command(help="Check the chain of all records: nothing missing, changed or moved.")
    def verify(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        from llmbot.console.cli.show import show_json  # noqa: PLC0415 - rich is slow
        from llmbot.operations.audit.files import verify as check  # noqa: PLC0415 - see `main.py`

        place = directory(data_dir)
        found = check(place)
        if as_json:
            show_json(
                {
                    "success": found.whole,
                    "records": found.records,
                    "files": found.files,
                    "first": found.first,
                    "last": found.last,
                    "lastHash": found.last_hash,
                    "problems": list(found.problems),
                }
            )
        else:
            for problem in found.problems:
                typer.echo(f"✗ {problem}")
            kept = f"{found.records} records in {found.files} files of {place}"
            typer.echo(f"{kept}: {'the chain is whole' if found.whole else 'NOT WHOLE'}.")
        raise typer.Exit(0 if found.whole else 1)

    @audit.command(help="The last records, oldest first.")
    def tail(
        count: Annotated[
            int, typer.Option("--count", "-n", help="How many.", min=1, max=COUNT_MAX)
        ] = 20,
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        from llmbot.console.cli.show import show, show_json  # noqa: PLC0415 - rich is slow
        from llmbot.console.facts.audit import facts_of  # noqa: PLC0415 - see `main.py`
        from llmbot.console.facts.facts import as_shown  # noqa: PLC0415 - see `main.py`
        from llmbot.operations.audit.files import tail as last  # noqa: PLC0415 - see `main.py`

        try:
            records = [facts_of(record) for record in last(directory(data_dir), count)]
        except OSError as error:
            raise CommandError(f"The audit cannot be read ({error.strerror}).") from None
        lines: list[dict[str, Any]] = [dict(as_shown(record)) for record in records]  # type: ignore[call-overload] # of a dataclass
        if as_json:
            show_json({"records": lines})
        else:
            show({"records": [{k: line[k] for k in line if k not in UNSHOWN} for line in lines]})
