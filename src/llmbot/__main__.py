"""`python -m llmbot` and the `llmbot` command."""

from __future__ import annotations

import sys
from functools import partial

from llmbot import __version__


def main() -> None:
    """Run one command and end with its exit code."""
    # What is started often, or anew after a kill, does not wait for typer and 50 commands.
    words = sys.argv[1:]
    if words in (["version"], ["--version"]):
        sys.stdout.write(f"llmbot {__version__}\n")
        return
    from llmbot.app.cli_entry import AppEntry  # noqa: PLC0415 - see above
    from llmbot.console.cli.exit_codes import exit_code_of  # noqa: PLC0415 - see above

    entry = AppEntry()
    match words:
        case ["run"]:
            sys.exit(exit_code_of(entry.run))
        case ["bot", "--simulator", address, "--parent", parent]:  # from `cli_demo.py`
            sys.exit(exit_code_of(partial(entry.bot, address, int(parent))))
    from llmbot.console.cli.main import main as command_line  # noqa: PLC0415 - see above

    sys.exit(command_line(entry))


if __name__ == "__main__":
    main()
