"""Llmbot as it is, on simulators that another process runs; a bench starts and measures it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop
from benchmarks.lag import watched

from llmbot.app.run import run_bot
from llmbot.app.settings.tree import load_settings


def main() -> int:
    """Run until a signal; every setting but the addresses and directories is the default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulators", required=True, help="their address, http://host:port")
    parser.add_argument("--model", required=True, help="one or more, by commas")
    parser.add_argument("--directory", required=True, type=Path, help="of data and logs")
    parser.add_argument("--lag", required=True, type=Path, help="file for the lag of the loop")
    parser.add_argument("--workers", type=int, help="instead of the usual number")
    options = parser.parse_args()
    home: Path = options.directory
    settings = (
        load_settings({}, None)
        .for_demo(
            discord_api_base_url=f"{options.simulators}/api/v10",
            gemini_base_url=f"{options.simulators}/gemini",
        )
        .replaced(
            gemini={"models": tuple(options.model.split(","))},
            storage={"data_dir": home / "data", "log_dir": home / "logs", "temp_dir": home / "t"},
            http={"port": 0},
        )
    )
    if options.workers:
        settings = settings.replaced(limits={"workers_max": options.workers})
    bot = run_bot(settings, mode="simulated", simulator_address=options.simulators, announce=print)
    return uvloop.run(watched(bot, options.lag))


if __name__ == "__main__":
    sys.exit(main())
