"""Choosing by comparing texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.nodes.clusters import average_link
from moa.nodes.select_likeness import Diverse, LargestCluster, Medoid, mean_similarities, spread
from moa.nodes.similarity import SIMILARITIES, Similarity
from tests.nodes.scripted import Context, said

SKY = "the sky is blue because air scatters blue light"
SKY_TOO = "the sky is blue as air scatters the blue light most"
SEA = "the sky mirrors the colour of the sea"
CHEESE = "cheese is made of milk"


@pytest.mark.parametrize("kind", SIMILARITIES)
async def test_the_medoid_is_most_like_the_others(kind: Similarity) -> None:
    [kept] = await Medoid(similarity=kind).select(said(CHEESE, SKY_TOO, SKY, SKY), Context())
    assert kept.node == "drafts[2]"
    assert kept.score is not None
    assert 0.4 < kept.score < 1


async def test_more_agents_choice_is_the_highest_sum_of_bleu() -> None:
    texts = ["a b c d e f", "a b c d x y", "q r s t u v", "a b c d e z"]
    [kept] = await Medoid(similarity="bleu").select(said(*texts), Context())
    assert kept.text == "a b c d e f"


async def test_a_medoid_of_one_is_itself() -> None:
    [kept] = await Medoid().select(said("x"), Context())
    assert (kept.text, kept.score) == ("x", 1.0)


async def test_diversity_starts_far_out_and_goes_on_far_from_the_chosen() -> None:
    kept = await Diverse(k=2).select(said(SKY, SKY, SEA, CHEESE), Context())
    assert [response.text for response in kept] == [CHEESE, SKY]
    kept = await Diverse(k=3).select(said(SKY, SKY, SEA, CHEESE), Context())
    assert {response.text for response in kept} == {CHEESE, SKY, SEA}


def test_the_greedy_choice_by_hand() -> None:
    """Means .5, .4, .3, .6: start at 2; then the lowest similarity to it; then the lowest maximum to both."""
    matrix = [
        [1.0, 0.6, 0.2, 0.7],
        [0.6, 1.0, 0.1, 0.5],
        [0.2, 0.1, 1.0, 0.6],
        [0.7, 0.5, 0.6, 1.0],
    ]
    assert mean_similarities(matrix) == pytest.approx([0.5, 0.4, 0.3, 0.6])
    assert spread(matrix, 3) == [2, 1, 0]


async def test_no_choice_keeps_the_order() -> None:
    kept = await Diverse(k=3).select(said(SKY, SEA, CHEESE), Context())
    assert [response.text for response in kept] == [SKY, SEA, CHEESE]


async def test_the_largest_cluster_leaves_the_outlier_behind() -> None:
    context = Context()
    kept = await LargestCluster().select(said(SKY, CHEESE, SKY_TOO), context)
    assert [response.text for response in kept] == [SKY, SKY_TOO]
    assert context.warnings == []


async def test_of_equal_clusters_the_closer_one_wins() -> None:
    """The Doge code takes cluster 1 whatever it holds."""
    kept = await LargestCluster().select(said(CHEESE, "cheese is old milk", SKY, SKY), Context())
    assert [response.text for response in kept] == [SKY, SKY]


async def test_of_equally_close_clusters_the_earlier_one_wins() -> None:
    kept = await LargestCluster().select(said(CHEESE, SKY, SKY, CHEESE), Context())
    assert [response.text for response in kept] == [CHEESE, CHEESE]


@pytest.mark.parametrize("count", [1, 2])
async def test_too_few_responses_make_no_majority(count: int) -> None:
    context = Context()
    kept = await LargestCluster().select(said(*[SKY, CHEESE][:count]), context)
    assert len(kept) == count
    assert context.warnings == [f"{count} responses make no majority in 2 clusters; kept all"]


async def test_equal_texts_from_several_samples_all_stay() -> None:
    """The Doge code tells references apart by model name, so Self-MoA loses all but one of them."""
    kept = await LargestCluster().select(said(SKY, SKY, SKY, CHEESE), Context())
    assert len(kept) == 3


def test_average_link_by_hand() -> None:
    matrix = [
        [1.0, 0.9, 0.2, 0.1],
        [0.9, 1.0, 0.3, 0.1],
        [0.2, 0.3, 1.0, 0.8],
        [0.1, 0.1, 0.8, 1.0],
    ]
    assert average_link(matrix, 2) == [(0, 1), (2, 3)]
    assert average_link(matrix, 3) == [(0, 1), (2,), (3,)]
    assert average_link(matrix, 9) == [(0,), (1,), (2,), (3,)]


@given(st.lists(st.sampled_from([SKY, SKY_TOO, SEA, CHEESE]), min_size=3, max_size=7))
async def test_the_choice_depends_on_the_texts_alone(texts: list[str]) -> None:
    for selector in (Medoid(), Diverse(k=2), LargestCluster()):
        first = await selector.select(said(*texts), Context(seed=1))
        again = await selector.select(said(*texts), Context(seed=2))
        assert first == again
