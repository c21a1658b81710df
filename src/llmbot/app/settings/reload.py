"""Settings that change while the bot runs: `data/settings.json`, above environment and `.env`.

    {"settings": {"RATE_LIMIT_USER_RPM": 10, "PERSONA": "pirate"}}

The file is a document like the others, whose shape is that all of it is a valid setting: a bad one
is put aside and the last good one comes back, is announced with what it would have changed, and
every version is kept for a rollback. Only settings that take effect at once are taken here; tokens
and keys never are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from watchfiles import Change, awatch

from llmbot.app.settings.fields import SettingFacts, settings_of
from llmbot.app.settings.sources import nest, unknown_words
from llmbot.app.settings.tree import Settings
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, SettingsError, StoreUnavailableError
from llmbot.kernel.events import EventBus, Level, Noted
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.facts import Generation, Recovery, Status, shortened
from llmbot.storage.documents.format import JsonObject
from llmbot.storage.documents.kinds import Kind, MisfitError, Problem, Ref, problems_of
from llmbot.storage.documents.store import DocumentStore

NAME = "settings.json"
VALUES_MAX = 200
_SHOWN_MAX = 60
_GROUPS = frozenset({"context", "memory", "personas", "attachments"})
_SINGLE = frozenset(
    {
        "RATE_LIMIT_RPM",
        "RATE_LIMIT_DAILY",
        "RATE_LIMIT_USER_RPM",
        "RATE_LIMIT_CHANNEL_RPM",
        "RATE_LIMIT_GUILD_RPM",
        "ANSWER_WAIT_MAX_S",
        "ATTEMPTS_MAX",
        "DEADLINE_CONNECT_S",
        "DEADLINE_FIRST_WORDS_S",
        "DEADLINE_BETWEEN_WORDS_S",
        "DEADLINE_WHOLE_ANSWER_S",
        "DEADLINE_CHAIN_S",
        "STREAM_SETTLE_MS",
        "NOTICE_AFTER_S",
        "CACHED_ANSWER_S",
        "MAINTENANCE_NOTICE_S",
    }
)
WATCHED = ("servers", "users")
"""Folders of what people edit; conversations change too often to look at each time."""
_AGAIN_S = 30.0
SETTLE_S = 3.0
"""Before what an edit left damaged is put aside and mended."""

_DEBOUNCE_MS = 200

Value = str | int | float | bool


class RuntimeSettings(BaseModel):
    """The values by their flat names, spelled as in the environment or as JSON has them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    settings: dict[str, Value] = Field(default_factory=dict, max_length=VALUES_MAX)


@dataclass(frozen=True, slots=True)
class SettingsReloaded:
    """Settings changed while the bot runs; the values are no secrets."""

    level: ClassVar[Level] = Level.INFO
    changed: tuple[str, ...]

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Settings reloaded: {shortened(self.changed)}"


@dataclass(frozen=True, slots=True)
class SettingsRefused:
    """A bad `settings.json` was put aside; the last known good one is in force."""

    level: ClassVar[Level] = Level.ERROR
    problem: str
    difference: tuple[str, ...]
    """What it would have changed, compared with what is in force."""

    def describe(self) -> str:
        """See `Event.describe`."""
        wanted = f" It wanted {shortened(self.difference)}." if self.difference else ""
        return f"{NAME} is refused and the last good one kept: {self.problem}.{wanted}"


class CurrentSettings:
    """The settings that are in force now."""

    def __init__(self, settings: Settings) -> None:
        """Begin with those of the start."""
        self.settings = settings


def reloadable() -> dict[str, SettingFacts]:
    """The settings that take effect at once, by their names."""
    return {
        facts.env: facts
        for facts in settings_of(Settings)
        if not facts.secret and (facts.path[0] in _GROUPS or facts.env in _SINGLE)
    }


def settings_kind(base: Settings) -> Kind[RuntimeSettings]:
    """The kind of `settings.json` for a bot whose environment says `base`."""

    def load(body: JsonObject) -> RuntimeSettings:
        try:
            given = RuntimeSettings.model_validate(body)
        except ValidationError as error:
            raise MisfitError(problems_of(error)) from None
        merged(base, given.settings)
        return given

    def dump(value: RuntimeSettings) -> JsonObject:
        return value.model_dump(mode="json")

    return Kind(
        name="settings",
        load=load,
        dump=dump,
        default=RuntimeSettings,
        key="settings",
        generations_max=30,
        generation_every_s=0.0,
    )


