"""The process's memory: what is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
import psutil
from llmbot.adapters.host import return_freed_memory

if sys.argv[1] == "returned" and not return_freed_memory():
    sys.exit(3)
resident = lambda: psutil.Process().memory_info().rss / 2**20
small = []

def work(step):
    # Large blocks between small ones that stay, as rows of a report between entries of a cache.
    large = []
    for _ in range(40):
        large.append(bytearray(512 * 1024))
        small.append(bytearray(2048))
    step.wait()

before = resident()
for _ in range(6):
    step = threading.Barrier(8)
    threads = [threading.Thread(target=work, args=(step,)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
print(resident() - before)
"""


def grown_mib(how: str) -> float:
    """What a process of its own keeps of 160 MiB that eight threads used and freed."""
    made = subprocess.run(  # noqa: S603 - this Python, and the program above
        [sys.executable, "-c", PROGRAM, how],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if made.returncode == 3:
        pytest.skip("only the GNU C library can be told")
    assert made.returncode == 0, made.stderr
    return float(made.stdout)


def test_what_threads_have_freed_goes_back_to_the_system() -> None:
    """Large work on many threads leaves less than a tenth of itself behind."""
    returned, kept = grown_mib("returned"), grown_mib("kept")
    assert returned < 16
    assert returned < kept / 2
