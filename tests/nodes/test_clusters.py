"""Clusters, the labels that they give, and outliers."""

from __future__ import annotations

import sys
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from moa.errors import MissingExtraError
from moa.nodes.clusters import Method, cluster
from moa.nodes.select_likeness import LabelByCluster, LargestCluster, Medoid, Trimmed
from moa.nodes.similarity import cosine_matrix
from tests.nodes.scripted import Context, said

METHODS: tuple[Method, ...] = get_args(Method)
SKY = "the sky is blue because air scatters blue light"
SKY_TOO = "the sky is blue as air scatters the blue light most"
SKY_MORE = "the sky looks blue because air scatters blue light"
CHEESE = "cheese is made of milk"
FIVE = cosine_matrix([(1, 0), (0.1, 1), (0.99, 0.1), (0, 1), (0.98, -0.1)])


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_the_two_groups_majority_first(method: Method) -> None:
    assert cluster(FIVE, 2, method, seed=1) == [(0, 2, 4), (1, 3)]


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 7), clusters=st.integers(2, 3), data=st.data())
def test_every_text_is_in_one_cluster_and_the_seed_decides(
    method: Method, count: int, clusters: int, data: st.DataObject
) -> None:
    numbers = st.floats(-1, 1, allow_subnormal=False).map(lambda number: round(number, 2))
    vectors = data.draw(st.lists(st.tuples(numbers, numbers), min_size=count, max_size=count))
    found = cluster(cosine_matrix(vectors), clusters, method, seed=3)
    assert sorted(index for group in found for index in group) == list(range(count))
    assert [len(group) for group in found] == sorted(map(len, found), reverse=True)
    assert found == cluster(cosine_matrix(vectors), clusters, method, seed=3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turned", [False, True])
async def test_bug_6_of_equal_clusters_the_closer_wins_whichever_comes_first(
    method: Method, turned: bool
) -> None:
    """The published code takes cluster 1 whatever it holds."""
    close, loose = [SKY, SKY_MORE], [CHEESE, "cheese is old"]
    texts = [*loose, *close] if turned else [*close, *loose]
    kept = await LargestCluster(method=method).select(said(*texts), Context())
    assert [response.text for response in kept] == close


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2])
async def test_bug_6_fewer_references_than_clusters_never_raise(method: Method, count: int) -> None:
    """The published k-means raises where failures left one reference."""
    responses = said(*[SKY, CHEESE][:count])
    assert await LargestCluster(method=method).select(responses, Context()) == responses
    assert len(await LabelByCluster(method=method).select(responses, Context())) == count
    assert await Trimmed().select(responses, Context()) == responses


async def test_equal_texts_are_one_cluster_and_nothing_breaks() -> None:
    for method in METHODS:
        kept = await LargestCluster(method=method).select(said(SKY, SKY, SKY), Context())
        assert 1 <= len(kept) <= 3


async def test_without_scikit_learn_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra `eval`"):
        await LargestCluster(method="kmeans").select(said(SKY, SKY_TOO, CHEESE), Context())


async def test_labels_name_the_majority_without_a_digit_or_a_letter_on_its_own() -> None:
    labelled = await LabelByCluster().select(said(SKY, CHEESE, SKY_TOO), Context())
    assert [response.label for response in labelled] == ["majority group", "minority group", "majority group"]
    assert labelled[1].text == CHEESE


async def test_labels_of_a_tie_name_no_majority() -> None:
    labelled = await LabelByCluster().select(said(SKY, CHEESE, CHEESE, SKY), Context())
    assert [response.label for response in labelled] == [
        f"even group {name}" for name in ("amber", "birch", "birch", "amber")
    ]


async def test_several_minorities_are_told_apart() -> None:
    labelled = await LabelByCluster(clusters=3).select(
        said(SKY, SKY_TOO, CHEESE, "rain falls in autumn"), Context()
    )
    assert [response.label for response in labelled] == [
        "majority group",
        "majority group",
        "minority group amber",
        "minority group birch",
    ]


async def test_the_outliers_go_one_by_one() -> None:
    texts = [SKY, "rain in autumn", SKY_TOO, CHEESE, SKY_MORE]
    kept = await Trimmed(drop=2).select(said(*texts), Context())
    assert [response.text for response in kept] == [SKY, SKY_TOO, SKY_MORE]
    assert len(await Trimmed(drop=9).select(said(*texts), Context())) == 2 == Trimmed(drop=9).kept(5)


async def test_two_responses_have_no_outlier_and_it_says_so() -> None:
    context = Context()
    assert len(await Trimmed().select(said(SKY, CHEESE), context)) == 2
    assert context.warnings == ["2 responses have no outlier; kept all"]


async def test_embeddings_are_those_of_the_model_that_is_named() -> None:
    context = Context()
    context.vectors = {"a": (1, 0), "b": (0, 1), "c": (0.1, 1)}
    [kept] = await Medoid(similarity="embedding").select(said("a", "b", "c"), context)
    assert kept.text == "c"
    await Medoid(similarity="embedding", embedder="openai:e").select(said("a", "b"), context)
    assert context.embedders == ["local:all-minilm-l6-v2", "openai:e"]


def test_an_embedder_without_embeddings_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="`embedder` belongs to `similarity: embedding`"):
        Medoid(embedder="openai:e")


def test_the_cosine_of_vectors() -> None:
    matrix = cosine_matrix([(3, 4), (4, 3), (-3, -4), (0, 0)])
    assert matrix[0] == pytest.approx([1, 0.96, -1, 0])
    assert [row[0] for row in matrix] == matrix[0]
