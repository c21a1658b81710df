"""Each guard rail of the catalogue is a setting, and the setting is what the executor asks."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from llmbot.app.healing.wiring import rail_settings
from llmbot.app.settings.tree import load_settings
from llmbot.kernel.errors import SettingsError
from llmbot.operations.guardrails import RailSettings

SETTINGS = {
    "HEALING_RUNS_PER_HOUR": ("runs_max", "7", 7),
    "HEALING_RUNS_PER_CAUSE": ("runs_per_cause_max", "4", 4),
    "HEALING_COOL_DOWN_S": ("cool_down_success_s", "10", 10.0),
    "HEALING_FAILURE_COOL_DOWN_S": ("cool_down_failure_s", "20", 20.0),
    "HEALING_COOL_DOWN_MAX_S": ("cool_down_max_s", "9000", 9000.0),
    "HEALING_FAILURES_MAX": ("failures_max", "5", 5),
    "HEALING_SUBSYSTEMS_MAX": ("subsystems_max", "2", 2),
    "HEALING_DOCUMENTS_PERCENT_MAX": ("documents_share_max", "50", 0.5),
    "HEALING_QUIET_START_S": ("quiet_start_s", "6", 6.0),
    "HEALING_APPROVAL_S": ("approval_s", "30", 30.0),
    "HEALING_FLAPS_MAX": ("flaps_max", "9", 9),
    "HEALING_FLAP_WITHIN_S": ("flap_within_s", "40", 40.0),
    "HEALING_STORM_FAULTS": ("storm_faults", "5", 5),
    "HEALING_STORM_WITHIN_S": ("storm_within_s", "8", 8.0),
    "HEALING_STORM_CALM_S": ("storm_calm_s", "12", 12.0),
}


def test_the_defaults_are_those_of_the_catalogue() -> None:
    """With nothing set, the rails are what the failure catalogue says, and none is a constant."""
    assert rail_settings(load_settings({}, None).healing) == RailSettings()
    assert {name for name, _, _ in SETTINGS.values()} == set(asdict(RailSettings()))


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_moves_its_rail_and_no_other(name: str) -> None:
    """What an operator sets is what the executor asks."""
    rail, given, wanted = SETTINGS[name]
    rails = rail_settings(load_settings({name: given}, None).healing)
    assert asdict(rails) == {**asdict(RailSettings()), rail: wanted}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_rail_is_named_with_what_is_allowed(name: str) -> None:
    """A rail that is no number or out of range stops the start: its name and its range are said."""
    for wrong in ("-1", "many", "1e9"):
        with pytest.raises(SettingsError, match=rf"{name}\b.*\d+"):
            load_settings({name: wrong}, None)


def test_the_first_pause_is_not_longer_than_the_longest() -> None:
    """Where doubling would end before it begins, both settings are named."""
    given = {"HEALING_FAILURE_COOL_DOWN_S": "900", "HEALING_COOL_DOWN_MAX_S": "600"}
    with pytest.raises(SettingsError, match=r"FAILURE_COOL_DOWN_S .* HEALING_COOL_DOWN_MAX_S"):
        load_settings(given, None)
