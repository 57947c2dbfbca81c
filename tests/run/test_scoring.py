"""Scores in a run: stored, paid for, found again, and a failure of one node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import moa
from moa.backends.base import Completion, Emit, Request
from moa.backends.scoring import Pair, Scores
from moa.errors import MoaError
from tests.support.backends import Scripted, in_turn

SAYS = {"t:a": "wrong", "t:b": "right", "t:c": "wrong too"}


class Reward:
    """A scorer that knows what is right."""

    def __init__(self, failures: Sequence[Exception] = ()) -> None:
        self.seen: list[list[Pair]] = []
        self.failures = list(failures)

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        self.seen.append(list(pairs))
        if self.failures:
            raise self.failures.pop(0)
        return Scores([float("right" in pair.answer) for pair in pairs], 7)

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        raise AssertionError("a scorer is not asked to chat")

    async def aclose(self) -> None:
        pass


def best(scorer: str = "t:r", how: str = "classify") -> moa.Graph:
    graph = moa.Graph("best")
    drafts = graph.agent("proposer", models=[*SAYS])
    graph.answer = graph.select({"top-k": {"scorer": scorer, "how": how}}, inputs=drafts)
    return graph


def runner(reward: Reward, store: Path | None = None, attempts: int = 3) -> moa.Runner:
    lent = {name: Scripted(in_turn([text])) for name, text in SAYS.items()}
    retry = moa.RetryPolicy(attempts=attempts, base=0.001)
    return moa.Runner(backends={**lent, "t:r": reward}, store=store, retry=retry)


async def test_the_selector_keeps_the_highest_score_and_pays_for_it() -> None:
    reward = Reward()
    async with runner(reward) as running:
        reply = await running.run(best(), "Which?")
    assert reply.text == "right"
    assert reward.seen == [[Pair("Which?", text) for text in SAYS.values()]]
    assert reply.answer is not None and reply.answer.usage.input_tokens == 7
    assert reply.answer.responses[0].score == 1.0
    assert running.ledger.usage.input_tokens == 30 + 7


async def test_scores_are_found_again_though_answers_are_asked_anew(tmp_path: Path) -> None:
    first, second, third = Reward(), Reward(), Reward()
    for reward, how in ((first, "classify"), (second, "classify"), (third, "score")):
        async with runner(reward, tmp_path / "store.db") as running:
            assert (await running.run(best(how=how), "Which?")).text == "right"
    assert (len(first.seen), len(second.seen), len(third.seen)) == (1, 0, 1)


async def test_a_failed_request_is_sent_again() -> None:
    reward = Reward([moa.BackendError("busy", retryable=True)])
    async with runner(reward) as running:
        assert (await running.run(best(), "Which?")).text == "right"
    assert sum(map(len, reward.seen)) >= 2 * len(SAYS)


async def test_a_server_that_stays_away_is_the_nodes_failure_not_a_choice() -> None:
    reward = Reward([moa.BackendError("gone")] * 9)
    async with runner(reward, attempts=1) as running:
        reply = await running.attempt(best(), "Which?")
    assert isinstance(reply.error, MoaError) and "gone" in str(reply.error)


async def test_a_model_that_cannot_score_is_one_line() -> None:
    async with runner(Reward()) as running:
        with pytest.raises(moa.UsageError, match="sim: scores no answers"):
            await running.run(best("sim:"), "Which?")


class Latest(Reward):
    """Likes the sample of the highest seed."""

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        await super().score(pairs)
        return Scores([float(pair.answer.rpartition("#")[2]) for pair in pairs], 0)


async def test_the_gallerys_graph_samples_six_and_asks_the_entry_reward() -> None:
    reward, drafts = Latest(), Scripted()
    async with moa.Runner(backends={"t:a": drafts, "reward": reward}) as running:
        reply = await running.run(moa.load("best-of-n-reward", models={"a": "t:a"}), "Which?")
    texts = [pair.answer for batch in reward.seen for pair in batch]
    assert len(set(texts)) == 6
    assert reply.text == max(texts, key=lambda text: int(text.rpartition("#")[2]))
