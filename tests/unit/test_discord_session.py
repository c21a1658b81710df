"""The ladder back to the gateway: which step comes next, after which pause."""

from __future__ import annotations

import pytest

from llmbot.adapters.discord.session import (
    End,
    Ending,
    IdentifyBudget,
    Ladder,
    LadderSettings,
    Session,
)
from llmbot.kernel.clock import ManualClock, Random

SETTINGS = LadderSettings()


def ladder(*, discords: bool = False, url: str = "ws://gateway.example") -> Ladder:
    """A ladder that holds a session."""
    session = Session("s", 5, url)
    return Ladder(ManualClock(), Random(3), SETTINGS, discords, session)


@pytest.mark.parametrize(
    "ending",
    [
        Ending(End.LOST),
        Ending(End.LOST, 1000),
        Ending(End.RECONNECT),
        Ending(End.ZOMBIE),
        Ending(End.INVALID_RESUMABLE),
        Ending(End.UNREACHABLE),
        Ending(End.HUNG_UP),
    ],
)
def test_loss_of_a_good_session_is_resumed(ending: Ending) -> None:
    """However a good connection ends, resuming comes first."""
    steps = ladder()
    steps.down(ending, resuming=False)
    assert steps.resumes()


@pytest.mark.parametrize(
    ("ending", "resuming"),
    [
        (Ending(End.INVALID), False),
        (Ending(End.INVALID), True),
        (Ending(End.LOST, 4009), False),
        (Ending(End.LOST, 4007), True),
        (Ending(End.SILENT), True),
    ],
)
def test_ended_session_is_not_resumed(ending: Ending, *, resuming: bool) -> None:
    """What Discord has ended, or does not understand, is given up at once."""
    steps = ladder()
    steps.down(ending, resuming=resuming)
    assert not steps.resumes()


@pytest.mark.parametrize(
    ("ending", "tries"),
    [
        (Ending(End.INVALID_RESUMABLE), 3),
        (Ending(End.LOST, 4000), 3),
        (Ending(End.LOST), 5),
        (Ending(End.ZOMBIE), 5),
    ],
)
def test_session_is_given_up_after_so_many_failed_resumes(ending: Ending, tries: int) -> None:
    """Three refusals end a session, or five resumes that were cut off before any event."""
    steps = ladder()
    for _ in range(tries - 1):
        steps.down(ending, resuming=True)
        assert steps.resumes()
    steps.down(ending, resuming=True)
    assert not steps.resumes()


@pytest.mark.parametrize(
    "ending", [Ending(End.UNREACHABLE), Ending(End.HUNG_UP), Ending(End.LOST, progress=True)]
)
def test_bad_luck_is_no_refusal(ending: Ending) -> None:
    """A gateway that is away, or a replay that is cut, never costs the session."""
    steps = ladder()
    for _ in range(100):
        steps.down(ending, resuming=True)
        assert steps.resumes()


def test_pauses_grow_with_jitter_and_shrink_after_a_stable_time() -> None:
    """Full jitter below a ceiling that doubles to its cap; a stable connection resets it."""
    steps = ladder()
    ceilings = [min(SETTINGS.backoff_cap_s, SETTINGS.backoff_base_s * 2**n) for n in range(1, 40)]
    pauses = []
    for ceiling in ceilings:
        steps.down(Ending(End.LOST, up_s=1.0, progress=True), resuming=False)
        pauses.append(steps.pause_s())
        assert 0 <= pauses[-1] <= ceiling
    assert len(set(pauses)) == len(pauses)
    steps.down(Ending(End.LOST, up_s=SETTINGS.stable_s), resuming=False)
    assert steps.pause_s() <= SETTINGS.backoff_base_s


def test_day_of_flapping_is_bounded() -> None:
    """A gateway that drops every connection at once is tried thousands of times a day, not more."""
    steps = ladder()
    seconds = tries = 0.0
    while seconds < 86_400:
        steps.down(Ending(End.LOST, up_s=0.1, progress=True), resuming=False)
        seconds += steps.pause_s() + 0.1
        tries += 1
    assert tries < 7_000


def test_day_of_refused_identifies_keeps_the_budget() -> None:
    """A server that answers every identify with op 9 does not use up the day's identifies."""
    steps = ladder()
    steps.session = None
    seconds = identifies = 0.0
    while seconds < 86_400:
        steps.down(Ending(End.INVALID), resuming=False)
        seconds += steps.pause_s()
        identifies += 1
    assert identifies < 500


