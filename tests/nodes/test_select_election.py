"""The Doge election among responses: who approves of whom, who wins, what is reported."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from pydantic import ValidationError

from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.nodes.select_election import DogeElection, similar
from moa.nodes.selector import Selector
from moa.spec.catalogue import load_agent, load_graph
from tests.nodes.scripted import Context, said

HONEST = (
    "Paris is the capital of France, on the river Seine.",
    "The capital of France is Paris, a city on the Seine.",
    "Paris, on the Seine, is the capital city of France.",
    "France's capital is the city of Paris on the river Seine.",
)
LIE = "Everyone knows that kangaroos invented Australian parliaments."


async def elected(selector: DogeElection, *texts: str, seed: int = 0) -> list[str]:
    return [response.text for response in await selector.select(said(*texts), Context(seed=seed))]


@pytest.mark.parametrize("place", range(3))
async def test_one_liar_of_three_is_never_elected(place: int) -> None:
    texts = list(HONEST[:2])
    texts.insert(place, LIE)
    for seed in range(40):
        assert (await elected(DogeElection(), *texts, seed=seed))[0] in HONEST


async def test_two_liars_of_six_who_agree_seldom_win() -> None:
    found = Counter([(await elected(DogeElection(), *HONEST, LIE, LIE, seed=seed))[0] for seed in range(200)])
    assert found[LIE] / found.total() < 0.05


async def test_a_majority_of_liars_wins() -> None:
    """No vote among references can withstand that: a limit, stated."""
    lies = (LIE, LIE + " Indeed.", LIE + " Truly.")
    for seed in range(20):
        assert (await elected(DogeElection(), *HONEST[:2], *lies, seed=seed))[0] in lies


async def test_the_seed_decides_and_nothing_else() -> None:
    texts = [f"answer number {number} of {number % 4} kinds" for number in range(8)]
    assert [await elected(DogeElection(), *texts, seed=seed) for seed in range(6)] == [
        await elected(DogeElection(), *texts, seed=seed) for seed in range(6)
    ]
    assert len({(await elected(DogeElection(ballot="urn"), *texts, seed=seed))[0] for seed in range(30)}) > 1


async def test_one_and_two_responses() -> None:
    assert await elected(DogeElection(), LIE) == [LIE]
    context = Context()
    [doge] = await DogeElection(approval=0.9).select(said(HONEST[0], LIE), context)
    assert doge.score == 0.5
    assert context.warnings == ["the election was deadlocked: nobody had 2 of 2 approvals; elected with 1"]
    assert await elected(DogeElection(), LIE, LIE) == [LIE]


async def test_equal_answers_approve_of_each_other_and_an_unread_one_of_itself_alone() -> None:
    texts = ("The answer is 4", "I will not say", "So it must be. #### 4", "answer: 7")
    selector = DogeElection(by="answer", keep="supporters")
    for seed in range(10):
        assert set(await elected(selector, *texts, seed=seed)) == {texts[0], texts[2]}


async def test_of_equal_texts_the_first_stands_for_all() -> None:
    responses = said(LIE, HONEST[0], HONEST[0], HONEST[0])
    [doge] = await DogeElection().select(responses, Context(seed=3))
    assert (doge.node, doge.score) == ("drafts[1]", 1.0)


async def test_supporters_go_on_with_the_doge_and_the_college_in_its_own_order() -> None:
    texts = (HONEST[0], LIE, HONEST[1], HONEST[2])
    kept = await elected(DogeElection(keep="supporters"), *texts)
    assert set(kept) == {HONEST[0], HONEST[1], HONEST[2]}
    assert kept[0] == (await elected(DogeElection(), *texts))[0]
    college = await DogeElection(keep="college").select(said(*texts), Context())
    numbers = [response.node for response in college]
    assert numbers == sorted(numbers) and len(numbers) >= 3


async def test_an_agent_approves_for_each_response_of_every_other_one() -> None:
    texts = ("yes", "yes, certainly", "no")
    pairs = list(permutations(range(3), 2))
    replies = ["Score: 9/10" if 2 not in pair else "Score: 2/10" for pair in pairs]
    context = Context("score", replies)
    selector = DogeElection(by="agent")
    [doge] = await selector.select(said(*texts), context)
    assert doge.text in texts[:2]
    assert context.shown == [[texts[i], texts[j]] for i, j in pairs]
    assert selector.calls(3) == len(pairs)


async def test_an_approval_that_cannot_be_read_is_none_and_reported() -> None:
    context = Context("score", ["Score: 9/10", "I cannot say", *["Score: 9/10"] * 4])
    await DogeElection(by="agent").select(said("a", "b", "c"), context)
    assert context.warnings[0] == "1 of 6 approvals could not be read and count as none"


def test_the_mean_similarity_is_the_default_approval() -> None:
    matrix = [[1.0, 0.8, 0.1], [0.8, 1.0, 0.2], [0.1, 0.2, 1.0]]
    assert similar(matrix) == [[True, True, False], [True, True, False], [False, False, True]]
    assert similar([[1.0, 0.5], [0.5, 1.0]]) == [[True, True], [True, True]]
    assert similar(matrix, 0.2)[1] == [True, True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "answer", "approval": 0.5}, "equal answers need none"),
        ({"answer": "regex"}, "has no pattern here"),
        ({"by": "vote"}, "Input should be"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DogeElection.model_validate(options)


def test_it_needs_an_agent_that_scores() -> None:
    selector: Selector = DogeElection(by="agent")
    assert selector.needs_agent() and not DogeElection().needs_agent()
    assert selector.refuses(load_agent("elector").spec) is None
    assert "not `ranking`" in (selector.refuses(load_agent("ranker").spec) or "")


def test_it_says_how_many_it_hands_on() -> None:
    assert DogeElection(family="model").kept(5) == 1
    assert DogeElection(keep="supporters").kept(5) == 5


def test_the_gallery_graph_elects_without_a_call() -> None:
    bound = Bindings({"members": ("x:1", "x:2", "x:3")})
    plan = compile_graph(load_graph("doge-election").spec, bound)
    assert [node.select.name for node in plan.nodes if node.select] == ["doge-election"]


async def test_embeddings_decide_where_words_do_not() -> None:
    context = Context()
    texts = ("Paris.", "The city on the Seine", "Lyon, of course")
    context.vectors = {texts[0]: (1.0, 0.0), texts[1]: (0.9, 0.1), texts[2]: (0.0, 1.0)}
    kept = await DogeElection(similarity="embedding", embedder="local:tiny", keep="supporters").select(
        said(*texts), context
    )
    assert {response.text for response in kept} == set(texts[:2])
    assert context.embedders == ["local:tiny"]


async def test_bug_5_unread_answers_do_not_elect_each_other() -> None:
    """The published vote counts unread answers as one more answer, which wins where they are the most."""
    silent = [f"I would rather not say, for reason {word}" for word in ("one", "two", "three")]
    elected = DogeElection(by="answer", answer="choice")
    for seed in range(10):
        [doge] = await elected.select(said(*silent, "Answer: (B)", "So: (B)"), Context(seed=seed))
        assert "(B)" in doge.text
