"""Settings that change while the bot runs: checked first, announced, kept by version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.documents import Heard
from tests.support.waiting import PATIENCE_S

from llmbot.app.settings.change import change_settings, changeable_of
from llmbot.app.settings.reload import (
    CurrentSettings,
    Reloader,
    SettingsRefused,
    SettingsReloaded,
    Value,
    merged,
    reloadable,
    settings_kind,
)
from llmbot.app.settings.tree import Settings
from llmbot.console.actions import UnknownTargetError
from llmbot.conversation.rules.server_settings import SERVERS, ServerSettings
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.events import EventBus
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.facts import DataInvalid
from llmbot.storage.documents.kinds import Kinds, MisfitError
from llmbot.storage.documents.store import DocumentStore


class Rig:
    """A reloader on a real file."""

    def __init__(self, root: Path, base: Settings) -> None:
        self.root = root
        self.bus = EventBus(SystemClock())
        self.heard = Heard()
        self.bus.subscribe(lambda published: self.heard(published.event))
        kind = settings_kind(base)
        kinds = Kinds([kind, SERVERS])
        self.store = DocumentStore(root, kinds, SystemClock(), self.bus.publish)
        self.admin = DocumentAdmin(self.store, self.bus.publish)
        self.current = CurrentSettings(base)
        self.reloader = Reloader(
            self.store, self.admin, kind, self.current, self.bus, SystemClock()
        )
        self.applied: list[Settings] = []
        self.reloader.apply = self.applied.append

    def edit(self, **settings: object) -> str:
        """An operator's edit of the file."""
        path = self.root / "settings.json"
        whole = json.loads(path.read_text()) | {"settings": settings}
        path.write_text(json.dumps(whole, indent=2))
        return path.read_text()

    def values(self) -> object:
        """What the file says."""
        return json.loads((self.root / "settings.json").read_text())["settings"]


@asynccontextmanager
async def rig(root: Path, base: Settings | None = None) -> AsyncIterator[Rig]:
    """A reloader that has loaded and watches."""
    made = Rig(root, base or Settings())
    await made.store.start()
    await made.reloader.load()
    watching = asyncio.create_task(made.reloader.watch())
    try:
        yield made
    finally:
        watching.cancel()
        await asyncio.wait((watching,))
        await made.store.stop()


async def test_an_operators_change_is_in_force_and_kept(tmp_path: Path) -> None:
    """A change is durable and in force on return, numbers as numbers; a reset takes it out."""
    async with rig(tmp_path, Settings().replaced(limits={"rate_user_rpm": 7})) as made:
        wanted = {"RATE_LIMIT_USER_RPM": "10", "SYSTEM_PROMPT": "5"}
        changed = await change_settings(made.reloader, wanted)
        assert changed.in_force
        assert "RATE_LIMIT_USER_RPM: 7 -> 10" in changed.difference
        assert made.values() == {"RATE_LIMIT_USER_RPM": 10, "SYSTEM_PROMPT": "5"}
        assert made.applied[-1].limits.rate_user_rpm == 10
        told = (await changeable_of(made.reloader)).settings["RATE_LIMIT_USER_RPM"]
        assert (told.value, told.without_file, told.in_file) == ("10", "7", 10)
        changed = await change_settings(made.reloader, {"RATE_LIMIT_USER_RPM": None})
        assert changed.after == {"RATE_LIMIT_USER_RPM": "7"}
        assert made.values() == {"SYSTEM_PROMPT": "5"}
        assert len(await made.reloader.versions()) >= 2


async def test_a_dry_run_tells_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    """What would change is told; file and settings stay as they are."""
    async with rig(tmp_path) as made:
        wanted: dict[str, Value | None] = {"ATTEMPTS_MAX": 9, "PERSONA": "default"}
        changed = await change_settings(made.reloader, wanted, dry=True)
        assert changed.difference == ["ATTEMPTS_MAX: 5 -> 9"]
        assert not changed.in_force
        assert made.values() == {}
        assert made.applied == []


