"""The ledger tells a message's whole story, and none of its words."""

from __future__ import annotations

from pathlib import Path

from tests.support.conversation import talk
from tests.support.models import ScriptedModel

from llmbot.kernel.errors import ModelUnavailableError


async def test_the_story_names_every_model_every_part_and_the_end(tmp_path: Path) -> None:
    """Claim, lease, each model that was asked and what came of it, each part's id, the outcome."""
    broken = ScriptedModel(lambda _: [ModelUnavailableError("overloaded")], name="first")
    whole = ScriptedModel(lambda _: ["a secret " * 400], name="second")
    async with talk(tmp_path / "db", broken, whole) as t:
        delivered = await t.ask("my secret")
        await t.store.tell(delivered.message_id, "looked", "")
        story = await t.store.story(delivered.message_id)
        facts = [line.fact for line in story]
        for earlier, later in (
            ("claimed", "leased"),
            ("leased", "generating"),
            ("generating", "model failed"),
            ("model failed", "delivering"),
            ("delivering", "done"),
        ):
            assert facts.index(earlier) < facts.index(later)
        (failed,) = (line.detail for line in story if line.fact == "model failed")
        assert failed.startswith("scripted first after ")
        assert failed.endswith("model_unavailable")
        (answered,) = (line.detail for line in story if line.fact == "delivering")
        assert "scripted second in " in answered
        parts = {line.detail for line in story if line.fact == "part sent"}
        ours = [message.id for message in t.discord.ours(100)]
        assert parts == {f"{number}: {ours[number]}" for number in range(2)}
        assert [line.detail.split(",")[0] for line in story if line.fact == "done"] == ["2 part(s)"]
        assert "secret" not in str(story)
