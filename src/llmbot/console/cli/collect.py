"""`llmbot metrics collect` and `prometheus`: the snapshot that belongs to an incident's report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from llmbot.console.cli.client import CommandError, Entry
from llmbot.console.cli.incidents import AsJson, DataDir, finder
from llmbot.kernel.clock import SystemClock

SNAPSHOTS = {
    "health-status.json": "/api/health/status",
    "circuit-status.json": "/api/health/circuits",
    "memory-usage.json": "/api/health/memory",
    "performance.json": "/api/health/performance",
    "gemini-metrics.json": "/api/metrics/gemini",
    "discord-metrics.json": "/api/metrics/discord",
    "queue-metrics.json": "/api/metrics/queue",
    "diagnosis.json": "/api/diagnosis",
}
"""File by path; the first seven as the operators' script names them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def add_collect(metrics: typer.Typer, entry: Entry) -> None:
    """The commands below `llmbot metrics` that no list makes."""
    find = finder(entry)

    @metrics.command(help="All figures in Prometheus' text format.")
    def prometheus(data_dir: DataDir = None) -> None:
        typer.echo(find(data_dir).text("/metrics"), nl=False)

    @metrics.command(help="Keep a snapshot of health and figures in recovery-metrics/INCIDENT.")
    def collect(
        incident: Annotated[
            str, typer.Argument(help="Name of the folder; else the time in seconds.")
        ] = "",
        into: Annotated[Path, typer.Option(help="Where the folder is made.")] = Path(
            "recovery-metrics"
        ),
        as_json: AsJson = False,
        data_dir: DataDir = None,
    ) -> None:
        name = incident or str(int(SystemClock().wall()))
        if not _NAME.fullmatch(name):
            raise CommandError("A folder's name has letters, digits, dots and dashes only.")
        bot = find(data_dir)
        folder = into / name
        # All is read before anything is written: half a snapshot would look like a whole one.
        found = {file: bot.ask("GET", path) for file, path in SNAPSHOTS.items()}
        texts = {
            file: json.dumps(answer, indent=2, ensure_ascii=False) + "\n"
            for file, answer in found.items()
        }
        texts["metrics.txt"] = bot.text("/metrics")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in texts.items():
                (folder / file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{folder} cannot be written ({error.strerror}).") from None
        if as_json:
            typer.echo(json.dumps({"folder": str(folder), "files": sorted(texts)}, indent=2))
        else:
            typer.echo(f"{len(texts)} files in {folder}")
