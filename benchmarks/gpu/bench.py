"""Orchestrated ensembles against the engine's own batch API, on a GPU and without a network.

    python benchmarks/gpu/bench.py --scale 8b --questions 256 --out results.json
    python benchmarks/gpu/bench.py --scale tiny --questions 8 --tokens 16      # a dry run, on a CPU too

Measures, each in processes of its own:

self-moa, moa-3-3-1   output tokens a second of `moa` over the same of vLLM's offline `LLM.chat`, which is given exactly the
                      requests that moa sent, a layer at a time
collapse              six equal samples as one request with `n=6`, against six requests
prefix                aggregators whose references come first, against some whose own words come first
by-model              two and three models that take turns on the device (`by_model`), against question by question

Weights are random (`load_format: dummy`) unless --model names a folder; replies have a fixed length. Needs
`pip install '.[vllm]'`; without vLLM the first two are measured with transformers, against its continuous batching.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from weights import model_folder, questions

REFERENCES = "{% for reference in references %}\n{{ loop.index }}. {{ reference.text }}\n{% endfor %}"
TASK = "Write the best single answer from these responses."
WARM_UP = 4
"""Questions before the clock starts."""


@dataclass(frozen=True)
class Work:
    """What one process measures."""

    what: str
    folders: list[str]
    questions: int
    tokens: int
    engine: str
    requests: str
    sleep: bool = False
    in_flight: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the engine, the same for both sides."""
        if self.engine == "transformers":
            return {"dtype": "bfloat16"}
        dummy = not any(file for folder in self.folders for file in Path(folder).glob("*.safetensors"))
        chosen: dict[str, Any] = {"max_model_len": 8192, "enable_prefix_caching": True}
        if dummy:
            chosen["load_format"] = "dummy"
        if self.sleep:
            chosen["gpu_memory_utilization"] = 0.8
        return chosen


class Measured(NamedTuple):
    """Figures, and the requests that were sent."""

    figures: dict[str, float]
    requests: list[dict[str, Any]]


def graph(what: str, models: list[str], tokens: int) -> Any:
    """The graph of a measurement."""
    import moa

    sampling = {"temperature": 1.0, "max_tokens": tokens, "body": {"ignore_eos": True}}

    def agent(name: str, system: str | None = None, **more: Any) -> moa.AgentSpec:
        fields: dict[str, Any] = {"name": name, "sampling": {**sampling, **more}}
        if system is not None:
            fields |= {"system": system, "inputs": {"references": "1+"}}
        return moa.AgentSpec.model_validate(fields)

    made = moa.Graph(what)
    aggregator = agent("aggregator", TASK + REFERENCES)
    if what in ("self-moa", "apart"):
        # Another top_p makes another request of what would be one with n=6, and changes nothing.
        samples: Any = (
            made.agent(agent("proposer"), model=models[0], samples=6, name="drafts")
            if what == "self-moa"
            else [
                made.agent(
                    agent("proposer", top_p=1 - (number + 1) / 1e6), model=models[0], name=f"draft{number}"
                )
                for number in range(6)
            ]
        )
        made.answer = made.agent(aggregator, model=models[0], inputs=samples)
        return made
    three = [models[number % len(models)] for number in range(3)]
    drafts = made.agent(agent("proposer"), models=three, name="drafts")
    if what in ("prefix-good", "prefix-bad"):
        words = [f"Mind point {number} above all: {'be careful. ' * 12}" for number in range(3)]
        systems = [
            f"{TASK}{REFERENCES}\n{own}" if what == "prefix-good" else f"{own}{TASK}{REFERENCES}"
            for own in words
        ]
        refined: Any = [
            made.agent(
                agent(f"aggregator{number}", system), model=models[0], inputs=drafts, name=f"refined{number}"
            )
            for number, system in enumerate(systems)
        ]
    else:
        refined = made.agent(aggregator, models=three, inputs=drafts, name="refined")
    made.answer = made.agent(aggregator, model=models[0], inputs=refined)
    return made


