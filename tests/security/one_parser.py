"""A hook of schemathesis: its threads parse one at a time.

CPython before 3.12 counts the depth of a syntax tree once for all threads, and fails with "AST
constructor recursion depth mismatch" when two make theirs at once (python/cpython#106905).
"""

from __future__ import annotations

import ast
import threading
from functools import wraps
from typing import Any

_parse = ast.parse
# A collection of garbage may begin in the middle of a parse, in the same thread.
_one_at_a_time = threading.RLock()


@wraps(_parse)
def _parse_alone(*given: Any, **named: Any) -> Any:
    with _one_at_a_time:
        return _parse(*given, **named)


ast.parse = _parse_alone
