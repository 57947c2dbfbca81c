"""Selectors that choose by how probable models find texts."""

from __future__ import annotations

import math

import pytest

from moa.errors import UsageError
from moa.nodes.response import Response
from moa.nodes.select_likelihood import DensityRatio, PerplexityConsistency, QueryLikelihood
from moa.nodes.selector import Likely
from tests.nodes.scripted import Context, said


def likely(context: Context, model: str, text: str, logprob: float, tokens: int = 1) -> None:
    context.likely[model, text] = Likely(logprob, tokens)


async def test_the_question_is_scored_given_each_response_by_its_writer() -> None:
    context = Context()
    likely(context, "sim:0", "Which?", -8.0, 4)
    likely(context, "sim:1", "Which?", -3.0, 4)
    [best] = await QueryLikelihood().select(said("one", "two"), context)
    assert (best.text, best.score) == ("two", -0.75)
    assert [(model, text) for model, _, text in context.scored] == [("sim:0", "Which?"), ("sim:1", "Which?")]
    assert [prompt.endswith(("one", "two")) for _, prompt, _ in context.scored] == [True, True]


async def test_one_model_scores_all_where_it_is_named() -> None:
    context = Context()
    likely(context, "m", "Which?", -1.0)
    [best] = await QueryLikelihood(model="m").select([Response("alone", "drafts[0]")], context)
    assert best.text == "alone"
    with pytest.raises(UsageError, match=r"nobody knows which model wrote `drafts\[0\]`"):
        await QueryLikelihood().select([Response("alone", "drafts[0]")], context)


async def test_the_ratio_prefers_what_only_the_strong_model_likes() -> None:
    context = Context()
    for text, strong, weak in (("plain", -2.0, -2.0), ("good", -5.0, -9.0)):
        likely(context, "s", text, strong)
        likely(context, "w", text, weak)
    [best] = await DensityRatio(strong="s", weak="w").select(said("plain", "good"), context)
    assert (best.text, best.score) == ("good", 4.0)


def test_both_models_of_a_ratio_must_be_named() -> None:
    with pytest.raises(ValueError, match="weak"):
        DensityRatio.model_validate({"strong": "s"})


async def test_probable_paths_outvote_many() -> None:
    context = Context()
    paths = ["it is 7", "so 7", "surely 9"]
    for text, probability in zip(paths, (0.1, 0.1, 0.6), strict=True):
        likely(context, "m", text, math.log(probability))
    chosen = PerplexityConsistency(answer="number", model="m")
    [best] = await chosen.select(said(*paths), context)
    assert (best.text, best.label) == ("surely 9", "9")
    assert best.score == pytest.approx(0.75)


async def test_equal_paths_count_once_and_tiny_probabilities_still_compare() -> None:
    context = Context()
    likely(context, "m", "it is 7", -2000.0)
    likely(context, "m", "so it is 9", -1999.0)
    chosen = PerplexityConsistency(answer="number", model="m")
    [best] = await chosen.select(said("it is 7", "it is 7", "it is 7", "so it is 9"), context)
    assert best.label == "9"
    assert len(context.scored) == 2


async def test_pruned_paths_have_no_say() -> None:
    context = Context()
    for text, probability in (("a: 7", 0.3), ("b: 7", 0.3), ("c: 9", 0.5)):
        likely(context, "m", text, math.log(probability))
    paths = said("a: 7", "b: 7", "c: 9")
    [whole] = await PerplexityConsistency(answer="number", model="m").select(paths, context)
    [pruned] = await PerplexityConsistency(answer="number", model="m", prune=True).select(paths, context)
    assert (whole.label, pruned.label, pruned.score) == ("7", "9", 1.0)


async def test_unreadable_paths_are_told_and_not_scored() -> None:
    context = Context()
    likely(context, "m", "it is 7", -1.0)
    chosen = PerplexityConsistency(answer="number", model="m")
    [best] = await chosen.select(said("no idea", "it is 7"), context)
    assert best.label == "7" and "1 of 2 paths gave no answer" in context.warnings[0]
    [kept] = await chosen.select(said("no idea"), context)
    assert kept.label == "unread"


async def test_pruning_tells_two_groups_of_paths_apart_and_keeps_the_whole_upper_one() -> None:
    """Five probable paths of which one alone is above the mean, and six that are out of the question."""
    context = Context()
    logprobs = {f"path {at}: 7": -40.0 - at for at in range(4)} | {"path 4: 9": -37.0}
    logprobs |= {f"aside {at}: 9": -70.0 - at for at in range(6)}
    for text, logprob in logprobs.items():
        likely(context, "m", text, logprob)
    [best] = await PerplexityConsistency(answer="number", model="m", prune=True).select(
        said(*logprobs), context
    )
    shares = [math.exp(logprob) for logprob in logprobs.values()]
    assert best.label == "9"
    assert best.score == pytest.approx(shares[4] / sum(shares[:5]))
    assert shares[4] / sum(shares[:5]) < 0.96
