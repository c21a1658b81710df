"""Which files the API takes inline, and whether the bytes are what they claim to be."""

from __future__ import annotations

from llmbot.simulators.gemini.errors import GeminiError, invalid_argument

# https://ai.google.dev/gemini-api/docs/image-understanding#supported-formats; GIF is not among
# them and answers "Unsupported MIME type: image/gif" on the live service, and so does image/jpg.
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_AUDIO = frozenset(
    f"audio/{name}"
    for name in ("wav", "mp3", "mpeg", "mpga", "aiff", "aac", "ogg", "flac", "mp4", "m4a", "opus")
)
_VIDEO = frozenset(
    f"video/{name}"
    for name in (
        "mp4",
        "mpeg",
        "mpegps",
        "mov",
        "quicktime",
        "avi",
        "x-flv",
        "flv",
        "mpg",
        "webm",
        "wmv",
        "3gpp",
    )
)
_TEXT = frozenset(
    f"text/{name}"
    for name in (
        "plain",
        "html",
        "css",
        "javascript",
        "x-typescript",
        "csv",
        "markdown",
        "md",
        "x-python",
        "xml",
        "rtf",
    )
)
SUPPORTED = _IMAGES | _AUDIO | _VIDEO | _TEXT | {"application/pdf", "application/rtf"}
_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heif")


def check(mime_type: str, data: bytes, extra_types: frozenset[str]) -> None:
    """Refuse a file the model would not read.

    Raises:
        GeminiError: 400 for a type that is not supported, or bytes that are not that type.
    """
    if mime_type not in SUPPORTED and mime_type not in extra_types:
        raise invalid_argument(f"Unsupported MIME type: {mime_type}")
    if mime_type in _IMAGES and not _is_image(data):
        raise _unreadable_image()
    if mime_type == "application/pdf" and not data.lstrip()[:5].startswith(b"%PDF-"):
        raise invalid_argument("The document has no pages.")
    if mime_type in _TEXT and not _is_text(data):
        raise invalid_argument("Request contains an invalid argument.")


def _is_image(data: bytes) -> bool:
    """Any known picture will do: the live service reads a JPEG that is called a PNG."""
    return (
        data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or (data[4:8] == b"ftyp" and data[8:12] in _BRANDS)
    )


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable_image() -> GeminiError:
    return invalid_argument(
        "Unable to process input image. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting"
    )
