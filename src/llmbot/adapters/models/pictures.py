"""Pictures that the models refuse, made into ones that they take.

Gemini takes PNG, JPEG and WebP but answers 400 to GIF, so its first frame goes as PNG.
Source: Gemini API, "Image understanding", supported formats.
"""

from __future__ import annotations

import asyncio
import io

from llmbot.kernel.errors import AttachmentRefusedError

PIXELS_MAX = 16_000_000
"""A small file can unpack to gigabytes; this many pixels take 64 MB for a moment."""


class PictureConverter:
    """Converts pictures off the loop (`conversation.attachments.Converter`)."""

    async def gif_to_png(self, data: bytes) -> bytes:
        """The first frame of a GIF as PNG.

        Raises:
            AttachmentRefusedError: it is no readable GIF, or too large when unpacked.
        """
        return await asyncio.to_thread(_first_frame, data)


def _first_frame(data: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - 10 MB that most bots never need

    try:
        with Image.open(io.BytesIO(data), formats=("GIF",)) as picture:
            width, height = picture.size
            if width * height > PIXELS_MAX:
                raise AttachmentRefusedError("the picture is too large when unpacked")
            frame = picture.convert("RGBA")
        target = io.BytesIO()
        frame.save(target, format="PNG")
        return target.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise AttachmentRefusedError(f"no readable GIF: {type(error).__name__}") from None
