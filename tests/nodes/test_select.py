"""Selectors by place, length, chance and label; and what all selectors promise."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from moa.nodes.select import AtRandom, First, Label, Longest, Shortest, Shuffle
from moa.nodes.selector import Selector
from moa.spec.registry import SELECTORS
from tests.nodes.scripted import Context, said

SHIPPED = [
    "diverse",
    "doge-election",
    "first",
    "judge-filter",
    "label",
    "label-by-cluster",
    "largest-cluster",
    "longest",
    "majority",
    "medoid",
    "oracle",
    "pool",
    "random",
    "shortest",
    "shuffle",
    "spotlight",
    "top-k",
    "trimmed",
]


async def chosen(selector: Selector, *texts: str, seed: int = 0) -> list[str]:
    return [response.text for response in await selector.select(said(*texts), Context(seed=seed))]


async def test_first_keeps_the_order_of_the_inputs() -> None:
    assert await chosen(First(k=2), "b", "a", "c") == ["b", "a"]
    assert await chosen(First(k=9), "b", "a") == ["b", "a"]


async def test_longest_and_shortest_break_ties_by_place() -> None:
    assert await chosen(Longest(), "aa", "bbb", "ccc") == ["bbb"]
    assert await chosen(Longest(k=2), "aa", "b", "ccc") == ["ccc", "aa"]
    assert await chosen(Shortest(), "aa", "b", "c") == ["b"]


async def test_a_shuffle_is_decided_by_the_seed() -> None:
    texts = [str(number) for number in range(20)]
    first = await chosen(Shuffle(), *texts, seed=1)
    assert first == await chosen(Shuffle(), *texts, seed=1)
    assert first != await chosen(Shuffle(), *texts, seed=2)
    assert sorted(first) == sorted(texts)


async def test_a_draw_is_decided_by_the_seed_and_falls_on_all_alike() -> None:
    texts = [str(number) for number in range(5)]
    drawn = [(await chosen(AtRandom(), *texts, seed=seed))[0] for seed in range(1000)]
    assert drawn == [(await chosen(AtRandom(), *texts, seed=seed))[0] for seed in range(1000)]
    assert all(150 < drawn.count(text) < 250 for text in texts)
    assert sorted(await chosen(AtRandom(k=9), *texts)) == texts
    assert len(set(await chosen(AtRandom(k=3), *texts))) == 3
    assert (AtRandom().kept(5), AtRandom(k=3).kept(2)) == (1, 2)


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, ["1", "2"]),
        ({"by": "letter"}, ["A", "B"]),
        ({"by": "node"}, ["drafts[0]", "drafts[1]"]),
        ({"by": "model"}, ["sim:0", "sim:1"]),
        ({"by": "text", "text": "draft"}, ["draft", "draft"]),
        ({"text": "draft"}, ["draft", "draft"]),
    ],
)
async def test_labels(options: dict[str, Any], labels: list[str]) -> None:
    responses = said("x", "y")
    labelled = await Label(**options).select(responses, Context())
    assert [response.label for response in labelled] == labels
    assert [response.text for response in labelled] == ["x", "y"]
    assert responses[0].label is None


async def test_letters_go_on_after_z() -> None:
    labelled = await Label(by="letter").select(said(*"x" * 28), Context())
    assert [response.label for response in labelled][25:] == ["Z", "AA", "AB"]


@pytest.mark.parametrize(
    "options", [{"by": "text"}, {"by": "number", "text": "x"}, {"by": "colour"}, {"size": 3}]
)
def test_a_label_that_says_nothing_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Label.model_validate(options)


def test_only_the_oracle_lacks_something() -> None:
    assert [name for name in SHIPPED if SELECTORS.get(name)().lacks()] == ["oracle"]


def test_the_shipped_selectors_are_registered() -> None:
    assert set(SHIPPED) <= set(SELECTORS.names())
    assert all(issubclass(SELECTORS.get(name), Selector) for name in SHIPPED)


@pytest.mark.parametrize("name", [name for name in SHIPPED if SELECTORS.get(name)().lacks() is None])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
async def test_none_keeps_nothing_or_more_or_asks_more_than_it_says(name: str, count: int) -> None:
    selector: Selector = SELECTORS.get(name)()
    reads, reply = ("score", "Score: 7/10") if name == "judge-filter" else ("ranking", "[2] > [1]")
    context = Context(reads, [reply] * count)
    responses = said(*(f"answer {index % 3} {'word ' * index}" for index in range(count)))
    kept = await selector.select(responses, context)
    assert 1 <= len(kept) <= selector.kept(count) <= count
    assert {response.node for response in kept} <= {response.node for response in responses}
    assert len(context.shown) == selector.calls(count)
    assert selector.needs_agent() == (name in {"judge-filter", "top-k"})
