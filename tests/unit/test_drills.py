"""Drills cover the catalogue, and a try is scored by what was seen from outside."""

from __future__ import annotations

from dataclasses import replace

import pytest
import typer

from llmbot.app.fault_ports import FAULTS
from llmbot.console.cli.drills import span
from llmbot.console.drills.acts import ACTS
from llmbot.operations.catalog.registry import RUNBOOKS
from llmbot.operations.causes import CAUSES
from llmbot.operations.drills.drills import DRILLS, Seen, as_table, judge, summary
from llmbot.simulators.faults import KNOWN_FAULTS

DRILL = DRILLS["model-503"]
SEEN = Seen(
    struck_s=1.0,
    noticed_s=3.0,
    ended_s=10.0,
    mended_s=20.0,
    causes=frozenset({"model-unavailable"}),
    runbooks=frozenset({"gemini-recovery"}),
    said=10,
    answered=10,
    doubled=0,
    lost=0,
)


def test_every_row_of_the_catalogue_has_a_drill() -> None:
    """No row from 1 to 30 is without practice, and each drill names what exists."""
    assert {drill.row for drill in DRILLS.values()} == set(range(1, 31))
    for drill in DRILLS.values():
        assert drill.causes <= set(CAUSES)
        assert drill.runbooks <= set(RUNBOOKS)
        assert {CAUSES[cause].runbook for cause in drill.causes} == drill.runbooks
        faults = {drill.fault, *drill.beside, *drill.then, drill.also} - {""}
        assert faults <= {*KNOWN_FAULTS, *FAULTS, *ACTS}


def test_times_count_from_when_the_fault_shows_and_from_its_end() -> None:
    """Noticing is measured from the first strike, mending from the end of the fault."""
    verdict = judge(DRILL, SEEN)
    assert (verdict.noticed_after_s, verdict.mended_after_s, verdict.passed) == (2.0, 10.0, True)
    late = judge(replace(DRILL, shows_after_s=1.5), SEEN)
    assert late.noticed_after_s == 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"noticed_s": None},
        {"noticed_s": 6.5},
        {"mended_s": None},
        {"mended_s": 41.0},
        {"causes": frozenset({"memory"})},
        {"runbooks": frozenset({"memory"})},
        {"lost": 1},
        {"doubled": 1},
    ],
)
def test_whatever_is_missed_fails_a_try(change: dict[str, object]) -> None:
    """Late, wrong, lost or doubled: each alone is enough."""
    verdict = judge(DRILL, replace(SEEN, **change))  # type: ignore[arg-type] # one field each
    assert not verdict.passed
    assert summary([verdict])["passed"] == 0.0


def test_scores_are_told_by_drill_with_their_slowest_times() -> None:
    """A table has one line for each drill, with the worst of its tries."""
    slow = replace(SEEN, mended_s=30.0)
    table = as_table([judge(DRILL, SEEN), judge(DRILL, slow)], 1_800_000_000.0)
    assert "| model-503 | 3 | 2 | 2 | 2.0 | 20.0 |" in table


@pytest.mark.parametrize(("text", "seconds"), [("60", 60.0), ("60s", 60.0), ("1.5m", 90.0)])
def test_how_long_a_drill_lasts_is_told_in_seconds_or_minutes(text: str, seconds: float) -> None:
    """`--for 60s` is what an operator types."""
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "60h", "soon", "0.5s"])
def test_a_drill_lasts_a_second_at_least(text: str) -> None:
    """What is no time is refused with the forms that are."""
    with pytest.raises(typer.BadParameter, match="60s"):
        span(text)
