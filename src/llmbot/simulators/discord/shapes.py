"""The shapes of message bodies that Discord accepts, and the limits it publishes for them."""

from __future__ import annotations

from typing import Any

from llmbot.simulators.discord.errors import ErrorTree, leaf
from llmbot.simulators.discord.validation import (
    Check,
    any_of,
    anything,
    boolean,
    choice,
    integer,
    items,
    mapping,
    number,
    shape,
    snowflake,
    text,
)

CONTENT_MAX = 2000
NONCE_MAX = 25
EMBED_CHARACTERS_MAX = 6000

_MEDIA = shape({"url": text(longest=2048)})
_EMBED = shape(
    {
        "title": text(longest=256),
        "type": text(),
        "description": text(longest=4096),
        "url": text(longest=2048),
        "timestamp": text(),
        "color": integer(0, 0xFFFFFF),
        "footer": shape({"text": text(longest=2048), "icon_url": text(longest=2048)}),
        "image": _MEDIA,
        "thumbnail": _MEDIA,
        "video": _MEDIA,
        "provider": mapping(),
        "author": shape({"name": text(longest=256), "url": text(longest=2048)}),
        "fields": items(
            shape(
                {
                    "name": text(longest=256, shortest=1),
                    "value": text(longest=1024, shortest=1),
                    "inline": boolean(),
                },
                required=("name", "value"),
            ),
            most=25,
        ),
    }
)


def _embeds(value: Any) -> ErrorTree | None:
    wrong = items(_EMBED, most=10)(value)
    if wrong is not None:
        return wrong
    if sum(_embed_characters(embed) for embed in value) > EMBED_CHARACTERS_MAX:
        words = f"Embed size exceeds maximum size of {EMBED_CHARACTERS_MAX}"
        return {"0": leaf("MAX_EMBED_SIZE_EXCEEDED", words)}
    return None


def _embed_characters(embed: dict[str, Any]) -> int:
    total = len(embed.get("title") or "") + len(embed.get("description") or "")
    total += len((embed.get("footer") or {}).get("text") or "")
    total += len((embed.get("author") or {}).get("name") or "")
    return total + sum(len(f["name"]) + len(f["value"]) for f in embed.get("fields") or ())


def _allowed_mentions(value: Any) -> ErrorTree | None:
    wrong = shape(
        {
            "parse": items(choice(("users", "roles", "everyone"))),
            "users": items(snowflake(), most=100),
            "roles": items(snowflake(), most=100),
            "replied_user": boolean(),
        }
    )(value)
    if wrong is not None:
        return wrong
    for kind in ("users", "roles"):
        if kind in (value.get("parse") or ()) and value.get(kind):
            words = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            return {"_errors": leaf("MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", words)["_errors"]}
    return None


def _component_below(value: Any) -> ErrorTree | None:
    return _component(value)


def _component(value: Any) -> ErrorTree | None:
    """Check a component and what it holds; text inputs and layout parts in outline only."""
    return shape(
        {
            "type": integer(1, 30),
            "id": integer(0),
            "custom_id": text(longest=100, shortest=1),
            "style": integer(1, 6),
            "label": text(longest=80),
            "url": text(longest=512),
            "disabled": boolean(),
            "emoji": mapping(),
            "placeholder": text(longest=150),
            "min_values": integer(0, 25),
            "max_values": integer(1, 25),
            "options": items(
                shape(
                    {
                        "label": text(longest=100, shortest=1),
                        "value": text(longest=100, shortest=1),
                        "description": text(longest=100),
                    },
                    required=("label", "value"),
                ),
                most=25,
            ),
            "components": items(_component, most=10),
            "component": _component_below,
        },
        required=("type",),
    )(value)


_ATTACHMENT = shape(
    {
        "id": snowflake(),
        "filename": text(longest=1024, shortest=1),
        "description": text(longest=1024),
        "title": text(longest=1024),
        "duration_secs": number(),
    },
    required=("id",),
)
_REFERENCE = shape(
    {
        "type": choice((0, 1)),
        "message_id": snowflake(),
        "channel_id": snowflake(),
        "guild_id": snowflake(),
        "fail_if_not_exists": boolean(),
    },
    required=("message_id",),
)
_NONCE = any_of(integer(-(1 << 63), (1 << 63) - 1), text(longest=NONCE_MAX))


def _nonce(value: Any) -> ErrorTree | None:
    if isinstance(value, str):
        return text(longest=NONCE_MAX)(value)
    return _NONCE(value)


_COMMON: dict[str, Check] = {
    "content": text(longest=CONTENT_MAX),
    "embeds": _embeds,
    "allowed_mentions": _allowed_mentions,
    "components": items(_component, most=40),
    "flags": integer(0),
    "attachments": items(_ATTACHMENT, most=10),
}
_POLL = shape(
    {
        "question": shape({"text": text(longest=300, shortest=1)}),
        "answers": items(
            shape(
                {"poll_media": shape({"text": text(longest=55, shortest=1), "emoji": mapping()})},
                required=("poll_media",),
            ),
            most=10,
        ),
        "allow_multiselect": boolean(),
        "layout_type": choice((1,)),
        "duration": integer(1, 768),
    },
    required=("question", "answers"),
)
MESSAGE_EDIT = shape(_COMMON)
WEBHOOK_MESSAGE = shape(_COMMON | {"tts": boolean(), "poll": _POLL})
MESSAGE_CREATE = shape(
    _COMMON
    | {
        "nonce": _nonce,
        "enforce_nonce": boolean(),
        "tts": boolean(),
        "message_reference": _REFERENCE,
        "sticker_ids": items(snowflake(), most=3),
        "poll": _POLL,
    }
)
CALLBACK = shape({"type": choice((1, 4, 5, 6, 7, 8, 9, 12)), "data": mapping()}, required=("type",))
CALLBACK_CHOICES = shape(
    {
        "choices": items(
            shape(
                {"name": text(longest=100, shortest=1), "value": anything()},
                required=("name", "value"),
            ),
            most=25,
        )
    },
    required=("choices",),
)
CALLBACK_MODAL = shape(
    {
        "custom_id": text(longest=100, shortest=1),
        "title": text(longest=45, shortest=1),
        "components": items(_component, most=40),
    },
    required=("custom_id", "title", "components"),
)
THREAD = shape(
    {
        "name": text(longest=100, shortest=1),
        "auto_archive_duration": choice((60, 1440, 4320, 10080)),
        "rate_limit_per_user": integer(0, 21600),
        "type": choice((10, 11, 12)),
        "invitable": boolean(),
    },
    required=("name",),
)
