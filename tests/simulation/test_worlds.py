"""Simulated worlds: the same seed is the same world, and nothing is lost in stormy ones."""

from __future__ import annotations

import pytest

from tests.simulation.plan import plan
from tests.simulation.verdict import Verdict
from tests.simulation.world import live

KINDS = ("lost", "doubled", "cut", "wrong", "too long", "unfinished", "defect")


def test_the_same_seed_is_the_same_world() -> None:
    """A world can be lived again: whatever is in its trace comes at the same time again."""
    assert live(plan(17, 60)).trace == live(plan(17, 60)).trace


@pytest.mark.slow
def test_nothing_is_lost_in_stormy_worlds() -> None:
    """Kills, gateway storms, outages and full disks: every message has one whole answer."""
    whole = Verdict()
    for seed in range(8):
        whole.add(live(plan(seed, 150)).verdict)
    assert {kind: whole.failures[kind] for kind in KINDS} == dict.fromkeys(KINDS, 0), whole.examples
