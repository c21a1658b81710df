"""Answers to interactions over REST: the first callback, then messages through the token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmbot.simulators.discord import payloads, shapes
from llmbot.simulators.discord.errors import (
    ApiError,
    empty_message,
    invalid_form,
    leaf,
    unknown,
)
from llmbot.simulators.discord.interactions import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL,
    PING,
    Interaction,
)
from llmbot.simulators.discord.model import (
    FLAG_EPHEMERAL,
    FLAG_LOADING,
    MESSAGE_COMMAND,
    MESSAGE_REPLY,
    Message,
)
from llmbot.simulators.discord.rest import Answer, Call, Route
from llmbot.simulators.discord.rest_messages import shown
from llmbot.simulators.discord.validation import require
from llmbot.simulators.discord.writing import Draft, draft_of, rewrite, write

Json = dict[str, Any]

PONG = 1
ANSWER = 4
DEFER = 5
DEFER_UPDATE = 6
UPDATE = 7
CHOICES = 8
SHOW_MODAL = 9

# Which first answers fit which interaction.
_FITTING = {
    PING: (PONG,),
    COMMAND: (ANSWER, DEFER, SHOW_MODAL),
    COMPONENT: (ANSWER, DEFER, DEFER_UPDATE, UPDATE, SHOW_MODAL),
    AUTOCOMPLETE: (CHOICES,),
    MODAL: (ANSWER, DEFER, DEFER_UPDATE, UPDATE),
}
_ORIGINAL = "@original"


def _callback(call: Call) -> Answer | None:
    core = call.core
    require(shapes.CALLBACK, call.body)
    kind = int(call.body["type"])
    data = call.body.get("data") or {}
    interaction = _unanswered(call)
    _check_callback(call, interaction, kind, data)
    core.interactions.answered(interaction, kind, data)
    if kind in (ANSWER, DEFER):
        _first_message(call, interaction, data, deferred=kind == DEFER)
    elif kind == UPDATE and interaction.source is not None:
        source = interaction.source
        rewrite(core, interaction.channel, source, data, draft_of(data, call.uploads))
        core.announcer.message_updated(interaction.channel, source)
        interaction.original = source
    elif kind == DEFER_UPDATE:
        interaction.original = interaction.source
    core.announcer.show(
        "interaction_response",
        interaction_id=str(interaction.id),
        callback=kind,
        data=data,
        after_s=interaction.answered_after_s,
    )
    if call.query_flag("with_response"):
        return Answer(200, _callback_answer(call, interaction, kind))
    return None


def _unanswered(call: Call) -> Interaction:
    core = call.core
    try:
        return core.interactions.unanswered(
            call.id("interaction_id"), call.params["interaction_token"]
        )
    except ApiError as refusal:
        late = refusal.code == _UNKNOWN_INTERACTION
        core.statistics.count("interactions_late" if late else "interactions_twice")
        raise


_UNKNOWN_INTERACTION = 10062


def _check_callback(call: Call, interaction: Interaction, kind: int, data: Json) -> None:
    """Refuse an answer of the wrong kind or shape; a refused one may be tried again."""
    fitting = _FITTING[interaction.type]
    if kind not in fitting:
        words = f"Value must be one of {fitting}."
        raise invalid_form({"type": leaf("BASE_TYPE_CHOICES", words)})
    if kind in (ANSWER, UPDATE):
        require(shapes.WEBHOOK_MESSAGE, data)
    elif kind == CHOICES:
        require(shapes.CALLBACK_CHOICES, data)
    elif kind == SHOW_MODAL:
        require(shapes.CALLBACK_MODAL, data)
    if kind == ANSWER and draft_of(data, call.uploads).empty:
        raise empty_message()


def _first_message(call: Call, interaction: Interaction, data: Json, *, deferred: bool) -> None:
    core = call.core
    if deferred:
        flags = int(data.get("flags") or 0) & FLAG_EPHEMERAL | FLAG_LOADING
        message = core.world.add_message(interaction.channel, core.world.bot, "")
        message.flags = flags
        interaction.loading = True
    else:
        message = write(core, interaction.channel, core.world.bot, draft_of(data, call.uploads))
    message.type = MESSAGE_COMMAND if interaction.type == COMMAND else message.type
    message.interaction = origin(interaction)
    interaction.original = message
    core.announcer.message_created(interaction.channel, message)


def origin(interaction: Interaction) -> Json:
    """Return what an answer says about the interaction it belongs to."""
    return {
        "id": str(interaction.id),
        "type": interaction.type,
        "name": interaction.name,
        "user": payloads.user_object(interaction.user),
    }


def _callback_answer(call: Call, interaction: Interaction, kind: int) -> Json:
    about: Json = {
        "id": str(interaction.id),
        "type": interaction.type,
        "channel_id": str(interaction.channel.id),
    }
    if interaction.guild_id is not None:
        about["guild_id"] = str(interaction.guild_id)
    body: Json = {"interaction": about}
    message = interaction.original
    if message is not None and kind in (ANSWER, DEFER, UPDATE, DEFER_UPDATE):
        about["response_message_id"] = str(message.id)
        about["response_message_loading"] = interaction.loading
        about["response_message_ephemeral"] = message.ephemeral
    if message is not None and kind in (ANSWER, DEFER):
        # The deferred answer names type 4 too: a message of ours exists, if a loading one.
        body["resource"] = {"type": ANSWER, "message": shown(call, message)}
    elif message is not None and kind == UPDATE:
        body["resource"] = {"type": UPDATE, "message": shown(call, message)}
    return body


# through the token ------------------------------------------------------------------------------


def _interaction(call: Call) -> Interaction:
    if call.id("webhook_id") != call.core.world.application_id:
        raise unknown("Webhook")
    return call.core.interactions.with_token(call.params["webhook_token"])


def _follow_up(call: Call) -> Json:
    interaction = _interaction(call)
    core = call.core
    body = {} if call.body is None else call.body
    require(shapes.WEBHOOK_MESSAGE, body)
    draft = draft_of(body, call.uploads)
    if interaction.loading and interaction.original is not None:
        # The first follow-up after a deferred answer takes its place.
        if draft.empty:
            raise empty_message()
        _fill(call, interaction, interaction.original, body, draft)
        return shown(call, interaction.original)
    message = write(core, interaction.channel, core.world.bot, draft)
    message.interaction = origin(interaction)
    if interaction.original is not None:
        message.type = MESSAGE_REPLY
        message.reference = (interaction.channel.id, interaction.original.id)
    interaction.followups.append(message.id)
    core.announcer.message_created(interaction.channel, message)
    return shown(call, message)


def _read(call: Call) -> Json:
    return shown(call, _message(call, _interaction(call)))


def _edit(call: Call) -> Json:
    interaction = _interaction(call)
    message = _message(call, interaction)
    body = {} if call.body is None else call.body
    require(shapes.WEBHOOK_MESSAGE, body)
    _fill(call, interaction, message, body, draft_of(body, call.uploads))
    return shown(call, message)


def _fill(call: Call, interaction: Interaction, message: Message, body: Json, draft: Draft) -> None:
    """Change an answer; a deferred one stops loading."""
    if "attachments" not in body and call.uploads:
        body = {**body, "attachments": [{"id": each.id} for each in message.attachments]}
        draft = replace(draft, uploads=call.uploads)
    rewrite(call.core, interaction.channel, message, body, draft)
    if message is interaction.original:
        interaction.loading = False
        message.flags &= ~FLAG_LOADING
    call.core.announcer.message_updated(interaction.channel, message)


def _delete(call: Call) -> None:
    interaction = _interaction(call)
    message = _message(call, interaction)
    call.core.world.delete_message(message)
    call.core.announcer.message_deleted(interaction.channel, message)


def _message(call: Call, interaction: Interaction) -> Message:
    name = call.params["message_id"]
    if name == _ORIGINAL:
        message = interaction.original
    else:
        message_id = call.id("message_id")
        own = message_id in interaction.followups
        own = own or (interaction.original is not None and interaction.original.id == message_id)
        message = interaction.channel.messages.get(message_id) if own else None
    if message is None or message.deleted_ms is not None:
        raise unknown("Message")
    return message


_WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"
_MESSAGE = _WEBHOOK + "/messages/{message_id}"


def _open(method: str, path: str, handler: Any) -> Route:
    """Return a route whose token in the path is all it needs, outside the global limit."""
    return Route(method, path, handler, needs_token=False, counts_globally=False)


ROUTES = (
    _open("POST", "/interactions/{interaction_id}/{interaction_token}/callback", _callback),
    _open("POST", _WEBHOOK, _follow_up),
    _open("GET", _MESSAGE, _read),
    _open("PATCH", _MESSAGE, _edit),
    _open("DELETE", _MESSAGE, _delete),
)
