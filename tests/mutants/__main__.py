"""`python -m tests.mutants`: put each bug into a copy of the tree and see whether it is caught."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from tests.mutants import of_the_conversation, of_the_mechanisms
from tests.mutants.mutant import ROOT, Mutant

MUTANTS = (*of_the_conversation.MUTANTS, *of_the_mechanisms.MUTANTS)
_SOUND_MAX_S = 1800.0
_PATIENCE_MIN_S = 60.0
_PATIENCE = 5
"""With a bug the tests may take so many times as long as without; then the bug made them hang."""
_PASSED, _FAILED = 0, 1


def main() -> int:
    """Run them one after the other; 1 if any survived, or its tests fail without it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those whose words or path hold this")
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if given.only in m.bug or given.only in m.path]
    with tempfile.TemporaryDirectory(prefix="llmbot-mutants-") as directory:
        tree = Path(directory) / "tree"
        keep = shutil.ignore_patterns("__pycache__", ".*", "data", "logs", "test-artefacts")
        shutil.copytree(ROOT, tree, ignore=keep)
        caught = sum(_is_caught(mutant, tree) for mutant in chosen)
    _say(f"{len(chosen)} bugs: {caught} caught, {len(chosen) - caught} not")
    return 0 if caught == len(chosen) else 1


def _is_caught(mutant: Mutant, tree: Path) -> bool:
    taken = _sound(tree, mutant.tests)
    if taken is None:
        _say(f"UNKNOWN  {mutant.bug} ({mutant.path}): its tests fail without it")
        return False
    file = mutant.file(tree)
    sound = file.read_text(encoding="utf-8")
    file.write_text(mutant.put_in(sound), encoding="utf-8")
    try:
        ended, by = _test(tree, mutant.tests, max(_PATIENCE_MIN_S, _PATIENCE * taken))
    finally:
        file.write_text(sound, encoding="utf-8")
    caught = ended == _FAILED
    _say(f"{'caught  ' if caught else 'SURVIVED'} {mutant.bug} ({mutant.path}) {by}".rstrip())
    return caught


@cache
def _sound(tree: Path, tests: tuple[str, ...]) -> float | None:
    """How long the tests take without a bug, in seconds; None if they fail."""
    began = time.perf_counter()
    ended, _ = _test(tree, tests, _SOUND_MAX_S)
    return time.perf_counter() - began if ended == _PASSED else None


def _test(tree: Path, tests: tuple[str, ...], time_max_s: float) -> tuple[int, str]:
    """How pytest ended, and the test that failed first; to hang is to fail."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        ended = subprocess.run(  # noqa: S603 - our own tests
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=time_max_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _FAILED, "the tests hung"
    if ended.returncode not in (_PASSED, _FAILED):
        sys.stderr.buffer.write(ended.stdout[-2000:])
    lines = ended.stdout.decode(errors="replace").splitlines()
    failed = (line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR ")))
    return ended.returncode, next(failed, "")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