def merged(base: Settings, given: Mapping[str, Value]) -> Settings:
    """The settings of the start with those of the file above them.

    Raises:
        MisfitError: a name or a value is wrong; names each, and the cure.
    """
    known = {facts.env: facts for facts in settings_of(Settings)}
    allowed = reloadable()
    problems = []
    for name in given:
        if name in allowed:
            continue
        if name not in known:
            problems.append(Problem(("settings", name[:_SHOWN_MAX]), unknown_words(name, allowed)))
        elif known[name].secret:
            problems.append(Problem(("settings", name), "is a secret: it belongs into .env"))
        else:
            words = "takes effect at a start only: set it in .env and restart"
            problems.append(Problem(("settings", name), words))
    if problems:
        raise MisfitError(problems)
    tree = nest(Settings, {name: _spelled(value) for name, value in given.items()})
    try:
        return base.replaced(**tree)
    except SettingsError as error:
        sentences = str(error).splitlines()
        raise MisfitError([_problem(sentence, known) for sentence in sentences]) from None


def _problem(sentence: str, known: Mapping[str, object]) -> Problem:
    name, _, words = sentence.partition(" ")
    if name in known:
        return Problem(("settings", name), words.rstrip("."))
    return Problem(("settings",), sentence.rstrip("."))


def _spelled(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Reloader:
    """Keeps the settings in force equal to the file."""

    def __init__(
        self,
        store: DocumentStore,
        admin: DocumentAdmin,
        kind: Kind[RuntimeSettings],
        current: CurrentSettings,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        """Read with `store`; `current` is told what is in force."""
        self._store = store
        self._admin = admin
        self._ref: Ref[RuntimeSettings] = kind.ref(kind.key)
        self._base = current.settings
        self._current = current
        self._bus = bus
        self._clock = clock
        # What is watched is named by its whole path, whatever the settings say.
        self._root = store.reader.root.absolute()
        self.apply: Callable[[Settings], None] = lambda _: None
        """Puts settings in force in every part of the bot."""
        self.watching = asyncio.Event()
        """Set while edits by hand are seen as they are made."""
        store.listen(kind, self._changed)

    async def load(self) -> None:
        """Put what the file says in force; a first start makes the file."""
        try:
            await self._look(self._ref)
            if await self._store.get(self._ref) is None:
                await self._store.put(self._ref, RuntimeSettings())
        except LlmbotError as error:
            self._bus.publish(Noted(NAME, f"not read: {error.code}"))

    async def watch(self) -> None:
        """See edits by hand, of this file and of the servers' and users', as they are made."""
        if not self._store.on_real_disk:
            await asyncio.Event().wait()
        told = False
        while True:
            try:
                await self._watch()
            except (OSError, RuntimeError, LlmbotError) as error:
                # The system gives no more watches; edits are seen by the patrol and by `validate`.
                if not told:
                    words = f"edits are not watched now: {type(error).__name__}"
                    self._bus.publish(Noted("watch", words))
                told = True
            self.watching.clear()
            await self._clock.sleep(_AGAIN_S)

    async def versions(self) -> list[Generation]:
        """Every version that is kept, newest first.

        Raises:
            StoreUnavailableError: the disk refused.
            UnknownDocumentError: there is no file yet.
        """
        return await self._admin.generations(self._ref.name)

    async def rollback(self, at_s: float) -> Recovery:
        """Put the version in force again that was at a wall-clock time.

        Raises:
            NoGenerationError: none is that old, or none fits any more.
            StoreUnavailableError: the disk refused.
            UnknownDocumentError: there is no file yet.
        """
        return await self._admin.restore(self._ref.name, at_s)

    # ── changed by an operator, see `change.py` ─────────────────────────────────────────────────

    @property
    def base(self) -> Settings:
        """The settings of the start, which hold where the file says nothing."""
        return self._base

    @property
    def in_force(self) -> Settings:
        """The settings that the bot uses now."""
        return self._current.settings

    async def reread(self) -> Settings:
        """What would be in force by the file on the disk; MisfitError where none would."""
        look = await self._store.look_at_disk(lambda: self._store.reader.look(self._ref))
        if look.status is Status.DAMAGED:
            raise StoreUnavailableError(f"{self._ref.name}: {look.problem}")
        return merged(self._base, look.value.settings if look.value is not None else {})

    async def held(self) -> Mapping[str, Value]:
        """What the file says.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        held = await self._store.get(self._ref)
        return {} if held is None else held.settings

    async def update(
        self, change: Callable[[Mapping[str, Value]], dict[str, Value]]
    ) -> dict[str, Value]:
        """Change what the file says, from what it says on the disk; durable and in force on return.

        Raises:
            MisfitError: as `change`.
            NewerDocumentError: a newer llmbot wrote it.
            StoreUnavailableError: it could not be read, or the new file is not durable yet.
        """
        await self._look(self._ref)
        written = await self._store.update(
            self._ref, lambda held: RuntimeSettings(settings=change(held.settings))
        )
        return written.settings

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        reader = self._store.reader
        make_ready = self._store.shelf.writer.make_ready
        for name in WATCHED:
            await self._store.on_disk(partial(make_ready, name))
        folders = [self._root, *(self._root / name for name in WATCHED)]

        def is_document(_: Change, path: str) -> bool:
            return reader.kinds.find_path(self._root, Path(path)) is not None

        self.watching.set()
        async for changes in awatch(
            *folders,
            watch_filter=is_document,
            recursive=False,
            debounce=_DEBOUNCE_MS,
            step=50,
        ):
            for path in {Path(path) for _, path in changes}:
                ref = reader.kinds.find_path(self._root, path)
                if ref is not None:
                    await self._seen(ref)

    async def _seen(self, ref: Ref[Any]) -> None:
        try:
            look = await self._store.look_at_disk(lambda: self._store.reader.look(ref))
            if look.status is Status.DAMAGED:
                # Somebody may be in the middle of it: an editor that saves in two steps, a script
                # that copies the `.bak` over it. What still is no document then is mended.
                await self._clock.sleep(SETTLE_S)
            if ref.name == self._ref.name:
                await self._look(ref)
            else:
                await self._admin.take_over(ref)
        except LlmbotError as error:
            self._bus.publish(Noted("watch", f"{ref.name}: {error.code}"))

    async def _look(self, ref: Ref[Any]) -> None:
        """Take over what the file says, and announce what it cannot say."""
        look = await self._store.look_at_disk(lambda: self._store.reader.look(ref))
        if look.status is Status.DAMAGED:
            self._bus.publish(SettingsRefused(look.problem, self._difference(look.raw)))
        await self._admin.take_over(ref)

    def _difference(self, raw: bytes) -> tuple[str, ...]:
        try:
            wanted = orjson.loads(raw)["settings"]
            names = [name for name in wanted if isinstance(name, str)]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return ()
        held = self._store.peek(self._ref)
        good = {} if held is None else held.settings
        allowed = reloadable()
        return tuple(
            f"{name}: {shortly(good.get(name))} -> {shortly(wanted[name])}"
            # Of names that are not ours nothing is shown: they may hold what was meant for .env.
            if name in allowed
            else name[:_SHOWN_MAX]
            for name in names
            if name not in good or good[name] != wanted[name]
        )

    def _changed(self, ref: Ref[RuntimeSettings], value: RuntimeSettings | None) -> None:
        del ref
        try:
            settings = merged(self._base, {} if value is None else value.settings)
        except MisfitError as error:
            self._bus.publish(SettingsRefused(str(error), ()))
            return
        before, after = self._current.settings.masked(), settings.masked()
        changed = tuple(
            f"{name}: {shortly(before[name])} -> {shortly(after[name])}"
            for name in after
            if before.get(name) != after[name]
        )
        if not changed:
            return
        known = set(self._current.settings.loosened())
        self._current.settings = settings
        self.apply(settings)
        self._bus.publish(SettingsReloaded(changed))
        for loose in settings.loosened():
            if loose not in known:
                self._bus.publish(loose)


def shortly(value: object) -> str:
    """A value as a line of a log shows it."""
    text = "default" if value is None else str(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
