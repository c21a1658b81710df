"""The messages of the Gemini API that a request may be made of (google.ai.generativelanguage)."""

from __future__ import annotations

from llmbot.simulators.gemini.protojson import Field, Message

_PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta."
_ANY = Field("ANY")
_STRING = Field("STRING")
_STRINGS = Field("STRING", repeated=True)
_BOOL = Field("BOOL")
_INT = Field("INT32")
_FLOAT = Field("FLOAT")
_BYTES = Field("BYTES")


def _enum(name: str, *values: str, repeated: bool = False) -> Field:
    return Field("ENUM", enum=frozenset(values), enum_name=_PACKAGE + name, repeated=repeated)


def _of(message: Message, *, repeated: bool = False) -> Field:
    return Field("MESSAGE", message=message, repeated=repeated)


HARM_CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
)

BLOB = Message({"mimeType": _STRING, "data": _BYTES})
FILE_DATA = Message({"mimeType": _STRING, "fileUri": _STRING})
FUNCTION_CALL = Message({"id": _STRING, "name": _STRING, "args": _ANY})
FUNCTION_RESPONSE = Message(
    {
        "id": _STRING,
        "name": _STRING,
        "response": _ANY,
        "parts": _ANY,
        "willContinue": _BOOL,
        "scheduling": _STRING,
    }
)
_PART_DATA = {
    "text": _STRING,
    "inlineData": _of(BLOB),
    "fileData": _of(FILE_DATA),
    "functionCall": _of(FUNCTION_CALL),
    "functionResponse": _of(FUNCTION_RESPONSE),
    "executableCode": Field("ANY"),
    "codeExecutionResult": Field("ANY"),
    "toolCall": Field("ANY"),
    "toolResponse": Field("ANY"),
}
PART = Message(
    {
        **_PART_DATA,
        "thought": _BOOL,
        "thoughtSignature": _BYTES,
        "videoMetadata": _ANY,
        "mediaResolution": _ANY,
        "partMetadata": _ANY,
    },
    oneof="data",
    oneof_members=frozenset(_PART_DATA),
)
CONTENT = Message({"parts": _of(PART, repeated=True), "role": _STRING})
THINKING_CONFIG = Message(
    {
        "includeThoughts": _BOOL,
        "thinkingBudget": _INT,
        "thinkingLevel": _enum(
            "ThinkingLevel",
            "THINKING_LEVEL_UNSPECIFIED",
            "MINIMAL",
            "LOW",
            "MEDIUM",
            "HIGH",
        ),
    }
)
GENERATION_CONFIG = Message(
    {
        "temperature": _FLOAT,
        "topP": _FLOAT,
        "topK": _INT,
        "candidateCount": _INT,
        "maxOutputTokens": _INT,
        "stopSequences": _STRINGS,
        "responseMimeType": _STRING,
        "responseSchema": _ANY,
        "responseJsonSchema": _ANY,
        "responseModalities": _enum(
            "Modality", "MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", repeated=True
        ),
        "responseLogprobs": _BOOL,
        "logprobs": _INT,
        "presencePenalty": _FLOAT,
        "frequencyPenalty": _FLOAT,
        "seed": _INT,
        "speechConfig": _ANY,
        "imageConfig": _ANY,
        "thinkingConfig": _of(THINKING_CONFIG),
        "mediaResolution": _enum(
            "MediaResolution",
            "MEDIA_RESOLUTION_UNSPECIFIED",
            "MEDIA_RESOLUTION_LOW",
            "MEDIA_RESOLUTION_MEDIUM",
            "MEDIA_RESOLUTION_HIGH",
        ),
        "enableEnhancedCivicAnswers": _BOOL,
        "audioTranscriptionConfig": _ANY,
    }
)
SAFETY_SETTING = Message(
    {
        "category": _enum("HarmCategory", "HARM_CATEGORY_UNSPECIFIED", *HARM_CATEGORIES),
        "threshold": _enum(
            "SafetySetting.HarmBlockThreshold",
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ),
    }
)
FUNCTION_DECLARATION = Message(
    {
        "name": _STRING,
        "description": _STRING,
        "behavior": _STRING,
        "parameters": _ANY,
        "parametersJsonSchema": _ANY,
        "response": _ANY,
        "responseJsonSchema": _ANY,
    }
)
TOOL = Message(
    {
        "functionDeclarations": _of(FUNCTION_DECLARATION, repeated=True),
        "googleSearch": _ANY,
        "googleSearchRetrieval": _ANY,
        "googleMaps": _ANY,
        "codeExecution": _ANY,
        "urlContext": _ANY,
        "computerUse": _ANY,
        "fileSearch": _ANY,
        "mcpServers": _ANY,
    }
)
TOOL_CONFIG = Message(
    {
        "functionCallingConfig": _ANY,
        "retrievalConfig": _ANY,
        "includeServerSideToolInvocations": _BOOL,
    }
)
GENERATE_CONTENT_REQUEST = Message(
    {
        "model": _STRING,
        "contents": _of(CONTENT, repeated=True),
        "systemInstruction": _of(CONTENT),
        "generationConfig": _of(GENERATION_CONFIG),
        "safetySettings": _of(SAFETY_SETTING, repeated=True),
        "tools": _of(TOOL, repeated=True),
        "toolConfig": _of(TOOL_CONFIG),
        "cachedContent": _STRING,
        "serviceTier": _STRING,
        "store": _BOOL,
        "labels": Field("STRING", mapped=True),
        "continuationToken": _BYTES,
    }
)
COUNT_TOKENS_REQUEST = Message(
    {
        "model": _STRING,
        "contents": _of(CONTENT, repeated=True),
        "generateContentRequest": _of(GENERATE_CONTENT_REQUEST),
    }
)
