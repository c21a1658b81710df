"""From the bytes of a chat completion request to a checked prompt."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import orjson

from llmbot.simulators.gemini import tokens
from llmbot.simulators.gemini.questions import Attachment, Question, going_on, read_question
from llmbot.simulators.openai.errors import OpenAIError

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_PART_TYPES = ("text", "image_url", "input_audio", "refusal", "audio", "file")
_STOPS_MAX = 4
_TURN_CHARS = 80
_TOP_LOGPROBS_MAX = 20
_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "top_logprobs": (0, _TOP_LOGPROBS_MAX),
    "n": (1, 1),
    "max_tokens": (1, 128_000),
    "max_completion_tokens": (1, 128_000),
}
_KNOWN = frozenset(
    {
        *_RANGES,
        "audio",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "tool_choice",
        "tools",
        "user",
        "verbosity",
        "web_search_options",
    }
)


@dataclass(frozen=True, slots=True)
class _Said:
    """One message as it was read."""

    role: str
    text: str
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A chat completion request that was accepted; `token_limit` None for none."""

    model: str
    question: Question
    prompt_tokens: int
    stream: bool
    include_usage: bool
    token_limit: int | None
    stops: tuple[str, ...]
    raw: dict[str, Any] = field(default_factory=dict)


def read_chat(body: bytes) -> ChatPrompt:
    """Check a request.

    Raises:
        OpenAIError: 400 naming the parameter.
    """
    request = _load(body)
    for name in request:
        if name not in _KNOWN:
            raise _refused(f"Unrecognized request argument supplied: {name}", "", None)
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise _refused("you must provide a model parameter", "model", None)
    for name, (least, most) in _RANGES.items():
        _check_range(request, name, least, most)
    messages = _read_messages(request.get("messages"))
    turns = [(said.role, said.text) for said in messages]
    system = "\n".join(said for role, said in turns if role in {"system", "developer"})
    shown = tuple((role, said[:_TURN_CHARS].replace("\n", " ")) for role, said in turns)
    options = request.get("stream_options") or {}
    if options and not request.get("stream"):
        raise _refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
            None,
        )
    return ChatPrompt(
        model=model,
        question=_question(messages, shown, system),
        prompt_tokens=sum(tokens.count_text(said) + 4 for _, said in turns)
        + tokens.IMAGE_TOKENS * sum(len(said.attachments) for said in messages),
        stream=request.get("stream") is True,
        include_usage=bool(options.get("include_usage")),
        token_limit=request.get("max_completion_tokens") or request.get("max_tokens"),
        stops=_stops(request.get("stop")),
        raw=request,
    )


def _load(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _refused(
            "We could not parse the JSON body of your request. (HINT: This likely means you "
            "aren't using your HTTP library correctly.)",
            "",
            None,
        ) from error
    if not isinstance(request, dict):
        raise _refused("The body of your request must be a JSON object.", "", None)
    return request


def _refused(message: str, param: str, code: str | None) -> OpenAIError:
    return OpenAIError(400, message, param=param or None, code=code)


def _check_range(request: dict[str, Any], name: str, least: float, most: float) -> None:
    value = request.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise _refused(
            f"Invalid type for '{name}': expected a number, but got {kind} instead.",
            name,
            "invalid_type",
        )
    if not least <= value <= most:
        above = value > most
        side, sign, limit = (
            ("above maximum", "<=", most) if above else ("below minimum", ">=", least)
        )
        raise _refused(
            f"Invalid '{name}': decimal {side} value. Expected a value {sign} {limit:g}, but got "
            f"{value:g} instead.",
            name,
            "decimal_above_max_value" if above else "decimal_below_min_value",
        )


def _stops(value: object) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if len(stops) > _STOPS_MAX or not all(isinstance(stop, str) for stop in stops):
        raise _refused(f"Invalid 'stop': at most {_STOPS_MAX} strings.", "stop", "invalid_value")
    return tuple(str(stop) for stop in stops)


def _question(messages: list[_Said], turns: tuple[tuple[str, str], ...], system: str) -> Question:
    asked = [number for number, said in enumerate(messages) if said.role == "user"]
    if not asked:
        return read_question("", (), turns, system)
    last = messages[asked[-1]]
    question = read_question(last.text, last.attachments, turns, system)
    if len(asked) < 2 or asked[-2] != asked[-1] - 2:  # noqa: PLR2004  # this question and one answered before it
        return question
    before, between = messages[asked[-2]], messages[asked[-1] - 1]
    return going_on(question, read_question(before.text, before.attachments), between.text)


def _read_messages(messages: object) -> list[_Said]:
    """Role, text and files of every message."""
    if messages is None:
        raise _refused(
            "Missing required parameter: 'messages'.", "messages", "missing_required_parameter"
        )
    if not isinstance(messages, list) or not messages:
        raise _refused(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "messages",
            "empty_array",
        )
    read: list[_Said] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _ROLES:
            listed = ", ".join(f"'{name}'" for name in _ROLES)
            raise _refused(
                f"Invalid value: '{role}'. Supported values are: {listed}.",
                f"{where}.role",
                "invalid_value",
            )
        text, attachments = _read_content(message, f"{where}.content")
        read.append(_Said(role, text, attachments))
    return read


def _read_content(message: dict[str, Any], where: str) -> tuple[str, tuple[Attachment, ...]]:
    content = message.get("content")
    if isinstance(content, str):
        return content, ()
    if content is None and message["role"] == "assistant":
        return "", ()
    if not isinstance(content, list):
        raise _refused(
            f"Invalid type for '{where}': expected one of a string or array of objects.",
            where,
            "invalid_type",
        )
    texts: list[str] = []
    files: list[Attachment] = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _PART_TYPES:
            listed = ", ".join(f"'{name}'" for name in _PART_TYPES)
            raise _refused(
                f"Invalid value: '{kind}'. Supported values are: {listed}.",
                f"{where}[{number}].type",
                "invalid_value",
            )
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url":
            files.append(_image(part.get("image_url"), f"{where}[{number}].image_url"))
    return "\n".join(texts), tuple(files)


def _image(value: object, where: str) -> Attachment:
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str):
        raise _refused(
            f"Missing required parameter: '{where}.url'.", where, "missing_required_parameter"
        )
    head, comma, data = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64") or not comma:
        raise _refused(
            f"Invalid '{where}.url': only base64-encoded data URLs are read here.",
            where,
            "invalid_image_url",
        )
    try:
        size = len(base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise _refused("Invalid base64 image_url.", where, "invalid_base64") from error
    return Attachment(head.removeprefix("data:").removesuffix(";base64"), size)