async def orchestrated(work: Work) -> Measured:
    """Run the graph with moa, and note the requests that it sends."""
    import moa
    from moa.backends.base import Completion, Emit, Request, Usage, WrapperBackend
    from moa.backends.resolve import connect
    from moa.spec.model import ModelSpec

    sent: list[dict[str, Any]] = []
    used: list[Usage] = []

    class Noting(WrapperBackend):
        """Notes every request and what it used."""

        concurrency = 1024

        async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
            completion = await self.inner.complete(request, emit)
            used.append(completion.usage)
            sent.append({"layer": request.priority, "messages": list(request.messages), "n": request.n})
            return completion

        async def rest(self) -> None:
            await self.inner.rest()  # type: ignore[attr-defined]

        async def wake(self) -> None:
            await self.inner.wake()  # type: ignore[attr-defined]

    options = {**work.options, "sleep": 1} if work.sleep else work.options
    names = [f"m{number}" for number in range(len(work.folders))]
    backends = {
        name: Noting(connect(ModelSpec(name=name, provider=work.engine, model=folder, options=options)))
        for name, folder in zip(names, work.folders, strict=True)
    }
    asked = questions(work.questions + WARM_UP)
    made = graph(work.what, names, work.tokens)
    async with moa.Runner(backends=backends, by_model=work.sleep) as runner:
        async for _, reply in runner.map(made, asked[:WARM_UP], in_flight=WARM_UP):
            assert reply.ok, reply.error
        sent.clear()
        used.clear()
        swaps = runner.endpoints.swaps
        began = time.perf_counter()
        async for _, reply in runner.map(made, asked[WARM_UP:], in_flight=work.in_flight or work.questions):
            assert reply.ok, reply.error
        seconds = time.perf_counter() - began
        swaps = runner.endpoints.swaps - swaps
    for backend in backends.values():
        await backend.aclose()
    total = sum(used, Usage())
    told = _told(seconds, len(sent), total.input_tokens, total.output_tokens, total.cached_tokens, swaps)
    return Measured(told, sent)


def raw(work: Work) -> dict[str, float]:
    """The same requests through the engine's own batch API, a layer at a time."""
    requests = [json.loads(line) for line in Path(work.requests).read_text().splitlines()]
    layers = [
        [request for request in requests if request["layer"] == layer]
        for layer in sorted({request["layer"] for request in requests}, reverse=True)
    ]
    return (_raw_transformers if work.engine == "transformers" else _raw_vllm)(work, layers)


def _raw_vllm(work: Work, layers: list[list[dict[str, Any]]]) -> dict[str, float]:
    from vllm import LLM, SamplingParams

    options = work.options
    if not _cuda():
        options |= {"enforce_eager": True, "enable_chunked_prefill": False}
    llm = LLM(model=work.folders[0], **options)

    def ask(requests: list[dict[str, Any]]) -> tuple[int, int, int]:
        params = [
            SamplingParams(
                n=request["n"], temperature=1.0, max_tokens=work.tokens, ignore_eos=True, seed=number
            )
            for number, request in enumerate(requests)
        ]
        outputs = llm.chat([request["messages"] for request in requests], params, use_tqdm=False)
        written = sum(len(one.token_ids) for output in outputs for one in output.outputs)
        read = sum(len(output.prompt_token_ids or ()) for output in outputs)
        return read, written, sum(output.num_cached_tokens or 0 for output in outputs)

    warm = questions(WARM_UP)
    ask([{"messages": [{"role": "user", "content": text}], "n": 1} for text in warm])
    began = time.perf_counter()
    counted = [ask(layer) for layer in layers]
    seconds = time.perf_counter() - began
    return _told(seconds, sum(map(len, layers)), *map(sum, zip(*counted, strict=True)))


def _raw_transformers(work: Work, layers: list[list[dict[str, Any]]]) -> dict[str, float]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    folder = work.folders[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.to("cuda" if _cuda() else "cpu")
    generation = GenerationConfig(do_sample=True, max_new_tokens=work.tokens, eos_token_id=-1, pad_token_id=1)
    read = written = 0
    began = time.perf_counter()
    for layer in layers:
        prompts = [
            tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True, return_dict=False)
            for request in layer
            for _ in range(request["n"])
        ]
        outputs = model.generate_batch(inputs=prompts, generation_config=generation)
        read += sum(map(len, prompts))
        written += sum(len(output.generated_tokens) for output in outputs.values())
    return _told(time.perf_counter() - began, sum(map(len, layers)), read, written, 0)


def _told(
    seconds: float, requests: int, read: int, written: int, cached: int, swaps: int = 0
) -> dict[str, float]:
    return {
        "seconds": round(seconds, 3),
        "requests": requests,
        "prompt_tokens": read,
        "output_tokens": written,
        "cached_tokens": cached,
        "tokens_per_second": round(written / seconds, 1),
        "swaps": swaps,
    }


