"""From a request's bytes to a checked prompt, refusing what the live service refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from llmbot.simulators.gemini import media, protojson, schema, tokens
from llmbot.simulators.gemini.catalogue import ServedModel
from llmbot.simulators.gemini.errors import (
    FieldViolation,
    GeminiError,
    bad_payload,
    invalid_argument,
)
from llmbot.simulators.gemini.questions import Attachment, Question, going_on, read_question

REQUEST_BYTES_MAX = 20 * 1024 * 1024
_ROLES = frozenset({"", "user", "model", "function"})
_STOP_SEQUENCES_MAX = 5
_TEMPERATURE_MAX = 2.0
_TURN_CHARS = 80  # of each turn, for `[[context]]`
_DATA_MISSING = "data: required oneof field 'data' must have one initialized field"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request that the model accepted; `token_counts` by modality, `thinking` if it thinks."""

    question: Question
    token_counts: Mapping[str, int]
    generation: Mapping[str, Any]
    thinking: bool
    include_thoughts: bool

    @property
    def prompt_tokens(self) -> int:
        """All input tokens."""
        return sum(self.token_counts.values())


def load_json(body: bytes) -> object:
    """The JSON value of a request body.

    Raises:
        GeminiError: 400 where the body is not JSON, with what the live parser says.
    """
    try:
        return orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        text = f"Invalid JSON payload received. {error.msg}\n{error.doc[:40]}\n^"
        raise bad_payload([FieldViolation("", text)]) from error


def read_generate(
    body: bytes, model: ServedModel, extra_types: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], Prompt]:
    """A generateContent request: as checked, and as a prompt.

    Raises:
        GeminiError: 400, or 403 for files and caches that do not exist here.
    """
    request = protojson.read(schema.GENERATE_CONTENT_REQUEST, load_json(body))
    return request, check_generate(request, model, extra_types)


def check_generate(
    request: Mapping[str, Any], model: ServedModel, extra_types: frozenset[str] = frozenset()
) -> Prompt:
    """What the model itself checks of a well-formed request.

    Raises:
        GeminiError: 400 or 403.
    """
    contents: list[dict[str, Any]] = request.get("contents") or []
    system: dict[str, Any] = request.get("systemInstruction") or {}
    _check_contents(contents, extra_types)
    if contents[-1].get("role") == "model" and not model.prefill:
        raise invalid_argument(
            "Requests ending with a model turn are not supported unless the last part is a "
            "function response."
        )
    if system and not system.get("parts"):
        raise _broken("system_instruction.parts", "contents.parts must not be empty.")
    if request.get("cachedContent"):
        raise GeminiError(403, "CachedContent not found (or permission denied)")
    generation: dict[str, Any] = request.get("generationConfig") or {}
    _check_generation(generation, model)
    _check_safety(request.get("safetySettings") or [])
    parts = [part for content in contents for part in content["parts"]]
    counts = tokens.count_parts([*system.get("parts", []), *parts])
    total = sum(counts.values())
    if total > model.input_token_limit:
        raise invalid_argument(
            f"The input token count ({total}) exceeds the maximum number of tokens allowed "
            f"({model.input_token_limit})."
        )
    config: dict[str, Any] = generation.get("thinkingConfig") or {}
    thinking = _thinks(config, model)
    return Prompt(
        question=_question(contents, system),
        token_counts=counts,
        generation=generation,
        thinking=thinking,
        include_thoughts=thinking and bool(config.get("includeThoughts")),
    )


def read_count(body: bytes, model: ServedModel) -> dict[str, int]:
    """The tokens of a countTokens request by modality.

    Raises:
        GeminiError: 400.
    """
    request = protojson.read(schema.COUNT_TOKENS_REQUEST, load_json(body))
    inner = request.get("generateContentRequest")
    if inner is not None and request.get("contents"):
        raise invalid_argument(
            "Only one of contents and generate_content_request may be set in CountTokensRequest."
        )
    source = request if inner is None else inner
    contents: list[dict[str, Any]] = source.get("contents") or []
    _check_contents(contents, media.SUPPORTED)
    system: dict[str, Any] = source.get("systemInstruction") or {}
    if inner is not None:
        _check_generation(inner.get("generationConfig") or {}, model)
    parts = [part for content in contents for part in content["parts"]]
    return tokens.count_parts([*system.get("parts", []), *parts])


def _broken(path: str, rule: str) -> GeminiError:
    return invalid_argument(f"* GenerateContentRequest.{path}: {rule}\n")


