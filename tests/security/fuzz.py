"""Runs schemathesis against a demo of its own: `python -m tests.security.fuzz SCHEMATHESIS [MORE]`.

MORE goes to its `run`, e.g. `--max-examples 200 --seed 7`; `make fuzz` asks for 20,000 cases so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.demo import demo

SETTINGS = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("one_parser.py")


def main(program: str, more: list[str]) -> int:
    """Start the demo, run, and tell what came of it."""
    program = str(Path(program).absolute())
    with tempfile.TemporaryDirectory() as ground, demo(Path(ground)) as bot:
        # Of ours it may find nothing but this where it imports from, and we nothing of it.
        shutil.copy(HOOKS, ground)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        # Its table of characters takes seconds, in each of its threads: made once for all runs.
        kept["HYPOTHESIS_STORAGE_DIRECTORY"] = str(Path(program).parents[1] / "hypothesis")
        document = f"{bot.facts.http_address}/openapi.json"
        kept["SCHEMATHESIS_HOOKS"] = HOOKS.stem
        command = [program, "--config-file", str(SETTINGS), "run", document, *more]
        code = subprocess.run(command, cwd=ground, env=kept, check=False).returncode  # noqa: S603 - the tool that was named
        status, _ = bot.ask("GET", "/api/health/live")
        audit = bot.llmbot("audit", "verify")
        sys.stdout.write(audit.stdout)
        return code or int(status != 200) or audit.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
