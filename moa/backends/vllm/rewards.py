"""A reward model in this process: vLLM's engine, run for numbers instead of words."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from moa.backends.scoring import Pair, Scores, only_number
from moa.backends.vllm.backend import Vllm, refusal
from moa.errors import ServerFailedError
from moa.spec.model import ModelSpec

_numbers = itertools.count()


class VllmScorer:
    """The twin of a server's `/classify`: the reward of a conversation before its sigmoid.

    `spec` is that of any model of vLLM, with the same options; its engine is one of its own, and is started at the
    first score.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._model = Vllm(spec, runner="pooling")

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        """A reward for each pair; raises as `Vllm.complete` does, and `InvalidReplyError` for several classes."""

        async def job(llm: Any) -> list[tuple[float, int]]:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._one(llm, pair)) for pair in pairs]
            except ExceptionGroup as failures:
                first = failures.exceptions[0]
            else:
                return [task.result() for task in tasks]
            raise first

        found = await self._model.engine.run(job)
        return Scores([number for number, _ in found], sum(tokens for _, tokens in found))

    async def aclose(self) -> None:
        """The last user of an engine stops it."""
        await self._model.aclose()

    async def _one(self, llm: Any, pair: Pair) -> tuple[float, int]:
        from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMServerError

        try:
            return await self._reward(llm, pair)
        except (VLLMClientError, ValueError, TypeError) as error:
            failed = refusal(self._model.name, str(error))
        except (VLLMServerError, GracefulHTTPError) as error:
            if llm.errored:
                raise
            failed = ServerFailedError(f"{self._model.name}: vLLM failed: {error.__cause__ or error}")
        raise failed

    async def _reward(self, llm: Any, pair: Pair) -> tuple[float, int]:
        from vllm import PoolingParams
        from vllm.renderers.params import ChatParams

        template = {"add_generation_prompt": False, "continue_final_message": False}
        params = ChatParams(chat_template=self._model.template(), chat_template_kwargs=template)
        turns = zip(("user", "assistant"), pair, strict=True)
        messages = [{"role": role, "content": text} for role, text in turns]
        _, (prompt,) = await llm.renderer.render_chat_async([messages], params)
        wanted = PoolingParams(task="classify", use_activation=False)
        async for output in llm.encode(prompt, wanted, f"moa-reward-{next(_numbers)}"):
            if output.finished:
                number = only_number(self._model.name, output.outputs.data.tolist())
                return number, len(output.prompt_token_ids)
        raise ServerFailedError(f"{self._model.name}: vLLM ended without a reward")
