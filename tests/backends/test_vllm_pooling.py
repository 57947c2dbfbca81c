"""Models that give numbers in vLLM's own engine on this processor; their weights are drawn by vLLM, so only its ways are judged."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import moa
from moa.backends.base import ScoredBy
from moa.backends.embeddings import Vectors, embedder_of
from moa.backends.scoring import Pair, Scorer, Scores, scorer_of
from moa.errors import BadRequestError, ContextOverflowError, InvalidReplyError
from moa.nodes.similarity import cosine_matrix
from moa.spec.model import ModelSpec
from tests.support.backends import Scripted, in_turn
from tests.support.vllm import ALONE, folder, needs_vllm

PAIRS = [
    Pair("Why is the sky blue?", answer) for answer in ("Rayleigh scattering.", "It is not.", "Because.")
]
TEXTS = ["Why is the sky blue?", "Rayleigh scattering.", "Cats purr."]
OPTIONS: dict[str, Any] = {"dtype": "float32", "load_format": "dummy", "max_model_len": 128}
HOWS: dict[str, tuple[ScoredBy, ...]] = {
    "reward": ("classify", "pooling", "score", "rerank"),
    "vectors": ("score", "rerank"),
}


def small_model(place: Path, kind: str, classes: int = 1) -> ModelSpec:
    """The small model's shape and words with another head, and without its weights."""
    for file in Path(folder()).iterdir():
        if file.suffix == ".json" and file.name != "config.json":
            (place / file.name).symlink_to(file)
    config: dict[str, Any] = json.loads((Path(folder()) / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": ["LlamaModel"], "num_hidden_layers": 2}
    if kind == "reward":
        config |= {
            "architectures": ["LlamaForSequenceClassification"],
            "id2label": {str(number): f"class {number}" for number in range(classes)},
            "label2id": {f"class {number}": number for number in range(classes)},
        }
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # Drawn weights give rewards so small that after the sigmoid all are equal.
    body: dict[str, Any] = {"use_activation": False} if kind == "reward" else {}
    return ModelSpec(name="small", provider="vllm", model=str(place), options=OPTIONS, body=body)


async def scored(spec: ModelSpec, how: ScoredBy, pairs: list[Pair]) -> Scores:
    """Scores, asked pair by pair where the way takes one at a time."""
    scorer = scorer_of(spec, how)
    try:
        if how in ("score", "rerank"):
            return await scorer.score(pairs)
        each = [await scorer.score([pair]) for pair in pairs]
        return Scores([found.numbers[0] for found in each], sum(found.tokens for found in each))
    finally:
        await scorer.aclose()


async def embedded(spec: ModelSpec) -> Vectors:
    embedder = embedder_of(spec)
    try:
        return await embedder.embed(TEXTS)
    finally:
        await embedder.aclose()


class Told(NamedTuple):
    """What one way of running a model said to all that it can be asked."""

    scores: dict[str, Scores]
    vectors: Vectors | None


async def all_of(spec: ModelSpec, kind: str) -> Told:
    scores: dict[str, Scores] = {how: await scored(spec, how, PAIRS) for how in HOWS[kind]}
    return Told(scores, await embedded(spec) if kind == "vectors" else None)


@contextmanager
def served(spec: ModelSpec) -> Iterator[ModelSpec]:
    """The same model behind vLLM's own server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--dtype", "float32", "--load-format", "dummy", "--max-model-len", "128", "--enforce-eager"]
    module = "vllm.entrypoints.openai.api_server"
    command = [sys.executable, "-m", module, "--model", spec.model, "--runner", "pooling", *options]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not listens(port):
            assert process.poll() is None, "the server did not start"
            time.sleep(0.5)
        yield ModelSpec(
            name="small", base_url=f"http://127.0.0.1:{port}/v1", model=spec.model, body=spec.body
        )
    finally:
        process.terminate()
        process.wait(60)


def listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Here(NamedTuple):
    """A kind of model in this process, kept running by a first user, and what it said over HTTP."""

    kind: str
    spec: ModelSpec
    over_http: Told


@pytest.fixture(scope="module", autouse=True)
def _no_worker() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, given in ALONE.items():
            patch.setenv(name, given)
        yield


@pytest.fixture(scope="module", params=list(HOWS))
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    spec = small_model(tmp_path_factory.mktemp("model"), request.param)
    with served(spec) as there:
        over_http = asyncio.run(all_of(there, request.param))
    user: Scorer = scorer_of(spec, "score")
    asyncio.run(user.score(PAIRS[:1]))
    yield Here(request.param, spec, over_http)
    asyncio.run(user.aclose())


@needs_vllm
async def test_in_this_process_the_numbers_are_those_of_the_server(here: Here) -> None:
    told = await all_of(here.spec, here.kind)
    assert told.scores.keys() == here.over_http.scores.keys()
    for how, found in told.scores.items():
        assert len(set(found.numbers)) == len(PAIRS), how
        assert found.numbers == pytest.approx(here.over_http.scores[how].numbers, rel=0.01)
        assert found.tokens == here.over_http.scores[how].tokens
    if told.vectors is not None and here.over_http.vectors is not None:
        (vectors, tokens), (over_http, counted) = told.vectors, here.over_http.vectors
        assert tokens == counted
        for mine, theirs in zip(vectors, over_http, strict=True):
            assert mine == pytest.approx(theirs, rel=0.01, abs=1e-5)


@needs_vllm
async def test_what_the_loaded_model_cannot_do_is_named_with_what_it_can(here: Here) -> None:
    if here.kind == "vectors":
        with pytest.raises(
            BadRequestError, match=r"small: the model has no `/classify` in vLLM \(it has .*`embeddings`"
        ):
            await scored(here.spec, "classify", PAIRS[:1])
        with pytest.raises(InvalidReplyError, match="numbers, where a reward is one"):
            await scored(here.spec, "pooling", PAIRS[:1])
    else:
        with pytest.raises(BadRequestError, match=r"no `embeddings` in vLLM \(it has `/classify`"):
            await embedded(here.spec)


@needs_vllm
async def test_an_answer_that_is_too_long_is_an_error_not_a_cut(here: Here) -> None:
    for how in HOWS[here.kind]:
        with pytest.raises(ContextOverflowError, match="does not fit the context window"):
            await scored(here.spec, how, [Pair("Why?", "so " * 500)])


@needs_vllm
@pytest.mark.parametrize("here", ["reward"], indirect=True, scope="module")
async def test_a_conversation_is_written_by_the_models_own_template(here: Here) -> None:
    """The bare words are 8 tokens; the turns' marks and the system prompt of the template count too."""
    assert (await scored(here.spec, "classify", PAIRS[:1])).tokens > 25


@needs_vllm
@pytest.mark.parametrize("here", ["vectors"], indirect=True, scope="module")
async def test_a_graph_chooses_by_vectors_of_this_process(here: Here) -> None:
    """The medoid is the text whose mean cosine to the others is the highest, and the vectors' tokens are counted."""
    writers = {f"t:{text}": Scripted(in_turn([text])) for text in TEXTS}
    graph = moa.Graph("chooser")
    drafts = graph.agent("proposer", models=list(writers))
    graph.answer = graph.select({"medoid": {"similarity": "embedding", "embedder": "e"}}, inputs=drafts)
    async with moa.Runner(backends=writers, models={"e": here.spec}) as runner:
        reply = await runner.run(graph, "Which?")
    vectors, tokens = await embedded(here.spec)
    means = [sum(row) for row in cosine_matrix(vectors)]
    assert reply.text == TEXTS[means.index(max(means))]
    assert reply.answer is not None and reply.answer.usage.input_tokens == tokens


@needs_vllm
async def test_a_classifier_of_several_classes_is_no_reward_model(tmp_path: Path) -> None:
    spec = small_model(tmp_path, "reward", classes=2)
    with pytest.raises(InvalidReplyError, match="2 classes, where a reward model has one"):
        await scored(spec, "classify", PAIRS[:1])