def _check_contents(contents: list[dict[str, Any]], extra_types: frozenset[str]) -> None:
    if not contents:
        raise _broken("contents", "contents is not specified")
    for index, content in enumerate(contents):
        if content.get("role", "") not in _ROLES:
            raise invalid_argument("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise _broken(f"contents[{index}].parts", "contents.parts must not be empty.")
        for number, part in enumerate(content["parts"]):
            where = f"contents[{index}].parts[{number}]"
            if schema.PART.oneof_members.isdisjoint(part):
                raise invalid_argument(f"* GenerateContentRequest.{where}.{_DATA_MISSING}\n")
            _check_part(part, where, extra_types)


def _check_part(part: Mapping[str, Any], where: str, extra_types: frozenset[str]) -> None:
    if "fileData" in part:
        name = str(part["fileData"].get("fileUri", "")).rpartition("/")[2]
        raise GeminiError(
            403, f"You do not have permission to access the File {name} or it may not exist."
        )
    blob = part.get("inlineData")
    if blob is None:
        return
    mime_type = blob.get("mimeType")
    if not mime_type:
        raise invalid_argument(f"* GenerateContentRequest.{where}.inline_data: mime_type not set\n")
    if not blob.get("data"):
        raise _broken(f"{where}.inline_data.data", "data must not be empty.")
    media.check(mime_type, blob["data"], extra_types)


def _check_generation(config: Mapping[str, Any], model: ServedModel) -> None:
    for name, limit in (("temperature", _TEMPERATURE_MAX), ("topP", 1.0)):
        value = config.get(name)
        if value is not None and not 0 <= value <= limit:
            field = protojson.snake(name)
            raise _broken(
                f"generation_config.{field}", f"{field} must be in the range [0.0, {limit}]."
            )
    if (top_k := config.get("topK")) is not None and top_k < 1:
        raise _broken("generation_config.top_k", "top_k must be positive.")
    if (count := config.get("candidateCount")) is not None and count != 1:
        raise invalid_argument("Multiple candidates is not enabled for this model")
    if (most := config.get("maxOutputTokens")) is not None:
        if most < 1:
            raise _broken("generation_config.max_output_tokens", "must be positive.")
        if most > model.output_token_limit:
            raise invalid_argument(
                f"Unable to submit request because it has a maxOutputTokens value of {most} but "
                f"the supported range is from 1 (inclusive) to {model.output_token_limit + 1} "
                "(exclusive). Update the value and try again."
            )
    if config.get("presencePenalty") or config.get("frequencyPenalty"):
        raise invalid_argument(f"Penalty is not enabled for models/{model.name}")
    _check_response_format(config, model)
    _check_thinking(config.get("thinkingConfig") or {}, model)


def _check_response_format(config: Mapping[str, Any], model: ServedModel) -> None:
    if len(config.get("stopSequences") or []) > _STOP_SEQUENCES_MAX:
        raise _broken(
            "generation_config.stop_sequences", f"at most {_STOP_SEQUENCES_MAX} are allowed."
        )
    for modality in config.get("responseModalities") or []:
        if modality != "TEXT":
            raise invalid_argument(
                f"The requested combination of response modalities ({modality}) is not supported "
                f"by the model. models/{model.name} accepts the following combination of response "
                "modalities:\n* TEXT\n"
            )
    mime_type = config.get("responseMimeType") or "text/plain"
    if mime_type not in {"text/plain", "application/json", "text/x.enum"}:
        raise _broken(
            "generation_config.response_mime_type",
            "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, "
            "`application/yaml` and `text/x.enum`.",
        )
    has_schema = "responseSchema" in config or "responseJsonSchema" in config
    if has_schema and mime_type == "text/plain":
        raise invalid_argument(
            "Function calling config or response schema is set without a matching "
            "response_mime_type: use application/json or text/x.enum."
        )


def _check_thinking(config: Mapping[str, Any], model: ServedModel) -> None:
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is not None and level is not None:
        raise invalid_argument("You can only set only one of thinking budget and thinking level.")
    if level is not None and not model.thinking_levels:
        raise invalid_argument("Thinking level is not supported for this model.")
    if level in model.refused_levels:
        raise invalid_argument(f"Thinking level {level} is not supported for this model.")
    if budget == 0 and model.zero_budget == "refused":
        raise invalid_argument("Budget 0 is invalid. This model only works in thinking mode.")
    if budget is not None and not -1 <= budget <= model.thinking_budget_max:
        raise invalid_argument(
            f"The thinking budget {budget} is invalid. Please choose a value between 0 and "
            f"{model.thinking_budget_max}."
        )


def _check_safety(settings: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for index, setting in enumerate(settings):
        category = setting.get("category", "HARM_CATEGORY_UNSPECIFIED")
        if category not in schema.HARM_CATEGORIES:
            allowed = ", ".join(f"HarmCategory.{name}" for name in schema.HARM_CATEGORIES)
            raise _broken(
                f"safety_settings[{index}]",
                f"element predicate failed: $.category in ({allowed})",
            )
        if category in seen:
            raise _broken(
                "safety_settings",
                f"Only one safety setting is allowed per category: {category}",
            )
        seen.add(category)


def _thinks(config: Mapping[str, Any], model: ServedModel) -> bool:
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is not None:
        return bool(budget) or model.zero_budget == "ignored"
    if level is not None:
        return str(level) in {"LOW", "MEDIUM", "HIGH"}
    return model.thinks_by_default


def _question(contents: list[dict[str, Any]], system: Mapping[str, Any]) -> Question:
    asked = [number for number, content in enumerate(contents) if content.get("role") != "model"]
    last = asked[-1] if asked else len(contents) - 1
    turns = tuple(
        (content.get("role") or "user", _text(content)[:_TURN_CHARS].replace("\n", " "))
        for content in contents
    )
    question = read_question(
        _text(contents[last]), _attachments(contents[last]), turns, _text(system)
    )
    if len(asked) < 2 or asked[-2] != last - 2:  # noqa: PLR2004  # this question and one answered before it
        return question
    before = contents[last - 2]
    earlier = read_question(_text(before), _attachments(before))
    return going_on(question, earlier, _text(contents[last - 1]))


def _attachments(content: Mapping[str, Any]) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(part["inlineData"]["mimeType"], len(part["inlineData"]["data"]))
        for part in content["parts"]
        if "inlineData" in part
    )


def _text(content: Mapping[str, Any]) -> str:
    return "\n".join(
        part["text"]
        for part in content.get("parts", ())
        if part.get("text") and not part.get("thought")
    )
