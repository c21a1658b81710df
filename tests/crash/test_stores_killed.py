"""The rig of `make crash` for both stores, for a few hundred kills."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_kills_lose_nothing_acknowledged_and_damage_is_told() -> None:
    """Killed and damaged under load, both stores give what was promised, and say what was amiss."""
    command = [sys.executable, "-m", "tests.crash.stores", "--cycles", "150", "--seed", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own rig
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "0 amiss" in done.stdout
