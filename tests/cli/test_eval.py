"""`moa eval`: from questions to a leaderboard, and what happens when the line is called again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import Called
from tests.support.background import in_background
from tests.support.faults import Exchange, FaultServer, Step, ok, status
from tests.support.judging import judge_server
from tests.support.shell import Here, one_line

PAIRS = """
data: {path: items.jsonl}
judge: {kind: pairwise}
"""
EXACT = """
data: {path: items.jsonl}
answer: {read: text}
"""
TWICE = """
nodes:
  drafts: {agent: proposer, model: a, samples: 2}
  answer: {agent: aggregator, model: a, inputs: drafts}
"""
ONCE = "nodes: {answer: {agent: proposer, model: a}}\n"
LINE = ("eval", "./pairs.yaml", "./twice.yaml", "./single.yaml", "--out", "out")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with in_background(judge_server()) as server:
        yield server


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    files = {"pairs": PAIRS, "exact": EXACT, "twice": TWICE, "single": ONCE}
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    write_items(tmp_path, 6)
    return Here(monkeypatch, capsys, tmp_path)


def write_items(folder: Path, count: int, **fields: Any) -> None:
    lines = [
        {"id": f"q{number}", "prompt": f"Question {number}?", "answer": "A", **fields}
        for number in range(count)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def evaluate(moa: Here, server: FaultServer, *options: str, line: tuple[str, ...] = LINE) -> Called:
    return moa(*line, "-m", f"{server.url}#m", "--judge", f"{server.url}#j", "--no-report", *options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("answers", "verdicts", "outputs")
        for path in (folder / part).iterdir()
    }


def failing(*questions: str) -> Step:
    """Refuses to answer these questions."""

    async def step(exchange: Exchange) -> None:
        asked = exchange.seen.body["messages"][-1]["content"]
        await (status(400, "not that one") if asked in questions else ok())(exchange)

    return step


def test_a_leaderboard_of_pairs_and_a_folder_that_holds_it_all(moa: Here, server: FaultServer) -> None:
    called = evaluate(moa, server)
    assert called.code == 0
    assert "12 of 12 answered" in called.err
    assert re.search(r"^pairs: 6 items, judge \S+#j, baseline single", called.out)
    assert re.search(r"^twice\s+\d+\.\d \[", called.out, re.MULTILINE)
    assert re.search(r"^single\s+50\.0 ", called.out, re.MULTILINE)
    out = moa.folder / "out"
    assert [line["id"] for line in lines(out / "items.jsonl")] == [f"q{number}" for number in range(6)]
    for name in ("twice", "single"):
        assert [line["item"] for line in lines(out / "answers" / f"{name}.jsonl")] == [
            f"q{number}" for number in range(6)
        ]
    verdicts = lines(out / "verdicts" / "twice.jsonl")
    assert [(each["item"], each["swapped"], each["of"]) for each in verdicts] == [
        (f"q{number}", swapped, 2) for number in range(6) for swapped in (False, True)
    ]
    assert {each["against"] for each in verdicts} == {"single"}
    assert not (out / "verdicts" / "single.jsonl").exists()
    experiment = json.loads((out / "experiment.json").read_text())
    assert (experiment["baseline"], experiment["items"], experiment["seed"]) == ("single", 6, 0)
    assert [each["name"] for each in experiment["entrants"]] == ["twice", "single"]


def test_outputs_are_what_alpaca_eval_reads(moa: Here, server: FaultServer) -> None:
    write_items(moa.folder, 2, dataset="mine")
    evaluate(moa, server)
    outputs = json.loads((moa.folder / "out/outputs/twice.json").read_text())
    answers = lines(moa.folder / "out/answers/twice.jsonl")
    assert outputs == [
        {
            "instruction": f"Question {number}?",
            "output": answers[number]["outputs"][0],
            "generator": "twice",
            "dataset": "mine",
        }
        for number in range(2)
    ]


def test_a_pool_that_entrants_share_is_paid_once(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    # Two drafts, one of them the answer of `single` too, an aggregation and two verdicts a question.
    assert sum(seen.n for seen in server.requests) == 6 * (2 + 1 + 2)
    [first, *_] = lines(moa.folder / "out/answers/twice.jsonl")
    assert first["spent"]["calls"] == 3
    assert [node["id"] for node in first["nodes"]] == ["drafts[0]", "drafts[1]", "answer"]


def test_the_same_line_again_sends_nothing_and_shows_the_same(moa: Here, server: FaultServer) -> None:
    first = evaluate(moa, server)
    before, asked = contents(moa.folder / "out"), len(server.requests)
    again = evaluate(moa, server)
    assert (again.code, again.out) == (first.code, first.out)
    assert "12 of them before" in again.err
    assert contents(moa.folder / "out") == before
    assert len(server.requests) == asked


def test_torn_files_are_mended_from_the_store(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    before, asked = contents(moa.folder / "out"), len(server.requests)
    out = moa.folder / "out"
    for place, keep in (("answers/twice.jsonl", 100), ("answers/single.jsonl", -5)):
        (out / place).write_bytes(before[place][:keep])
    whole = before["verdicts/twice.jsonl"].splitlines(keepends=True)
    (out / "verdicts/twice.jsonl").write_bytes(b"".join(whole[:3]))  # the second item lacks its other order
    items = (out / "items.jsonl").read_bytes()
    (out / "items.jsonl").write_bytes(items[:-7])
    evaluate(moa, server)
    assert contents(out) == before
    assert (out / "items.jsonl").read_bytes() == items
    assert len(server.requests) == asked


def test_a_larger_limit_adds_items_after_those_that_are_there(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server, "--limit", "3")
    out = moa.folder / "out"
    before, asked = contents(out), sum(seen.n for seen in server.requests)
    assert evaluate(moa, server, "--limit", "5").code == 0
    after = contents(out)
    for name in ("answers/twice.jsonl", "verdicts/twice.jsonl"):
        assert after[name].startswith(before[name])
        assert len(after[name]) > len(before[name])
    assert sum(seen.n for seen in server.requests) - asked == 2 * 5
    assert json.loads((out / "experiment.json").read_text())["items"] == 5
    assert len({line["id"] for line in lines(out / "items.jsonl")}) == 5


def test_fewer_items_than_before_are_refused(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    message = one_line(evaluate(moa, server, "--limit", "2"), 2)
    assert message.startswith("out asks 6 items already, 4 more than now: leave --limit")


def test_more_entrants_join_those_that_are_there(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    before, asked = contents(moa.folder / "out"), len(server.requests)
    (moa.folder / "again.yaml").write_text(TWICE.replace("samples: 2", "samples: 3"))
    called = evaluate(moa, server, line=("eval", "./pairs.yaml", "./again.yaml", "--out", "out"))
    assert called.code == 0
    assert {name for name in ("again", "twice", "single") if re.search(rf"^{name} ", called.out, re.M)} == {
        "again",
        "twice",
        "single",
    }
    after = contents(moa.folder / "out")
    assert {name: after[name] for name in before} == before
    # The drafts of before, one more, an aggregation, and two verdicts against the recorded baseline.
    assert sum(seen.n for seen in server.requests[asked:]) == 6 * 4
    assert {each["against"] for each in lines(moa.folder / "out/verdicts/again.jsonl")} == {"single"}


CHANGES = {
    "the seed was 0 and is now 1": ["--seed", "1"],
    "the judge was": ["--judge", "sim:skill=1"],
    "the baseline was single and is now twice": ["--baseline", "twice"],
    "the model `a` (": ["-m", "a=sim:skill=0.5"],
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_named_and_refused(moa: Here, server: FaultServer, what: str) -> None:
    evaluate(moa, server)
    before, asked = contents(moa.folder / "out"), len(server.requests)
    message = one_line(evaluate(moa, server, *CHANGES[what]), 2)
    assert message.startswith("out holds another experiment: ")
    assert what in message and "--fork" in message and "another --out" in message
    assert contents(moa.folder / "out") == before
    assert len(server.requests) == asked


def test_changed_words_of_an_agent_are_noticed(moa: Here, server: FaultServer) -> None:
    (moa.folder / "agents").mkdir()
    (moa.folder / "agents/mine.yaml").write_text("system: Be brief.\n")
    (moa.folder / "single.yaml").write_text("nodes: {answer: {agent: mine, model: a}}\n")
    evaluate(moa, server)
    (moa.folder / "agents/mine.yaml").write_text("system: Be very brief.\n")
    message = one_line(evaluate(moa, server), 2)
    assert "the graph, its agents or a model's settings of the entrant `single` changed" in message


def test_changed_data_are_noticed(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    text = (moa.folder / "items.jsonl").read_text()
    (moa.folder / "items.jsonl").write_text(text.replace("Question 3?", "Question three?"))
    message = one_line(evaluate(moa, server), 2)
    assert message.startswith("out/items.jsonl: the item 'q3' is another now")


def test_a_fork_goes_on_beside_with_what_was_paid_for(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    before, asked = contents(moa.folder / "out"), len(server.requests)
    called = evaluate(moa, server, "--baseline", "twice", "--fork")
    assert called.code == 0
    assert "this goes on in out-2" in called.err
    assert contents(moa.folder / "out") == before
    assert {each["against"] for each in lines(moa.folder / "out-2/verdicts/single.jsonl")} == {"twice"}
    # Answers come from the copied store; the judge sees the same two texts, so even verdicts are there.
    assert len(server.requests) == asked
    again = evaluate(moa, server, "--baseline", "twice", "--fork")
    assert "12 of them before" in again.err
    assert not (moa.folder / "out-3").exists()


def test_failed_answers_are_recorded_and_asked_again_on_demand(moa: Here, server: FaultServer) -> None:
    server.always = failing("Question 2?")
    called = evaluate(moa, server)
    assert called.code == 1
    assert "2 failed" in called.err and "--retry-failed" in called.err
    out = moa.folder / "out"
    failed = [line for line in lines(out / "answers/twice.jsonl") if line["state"] == "failed"]
    assert [line["item"] for line in failed] == ["q2"]
    assert "not that one" in failed[0]["error"] and failed[0]["outputs"] == []
    assert [each["state"] for each in lines(out / "verdicts/twice.jsonl")].count("failed") == 1
    assert "q2" not in {line["instruction"] for line in json.loads((out / "outputs/twice.json").read_text())}
    asked = len(server.requests)
    server.always = ok()
    evaluate(moa, server)
    assert len(server.requests) == asked
    before = contents(out)
    called = evaluate(moa, server, "--retry-failed")
    assert called.code == 0
    assert sum(seen.n for seen in server.requests[asked:]) == 2 + 1 + 2
    after = contents(out)
    assert [line["item"] for line in lines(out / "answers/twice.jsonl")] == [f"q{n}" for n in range(6)]
    assert [each["state"] for each in lines(out / "verdicts/twice.jsonl")] == ["ok"] * 12
    unchanged = before["answers/single.jsonl"].splitlines()[:2]
    assert after["answers/single.jsonl"].splitlines()[:2] == unchanged
    assert not list(out.rglob("*.draft"))


def test_an_answer_that_fails_again_stays_a_failure(moa: Here, server: FaultServer) -> None:
    server.always = failing("Question 2?")
    evaluate(moa, server)
    before = contents(moa.folder / "out")
    assert evaluate(moa, server, "--retry-failed").code == 1
    after = contents(moa.folder / "out")
    assert after.keys() == before.keys()
    assert [line["state"] for line in lines(moa.folder / "out/answers/single.jsonl")] == [
        "ok", "ok", "failed", "ok", "ok", "ok"
    ]  # fmt: skip


def test_a_failed_judge_is_a_verdict_of_its_own(moa: Here, server: FaultServer) -> None:
    async def no_judge(exchange: Exchange) -> None:
        judging = exchange.seen.body["model"] == "j"
        await (status(400, "no judge today") if judging else ok())(exchange)

    server.always = no_judge
    called = evaluate(moa, server)
    verdicts = lines(moa.folder / "out/verdicts/twice.jsonl")
    assert {each["state"] for each in verdicts} == {"failed"}
    assert {each["value"] for each in verdicts} == {None}
    assert called.code == 1 and "verdicts failed" in called.err
    server.always = ok()
    assert evaluate(moa, server, "--retry-failed").code == 0
    assert {each["state"] for each in lines(moa.folder / "out/verdicts/twice.jsonl")} == {"ok"}


def test_a_spent_budget_ends_the_run_and_the_next_one_goes_on(moa: Here, server: FaultServer) -> None:
    called = evaluate(moa, server, "--budget-tokens", "600", "--in-flight", "1")
    assert called.code == 1 and "budget" in called.err
    done = lines(moa.folder / "out/answers/twice.jsonl")
    asked = sum(seen.n for seen in server.requests)
    assert len(done) < 6
    assert evaluate(moa, server).code == 0
    assert sum(seen.n for seen in server.requests) == 6 * 5 > asked


def test_a_sweep_makes_an_entrant_of_each_value(moa: Here, server: FaultServer) -> None:
    called = evaluate(moa, server, "--set", "drafts.samples=1,3", "--set", "answer.sampling.temperature=0,1")
    assert called.code == 0
    names = [path.stem for path in (moa.folder / "out/answers").iterdir()]
    assert sorted(names) == sorted(
        [
            *(f"single[answer.sampling.temperature={t}]" for t in (0, 1)),
            *(f"twice[drafts.samples={n},answer.sampling.temperature={t}]" for n in (1, 3) for t in (0, 1)),
        ]
    )
    experiment = json.loads((moa.folder / "out/experiment.json").read_text())
    [three] = [each for each in experiment["entrants"] if each["settings"].get("drafts.samples") == 3][:1]
    assert "samples: 3" in three["yaml"]
    assert "flowchart" in three["mermaid"] and three["svg"].startswith("<svg")
    assert three["models"] == {"a": f"{server.url}#m"}


def test_exact_match_needs_no_judge(moa: Here, server: FaultServer) -> None:
    server.answer = lambda messages, seed, model, n: ["A" if "1?" in str(messages) else "B"] * n
    called = moa(
        "eval", "./exact.yaml", "./twice.yaml", "./single.yaml", "--out", "out",
        "-m", f"{server.url}#m", "--no-report",
    )  # fmt: skip
    assert called.code == 0
    assert re.search(r"^twice\s+16\.7 \[", called.out, re.MULTILINE)
    verdicts = lines(moa.folder / "out/verdicts/single.jsonl")
    assert [each["value"] for each in verdicts] == [0, 1, 0, 0, 0, 0]
    assert json.loads((moa.folder / "out/experiment.json").read_text())["judge"] == "exact"


def test_each_turn_hears_the_answers_before_it(moa: Here, server: FaultServer) -> None:
    rows = [{"id": "talk", "turns": ["First?", "And then?"]}]
    (moa.folder / "items.jsonl").write_text(json.dumps(rows[0]) + "\n")
    (moa.folder / "pairs.yaml").write_text(
        "data: {path: items.jsonl}\nsystem: Be kind.\njudge: {kind: pairwise}\n"
    )
    assert evaluate(moa, server).code == 0
    [answer] = lines(moa.folder / "out/answers/twice.jsonl")
    assert len(answer["outputs"]) == 2
    asked = [seen.body["messages"] for seen in server.requests if seen.body["model"] == "m"]
    second = [messages for messages in asked if messages[-1]["content"] == "And then?"]
    heard = {messages[-2]["content"] for messages in second}
    assert answer["outputs"][0] in heard
    assert len(second) >= 2
    assert all(messages[0]["content"].startswith("Be kind.") for messages in second)
    assert [node["turn"] for node in answer["nodes"]] == [0, 0, 0, 1, 1, 1]
    outputs = json.loads((moa.folder / "out/outputs/twice.json").read_text())
    assert [row["instruction"] for row in outputs] == ["First?", "And then?"]


def test_recorded_outputs_are_a_baseline(moa: Here, server: FaultServer) -> None:
    rows = [{"id": f"q{number}", "output": f"Recorded {number}."} for number in range(6)]
    (moa.folder / "recorded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (moa.folder / "pairs.yaml").write_text(
        "data: {path: items.jsonl}\njudge: {kind: pairwise}\nbaseline: {name: old, path: recorded.jsonl}\n"
    )
    called = evaluate(moa, server)
    assert called.code == 0 and "baseline old" in called.out
    assert {each["against"] for each in lines(moa.folder / "out/verdicts/single.jsonl")} == {"old"}


def test_without_a_store_nothing_is_kept_but_the_results(moa: Here, server: FaultServer) -> None:
    assert evaluate(moa, server, "--no-store").code == 0
    assert not list(moa.folder.rglob("*.sqlite"))
    asked = len(server.requests)
    assert evaluate(moa, server, "--no-store").code == 0
    assert len(server.requests) == asked


def test_the_report_is_written_where_it_is_wanted(moa: Here, server: FaultServer) -> None:
    called = moa(*LINE, "-m", f"{server.url}#m", "--judge", f"{server.url}#j")
    assert called.code == 0
    assert "report: out/report.html" in called.err
    assert (moa.folder / "out/report.html").read_text().startswith("<!")


MISTAKES = {
    "unknown eval 'sampel'; did you mean `sample`?": ["eval", "sampel", "./single.yaml"],
    "no file nope.yaml": ["eval", "./pairs.yaml", "nope.yaml"],
    "single is alone": ["eval", "./pairs.yaml", "./single.yaml", "--judge", "sim:skill=1"],
    "takes part twice": ["eval", "./pairs.yaml", "./single.yaml", "./single.yaml"],
    "--baseline singel: nobody of that name takes part; did you mean `single`?": [
        *LINE[:4], "--baseline", "singel", "--judge", "sim:skill=1",
    ],
    "no graph has a node `drfts`; did you mean `drafts`?": [*LINE[:4], "--set", "drfts.samples=1,2"],
    "a node has no field `sample`; did you mean `samples`?": [*LINE[:4], "--set", "drafts.sample=1,2"],
    "--set drafts.samples=0: ": [*LINE[:4], "--set", "drafts.samples=0"],
    "the same value twice": [*LINE[:4], "--set", "drafts.samples=1,1"],
    "-m b=sim:skill=1: no graph has a slot `b`; their slots: a": [*LINE[:4], "-m", "b=sim:skill=1"],
    "--in-flight": [*LINE[:4], "--in-flight", "0"],
    "exact compares answers with the right ones and asks no judge": [
        "eval", "./exact.yaml", "./single.yaml", "--judge", "sim:skill=1",
    ],
    "cannot read nope.jsonl: no such file": [*LINE[:4], "--data", "nope.jsonl"],
}  # fmt: skip


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_said_before_anything_is_asked(moa: Here, server: FaultServer, message: str) -> None:
    line = MISTAKES[message]
    judge = [] if "--judge" in line else ["-m", "judge=sim:skill=1"]
    called = moa(*line, *judge, "--out", "out", "-m", f"a={server.url}#m")
    assert called.code == 2 and called.out == ""
    assert message in called.err
    assert not server.requests and not (moa.folder / "out").exists()


def test_nobody_judges_unless_somebody_is_named(moa: Here, server: FaultServer) -> None:
    message = one_line(moa(*LINE, "-m", f"a={server.url}#m"), 2)
    assert message == "nobody judges: add --judge MODEL (or -m judge=MODEL)"


def test_a_folder_of_something_else_is_left_alone(moa: Here, server: FaultServer) -> None:
    (moa.folder / "out").mkdir()
    (moa.folder / "out/thesis.tex").write_text("all of it")
    message = one_line(evaluate(moa, server), 2)
    assert message == "--out out is not empty (thesis.tex) and no experiment; choose another folder"
    assert [path.name for path in (moa.folder / "out").iterdir()] == ["thesis.tex"]


def test_a_changed_line_of_the_folder_is_named(moa: Here, server: FaultServer) -> None:
    evaluate(moa, server)
    path = moa.folder / "out/answers/twice.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    called = evaluate(moa, server)
    assert called.code == 2 and called.out == ""
    assert "out/answers/twice.jsonl:1: is about the item 'q1' where 'q0' is due" in called.err


@pytest.mark.parametrize(("skill", "expected"), [("1", 100.0), ("0", 0.0)])
def test_simulated_members_know_what_is_right_in_the_evaluation(
    moa: Here, skill: str, expected: float
) -> None:
    line = (
        "eval",
        "sample_choice",
        "single",
        "-m",
        f"sim:skill={skill}",
        "--out",
        "simulated",
        "--no-report",
    )
    assert moa(*line).code == 0
    told = json.loads(moa("compare", "simulated", "--json").out)
    assert [row["figures"]["accuracy"]["estimate"]["value"] for row in told["rows"]] == [expected]
