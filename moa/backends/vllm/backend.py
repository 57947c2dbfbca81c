"""A model in this process: any that vLLM runs, from the hub or a folder."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

from moa.backends.base import Completion, Delta, Emit, Message, Request, from_afar
from moa.backends.counting import LocalCounter
from moa.backends.failures import Told, overflow
from moa.backends.labels import label_ids
from moa.backends.vllm.engine import Engine
from moa.backends.vllm.gathering import Gathering
from moa.backends.vllm.options import INCIDENTAL, read_settings
from moa.backends.vllm.reasoning import Reasoning
from moa.backends.vllm.sampling import Asked, read_params
from moa.backends.vllm.window import stated_window
from moa.errors import (
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    ContextOverflowError,
    MissingExtraError,
    ServerFailedError,
    UsageError,
)
from moa.spec.model import ModelSpec

IN_FLIGHT = 512
"""Requests that are handed to the engine at once; it queues them by priority itself."""
GREEDY = 1e-5
"""Below this temperature vLLM draws nothing, and takes the most probable token."""
_numbers = itertools.count()


class Vllm:
    """A model that vLLM runs in this process, started at the first request and shared by all who ask it.

    `spec.model` is an id on the Hugging Face hub or a folder; `spec.options` are the engine's arguments
    and `VllmOptions`. `runner` is vLLM's own way of running it, where it is not the one for writing.
    """

    INCIDENTAL = INCIDENTAL

    def __init__(self, spec: ModelSpec, *, runner: str | None = None) -> None:
        self.spec = spec
        self.name = spec.name or f"vllm:{spec.model}"
        self.concurrency = spec.limits.concurrency or IN_FLIGHT
        self._options, self._settings = read_settings(spec, runner)
        self._engine: Engine | None = None
        self._counter = LocalCounter(spec.tokenizer or spec.model)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask for `request.n` samples; with `emit`, piece by piece.

        Raises:
            UsageError: when the extra `vllm` is missing, or the engine cannot start; says what to do.
            ContextOverflowError: for a prompt that leaves no room for a reply.
            BadRequestError: for a sampling field that vLLM does not have; names it.
            EngineDeadError: when the engine has died twice within ten minutes.
            BackendTimeoutError: after `request.timeout` seconds.
        """
        asked = read_params(self.name, {**self.spec.body, **request.params})
        job = _Job(self, request, asked, emit and from_afar(emit))
        try:
            async with asyncio.timeout(request.timeout) as limit:
                return await self.engine.run(job, request.trip)
        except TimeoutError:
            if not limit.expired():
                raise
        raise BackendTimeoutError(f"{self.name}: no whole reply within {request.timeout:g} s")

    async def context_length(self) -> int | None:
        """The longest prompt and reply together, in tokens; starts the engine only where nothing else says it."""
        chosen = self.spec.context or self.spec.options.get("max_model_len")
        if isinstance(chosen, int) and chosen > 0:
            return chosen
        stated = await asyncio.to_thread(stated_window, self.spec.model) if chosen is None else None
        return stated or await self.engine.run(_window)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt, by the model's own template and tokenizer; needs no engine."""
        self.check_installed()
        return await asyncio.to_thread(self._counter, messages)

    @property
    def sleeps(self) -> bool:
        """Whether the engine rests while another model of its device is asked."""
        return self._options.sleep is not None

    async def rest(self) -> None:
        """Give the device's memory back, so that another model has it."""
        if self._engine is not None:
            await self._engine.rest(self._options.sleep)

    async def wake(self) -> None:
        """Take the device's memory again, where the engine sleeps."""
        if self._engine is not None:
            await self._engine.wake()

    async def aclose(self) -> None:
        """The last user of an engine stops it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.release()

    @property
    def engine(self) -> Engine:
        """The engine, which is started at its first job."""
        if self._engine is None:
            self.check_installed()
            self._engine = Engine.share(self._settings)
        return self._engine

    def check_installed(self) -> None:
        """Raise `MissingExtraError` where vLLM is not installed."""
        if find_spec("vllm") is None:
            raise MissingExtraError(f"`{self.name}`", "vllm")

    def template(self) -> str | None:
        """The chat template that stands in the place of the model's own."""
        given = self._options.chat_template
        if given is None or "{" in given:
            return given
        try:
            return Path(given).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{self.name}: cannot read the chat template {given}: {error.strerror}"
            ) from None

    def lora(self) -> Any:
        """The adapter that the request goes through."""
        if self._options.lora is None:
            return None
        from vllm.lora.request import LoRARequest

        folder = str(Path(self._options.lora).expanduser())
        # vLLM knows adapters by number, which must be the same for every model that names this folder.
        return LoRARequest(folder, 1 + crc32(folder.encode()) % (2**31 - 1), folder)


