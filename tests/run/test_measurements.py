"""What a plan says that a graph asks for, against what its backends are asked when it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import moa
from moa.backends.base import Choice, Completion, Emit, Request, Usage
from moa.backends.embeddings import Vectors
from moa.backends.scoring import Pair, Scores
from moa.graph.estimate import Estimate, estimate
from moa.spec.model import ModelSpec

Selecting = str | dict[str, Any]
Asked = dict[tuple[str, str], int]
BY_VECTORS = {"similarity": "embedding", "embedder": "t:e"}


class Counting:
    """Writes, embeds, scores and tells probabilities, and counts each by its kind."""

    def __init__(self, name: str, asked: Counter[tuple[str, str]]) -> None:
        self.name = name
        self.asked = asked

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        if request.params.get("max_tokens") == 1:
            self.asked["likelihood", self.name] += 1
            place: Any = {"logprob": -0.5 - len(str(request.messages)) % 7, "token": "word"}
            told: Any = {"content": [], "prompt": [None, place, place, place]}
            return Completion((Choice("x", "length", logprobs=told, usage=Usage(1, 1)),))
        self.asked["words", self.name] += request.n
        texts = [f"Way {self.name} {(request.seed or 0) + i} gives {i % 2}" for i in range(request.n)]
        return Completion(tuple(Choice(text, "stop") for text in texts))

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked["embedding", self.name] += len(texts)
        return [[1.0, float(len(text) % 5), float(number)] for number, text in enumerate(texts)], len(texts)

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        self.asked["scoring", self.name] += len(pairs)
        return Scores([float(number) for number in range(len(pairs))], len(pairs))

    async def aclose(self) -> None:
        pass


def chooser(selecting: Selecting, members: Sequence[str], samples: int) -> moa.Graph:
    graph = moa.Graph("chooser")
    drafts = graph.agent("proposer", models=list(members), samples=samples)
    kept = graph.select(selecting, inputs=drafts)
    graph.answer = graph.select("first", inputs=kept)
    return graph


def planned(graph: moa.Graph) -> Estimate:
    return estimate(graph.plan(), lambda name: ModelSpec(name=name, provider="lent", model=name))


def in_plan(found: Estimate) -> Asked:
    counted: Counter[tuple[str, str]] = Counter()
    for node in found.nodes:
        if node.calls:
            counted["words", node.model or ""] += node.calls
        for one in node.measurements:
            counted[one.kind, one.model] += one.calls
    return dict(counted)


async def in_run(graph: moa.Graph, store: Path) -> Asked:
    """With a store, so that what two choices have in common is asked once."""
    asked: Counter[tuple[str, str]] = Counter()
    names = ("t:a", "t:b", "t:e", "t:r", "t:s", "t:w")
    backends = {name: Counting(name, asked) for name in names}
    async with moa.Runner(store=store, backends=backends) as runner:
        await runner.run(graph, "How much is it?")
    return dict(asked)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "selecting",
    [
        {"medoid": BY_VECTORS},
        {"diverse": {"k": 3, **BY_VECTORS}},
        {"largest-cluster": BY_VECTORS},
        {"label-by-cluster": BY_VECTORS},
        {"trimmed": BY_VECTORS},
        {"doge-election": BY_VECTORS},
        {"doge-election": {"by": "answer", **BY_VECTORS}},
        {"medoid": {"similarity": "tfidf"}},
        {"top-k": {"scorer": "t:r"}},
        "query-likelihood",
        {"query-likelihood": {"model": "t:s"}},
        {"density-ratio": {"strong": "t:s", "weak": "t:w"}},
        {"density-ratio": {"strong": "t:s", "weak": "t:s"}},
        {"perplexity-consistency": {"answer": "number"}},
        {"perplexity-consistency": {"answer": "number", "model": "t:s"}},
    ],
    ids=str,
)
async def test_a_plan_counts_what_a_run_asks_for(selecting: Selecting, samples: int, tmp_path: Path) -> None:
    for members in (["t:a"], ["t:a", "t:b"]):
        graph = chooser(selecting, members, samples)
        assert in_plan(planned(graph)) == await in_run(graph, tmp_path / f"{len(members)}.db")


async def test_a_chain_of_selectors_counts_only_what_is_left(tmp_path: Path) -> None:
    graph = moa.Graph("chain")
    drafts = graph.agent("proposer", model="t:a", samples=5)
    best = graph.select({"top-k": {"k": 3, "scorer": "t:r"}}, inputs=drafts)
    graph.answer = graph.select({"medoid": BY_VECTORS}, inputs=best)
    assert in_plan(planned(graph)) == await in_run(graph, tmp_path / "s.db")
    assert in_plan(planned(graph)) == {("words", "t:a"): 5, ("scoring", "t:r"): 5, ("embedding", "t:e"): 3}


def test_the_money_and_tokens_of_all_calls_are_in_the_total() -> None:
    price: dict[str, Any] = {"input": 2, "output": 8}

    def lookup(name: str) -> ModelSpec:
        return ModelSpec.model_validate({"name": name, "provider": "lent", "model": name, "price": price})

    found = estimate(chooser({"top-k": {"scorer": "t:r"}}, ["t:a"], 4).plan(), lookup, output_tokens=100)
    [one] = [measurement for node in found.nodes for measurement in node.measurements]
    words = sum(node.prompt_tokens.expected or 0 for node in found.nodes)
    assert (one.calls, found.calls, found.measurements) == (4, 4, {"scoring": 4})
    assert found.prompt_tokens.expected == words + (one.prompt_tokens.expected or 0)
    assert (one.prompt_tokens.expected or 0) >= 4 * (100 + 100)
    read, written = found.prompt_tokens.expected, found.output_tokens.expected
    assert read is not None and written == 400
    assert found.usd.expected == pytest.approx((read * 2 + written * 8) / 1e6)


def test_a_model_that_only_measures_counts_among_those_without_a_price() -> None:
    def lookup(name: str) -> ModelSpec:
        provider = "sim" if name == "t:a" else "openai"
        return ModelSpec(name=name, provider=provider, model="m")

    found = estimate(chooser({"medoid": BY_VECTORS}, ["t:a"], 4).plan(), lookup)
    assert found.unpriced == ("t:e",)
    assert found.usd.expected is None
