"""`/privacy`: what the bot keeps of who asks, shown to them alone or deleted."""

from __future__ import annotations

from llmbot.conversation.memory.privacy import Privacy
from llmbot.conversation.messages import CommandReply, CommandRequest

CHOICES = ("export", "delete")
CONFIRM = "yes"

PART_CHARACTERS = 1900
"""Fits a message of 2000 with its code fence. Source: Discord API reference, "Create Message"."""

PARTS_A_PAGE = 8
"""Messages of one answer: more at once would meet Discord's limits."""

_FENCE = "`\u200b``"
"""A fence inside the export must not end the fence around it."""


class PrivacyCommand:
    """Answers in private; nobody can ask for anybody else."""

    def __init__(self, privacy: Privacy) -> None:
        """Ask `privacy`."""
        self._privacy = privacy

    async def privacy(self, request: CommandRequest) -> CommandReply:
        """Show or delete everything about who asks.

        Raises:
            StoreUnavailableError: it could not be read, or is not all deleted yet.
        """
        action = request.options.get("action", "")
        if action == "export":
            return await self._export(request)
        if action == "delete":
            return await self._delete(request)
        return CommandReply(
            "I keep what you ask me and what I answer, for a while, to go on from there; what you "
            "set with `/preferences`; and how much you ask. `/privacy action:export` shows you all "
            "of it, `/privacy action:delete` deletes it."
        )

    async def _export(self, request: CommandRequest) -> CommandReply:
        text = (await self._privacy.export(request.user_id)).replace("```", _FENCE)
        parts = [text[i : i + PART_CHARACTERS] for i in range(0, len(text), PART_CHARACTERS)]
        pages = -(-len(parts) // PARTS_A_PAGE)
        given = request.options.get("page", "")
        page = min(max(int(given) if given.isdecimal() else 1, 1), pages)
        shown = parts[(page - 1) * PARTS_A_PAGE : page * PARTS_A_PAGE]
        head = f"Everything I keep of you, page {page} of {pages}."
        if page < pages:
            head += f" `/privacy action:export page:{page + 1}` goes on."
        return CommandReply(head, more=tuple(f"```json\n{part}\n```" for part in shown))

    async def _delete(self, request: CommandRequest) -> CommandReply:
        if request.options.get("confirm", "").casefold() != CONFIRM:
            return CommandReply(
                "This deletes what you asked me and what I answered, everywhere, also the parts of "
                "summaries that hold it, and what you set. It cannot be undone. "
                f"`/privacy action:delete confirm:{CONFIRM}` does it. What stands in the channels "
                "is Discord's and stays."
            )
        done = await self._privacy.forget(request.user_id)
        return CommandReply(
            f"Deleted: your part in {done.conversations} conversation(s), what I knew of "
            f"{done.messages} message(s), your preferences, and {done.files} further copies."
        )
