"""A demo for drills alone, in a directory of its own, with the guard rails opened for repetition.

The rails stop automation that acts again and again; a drill makes it do just that. What they allow
is proved elsewhere; here the caps, cool-downs and the flapping rail are set out of the way, and so
are the rate limits of the models, which are no fault.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmbot.console.cli.client import CommandError

__all__ = ["own_demo"]

READY_S = 60.0
STOP_S = 60.0

_SETTINGS = {
    "HEALING_MODE": "act",
    "HEALING_QUIET_START_S": "0",
    "HEALING_RUNS_PER_HOUR": "1000",
    "HEALING_RUNS_PER_CAUSE": "1000",
    "HEALING_COOL_DOWN_S": "0",
    "HEALING_FAILURE_COOL_DOWN_S": "0",
    "HEALING_FLAPS_MAX": "1000",
    "RATE_LIMIT_RPM": "0",
    "RATE_LIMIT_DAILY": "0",
    "RATE_LIMIT_USER_RPM": "0",
    "RATE_LIMIT_CHANNEL_RPM": "0",
}


@contextmanager
def own_demo(say: Callable[[str], None]) -> Iterator[Path]:
    """A demo for as long as the body runs; its data directory.

    Raises:
        CommandError: it did not become ready.
    """
    with tempfile.TemporaryDirectory(prefix="llmbot-drill-") as ground:
        data = Path(ground) / "data"
        log = (Path(ground) / "demo.log").open("w", encoding="utf-8")
        process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "llmbot", "demo", "--port", "0", "--data-dir", str(data)],
            cwd=ground,
            env={**os.environ, **_SETTINGS},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        ready = threading.Event()
        reader = threading.Thread(target=_read, args=(process, ready), name="demo", daemon=True)
        reader.start()
        try:
            if not ready.wait(READY_S):
                raise CommandError("The demo for the drills did not become ready.")
            say(f"A demo runs in {ground}.")
            yield data
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.poll() is None:
                process.kill()
            reader.join(STOP_S)
            if process.stdout is not None:
                process.stdout.close()
            log.close()


def _read(process: subprocess.Popen[str], ready: threading.Event) -> None:
    """Take what it says, so that it never waits for a reader."""
    for line in process.stdout or ():
        if "Ctrl-C stops" in line:
            ready.set()
