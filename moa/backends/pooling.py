"""Where a model's other parts of the API are asked: a server, or vLLM in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from moa.backends.openai import OpenAICompatible
from moa.backends.resolve import is_http
from moa.spec.model import ModelSpec


class PoolingApi(Protocol):
    """The parts of vLLM's API that give numbers: `/classify`, `/pooling`, `/score`, `rerank`, `embeddings`."""

    name: str

    async def model_id(self) -> str:
        """What a request's `model` says."""
        ...

    async def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON reply of one part; raises a `BackendError` with a one-line message."""
        ...

    async def aclose(self) -> None:
        """Release connections and memory; it is not asked afterwards."""
        ...


def pooling_api(spec: ModelSpec) -> PoolingApi | None:
    """Where the model of `spec` is asked for numbers; None where it only writes."""
    if is_http(spec):
        return OpenAICompatible(spec)
    if spec.provider == "vllm":
        from moa.backends.vllm.pooling import VllmPooling

        return VllmPooling(spec)
    return None
