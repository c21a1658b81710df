"""How a command ends: its exit code, and a known error as one sentence with its cure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from llmbot.kernel.errors import LlmbotError, StartupError

EXIT_DEFECT = 70
"""A mistake of ours. Source: sysexits.h, EX_SOFTWARE."""

EXIT_INTERRUPTED = 130


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command; errors end as words on stderr, never as a traceback."""
    try:
        result = command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except LlmbotError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        # The operator gets a sentence and never a traceback, whatever the mistake.
        if os.environ.get("LLMBOT_DEBUG") == "1":
            raise
        sys.stderr.write(
            f"llmbot made a mistake ({type(error).__name__}). logs/application.log may tell more; "
            "LLMBOT_DEBUG=1 shows where.\n"
        )
        return EXIT_DEFECT
    return result if isinstance(result, int) else 0


def _tell(error: LlmbotError) -> int:
    if os.environ.get("LLMBOT_DEBUG") == "1":
        raise error
    words = str(error).rstrip()
    default = LlmbotError.remedy
    remedy = "" if error.remedy in {"", default} else f" {error.remedy}"
    sys.stderr.write(f"{words}{remedy}\n")
    return error.exit_code if isinstance(error, StartupError) else 1
