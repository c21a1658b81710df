"""Scores of drills as they are kept, and who may ask for a drill."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmbot.app.drill_desk import DrillDesk
from llmbot.console.actions import ActionError, UnknownTargetError
from llmbot.operations.drills.drills import Verdict
from llmbot.operations.drills.scores import SCORES_MAX, keep_score, read_scores


def verdict(name: str) -> Verdict:
    """A try that went well."""
    return Verdict(name, 1.0, 2.0, right_cause=True, right_runbook=True, lost=0, doubled=0)


def test_the_newest_try_stands_first_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    """What a kill cut short is skipped; everything whole is told."""
    assert read_scores(tmp_path) == []
    keep_score(tmp_path, verdict("first"), 1.0)
    with (tmp_path / "drills.jsonl").open("ab") as file:
        file.write(b'{"at":2,"dri\n')
    keep_score(tmp_path, verdict("second"), 3.0)
    assert [(s["drill"], s["at"], s["passed"]) for s in read_scores(tmp_path)] == [
        ("second", 3.0, True),
        ("first", 1.0, True),
    ]


def test_the_file_of_scores_stays_small(tmp_path: Path) -> None:
    """However many tries there were, the file keeps the last ones and no more than it may."""
    for number in range(3000):
        keep_score(tmp_path, verdict(f"drill-{number}"), float(number))
    assert (tmp_path / "drills.jsonl").stat().st_size < 300_000
    found = read_scores(tmp_path)
    assert (len(found), found[0]["drill"]) == (SCORES_MAX, "drill-2999")


async def test_a_live_bot_is_not_broken_from_a_page(tmp_path: Path) -> None:
    """Where people use the bot no drill is offered, and none is begun."""
    desk = DrillDesk(tmp_path, simulated=False)
    assert desk.known() == {}
    with pytest.raises(ActionError, match="live"):
        await desk.begin("model-503")


async def test_an_unknown_drill_names_those_that_there_are(tmp_path: Path) -> None:
    """A name that is none is refused with the list."""
    desk = DrillDesk(tmp_path, simulated=True)
    with pytest.raises(UnknownTargetError, match="model-503"):
        await desk.begin("nonsense")
    assert desk.running == ""