async def test_a_change_builds_on_an_edit_by_hand(tmp_path: Path) -> None:
    """What somebody wrote into the file a moment before is not lost."""
    async with rig(tmp_path) as made:
        made.edit(ATTEMPTS_MAX=7)
        await change_settings(made.reloader, {"MEMORY_DAYS": 3})
        assert made.values() == {"ATTEMPTS_MAX": 7, "MEMORY_DAYS": 3}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"ATTEMPTS_MAX": 0}, "1 to 50"),
        ({"ATTEMPTS_MAX": "many"}, "1 to 50"),
        ({"ATTEMPTS_MAX": True}, "1 to 50"),
        ({"DEADLINE_CHAIN_S": 10**400}, "3600"),
        ({"DISCORD_TOKEN": "hush-hush"}, "is a secret"),
        ({"DISCORD_TOKEN": None}, "is a secret"),
        ({"HTTP_HOST": "0.0.0.0"}, "at a start only"),  # noqa: S104 - refused
        ({"ATEMPTS_MAX": 3}, "known: .*ATTEMPTS_MAX"),
        ({"hush-hush": 3}, "known: .*ATTEMPTS_MAX"),
        ({"PERSONAS": "/etc/hush-hush"}, "must be JSON"),
    ],
)
async def test_a_change_that_does_not_fit_changes_nothing(
    tmp_path: Path, wanted: dict[str, Value | None], words: str
) -> None:
    """It is refused whole, with the cure and without its values; no secret and no file is read."""
    async with rig(tmp_path) as made:
        for dry in (True, False):
            with pytest.raises((MisfitError, UnknownTargetError), match=words) as refused:
                await change_settings(made.reloader, {"MEMORY_DAYS": 3, **wanted}, dry=dry)
            assert "hush" not in str(refused.value)
        assert made.values() == {}
        assert made.applied == []


async def test_the_first_start_makes_the_file(tmp_path: Path) -> None:
    """From the first start on there is a file to edit, with its `.bak`, that changes nothing."""
    async with rig(tmp_path) as r:
        assert r.values() == {}
        assert (tmp_path / "settings.json.bak").exists()
        assert r.applied == []


async def test_an_edit_takes_effect_without_a_restart(tmp_path: Path) -> None:
    """A valid edit is in force as soon as it is written, and what changed is said."""
    async with rig(tmp_path) as r:
        await r.reloader.watching.wait()
        reloaded = r.bus.expect(SettingsReloaded)
        r.edit(RATE_LIMIT_USER_RPM=7, MEMORY_DAYS="3")
        default = Settings().limits.rate_user_rpm
        assert (
            f"RATE_LIMIT_USER_RPM: {default} -> 7"
            in (await asyncio.wait_for(reloaded, PATIENCE_S)).changed
        )
        assert r.current.settings.limits.rate_user_rpm == 7
        assert r.current.settings.memory.days == 3
        assert r.applied[-1] is r.current.settings


async def test_an_edit_is_seen_below_a_relative_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data directory may be named from where the bot was started, as it is by default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    async with rig(Path("data")) as r:
        await r.reloader.watching.wait()
        reloaded = r.bus.expect(SettingsReloaded)
        r.edit(MEMORY_DAYS=3)
        await asyncio.wait_for(reloaded, PATIENCE_S)
        assert r.current.settings.memory.days == 3


async def test_an_edit_in_two_steps_is_left_alone(tmp_path: Path) -> None:
    """What is no document for a moment is not put aside: the whole one that follows is in force."""
    async with rig(tmp_path) as r:
        await r.reloader.watching.wait()
        reloaded = r.bus.expect(SettingsReloaded)
        file = tmp_path / "settings.json"
        file.write_text('{"settings": {"MEMO')
        file.write_text(json.dumps({"settings": {"MEMORY_DAYS": 3}}))
        await asyncio.wait_for(reloaded, PATIENCE_S)
        assert r.current.settings.memory.days == 3
        assert not r.heard.of(DataInvalid)