def test_gateway_that_was_away_is_found_soon_after_its_return() -> None:
    """Tries that reach nobody cost no identify: however many they were, pauses stay short."""
    steps = ladder()
    steps.session = None
    for _ in range(50):
        steps.down(Ending(End.UNREACHABLE), resuming=False)
        assert steps.pause_s() <= SETTINGS.backoff_cap_s


def test_invalid_session_waits_as_discord_asks() -> None:
    """After op 9 one to five seconds pass before the next identify."""
    steps = ladder()
    steps.down(Ending(End.INVALID, up_s=100.0), resuming=False)
    assert all(1.0 <= steps.pause_s() <= 5.0 for _ in range(50))


def test_refused_resume_is_followed_by_an_identify_at_once() -> None:
    """A new process whose resume is refused loses half a second at most."""
    steps = ladder()
    steps.down(Ending(End.INVALID), resuming=True)
    assert not steps.resumes()
    assert all(steps.pause_s() <= 0.5 for _ in range(50))


def test_resume_address_takes_turns_while_unreachable() -> None:
    """Where the address that ready named is away, the usual one is tried in turn."""
    steps = ladder()
    usual = "ws://usual.example"
    assert steps.resume_address(usual) == "ws://gateway.example"
    steps.down(Ending(End.UNREACHABLE), resuming=True)
    assert steps.resume_address(usual) == usual
    steps.down(Ending(End.UNREACHABLE), resuming=True)
    assert steps.resume_address(usual) == "ws://gateway.example"


@pytest.mark.parametrize(
    ("discords", "told", "followed"),
    [
        (True, "wss://gateway-us-east1-b.discord.gg", True),
        (True, "wss://discord.gg.example.com", False),
        (True, "ws://attacker.example", False),
        (False, "wss://gateway.discord.gg", False),
        (False, "ws://127.0.0.1:8", True),
        (False, "", False),
    ],
)
def test_token_goes_only_where_we_logged_in(told: str, *, discords: bool, followed: bool) -> None:
    """An address at Discord is followed only from Discord, and another only from elsewhere."""
    usual = "ws://usual.example"
    chosen = ladder(discords=discords, url=told).resume_address(usual)
    assert chosen == (told if followed else usual)


def test_identifies_keep_their_distance_and_their_budget() -> None:
    """Five seconds between identifies; none at all until the day of a spent budget ends."""
    clock = ManualClock()
    budget = IdentifyBudget(clock, 5.0)
    budget.learn({"remaining": 2, "reset_after": 60_000, "max_concurrency": 1})
    assert budget.wait_s() == 0
    budget.take()
    assert budget.wait_s() == 5
    clock.advance(5)
    budget.take()
    assert budget.wait_s() == 55
    clock.advance(55)
    assert budget.wait_s() == 0


@pytest.mark.parametrize("limit", [None, {}, {"remaining": "many"}, []])
def test_server_without_a_budget_is_no_hindrance(limit: object) -> None:
    """Where no budget is told, Discord's own of a thousand a day is kept."""
    budget = IdentifyBudget(ManualClock(), 5.0)
    budget.learn(limit)
    assert (budget.wait_s(), budget.remaining) == (0, 1000)


def test_refused_resumes_are_tried_again_soon() -> None:
    """However bad the hour was: three refusals cost seven seconds at most."""
    steps = ladder()
    for _ in range(6):
        steps.down(Ending(End.LOST, up_s=1.0), resuming=False)
    for most_s in (1.0, 2.0, 4.0):
        assert steps.resumes()
        steps.down(Ending(End.INVALID_RESUMABLE), resuming=True)
        assert all(steps.pause_s() <= most_s for _ in range(50))
    assert not steps.resumes()


def test_day_of_refused_resumes_keeps_the_budget() -> None:
    """Sessions that drop at once and are then refused, a day long, cost few identifies."""
    steps = ladder()
    seconds, identifies = 0.0, 0
    while seconds < 86_400.0:
        if steps.resumes():
            steps.down(Ending(End.INVALID_RESUMABLE), resuming=True)
        else:
            identifies += 1
            steps.session = Session("s", 5, "ws://gateway.example")
            steps.up()
            steps.down(Ending(End.LOST, up_s=1.0), resuming=False)
            seconds += 1.0
        seconds += steps.pause_s()
    assert identifies < 600