class _Job:
    """One request to the engine; done anew where the engine dies under it."""

    def __init__(self, backend: Vllm, request: Request, asked: Asked, emit: Emit | None) -> None:
        self.backend = backend
        self.request = request
        self.asked = asked
        self.emit = emit
        self._begun: set[int] = set()

    async def __call__(self, llm: Any) -> Completion:
        from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMServerError

        for index in sorted(self._begun):
            self._tell(Delta(index, "", restart=True))
        self._begun.clear()
        try:
            return await self._complete(llm)
        except (VLLMClientError, ValueError, TypeError) as error:
            failed = refusal(self.backend.name, str(error))
        except (VLLMServerError, GracefulHTTPError) as error:
            if llm.errored:
                raise
            failed = ServerFailedError(f"{self.backend.name}: vLLM failed: {error.__cause__ or error}")
        raise failed

    async def _complete(self, llm: Any) -> Completion:
        name, request = self.backend.name, self.request
        prompt = await self._render(llm)
        room = llm.model_config.max_model_len - len(prompt["prompt_token_ids"])
        if room < 1:
            raise _overflow(name, llm.model_config.max_model_len)
        sampling = await self._sampling(llm, min(self.asked.longest or room, room))
        gathering = Gathering(request.n, self._reasoning(llm))
        if request.n == 1 or sampling["temperature"] >= GREEDY:
            await self._gather(llm, prompt, sampling, gathering)
        else:
            await self._gather_apart(llm, prompt, sampling, gathering)
        return Completion(gathering.choices(name), self.backend.spec.model)

    def _reasoning(self, llm: Any) -> Reasoning | None:
        parser = self.backend.spec.options.get("reasoning_parser")
        if not parser:
            return None
        return Reasoning(llm, str(parser), self.asked.template, self.request.messages)

    async def _render(self, llm: Any) -> Any:
        from vllm.renderers.params import ChatParams

        params = ChatParams(
            chat_template=self.backend.template(), chat_template_kwargs=dict(self.asked.template)
        )
        extras = {"cache_salt": self.asked.salt} if self.asked.salt else None
        messages = [dict(message) for message in self.request.messages]
        _, (prompt,) = await llm.renderer.render_chat_async([messages], params, prompt_extras=extras)
        return prompt

    async def _sampling(self, llm: Any, longest: int) -> dict[str, Any]:
        from vllm.sampling_params import StructuredOutputsParams

        sampling = {**self.asked.sampling, "max_tokens": longest, "seed": self.request.seed}
        if self.asked.constraint is not None:
            sampling["structured_outputs"] = StructuredOutputsParams(**self.asked.constraint)
        if self.asked.labels and "logprobs" in sampling:
            tokenizer = llm.get_tokenizer()
            ids = await label_ids(self.asked.labels, _encoder(tokenizer))
            if ids:
                del sampling["logprobs"]
                sampling["logprob_token_ids"] = ids
        return sampling

    async def _gather(
        self,
        llm: Any,
        prompt: Any,
        sampling: Mapping[str, Any],
        gathering: Gathering,
        alone: int | None = None,
    ) -> None:
        """Send the request, for all samples or for the one that stands `alone`."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        n, first = (self.request.n, 0) if alone is None else (1, alone)

        # Without pieces the last output must hold all samples, which only this kind of output promises.
        kind = RequestOutputKind.DELTA if self.emit else RequestOutputKind.FINAL_ONLY
        params = SamplingParams(n=n, output_kind=kind, **sampling)
        urgent = llm.vllm_config.scheduler_config.policy == "priority"
        outputs = llm.generate(
            prompt,
            params,
            f"moa-{next(_numbers)}",
            lora_request=self.backend.lora(),
            priority=self.request.priority if urgent else 0,
        )
        async for output in outputs:
            for delta in gathering.add(output, first):
                self._begun.add(delta.index)
                self._tell(delta)

    async def _gather_apart(
        self, llm: Any, prompt: Any, sampling: Mapping[str, Any], gathering: Gathering
    ) -> None:
        """Samples that cannot differ, for which vLLM refuses `n`."""
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(self.request.n):
                    group.create_task(self._gather(llm, prompt, sampling, gathering, index))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
        else:
            return
        raise first

    def _tell(self, delta: Delta) -> None:
        if self.emit is not None:
            self.emit(delta)


async def _window(llm: Any) -> int:
    return int(llm.model_config.max_model_len)


def _encoder(tokenizer: Any) -> Any:
    async def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    return encode


def refusal(name: str, said: str) -> BackendError:
    """The error for what vLLM itself refuses to do."""
    line = " ".join(said.split())[:300]
    too_long, limit = overflow(Told(line))
    return (
        _overflow(name, limit) if too_long else BadRequestError(f"{name}: vLLM refused the request: {line}")
    )


def _overflow(name: str, limit: int | None) -> ContextOverflowError:
    window = f" ({limit} tokens)" if limit else ""
    return ContextOverflowError(f"{name}: the prompt does not fit the context window{window}", limit=limit)
