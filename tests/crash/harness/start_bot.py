"""Child process: the bot as `llmbot run` starts it, for a tree that has no command line yet."""

from __future__ import annotations

import os
import sys

import uvloop

from llmbot.app.run import run_bot
from llmbot.app.settings.tree import load_settings


def main() -> int:
    """Run until a signal."""
    return uvloop.run(
        run_bot(
            load_settings(os.environ, None),
            mode="live",
            simulator_address=None,
            announce=lambda words: print(words, flush=True),  # noqa: T201 - read by the judge
        )
    )


if __name__ == "__main__":
    sys.exit(main())
