"""Embeddings in a run: stored, paid for, found again, and a failure of one node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import moa
from moa.backends.base import Completion, Emit, Request
from moa.backends.embeddings import Vectors
from moa.errors import MoaError
from tests.support.backends import Scripted, in_turn

SAYS = {"t:a": "red sky", "t:b": "red sky too", "t:c": "cheese"}


class Colours:
    """Embeds texts by whether they are red."""

    def __init__(self, failures: Sequence[Exception] = ()) -> None:
        self.seen: list[list[str]] = []
        self.failures = list(failures)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen.append(list(texts))
        if self.failures:
            raise self.failures.pop(0)
        return [[1.0, 0.1 * len(text)] if "red" in text else [0.0, 1.0] for text in texts], 7

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        raise AssertionError("an embedder is not asked to chat")

    async def aclose(self) -> None:
        pass


def chooser(embedder: str = "t:e") -> moa.Graph:
    graph = moa.Graph("chooser")
    drafts = graph.agent("proposer", models=[*SAYS])
    graph.answer = graph.select({"medoid": {"similarity": "embedding", "embedder": embedder}}, inputs=drafts)
    return graph


def runner(colours: Colours, store: Path | None = None, attempts: int = 3) -> moa.Runner:
    lent = {name: Scripted(in_turn([text])) for name, text in SAYS.items()}
    retry = moa.RetryPolicy(attempts=attempts, base=0.001)
    return moa.Runner(backends={**lent, "t:e": colours}, store=store, retry=retry)


async def test_the_selector_chooses_by_the_vectors_and_pays_for_them() -> None:
    colours = Colours()
    async with runner(colours) as running:
        reply = await running.run(chooser(), "Which?")
    assert reply.text == "red sky too"
    assert colours.seen == [list(SAYS.values())]
    assert reply.answer is not None and reply.answer.usage.input_tokens == 7
    assert running.ledger.usage.input_tokens == 30 + 7


async def test_vectors_are_found_again_though_answers_are_asked_anew(tmp_path: Path) -> None:
    first, second = Colours(), Colours()
    for colours in (first, second):
        async with runner(colours, tmp_path / "store.db") as running:
            reply = await running.run(chooser(), "Which?")
        assert reply.text == "red sky too"
    assert (len(first.seen), len(second.seen)) == (1, 0)


async def test_a_failed_request_is_sent_again() -> None:
    colours = Colours([moa.BackendError("busy", retryable=True)])
    async with runner(colours) as running:
        assert (await running.run(chooser(), "Which?")).text == "red sky too"
    assert sum(map(len, colours.seen)) >= 2 * len(SAYS)


async def test_a_server_that_stays_away_is_the_nodes_failure_not_a_choice() -> None:
    colours = Colours([moa.BackendError("gone")] * 9)
    async with runner(colours, attempts=1) as running:
        reply = await running.attempt(chooser(), "Which?")
    assert isinstance(reply.error, MoaError) and "gone" in str(reply.error)


async def test_a_model_that_cannot_embed_is_one_line() -> None:
    async with runner(Colours()) as running:
        with pytest.raises(moa.UsageError, match="sim: makes no embeddings"):
            await running.run(chooser("sim:"), "Which?")
