"""Which tests stay together where several processes share them (`--dist loadgroup`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

# Their modules share a running bot or server; each further process would start one of its own.
_SHARED = {"acceptance", "browser", "security", "test_databases", "test_models_llmock"}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Keep the tests of a module together where they share what is dear."""
    for item in items:
        module = Path(item.path)
        if {module.parent.name, module.stem} & _SHARED:
            item.add_marker(pytest.mark.xdist_group(module.stem))