async def test_a_servers_edit_is_seen_too(tmp_path: Path) -> None:
    """An edit of a server's document is in force without anybody asking for it."""
    async with rig(tmp_path) as r:
        await r.store.put(SERVERS.ref(5), ServerSettings())
        await r.reloader.watching.wait()
        seen: asyncio.Queue[ServerSettings | None] = asyncio.Queue()
        r.store.listen(SERVERS, lambda _ref, value: seen.put_nowait(value))
        (tmp_path / "servers/5.json").write_text(json.dumps({"userMessagesPerMinute": 42}))
        edited = await asyncio.wait_for(seen.get(), PATIENCE_S)
        assert edited == ServerSettings(user_messages_per_minute=42)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"RATE_LIMIT_USER_RPM": "many"}, "RATE_LIMIT_USER_RPM"),
        ({"RATE_LIMIT_USR_RPM": 5}, "did you mean RATE_LIMIT_USER_RPM"),
        ({"DISCORD_TOKEN": "abc"}, "is a secret"),
        ({"HTTP_PORT": 1}, "restart"),
        ({"MEMORY_TURNS": -1}, "MEMORY_TURNS"),
        ({"PERSONA": "nobody"}, "PERSONA"),
        ({"DEADLINE_FIRST_WORDS_S": 500}, "DEADLINE_FIRST_WORDS_S"),
        ({"MEMORY_TURNS": [1]}, "MEMORY_TURNS"),
    ],
)
async def test_a_bad_edit_is_refused_with_the_difference(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    """A bad file is put aside, named with what it wanted, and the last good one is in force."""
    async with rig(tmp_path) as r:
        r.edit(RATE_LIMIT_USER_RPM=7)
        await r.reloader.load()
        in_force = r.current.settings
        bad = r.edit(**settings)
        await r.reloader.load()
        refused = r.heard.of(SettingsRefused)[-1]
        assert words in refused.problem
        assert any(name in line for line in refused.difference for name in settings)
        assert "abc" not in refused.describe()
        assert r.current.settings is in_force
        assert r.values() == {"RATE_LIMIT_USER_RPM": 7}
        kept = r.heard.of(DataInvalid)[-1].quarantined
        assert (tmp_path / kept).read_text() == bad


async def test_a_bad_edit_while_the_bot_is_down_is_refused_at_the_start(tmp_path: Path) -> None:
    """The next life starts with the last good version, and says what it refused."""
    async with rig(tmp_path) as r:
        r.edit(RATE_LIMIT_USER_RPM=7)
        await r.reloader.load()
    r.edit(RATE_LIMIT_USER_RPM=-1)
    async with rig(tmp_path) as r:
        assert r.current.settings.limits.rate_user_rpm == 7
        assert r.heard.of(SettingsRefused)


async def test_versions_can_be_rolled_back(tmp_path: Path) -> None:
    """Every version is kept, edits by hand too, and any of them can be put in force again."""
    async with rig(tmp_path) as r:
        for rpm in (5, 6, 7):
            r.edit(RATE_LIMIT_USER_RPM=rpm)
            await r.reloader.load()
        versions = await r.reloader.versions()
        times = sorted({version.saved_at_s for version in versions})
        assert len(times) == 4
        await r.reloader.rollback(times[1])
        assert r.current.settings.limits.rate_user_rpm == 5
        await r.reloader.rollback(times[3])
        assert r.current.settings.limits.rate_user_rpm == 7
        await r.reloader.rollback(times[0])
        assert r.current.settings == Settings()


async def test_the_file_stands_above_the_environment(tmp_path: Path) -> None:
    """What the file says wins over the start's settings; what it leaves out is as at the start."""
    base = Settings().replaced(limits={"rate_user_rpm": 3, "rate_rpm": 9})
    async with rig(tmp_path, base) as r:
        r.edit(RATE_LIMIT_USER_RPM=7)
        await r.reloader.load()
        assert r.current.settings.limits.rate_user_rpm == 7
        assert r.current.settings.limits.rate_rpm == 9
        r.edit()
        await r.reloader.load()
        assert r.current.settings == base


def test_no_secret_can_be_set_by_the_file() -> None:
    """Tokens and keys are refused whatever their value, and none is listed as reloadable."""
    assert not [facts for facts in reloadable().values() if facts.secret]
    for name in ("DISCORD_TOKEN", "GOOGLE_API_KEY", "ADMIN_TOKEN"):
        with pytest.raises(MisfitError, match="secret"):
            merged(Settings(), {name: "x" * 60})


async def test_the_file_can_be_read_again_beside_what_is_in_force(tmp_path: Path) -> None:
    """What the disk says is told as it is, taken over or not; what cannot hold is refused."""
    made = Rig(tmp_path, Settings())
    await made.store.start()
    await made.reloader.load()
    made.edit(ATTEMPTS_MAX=9)
    assert (await made.reloader.reread()).limits.attempts_max == 9
    assert await made.reloader.reread() != made.reloader.in_force
    made.edit(ATTEMPTS_MAX="many")
    with pytest.raises(StoreUnavailableError, match="ATTEMPTS_MAX"):
        await made.reloader.reread()
    await made.store.stop()
