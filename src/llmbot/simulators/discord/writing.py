"""Writing and changing messages: shared by REST, interaction answers and the control API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmbot.simulators.discord import mentions
from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.errors import empty_message, missing_permissions
from llmbot.simulators.discord.files import picture_size
from llmbot.simulators.discord.model import (
    NOBODY,
    Attachment,
    Channel,
    Mentions,
    Message,
    User,
)
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.reading import Upload

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a checked body asks to be written."""

    content: str = ""
    embeds: tuple[Json, ...] = ()
    components: tuple[Json, ...] = ()
    uploads: tuple[Upload, ...] = ()
    rules: Json | None = None  # allowed_mentions
    flags: int = 0
    tts: bool = False
    nonce: str | int | None = None
    reference: tuple[int, int] | None = None
    replied_to: User | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        return not (self.content or self.embeds or self.components or self.uploads)


def draft_of(body: Json, uploads: tuple[Upload, ...]) -> Draft:
    """Return the draft of a body whose shape has been checked.

    White space around the content is dropped, as Discord drops it.
    """
    described = {
        int(each["id"]): each for each in body.get("attachments") or () if each is not None
    }
    named = tuple(
        Upload(
            upload.index,
            (described.get(upload.index) or {}).get("filename") or upload.filename,
            upload.content_type,
            upload.data,
        )
        for upload in uploads
    )
    return Draft(
        content=(body.get("content") or "").strip(),
        embeds=tuple(_shown_embed(each) for each in body.get("embeds") or ()),
        components=tuple(_numbered(body.get("components") or [])),
        uploads=named,
        rules=body.get("allowed_mentions"),
        flags=int(body.get("flags") or 0),
        tts=bool(body.get("tts")),
        nonce=body.get("nonce"),
    )


def write(core: Core, channel: Channel, author: User, draft: Draft) -> Message:
    """Write a message; it is not announced yet.

    Raises:
        ApiError: 50006 for an empty one, 50013 for files or embeds that are not permitted.
    """
    if draft.empty:
        raise empty_message()
    _check_extras(core, channel, author, draft)
    message = core.world.add_message(
        channel,
        author,
        draft.content,
        mentions=_mentions(core, channel, author, draft),
        attachments=[keep_file(core, upload) for upload in draft.uploads],
        reference=draft.reference,
        nonce=draft.nonce,
    )
    message.embeds = list(draft.embeds)
    message.components = list(draft.components)
    message.flags = draft.flags & _FLAGS_SETTABLE
    message.tts = draft.tts
    return message


# Suppress embeds, ephemeral (interactions only), suppress notifications, components v2.
_FLAGS_SETTABLE = 1 << 2 | 1 << 6 | 1 << 12 | 1 << 15


def rewrite(core: Core, channel: Channel, message: Message, body: Json, draft: Draft) -> None:
    """Change a message as a PATCH body asks; what it does not name stays.

    Raises:
        ApiError: 50006 where nothing would be left.
    """
    content = draft.content if "content" in body else message.content
    embeds = list(draft.embeds) if "embeds" in body else message.embeds
    components = list(draft.components) if "components" in body else message.components
    kept = message.attachments
    if body.get("attachments") is not None:
        named = {int(each["id"]) for each in body["attachments"]}
        kept = [each for each in message.attachments if each.id in named]
    if not (content or embeds or components or kept or draft.uploads):
        raise empty_message()
    _check_extras(core, channel, message.author, draft)
    mentioned = message.mentions
    if content != message.content or "allowed_mentions" in body:
        replied_to = _still_replied_to(core, channel, message)
        changed = Draft(content=content, rules=draft.rules, replied_to=replied_to)
        mentioned = _mentions(core, channel, message.author, changed)
    message.embeds = embeds
    message.components = components
    message.attachments = kept + [keep_file(core, upload) for upload in draft.uploads]
    if body.get("flags") is not None:
        message.flags = message.flags & ~_FLAGS_EDITABLE | draft.flags & _FLAGS_EDITABLE
    core.world.edit_message(message, content, mentioned)


def _still_replied_to(core: Core, channel: Channel, message: Message) -> User | None:
    """Return whom a reply that is edited goes on mentioning, if it did so before."""
    if message.reference is None or not message.mentions.replied_user:
        return None
    original = core.world.message(channel, message.reference[1])
    return None if original is None else original.author


_FLAGS_EDITABLE = 1 << 2 | 1 << 15


def keep_file(core: Core, upload: Upload) -> Attachment:
    """Store a file and return what a message says about it."""
    size = picture_size(upload.data)
    attachment = Attachment(
        core.world.new_id(),
        _safe_name(upload.filename),
        len(upload.data),
        upload.content_type,
        width=None if size is None else size[0],
        height=None if size is None else size[1],
    )
    core.files.put(attachment.id, upload.content_type, upload.data)
    return attachment


def _mentions(core: Core, channel: Channel, author: User, draft: Draft) -> Mentions:
    if "@" not in draft.content and draft.replied_to is None:
        return NOBODY
    return mentions.expand(
        core.world,
        core.world.guild_of(channel),
        draft.content,
        author_allowed=core.world.allowed(channel, author.id),
        rules=draft.rules,
        replied_to=draft.replied_to,
    )


def _check_extras(core: Core, channel: Channel, author: User, draft: Draft) -> None:
    if not (draft.uploads or draft.embeds):
        return
    allowed = core.world.allowed(channel, author.id)
    if draft.uploads and not allowed & Permission.ATTACH_FILES:
        raise missing_permissions()
    if draft.embeds and not allowed & Permission.EMBED_LINKS:
        raise missing_permissions()


def _shown_embed(embed: Json) -> Json:
    return {"type": "rich"} | {key: value for key, value in embed.items() if value is not None}


def _numbered(components: list[Json]) -> list[Json]:
    """Return components with the ids that Discord gives to those that have none."""
    numbers = iter(range(1, 1_000))

    def with_id(component: Json) -> Json:
        numbered = {key: value for key, value in component.items() if value is not None}
        numbered.setdefault("id", next(numbers))
        if "components" in numbered:
            numbered["components"] = [with_id(each) for each in numbered["components"]]
        return numbered

    return [with_id(each) for each in components]


def _safe_name(filename: str) -> str:
    """Return a file name as Discord keeps it: no separators, no white space."""
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in filename)
    return kept[-_FILENAME_MAX:] or "unknown"


_FILENAME_MAX = 200
