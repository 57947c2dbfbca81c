"""`moa plan`: the estimate as a table and as JSON, and nothing is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calling import Caller

GRAPH = """\
nodes:
  drafts:  {agent: proposer,   models: [a, a, b]}
  answer:  {agent: aggregator, model: a, inputs: drafts}
"""
MODELS = """\
models:
  big: {provider: openai, model: gpt, price: {input: 2, output: 8}, context: 100000}
  small: {provider: openai, model: mini, context: 600}
slots: {a: big}
"""


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "g.yaml").write_text(GRAPH)
    (tmp_path / "models.yaml").write_text(MODELS)
    return Caller(monkeypatch, capsys)


def test_the_table_shows_nodes_totals_and_critical_path(moa: Caller) -> None:
    called = moa("plan", "self-moa-seq")
    assert (called.code, called.err) == (0, "")
    assert "drafts[0..29]" in called.out and "answer[0..8]" in called.out
    assert "self-moa-seq  39 nodes" in called.out
    assert "drafts[0] > answer[0..8]: 10 calls one after another" in " ".join(called.out.split())
    assert "10 requests in all" in " ".join(called.out.split())
    assert "local:smollm2" in called.out


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(moa: Caller, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    called = moa("plan", "moa", "-m", "openrouter:meta-llama/llama-3.1-70b-instruct", "--questions", "805")
    assert all(len(line) <= columns for line in called.out.splitlines())
    assert "…" not in called.out
    assert "805 questions" in called.out and "10,465" in called.out


def test_an_unknown_price_is_na_and_says_what_to_do(moa: Caller) -> None:
    called = moa("plan", "g.yaml", "--models", "models.yaml", "-m", "b=openai:gpt-unheard-of")
    assert "n/a" in called.out
    assert "openai:gpt-unheard-of: give one in models.yaml (`price`)" in " ".join(called.out.split())


def test_json_has_every_node_and_the_total_of_all_questions(moa: Caller) -> None:
    called = moa(
        "plan", "g.yaml", "--models", "models.yaml", "-m", "b=big", "--questions", "10",
        "--output-tokens", "100", "--prompt-tokens", "50", "--json",
    )  # fmt: skip
    assert (called.code, called.err) == (0, "")
    plan = json.loads(called.out)
    assert [node["id"] for node in plan["nodes"]] == ["drafts[0]", "drafts[1]", "drafts[2]", "answer"]
    assert (plan["calls"], plan["total"]["calls"]) == (4, 40)
    assert plan["output_tokens"]["expected"] == 400
    assert plan["nodes"][0]["prompt_tokens"]["expected"] == 58
    assert plan["total"]["cost"]["expected"] == pytest.approx(10 * plan["cost"]["expected"])
    tokens = plan["prompt_tokens"]["expected"]
    assert plan["cost"]["expected"] == pytest.approx((tokens * 2 + 400 * 8) / 1e6)
    assert plan["critical_path"] == {"nodes": ["drafts[0]", "answer"], "calls": 2, "output_tokens": 200}
    assert plan["shared"][0]["nodes"] == ["drafts[0]", "drafts[1]", "drafts[2]"]


def test_the_prompt_itself_is_measured(moa: Caller) -> None:
    called = moa("plan", "single", "--prompt", "x" * 4000, "--json")
    assert json.loads(called.out)["prompt_tokens"]["expected"] == 1008


def test_references_that_may_not_fit_are_a_warning(moa: Caller) -> None:
    called = moa("plan", "g.yaml", "--models", "models.yaml", "-m", "b=big", "-m", "a=small")
    assert called.code == 0
    assert called.err.startswith("warning: `answer`: up to")
    assert "small has room for 450 of 600" in called.err


def test_a_prompt_that_never_fits_is_the_users_mistake(moa: Caller) -> None:
    called = moa("plan", "g.yaml", "--models", "models.yaml", "-m", "b=small", "--prompt", "x" * 4000)
    assert called.code == 2
    assert "`drafts[2]`: at least 1,008 tokens of prompt, but small has room for 450 of 600" in called.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "a=x"], "slot `b` is not bound: add -m b=MODEL"),
        (["-m", "c=x:y", "-m", "x:z"], "no slot `c`"),
        (["-m", "nonsense:model"], "unknown model 'nonsense:model'"),
        (["-m", "a="], "no model after `=`"),
    ],
)
def test_a_wrong_binding_is_one_line_and_exit_2(moa: Caller, options: list[str], message: str) -> None:
    called = moa("plan", "g.yaml", *options)
    assert (called.code, called.out) == (2, "")
    assert message in called.err
    assert called.err.count("\n") == 1


def test_mistakes_have_their_place_in_the_file(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(GRAPH.replace("inputs: drafts", "inputs: [draft]"))
    called = moa("plan", "bad.yaml")
    assert called.code == 2
    assert called.err == "bad.yaml:3:51: no node is called `draft`; did you mean `drafts`?\n"


def test_a_vote_over_subsets_says_what_it_withstands_and_which_size_would_withstand_more(moa: Caller) -> None:
    called = moa("plan", "moa-lite", "--defend", "dropout-vote")
    notes = " ".join(called.out.split())
    assert "63 equal ballots withstand 0 of 6 corrupted references" in notes
    assert "subsets of size 2 would withstand 1, for 15 calls" in notes
    deep = " ".join(moa("plan", "moa", "--defend", "dropout-vote(size=1)").out.split())
    assert "withstand 2 of 6 corrupted references, but no corrupted agent of an earlier layer" in deep
    assert "ithstand" not in moa("plan", "moa-lite").out


def test_json_has_what_each_size_of_subsets_costs_and_withstands(moa: Caller) -> None:
    plan = json.loads(moa("plan", "moa-lite", "--defend", "dropout-vote(size=2)", "--json").out)
    found = plan["withstands"]
    assert (found["references"], found["agents"], found["of"], found["ballots"]) == (1, 1, 6, 15)
    assert [(row["size"], row["calls"], row["references"]) for row in found["sizes"]] == [
        (1, 6, 2), (2, 15, 1), (3, 20, 0), (4, 15, 0), (5, 6, 0), (6, 1, 0),
    ]  # fmt: skip
    assert "withstands" not in json.loads(moa("plan", "moa-lite", "--json").out)


def test_calls_for_numbers_have_rows_of_their_own_and_are_in_the_totals(moa: Caller) -> None:
    reward = ("-m", "a=sim:", "-m", "reward=http://localhost:9/v1#rm")
    called = moa("plan", "best-of-n-reward", *reward, "--questions", "10")
    assert called.code == 0, called.err
    shown = " ".join(called.out.split())
    assert "scoring" in shown and "60 + 60" in shown
    assert "Measured 6 scoring: calls for numbers instead of words" in shown
    assert "No price http://localhost:9/v1#rm" in shown
    told = json.loads(moa("plan", "best-of-n-reward", *reward, "--json", "--questions", "10").out)
    assert (told["calls"], told["measurements"], told["total"]["measurements"]) == (
        6,
        {"scoring": 6},
        {"scoring": 60},
    )
    [one] = [one for node in told["nodes"] for one in node["measurements"]]
    assert (one["kind"], one["model"], one["calls"], one["cost"]["expected"]) == (
        "scoring",
        "http://localhost:9/v1#rm",
        6,
        None,
    )


def test_a_slot_of_a_selector_that_nobody_binds_is_named_with_its_place(moa: Caller) -> None:
    called = moa("plan", "density-ratio", "-m", "a=sim:", "-m", "weak=sim:")
    assert called.code == 2
    assert "slot `strong` is not bound: add -m strong=MODEL" in called.err
