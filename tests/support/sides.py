"""A plugin of pytest: the tests that run vLLM's engine in two processes of about the same length."""

from __future__ import annotations

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

LEFT = ("test_vllm.py", "test_vllm_kill.py")
"""Files of the one side; all others make the other, and no engine is started for both."""


class Sides(LoadScopeScheduling):  # type: ignore[misc]
    """Each side to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return "left" if nodeid.partition("::")[0].endswith(LEFT) else "right"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sides:
    """Where tests are distributed at all."""
    return Sides(config, log)
