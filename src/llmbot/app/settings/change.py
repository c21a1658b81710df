"""Changes that operators make to `settings.json` through API, command line and page.

What may be changed is what the file may say; a change is judged whole before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmbot.app.settings.fields import SettingFacts, settings_of
from llmbot.app.settings.reload import Reloader, Value, merged, reloadable, shortly
from llmbot.app.settings.tree import Settings
from llmbot.console.actions import UnknownTargetError
from llmbot.console.facts.settings import ChangeableSetting, ChangeableSettings
from llmbot.storage.documents.kinds import MisfitError, Problem

__all__ = ["Changed", "change_settings", "changeable_of"]

_PERSONAS = "PERSONAS"


@dataclass(frozen=True, slots=True)
class Changed:
    """The settings that were named, in the words of `Settings.masked`."""

    before: dict[str, str]
    after: dict[str, str]
    in_force: bool
    """Whether the bot was seen to use them; False after a dry run."""

    @property
    def difference(self) -> list[str]:
        """A line for each value that is another one."""
        return [
            f"{name}: {shortly(value)} -> {shortly(self.after[name])}"
            for name, value in self.before.items()
            if value != self.after[name]
        ]


async def change_settings(
    reloader: Reloader, wanted: Mapping[str, Value | None], *, dry: bool = False
) -> Changed:
    """Change values of the file, None or empty takes one out; durable and in force on return.

    With `dry` nothing is written: it tells what would change.

    Raises:
        MisfitError: a name or a value is wrong; nothing was changed.
        NewerDocumentError: a newer llmbot wrote the file.
        StoreUnavailableError: it could not be read, or what is in force now is not durable yet.
        UnknownTargetError: a name is no setting's.
    """
    _refuse_foreign(wanted)
    before = reloader.in_force.masked()
    if dry:
        values = _with(reloader.base, await reloader.held(), wanted)
        expected = merged(reloader.base, values)
    else:
        values = await reloader.update(lambda held: _with(reloader.base, held, wanted))
        expected = merged(reloader.base, values)
    after = expected.masked()
    return Changed(
        {name: before[name] for name in wanted},
        {name: after[name] for name in wanted},
        in_force=not dry and reloader.in_force == expected,
    )


async def changeable_of(reloader: Reloader) -> ChangeableSettings:
    """Every setting that can be changed, as it is and as it would be without the file.

    Raises:
        StoreUnavailableError: the file cannot be read.
    """
    held, base = await reloader.held(), reloader.base.masked()
    in_force = reloader.in_force.masked()
    return ChangeableSettings(
        {
            name: ChangeableSetting(
                group=facts.path[0],
                what=facts.what,
                why=facts.reason,
                allowed=facts.allowed,
                unit=facts.unit,
                value=in_force[name],
                without_file=base[name],
                in_file=held.get(name),
            )
            for name, facts in reloadable().items()
        }
    )


def _refuse_foreign(wanted: Mapping[str, Value | None]) -> None:
    """Strange names, and what the file may say but a caller may not; neither is repeated.

    Raises:
        MisfitError: a value would have a file read.
        UnknownTargetError: a name is no setting's.
    """
    if not wanted.keys() <= {facts.env for facts in settings_of(Settings)}:
        raise UnknownTargetError("setting to change", tuple(reloadable()))
    personas = str(wanted.get(_PERSONAS) or "").strip()
    if personas and not personas.startswith("{"):
        # Else whoever may call could have any file of this machine read.
        words = "must be JSON here; the path of a file belongs into .env"
        raise MisfitError([Problem(("settings", _PERSONAS), words)])


def _with(
    base: Settings, held: Mapping[str, Value], wanted: Mapping[str, Value | None]
) -> dict[str, Value]:
    """The file's values after a change, numbers as numbers.

    Raises:
        MisfitError: a name or a value is wrong.
    """
    given = {name: value for name, value in wanted.items() if value is not None and value != ""}
    kept = {name: value for name, value in held.items() if name not in wanted}
    # Names that are taken out are judged too: who mistypes one should hear of it.
    merged(base, dict.fromkeys(wanted, ""))
    settings, known = merged(base, {**kept, **given}), reloadable()
    return kept | {name: _as_json(settings, known[name], value) for name, value in given.items()}


def _as_json(settings: Settings, facts: SettingFacts, value: Value) -> Value:
    found: object = settings
    for step in facts.path:
        found = getattr(found, step)
    return found if isinstance(found, bool | int | float) else str(value)
