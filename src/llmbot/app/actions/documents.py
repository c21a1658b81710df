"""Actions on the documents of the data store; names are looked up, never joined into a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from llmbot.app.running import Running
from llmbot.app.settings.change import change_settings
from llmbot.console.actions import (
    ActionError,
    Asked,
    Done,
    UnknownTargetError,
    WrongOptionError,
)
from llmbot.console.documents_told import (
    check_told,
    database_copy_told,
    files_told,
    recovery_told,
    scan_told,
    version_told,
)
from llmbot.console.options import SettingsOptions
from llmbot.storage.database.backups import DATABASE
from llmbot.storage.documents.facts import DocumentCheck, Recovery, Stray
from llmbot.storage.documents.kinds import MisfitError, UnknownDocumentError

__all__ = ["document_actions"]

Handler = Callable[[Asked], Awaitable[Done]]

_T = TypeVar("_T")

KIND = "document"


def document_actions(bot: Running) -> Mapping[str, Handler]:
    """The actions by name."""
    documents = _Documents(bot)
    return {
        "datastore/recover": documents.recover,
        "datastore/validate": documents.validate,
        "datastore/validate-all": documents.validate_all,
        "datastore/backup": documents.backup,
        "datastore/restore": documents.restore,
        "datastore/scan": documents.scan,
        "datastore/versions": documents.versions,
        "config/change": documents.change_settings,
    }


class _Documents:
    def __init__(self, bot: Running) -> None:
        self._admin = bot.mechanisms.documents.admin
        self._clock = bot.house.clock
        self._reloader = bot.mechanisms.documents.reloader
        self._backups = bot.mechanisms.documents.backups
        self._database = bot.mechanisms.database

    async def validate(self, asked: Asked) -> Done:
        check = await _known(self._admin.validate(asked.target))
        if not check.ok:
            raise _invalid(f"{check.name} is {check.status}: {check.problem}", {check.name: check})
        return Done(told={"file": check.name, "valid": True, **check_told(check)})

    async def validate_all(self, asked: Asked) -> Done:
        del asked
        found = await self._admin.validate_all()
        if not found.ok:
            bad = [name for name, check in found.documents.items() if not check.ok]
            bad += [stray.file for stray in found.strays if not stray.parses]
            raise _invalid(f"Not valid: {', '.join(bad[:20])}.", found.documents, found.strays)
        return Done(told=files_told(found.documents, found.strays))

    async def scan(self, asked: Asked) -> Done:
        del asked
        return Done(told=scan_told(await self._admin.scan()))

    async def versions(self, asked: Asked) -> Done:
        found = await _known(self._admin.generations(asked.target))
        return Done(told={"file": asked.target, "versions": [version_told(one) for one in found]})

    async def recover(self, asked: Asked) -> Done:
        recovery = await _known(self._admin.recover(asked.target))
        return _recovered(recovery)

    async def restore(self, asked: Asked) -> Done:
        at = asked.options.get("at")
        at_s = at.timestamp() if isinstance(at, datetime) else self._clock.wall()
        recovery = await _known(self._admin.restore(asked.target, at_s))
        return _recovered(recovery)

    async def backup(self, asked: Asked) -> Done:
        del asked
        kept: dict[str, object] = {}
        for name in await self._admin.names():
            generation = await self._admin.backup(name)
            kept[name] = version_told(generation)
        if self._backups is not None:
            copy = await self._backups.take(self._database)
            kept[DATABASE] = database_copy_told(copy)
        return Done(told={"files": kept, "count": len(kept)})

    async def change_settings(self, asked: Asked) -> Done:
        options = SettingsOptions.model_validate(asked.options, by_name=True)
        wanted = {**options.settings, **dict.fromkeys(options.reset)}
        try:
            changed = await change_settings(self._reloader, wanted, dry=options.dry_run)
        except MisfitError as error:
            raise WrongOptionError(str(error)) from None
        told = {"difference": changed.difference, "dryRun": options.dry_run}
        if not changed.in_force and not options.dry_run:
            raise ActionError(
                "It was saved, but something else is in force: another change came in between.",
                code="not_in_force",
                remedy="Look at the settings, and change them again.",
                facts=told,
            )
        return Done(changed.before, changed.after, told)


async def _known(work: Awaitable[_T]) -> _T:
    try:
        return await work
    except UnknownDocumentError as error:
        raise UnknownTargetError(KIND, error.known) from None


def _recovered(recovery: Recovery) -> Done:
    """The answer to a repair, from the file as it was read again."""
    told = recovery_told(recovery)
    before = {"status": str(recovery.before), "problem": recovery.problem}
    if not recovery.after.ok:
        raise ActionError(
            f"{recovery.name} is {recovery.after.status} still: {recovery.after.problem}",
            code="data_invalid",
            remedy="See data/quarantine and data/backups; `llmbot data` works with the bot down.",
            facts={**told, "before": before, "after": check_told(recovery.after)},
        )
    return Done(before, check_told(recovery.after), told)


def _invalid(
    words: str, checks: Mapping[str, DocumentCheck], strays: Iterable[Stray] = ()
) -> ActionError:
    return ActionError(
        words,
        code="data_invalid",
        remedy="POST /api/admin/datastore/recover/FILE repairs a document.",
        facts=files_told(checks, strays),
    )
