"""An inbound message as JSON for the durable queue, and back."""

from __future__ import annotations

from typing import Any

import orjson

from llmbot.conversation.ledger.sealed import seal, unseal
from llmbot.conversation.messages import (
    Attachment,
    ChannelMessage,
    Inbound,
    InteractionRef,
    LongRequest,
    LongTask,
    Source,
)


def dump_inbound(inbound: Inbound) -> str:
    """Serialise for the queue's payload column."""
    # orjson writes slotted dataclasses and enums natively, several times faster than asdict.
    return seal(orjson.dumps(inbound).decode())


def load_inbound(payload: str) -> Inbound:
    """Read back what `dump_inbound` wrote.

    Raises:
        ValueError: the payload is not one of ours, e.g. after the file was damaged.
    """
    try:
        raw = orjson.loads(unseal(payload))
        return Inbound(
            **{
                **raw,
                "source": Source(raw["source"]),
                "role_ids": tuple(raw.get("role_ids") or ()),
                "attachments": _attachments(raw["attachments"]),
                "referenced": _channel_message(raw["referenced"]),
                "long": _long_request(raw.get("long")),
                "interaction": InteractionRef(**raw["interaction"]) if raw["interaction"] else None,
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"unreadable queue payload: {type(error).__name__}") from None


def _long_request(raw: dict[str, Any] | None) -> LongRequest | None:
    return None if raw is None else LongRequest(**{**raw, "task": LongTask(raw["task"])})


def _attachments(raw: list[dict[str, Any]]) -> tuple[Attachment, ...]:
    return tuple(Attachment(**item) for item in raw)


def _channel_message(raw: dict[str, Any] | None) -> ChannelMessage | None:
    if raw is None:
        return None
    return ChannelMessage(**{**raw, "attachments": _attachments(raw["attachments"])})
