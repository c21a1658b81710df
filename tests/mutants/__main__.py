"""`python -m tests.mutants`: put each bug into a copy of the tree and see whether it is caught."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants import of_the_conversation, of_the_mechanisms
from tests.mutants.mutant import ROOT, Mutant

MUTANTS = (*of_the_conversation.MUTANTS, *of_the_mechanisms.MUTANTS)
_TIME_MAX_S = 120.0
_NO_TESTS_FAILED = 0
_TESTS_FAILED = 1


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
        survived = [mutant for mutant in chosen if not _is_caught(mutant, tree)]
    _say(f"{len(chosen)} bugs: {len(chosen) - len(survived)} caught, {len(survived)} survived")
    return 1 if survived else 0


def _is_caught(mutant: Mutant, tree: Path) -> bool:
    file = mutant.file(tree)
    sound = file.read_text(encoding="utf-8")
    file.write_text(mutant.put_in(sound), encoding="utf-8")
    try:
        ended = _test(tree, mutant.tests)
    finally:
        file.write_text(sound, encoding="utf-8")
    caught = ended == _TESTS_FAILED
    _say(f"{'caught  ' if caught else 'SURVIVED'} {mutant.bug} ({mutant.path})")
    return caught


def _test(tree: Path, tests: tuple[str, ...]) -> int:
    """How pytest ended; a bug that lets it hang for minutes was noticed as well."""
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
            timeout=_TIME_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _TESTS_FAILED
    if ended.returncode not in (_NO_TESTS_FAILED, _TESTS_FAILED):
        sys.stderr.buffer.write(ended.stdout[-2000:])
    return ended.returncode


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
