"""The list of bugs fits the source it is about."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import MUTANTS
from tests.mutants.mutant import ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_a_bug_can_be_put_in(mutant: Mutant) -> None:
    """What a bug replaces stands in the source exactly once, and the tests for it exist."""
    sound = mutant.file().read_text(encoding="utf-8")
    assert mutant.put_in(sound) != sound
    assert all((ROOT / test).exists() for test in mutant.tests)


def test_no_bug_is_there_twice() -> None:
    """Fifty and more bugs, each of its own."""
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS) >= 50
