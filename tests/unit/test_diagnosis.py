"""Where several things are wrong at once, the root is named and its consequences stand below it."""

from __future__ import annotations

from itertools import combinations

import pytest
from tests.support.plant import SetPlant

from llmbot.operations.causes import CAUSES
from llmbot.operations.diagnosis import EXPLAINS, diagnose
from llmbot.operations.sensing.conditions import Condition, Nature

PAIRS = [(root, other) for root, others in EXPLAINS.items() for other in sorted(others)]


def condition(name: str, since_s: float = 0.0) -> Condition:
    """A condition that is raised."""
    facts = CAUSES[name]
    nature = Nature(name, facts.row, facts.part)
    return Condition(nature, "x", "seen", since_s, 10.0, raised=True)


@pytest.mark.parametrize(("root", "other"), PAIRS)
def test_two_faults_one_of_which_explains_the_other_have_one_root(root: str, other: str) -> None:
    """Whichever was noticed first, the root is named alone, with the other as consequence."""
    for times in ((0.0, 5.0), (5.0, 0.0)):
        found = diagnose([condition(other, times[0]), condition(root, times[1])], SetPlant(), 10.0)
        assert [cause.name for cause in found] == [root]
        assert found[0].consequences == (other,)


def test_two_faults_of_which_none_explains_the_other_are_both_named() -> None:
    """Independent causes stand side by side, the worst first; no pair leaves nothing named."""
    for one, two in combinations(CAUSES, 2):
        found = diagnose([condition(one), condition(two)], SetPlant(), 10.0)
        names = {cause.name for cause in found}
        told = names | {name for cause in found for name in cause.consequences}
        assert names
        assert told == {one, two}
        assert [cause.severity for cause in found] == sorted(cause.severity for cause in found)
