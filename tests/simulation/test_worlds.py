"""Simulated worlds: the same seed is the same world, and nothing is lost in stormy ones."""

from __future__ import annotations

import pytest

from tests.simulation.disk import DiskWeather
from tests.simulation.plan import plan
from tests.simulation.verdict import Verdict
from tests.simulation.world import World, live

KINDS = ("lost", "doubled", "cut", "wrong", "too long", "unfinished", "defect")


def test_the_same_seed_is_the_same_world() -> None:
    """A world can be lived again: whatever is in its trace comes at the same time again."""
    assert live(plan(17, 60)).trace == live(plan(17, 60)).trace


def test_a_disk_that_refused_the_clean_end_is_no_leak() -> None:
    """A disk that took no note of the end is excused, though it is well before the burial."""
    world = World(plan(17, 1))
    world.start()
    life = world.life
    assert life is not None
    assert world.run(30.0, lambda: bool(world.server.sessions))
    world.disk.weather = DiskWeather(refuses=True)
    life.stop()
    assert world.run(120.0, lambda: life.ended)
    world.disk.weather = DiskWeather()
    world.run(0.001)
    world.bury("stop")
    assert life.stopped_cleanly
    assert world.leaks == []


@pytest.mark.slow
def test_nothing_is_lost_in_stormy_worlds() -> None:
    """Kills, gateway storms, outages and full disks: every message has one whole answer."""
    whole = Verdict()
    for seed in range(8):
        whole.add(live(plan(seed, 150)).verdict)
    assert {kind: whole.failures[kind] for kind in KINDS} == dict.fromkeys(KINDS, 0), whole.examples
