"""`python -m tests.simulation --seeds 0:1000 --messages 1000 --jobs 2`: many worlds, one count."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pool
from time import perf_counter

from tests.simulation.plan import plan
from tests.simulation.verdict import FAILURES, Verdict
from tests.simulation.world import Outcome, live


def seeds_of(text: str) -> range:
    """`7` or `0:1000`."""
    first, colon, end = text.partition(":")
    return range(int(first), int(end) if colon else int(first) + 1)


def main() -> int:
    """Run the seeds; 1 if any of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default=range(20), help="7 or 0:1000")
    parser.add_argument("--messages", type=int, default=500, help="questions in each world")
    parser.add_argument("--show", help="print the trace's lines that hold this text")
    parser.add_argument("--go-on", action="store_true", help="do not end at the first failure")
    parser.add_argument("--jobs", type=int, default=1, help="worlds side by side, a process each")
    given = parser.parse_args()
    whole, told, lives, virtual_s = Verdict(), Counter[str](), 0, 0.0
    began = perf_counter()
    for number, outcome in enumerate(_outcomes(given), 1):
        whole.add(outcome.verdict)
        told += outcome.told
        lives += outcome.lives
        virtual_s += outcome.virtual_s
        if given.show is not None:
            _say(*(line for line in outcome.log if given.show in line))
        if not outcome.perfect:
            _report(outcome, given.messages)
            if not given.go_on:
                return 1
        if number % 10 == 0 or number == len(given.seeds):
            took_s = perf_counter() - began
            _say(
                f"{number} seeds, {whole.asked} asked, {lives} lives, {virtual_s / 3600:.1f} h in "
                f"{took_s:.0f} s ({whole.asked / took_s:.0f}/s); {_failures(whole)}"
            )
    _sum_up(whole, told, lives, virtual_s)
    return 1 if whole.failures else 0


def _outcomes(given: argparse.Namespace) -> Iterator[Outcome]:
    """The worlds of the seeds, in the order of the seeds."""
    one = partial(_live, given.messages, given.show is not None)
    if given.jobs <= 1:
        yield from map(one, given.seeds)
        return
    # A world is one process's work; a process is renewed so that what Python keeps cannot add up.
    with Pool(given.jobs, maxtasksperchild=50) as pool:
        yield from pool.imap(one, given.seeds)


def _live(messages: int, keep_log: bool, seed: int) -> Outcome:
    try:
        return live(plan(seed, messages), keep_log=keep_log)
    except Exception as error:  # noqa: BLE001 - a world that breaks is a failed seed, the others count
        broken = Verdict()
        broken.fail("defect", f"the world broke: {error!r}")
        return Outcome(plan(seed, messages), broken, trace="", virtual_s=0.0, lives=0)


def _failures(verdict: Verdict) -> str:
    return ", ".join(f"{verdict.failures[kind]} {kind}" for kind in FAILURES)


def _report(outcome: Outcome, messages: int) -> None:
    seed = outcome.plan.seed
    _say(
        f"seed {seed} FAILED (trace {outcome.trace}): {dict(outcome.verdict.failures)}",
        *(f"  {example}" for example in outcome.verdict.examples),
        f"  replay: python -m tests.simulation --seeds {seed} --messages {messages} --show TEXT",
    )


def _sum_up(whole: Verdict, told: Counter[str], lives: int, virtual_s: float) -> None:
    _say(
        f"TOTAL: {whole.asked} messages in {virtual_s / 3600:.1f} simulated hours, {lives} lives: "
        f"{whole.answered} answered whole, {whole.noticed} noticed, "
        f"{whole.taken_back} taken back, {whole.never_accepted} commands never accepted",
        f"notices: {dict(whole.notices)}",
        f"weather: {dict(told)}",
        _failures(whole),
    )


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
