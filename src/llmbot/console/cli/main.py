"""The command line: `llmbot …`. What it needs of the application is given as an `Entry`.

Imports that cost time happen inside the commands, so that the light ones answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from llmbot import __version__
from llmbot.console.cli.audit import add_audit
from llmbot.console.cli.client import (
    DemoOptions,
    Entry,
    Remote,
    running,
    running_or_fail,
    simulator_address,
)
from llmbot.console.cli.collect import add_collect
from llmbot.console.cli.config import config_commands
from llmbot.console.cli.data import data_commands
from llmbot.console.cli.drills import drill_commands
from llmbot.console.cli.exit_codes import exit_code_of
from llmbot.console.cli.faults import fault_commands
from llmbot.console.cli.incidents import add_explain, incident_commands
from llmbot.console.cli.loadtest import add_loadtest
from llmbot.console.cli.operate import add_operations
from llmbot.console.cli.runbooks import runbook_commands
from llmbot.console.cli.triage import add_triage
from llmbot.console.cli.verify import add_verify
from llmbot.kernel.clock import SystemClock

EXIT_UNHEALTHY = 1

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory of the bot; else by DATA_DIR.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def build(entry: Entry) -> typer.Typer:
    """All commands on one application."""
    cli = typer.Typer(
        name="llmbot",
        help="A Discord bot that answers with a large language model and cannot be kept down.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    _life_commands(cli, entry)
    _talk_commands(cli, entry)
    _look_commands(cli, entry)
    cli.add_typer(fault_commands(entry), name="fault")
    cli.add_typer(config_commands(entry), name="config")
    cli.add_typer(data_commands(entry), name="data")
    cli.add_typer(incident_commands(entry), name="incident")
    cli.add_typer(runbook_commands(entry), name="runbook")
    cli.add_typer(drill_commands(entry), name="drill")
    add_explain(cli, entry)
    add_verify(cli, entry)
    add_loadtest(cli, entry)
    add_triage(cli, entry)
    groups = add_operations(cli, entry)
    add_audit(groups["audit"], entry)
    add_collect(groups["metrics"], entry)
    return cli


def command_words(entry: Entry) -> Iterator[tuple[str, ...]]:
    """Every command as the words that follow `llmbot`, groups that show something too."""
    below: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(build(entry)))]
    while below:
        words, command = below.pop()
        if words and getattr(command, "invoke_without_command", True):
            yield words
        children = getattr(command, "commands", {})
        below += [((*words, name), child) for name, child in children.items()]


def main(entry: Entry, arguments: list[str] | None = None) -> int:
    """Run one command; the exit code. A known error is one sentence with its cure."""
    return exit_code_of(lambda: build(entry)(arguments, standalone_mode=True, prog_name="llmbot"))


def _life_commands(cli: typer.Typer, entry: Entry) -> None:
    @cli.command(help="Run the bot on the real Discord and the real models.")
    def run() -> None:
        raise typer.Exit(entry.run())

    @cli.command(help="Run the bot on a built-in simulated Discord and Gemini; no account needed.")
    def demo(
        port: Annotated[
            int | None, typer.Option(help="Port of the operator API.", min=0, max=65535)
        ] = None,
        data_dir: Annotated[Path | None, typer.Option(help="Where data is kept.")] = None,
        host: Annotated[str | None, typer.Option(help="Address of the operator API.")] = None,
    ) -> None:
        raise typer.Exit(entry.demo(DemoOptions(host, port, data_dir)))

    @cli.command(help="Run the simulators alone, for any bot that speaks the protocols.")
    def simulate(
        port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = (
            3001
        ),
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
        instant: Annotated[bool, typer.Option(help="Models answer without any pause.")] = False,
    ) -> None:
        arguments = ["--port", str(port), "--host", host, "--seed", str(seed)]
        raise typer.Exit(entry.simulate([*arguments, *(["--instant"] if instant else [])]))

    @cli.command(help="Ask the bot that runs here to stop cleanly and start anew; wait for it.")
    def restart(data_dir: DataDir = None) -> None:
        from llmbot.console.cli.restart import restart_and_wait  # noqa: PLC0415 - see above

        local = entry.local(data_dir)
        seconds = restart_and_wait(local, running_or_fail(local), SystemClock())
        typer.echo(f"Restarted: it was ready again after {seconds:.1f} s.")


def _talk_commands(cli: typer.Typer, entry: Entry) -> None:
    @cli.command(help="Say something to the demo as a user of its simulated Discord.")
    def chat(
        text: Annotated[str, typer.Argument(help="What to say.")],
        user: Annotated[str, typer.Option(help="Who says it.")] = "ada",
        channel: Annotated[str, typer.Option(help="Where.")] = "general",
        guild: Annotated[str, typer.Option(help="On which server; else the first.")] = "",
        dm: Annotated[bool, typer.Option("--dm", help="Say it in a direct message.")] = False,
        attach: Annotated[list[Path] | None, typer.Option(help="Send a file along.")] = None,
        timeout: Annotated[float, typer.Option(help="Seconds for the whole reply.", min=1)] = 180,
        simulator: Annotated[str, typer.Option(help="Address of `llmbot simulate`.")] = "",
        data_dir: DataDir = None,
    ) -> None:
        import asyncio  # noqa: PLC0415 - see above

        from llmbot.console.cli.chat import Saying, chat  # noqa: PLC0415 - see above

        local = entry.local(data_dir)

        def bot() -> Remote | None:
            facts = running(local)
            return None if facts is None else Remote(facts.http_address, local.token)

        saying = Saying(text, user, channel, guild, dm, tuple(attach or ()), timeout)
        address = simulator_address(local, simulator)
        asyncio.run(chat(address, None if simulator else bot, saying, SystemClock()))


def _look_commands(cli: typer.Typer, entry: Entry) -> None:
    @cli.command(help="How the bot that runs here is.")
    def status(as_json: AsJson = False, data_dir: DataDir = None) -> None:
        from llmbot.console.cli.status import read_status, show_status  # noqa: PLC0415 - see above

        local = entry.local(data_dir)
        facts = running_or_fail(local)
        found: dict[str, Any] = read_status(Remote(facts.http_address, local.token))
        show_status(found, facts, as_json=as_json)
        healthy = found["status"] in {"healthy", "degraded", "maintenance"}
        raise typer.Exit(0 if healthy else EXIT_UNHEALTHY)

    @cli.command(help="Print the version.")
    def version() -> None:
        typer.echo(f"llmbot {__version__}")
