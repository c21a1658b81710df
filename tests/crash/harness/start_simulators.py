"""Child process: the simulators at a pace and with short memories that a test can wait for."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from llmbot.simulators.discord.settings import DiscordSettings
from llmbot.simulators.server import SimulatorSettings, serve


def main() -> None:
    """Take the settings as JSON, write the address into a file once it listens."""
    ready_file, parent, given = sys.argv[1:4]
    choices = json.loads(given)
    settings = SimulatorSettings(
        seed=choices["seed"],
        first_word_s=choices["first_word_s"],
        chunk_s=choices["chunk_s"],
        discord=DiscordSettings(
            heartbeat_interval_s=choices["heartbeat_s"], nonce_window_s=choices["nonce_window_s"]
        ),
    )

    def ready(address: str) -> None:
        partial = Path(ready_file + ".partial")
        partial.write_text(address, encoding="utf-8")
        partial.replace(ready_file)

    asyncio.run(serve(settings, ready, parent_pid=int(parent)))


if __name__ == "__main__":
    main()