def _cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def measured(way: str, work: Work) -> dict[str, float]:
    """Run one measurement in a process of its own, so that nothing of another stays on the device."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as told:
        command = [
            sys.executable,
            __file__,
            "--way",
            way,
            "--work",
            json.dumps(vars(work)),
            "--told",
            told.name,
        ]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        if done.returncode:
            raise SystemExit(f"{way} of {work.what} failed with exit code {done.returncode}")
        found: dict[str, float] = json.load(told)
    print(
        f"{work.what:12} {way:13} {found['tokens_per_second']:>10,.1f} tokens/s  {json.dumps(found)}",
        flush=True,
    )
    return found


def bench(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Everything that was asked for."""
    engine = options.engine or ("vllm" if find_spec("vllm") else "transformers")
    folders = [str(options.model or model_folder(place, options.scale, drawn=engine == "transformers"))]
    notes = str(place / "requests.jsonl")

    def work(what: str, **more: Any) -> Work:
        fields = {"folders": folders, "questions": options.questions, "tokens": options.tokens, **more}
        return Work(what, engine=engine, requests=notes, **fields)

    found: dict[str, Any] = {}
    for what in _wanted(options.only, ("self-moa", "moa-3-3-1")):
        ours, theirs = measured("orchestrated", work(what)), measured("raw", work(what))
        ratio = ours["tokens_per_second"] / theirs["tokens_per_second"]
        found[what] = {"orchestrated": ours, "raw": theirs, "ratio": round(ratio, 3)}
    for name, (good, bad) in {
        "collapse": ("self-moa", "apart"),
        "prefix": ("prefix-good", "prefix-bad"),
    }.items():
        if name in _wanted(options.only, (name,)):
            one, other = measured("orchestrated", work(good)), measured("orchestrated", work(bad))
            ratio = other["seconds"] / one["seconds"]
            found[name] = {good: one, bad: other, "times_faster": round(ratio, 3)}
    if "by-model" in _wanted(options.only, ("by-model",)):
        found["by-model"] = _by_model(options, place, work) if engine == "vllm" and _cuda() else SKIPPED
        if found["by-model"] is SKIPPED:
            print(SKIPPED)
    return found


SKIPPED = "by-model: skipped, vLLM's sleep mode needs CUDA"


def _by_model(options: argparse.Namespace, place: Path, work: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for models in (2, 3):
        folders = [str(model_folder(place, options.scale, number)) for number in range(models)]
        few = max(2, options.questions // 32)
        turns = measured("orchestrated", work("by-model", folders=folders, sleep=True))
        singly = measured(
            "orchestrated", work("by-model", folders=folders, sleep=True, questions=few, in_flight=1)
        )
        each = [turns["seconds"] / options.questions, singly["seconds"] / few]
        found[f"{models} models"] = {
            "by model": turns,
            "question by question": {**singly, "questions": few},
            "seconds_a_question": [round(seconds, 3) for seconds in each],
            "times_faster": round(each[1] / each[0], 2),
        }
    return found


def _wanted(only: list[str] | None, names: Iterable[str]) -> list[str]:
    return [name for name in names if not only or name in only]


def _machine() -> dict[str, str]:
    import torch

    versions = {}
    for package in ("moa", "vllm", "torch", "transformers"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    device = torch.cuda.get_device_name() if _cuda() else f"CPU {platform.machine()}"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": device,
        "python": platform.python_version(),
        **versions,
    }


def main() -> None:
    """Measure, print a line for each measurement, and write all of it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--scale", choices=["tiny", "1b", "8b"], default="1b", help="random weights of this size"
    )
    parser.add_argument("--model", type=Path, help="a folder with a real model instead")
    parser.add_argument(
        "--engine", choices=["vllm", "transformers"], help="default: vllm where it is installed"
    )
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=256, help="length of every reply")
    parser.add_argument(
        "--only", nargs="+", choices=["self-moa", "moa-3-3-1", "collapse", "prefix", "by-model"]
    )
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--way", choices=["orchestrated", "raw"], help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--told", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        work = Work(**json.loads(options.work))
        if options.way == "orchestrated":
            told, sent = asyncio.run(orchestrated(work))
            Path(work.requests).write_text("\n".join(map(json.dumps, sent)))
        else:
            told = raw(work)
        Path(options.told).write_text(json.dumps(told))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {"machine": _machine(), "command": sys.argv, **bench(options, Path(folder))}
    text = json.dumps(found, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
