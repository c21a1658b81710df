"""From flat names in the environment and `.env` to the nested tree, with help for typing errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource

from llmbot.app.settings.connections import FallbackSettings
from llmbot.app.settings.fields import SettingFacts, settings_of

FALLBACKS_MAX = 9
_FALLBACK = re.compile(r"FALLBACK_([1-9])_([A-Z_]+)")
_NEAR = 0.86
"""How alike a name of the environment must be to be called a typing error of ours. Strict, since
the environment holds names of other programs too; `.env` is ours, there every stranger is one."""

_LIKEST = 0.6
"""How alike a suggestion must be at least; below it would only puzzle."""


def read_env_file(env_file: Path | None) -> tuple[dict[str, str], list[str]]:
    """The names and values of a `.env` file, and what is wrong with the file; none is no error."""
    if env_file is None or not env_file.exists():
        return {}, []
    try:
        source = DotEnvSettingsSource(BaseSettings, env_file=env_file, case_sensitive=True)
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{env_file} cannot be read ({error}); make it a readable UTF-8 text file."]
    return {name: value or "" for name, value in source.env_vars.items()}, []


def known_names(root: type[BaseModel]) -> dict[str, SettingFacts]:
    """Every name that is understood, aliases and all numbered fallbacks included."""
    names: dict[str, SettingFacts] = {}
    for facts in settings_of(root):
        names[facts.env] = facts
        if facts.alias:
            names[facts.alias] = facts
    for number in range(1, FALLBACKS_MAX + 1):
        for facts in settings_of(FallbackSettings):
            names[facts.env.replace("_1_", f"_{number}_")] = facts
    return names


def unknown_words(name: str, known: Mapping[str, SettingFacts]) -> str:
    """What to say of a name that is no setting, with the one that was meant, if one is like it."""
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_LIKEST)
    hint = f"did you mean {near[0]}?" if near else "remove it; .env.example lists them all."
    return f"is no setting; {hint}"


def strangers(
    known: Mapping[str, SettingFacts], environment: Mapping[str, str], in_file: Mapping[str, str]
) -> list[str]:
    """A sentence for each name that must be a typing error."""
    problems = [
        f"{name} in .env {unknown_words(name, known)}" for name in in_file if name not in known
    ]
    for name in environment:
        if name not in known and name not in in_file and name.isupper():
            near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
            if near and near[0] not in environment:
                problems.append(f"{name} in the environment is no setting; did you mean {near[0]}?")
    return problems


def nest(root: type[BaseModel], values: Mapping[str, str]) -> dict[str, Any]:
    """The tree's raw values by group; what is empty counts as not given."""
    tree: dict[str, Any] = {}
    for facts in settings_of(root):
        raw = values.get(facts.env) or values.get(facts.alias)
        if raw:
            group = tree
            for step in facts.path[:-1]:
                group = group.setdefault(step, {})
            group[facts.path[-1]] = raw.strip()
    fallbacks = _fallbacks(values)
    if fallbacks:
        tree["fallbacks"] = fallbacks
    return tree


def _fallbacks(values: Mapping[str, str]) -> list[dict[str, Any]]:
    by_number: dict[int, dict[str, Any]] = {}
    fields = {
        facts.env.removeprefix("FALLBACK_1_"): facts for facts in settings_of(FallbackSettings)
    }
    for name in sorted(values):
        match = _FALLBACK.fullmatch(name)
        if match and values[name] and match[2] in fields:
            entry = by_number.setdefault(int(match[1]), {"number": int(match[1])})
            entry[fields[match[2]].path[-1]] = values[name].strip()
    return [by_number[number] for number in sorted(by_number)]


def explain(root: type[BaseModel], error: ValidationError, tree: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that is wrong: the name in the environment, and the cure."""
    by_path = {facts.path: facts for facts in settings_of(root)}
    sentences: list[str] = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        if not problem["loc"]:
            sentences += problem["msg"].removeprefix("Value error, ").splitlines()
            continue
        facts, name = _name_of(by_path, tuple(problem["loc"]), tree)
        sentence = f"{name} {_cure(problem, facts)}."
        if sentence not in sentences:
            sentences.append(sentence)
    return sentences


def _name_of(
    by_path: Mapping[tuple[str, ...], SettingFacts],
    place: Sequence[int | str],
    tree: Mapping[str, Any],
) -> tuple[SettingFacts | None, str]:
    if place and place[0] == "fallbacks" and len(place) > 2:  # noqa: PLR2004 - group, index, field
        number = tree["fallbacks"][int(place[1])]["number"]
        for facts in settings_of(FallbackSettings):
            if facts.path[-1] == place[2]:
                return facts, facts.env.replace("_1_", f"_{number}_")
    for length in range(len(place), 0, -1):
        found = by_path.get(tuple(str(step) for step in place[:length]))
        if found:
            return found, found.env
    return None, ".".join(map(str, place))


def _cure(problem: ErrorDetails, facts: SettingFacts | None) -> str:
    words = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" or facts is None:
        return words[:1].lower() + words[1:]
    if problem["type"] == "too_short":
        return "must name at least one"
    unit = f" ({facts.unit})" if facts.unit else ""
    if facts.allowed:
        return f"must be {_kind(problem, facts)}{facts.allowed}{unit}"
    return f"is not understood: {words[:1].lower()}{words[1:]}{unit}"


def _kind(problem: ErrorDetails, facts: SettingFacts) -> str:
    if problem["type"].startswith("int_") and facts.allowed[:1].isdigit():
        return "a whole number, "
    return "one of " if problem["type"] == "literal_error" else ""
