"""What the engine of `moa` costs beside vLLM's own, and what one request with `n` saves.

    python benchmarks/vllm_cpu.py --model FOLDER [--questions 32] [--samples 6] [--rounds 2]

Throughput: Self-MoA's samples and aggregations through `Runner.map`, beside the same prompts with the same
sampling sent straight to the same engine, all samples of a layer at once; in turn, in one process.
Collapse: tokens of prompts that the engine really computed, with k samples as one request and as k requests,
by the engine's own counters; the requests do not see each other's cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import moa
from moa.backends.base import Completion, Request
from moa.backends.vllm.backend import Vllm
from moa.spec.model import ModelSpec

TOPICS = ("the sea", "cats", "rivers", "bread", "the moon", "trains", "paper", "snow")
QUESTION = "Question {}: what should everybody know about {}? Answer in a few sentences."
REPLY = {"max_tokens": 48, "ignore_eos": True, "temperature": 0.8}
"""Replies of one length, so that both ways write the same number of tokens."""
OPTIONS = {"dtype": "float32", "max_model_len": 2048, "max_num_seqs": 64, "disable_log_stats": False}


@dataclass(frozen=True, slots=True)
class Took:
    """What a way of asking wrote, and how long it took."""

    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


class Recording:
    """The backend, and the requests that came through."""

    def __init__(self, inner: Vllm) -> None:
        self.inner = inner
        self.requests: list[Request] = []
        self.concurrency = inner.concurrency

    async def complete(self, request: Request, emit: Any = None) -> Completion:
        self.requests.append(request)
        return await self.inner.complete(request, emit)

    async def aclose(self) -> None:
        pass


def questions(count: int, salt: str) -> list[str]:
    """Prompts that no earlier round has left in a cache."""
    return [f"[{salt}] " + QUESTION.format(n, TOPICS[n % len(TOPICS)]) for n in range(count)]


async def orchestrated(backend: Recording, asked: Sequence[str], samples: int) -> Took:
    """Self-MoA over all questions."""
    made = moa.Graph("self-moa")
    drafts = made.agent("proposer", model="small", samples=samples, sampling=_sampling())
    made.answer = made.agent("aggregator", model="small", inputs=drafts, sampling=_sampling())
    tokens = 0
    began = time.perf_counter()
    async with moa.Runner(backends={"small": backend}, store=None) as runner:
        async for _, reply in runner.map(made, list(asked), in_flight=len(asked)):
            assert reply.ok, reply.error
            tokens += reply.usage.output_tokens
    return Took(tokens, time.perf_counter() - began)


async def alone(backend: Vllm, requests: Sequence[Request], salt: str) -> Took:
    """The engine with the same prompts and nothing else: what a script over `AsyncLLM` would send, layer by layer.

    `salt` keeps them from what the other way has left in the prefix cache.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    async def whole(llm: Any) -> int:
        prompts = [await _rendered(llm, request, salt) for request in requests]

        async def one(number: int) -> int:
            request = requests[number]
            params = SamplingParams(
                n=request.n, seed=request.seed, output_kind=RequestOutputKind.FINAL_ONLY, **REPLY
            )
            tokens = 0
            async for output in llm.generate(prompts[number], params, f"{salt}-{number}"):
                tokens += sum(len(piece.token_ids) for piece in output.outputs)
            return tokens

        layers: dict[bool, list[int]] = {}
        for number, request in enumerate(requests):
            layers.setdefault(request.n == 1, []).append(number)
        total = 0
        for numbers in layers.values():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(number)) for number in numbers]
            total += sum(task.result() for task in tasks)
        return total

    began = time.perf_counter()
    return Took(await backend.engine.run(whole), time.perf_counter() - began)


async def _rendered(llm: Any, request: Request, salt: str) -> Any:
    from vllm.renderers.params import ChatParams

    params = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
    messages = [dict(message) for message in request.messages]
    _, (prompt,) = await llm.renderer.render_chat_async(
        [messages], params, prompt_extras={"cache_salt": salt}
    )
    return prompt


def _sampling() -> dict[str, Any]:
    fields = dict(REPLY)
    return {"body": {"ignore_eos": fields.pop("ignore_eos")}, **fields}


async def throughput(spec: ModelSpec, count: int, samples: int, rounds: int) -> None:
    """Both ways in turn."""
    backend = Vllm(spec)
    recording = Recording(backend)
    await backend.complete(Request(({"role": "user", "content": "Hello."},), {"max_tokens": 4}))
    for number in range(rounds):
        recording.requests.clear()
        ours = await orchestrated(recording, questions(count, f"round {number}"), samples)
        bare = await alone(backend, recording.requests, f"bare {number}")
        assert ours.tokens == bare.tokens, (ours, bare)
        print(
            f"round {number}: {ours.tokens} tokens; moa {ours.rate:.0f}/s, vLLM alone {bare.rate:.0f}/s, "
            f"ratio {ours.rate / bare.rate:.3f}",
            flush=True,
        )
    await backend.aclose()


async def collapse(spec: ModelSpec, samples: int) -> None:
    """Tokens of prompts that the engine computed, both ways."""
    backend = Vllm(spec.model_copy(update={"options": {**spec.options, "max_num_seqs": 8}}))
    messages = ({"role": "user", "content": QUESTION.format(0, "the sea") * 8},)
    params = {"max_tokens": 2, "ignore_eos": True}

    prompts: list[int] = []

    async def together() -> None:
        completion = await backend.complete(Request(messages, params, n=samples, seed=1))
        prompts.append(completion.usage.input_tokens)

    async def apart() -> None:
        for number in range(samples):
            await backend.complete(Request(messages, {**params, "cache_salt": f"{number}"}, seed=number))

    await backend.complete(Request(({"role": "user", "content": "Hello."},), {"max_tokens": 4}))
    one = await _computed(together)
    many = await _computed(apart)
    block = await backend.engine.run(_block)
    await backend.aclose()
    [prompt] = prompts
    predicted = samples * prompt / (prompt + (samples - 1) * (prompt - (prompt - 1) // block * block))
    print(f"collapse: a prompt of {prompt} tokens in blocks of {block}, {samples} samples")
    print(f"          computed: {one:.0f} tokens in one request, {many:.0f} in {samples} requests")
    print(f"          a factor of {many / one:.2f}; predicted, whole blocks being shared: {predicted:.2f}")


async def _block(llm: Any) -> int:
    return int(llm.vllm_config.cache_config.block_size)


async def _computed(work: Callable[[], Awaitable[None]]) -> float:
    """Tokens of prompts that were read and not found in the prefix cache, by the engine's counters."""
    before = _counter("prefix_cache_queries") - _counter("prefix_cache_hits")
    await work()
    return _counter("prefix_cache_queries") - _counter("prefix_cache_hits") - before


def _counter(name: str) -> float:
    from prometheus_client import REGISTRY

    names = (f"vllm:{name}_total", f"vllm:{name}")
    return sum(
        float(sample.value)
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name in names
    )


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    spec = ModelSpec(name="small", provider="vllm", model=chosen.model, options=dict(OPTIONS))
    asyncio.run(throughput(spec, chosen.questions, chosen.samples, chosen.rounds))
    asyncio.run(collapse(spec, chosen.samples))


if __name__ == "__main__":
    main()
