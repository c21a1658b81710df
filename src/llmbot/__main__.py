"""`python -m llmbot` and the `llmbot` command."""

from __future__ import annotations

import sys

from llmbot import __version__


def main() -> None:
    """Run one command and end with its exit code."""
    if sys.argv[1:] in (["version"], ["--version"]):
        # Answered before anything is loaded: scripts ask it often, and typer costs 0.3 s.
        sys.stdout.write(f"llmbot {__version__}\n")
        return
    from llmbot.app.cli_entry import AppEntry  # noqa: PLC0415 - see above
    from llmbot.console.cli.main import main as command_line  # noqa: PLC0415 - see above

    sys.exit(command_line(AppEntry()))


if __name__ == "__main__":
    main()
