"""A model in this process that gives numbers instead of words: vLLM's own server, without the HTTP."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from moa.backends.vllm.backend import Vllm, refusal
from moa.errors import BadRequestError, ServerFailedError
from moa.spec.model import ModelSpec


class _Part(NamedTuple):
    """One part of the API: what vLLM calls its handler, and where its request is described."""

    handler: str
    module: str
    request: str


_PARTS: Mapping[str, _Part] = {
    "/classify": _Part("serving_classification", "classify", "ClassificationRequest"),
    "/pooling": _Part("serving_pooling", "pooling", "PoolingRequest"),
    "/score": _Part("serving_scores", "scoring", "ScoreRequest"),
    "rerank": _Part("serving_scores", "scoring", "RerankRequest"),
    "embeddings": _Part("serving_embedding", "embed", "EmbeddingRequest"),
}


class VllmPooling:
    """The twin of `vllm serve MODEL --runner pooling`: its parts of the API, asked in this process.

    The requests are read, rendered and answered by the handlers of vLLM's server, so the same body has the same reply.
    `spec` is that of any model of vLLM, with the same options; its engine is one of its own, and is started at the
    first request.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._model = Vllm(spec, runner="pooling")
        self.name = self._model.name
        self._handlers: tuple[Any, Any] | None = None
        """The handlers of the running engine, after the engine."""

    async def model_id(self) -> str:
        """The model, or the adapter that its requests go through."""
        return str(self._model.spec.options.get("lora") or self._model.spec.model)

    async def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON reply of one part of the API.

        Raises:
            UsageError: when the extra `vllm` is missing, or the engine cannot start; says what to do.
            BadRequestError: for a part that the loaded model does not have; names those that it has.
            ContextOverflowError: for a text that does not fit the window.
            EngineDeadError: when the engine has died twice within ten minutes.
        """

        async def job(llm: Any) -> Any:
            return await self._asked(llm, path, body)

        return await self._model.engine.run(job)

    async def aclose(self) -> None:
        """The last user of an engine stops it."""
        self._handlers = None
        await self._model.aclose()

    async def _asked(self, llm: Any, path: str, body: Mapping[str, Any]) -> Any:
        from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMServerError

        try:
            reply = await (await self._handler(llm, path))(_read(path, body))
            return json.loads(reply.body)
        except (VLLMClientError, ValueError, TypeError) as error:
            failed = refusal(self.name, str(error))
        except (VLLMServerError, GracefulHTTPError) as error:
            if llm.errored:
                raise
            failed = ServerFailedError(f"{self.name}: vLLM failed: {error.__cause__ or error}")
        raise failed

    async def _handler(self, llm: Any, path: str) -> Any:
        if self._handlers is None or self._handlers[0] is not llm:
            tasks = await llm.get_supported_tasks()
            self._handlers = (llm, self._state(llm, tasks))
        state = self._handlers[1]
        handler = getattr(state, _PARTS[path].handler, None)
        if handler is None:
            has = [part for part, (name, *_) in _PARTS.items() if getattr(state, name, None) is not None]
            raise BadRequestError(
                f"{self.name}: the model has no `{path}` in vLLM (it has {', '.join(f'`{part}`' for part in has) or 'none'}): "
                "choose another `how`, or another model"
            )
        return handler

    def _state(self, llm: Any, tasks: Any) -> Any:
        """What vLLM's server makes of an engine before it listens."""
        from vllm.entrypoints.openai.models.protocol import BaseModelPath
        from vllm.entrypoints.openai.models.serving import OpenAIServingModels
        from vllm.entrypoints.pooling.factories import init_pooling_state

        model = self._model.spec.model
        models = OpenAIServingModels(llm, [BaseModelPath(model, model)])
        if (adapter := self._model.lora()) is not None:
            models.lora_requests[str(self._model.spec.options["lora"])] = adapter
        state = SimpleNamespace(openai_serving_models=models)
        settings = Namespace(
            chat_template=self._model.template(),
            chat_template_content_format="auto",
            trust_request_chat_template=False,
            trust_request_mm_kwargs=False,
        )
        init_pooling_state(llm, state, settings, None, tasks)
        return state


def _read(path: str, body: Mapping[str, Any]) -> Any:
    """A request as vLLM's server reads it."""
    from importlib import import_module

    from pydantic import TypeAdapter

    part = _PARTS[path]
    protocol = import_module(f"vllm.entrypoints.pooling.{part.module}.protocol")
    return TypeAdapter(getattr(protocol, part.request)).validate_python(dict(body))
