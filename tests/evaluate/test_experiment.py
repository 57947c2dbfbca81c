"""Running an experiment: order, lookahead, what is recorded, and what ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moa.backends.base import Request
from moa.errors import BudgetExceededError, ServerFailedError
from moa.evaluate.entrants import Contender, contenders
from moa.evaluate.experiment import Trials
from moa.evaluate.folder import Folder, write_lines
from moa.evaluate.judges.base import JudgedKind
from moa.evaluate.judging import Referee
from moa.evaluate.records import Answer, Item, Verdict
from moa.graph.bind import Bindings
from moa.run.budget import Budget
from moa.run.runner import Runner
from moa.run.store import Store
from moa.spec.evaluation import AnswerSpec
from tests.evaluate.folders import item
from tests.support.backends import Scripted

EXACT = AnswerSpec(read="text")
MIX = """
nodes:
  drafts: {agent: proposer, model: a, samples: 2}
  slow: {agent: proposer, model: b}
  answer: {agent: aggregator, model: a, inputs: [drafts, slow]}
"""


class Comparing:
    """Prefers the longer of two answers; raises `error` where there is one."""

    name = "longer"
    fingerprint = "f"
    kind: JudgedKind = "preference"
    needs_baseline = True

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[tuple[str, str, str]] = []

    def calls(self, item: Item) -> int:
        return 1

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        assert against is not None
        self.seen.append((item.id, answer.entrant, against.entrant))
        if self.error is not None:
            raise self.error
        value = float(len(answer.output) > len(against.output))
        return [
            Verdict(
                item=item.id, entrant=answer.entrant, kind="preference", judge=self.name, state="ok",
                value=value, against=against.entrant,
            )
        ]  # fmt: skip


def folder_of(path: Path, count: int = 5, **fields: object) -> Folder:
    folder = Folder(path / "out")
    write_lines(folder.items_path, [item(number, answer="A", **fields) for number in range(count)])
    return folder


def singles(*names: str) -> list[Contender]:
    """One graph of one node for each model."""
    found = contenders(["single"], Bindings.parse(["a=m"]), [f"a={','.join(names)}"])
    return [Contender(each.entrant.model_copy(update={"name": name}), each.plan)
            for each, name in zip(found, names, strict=True)]  # fmt: skip


def runner_of(store: Store | Path | None = None, budget: Budget | None = None, **models: Scripted) -> Runner:
    return Runner(store=store, backends=models, budget=budget)


def read(folder: Folder, kind: str, name: str) -> list[dict[str, object]]:
    path = folder.path / kind / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_lines_are_in_the_order_of_the_items_whoever_is_first(tmp_path: Path) -> None:
    def later_first(request: Request) -> float:
        return 0.05 / (1 + int(str(request.messages[-1]["content"]).split()[1].rstrip("?")))

    folder = folder_of(tmp_path)
    async with runner_of(m=Scripted(later_first), n=Scripted()) as runner:
        await Trials(runner, folder, singles("m", "n"), Referee(EXACT, None)).run()
    for name in ("m", "n"):
        for kind in ("answers", "verdicts"):
            assert [line["item"] for line in read(folder, kind, name)] == [f"q{n}" for n in range(5)]


async def test_no_more_is_under_way_or_ahead_than_memory_should_hold(tmp_path: Path) -> None:
    gate = asyncio.Event()
    started: list[str] = []

    class Slow(Scripted):
        async def complete(self, request: Request, emit: object = None) -> object:  # type: ignore[override]
            question = str(request.messages[-1]["content"])
            started.append(question)
            if question == "Question 0?":
                await gate.wait()
            return await super().complete(request)

    folder = folder_of(tmp_path, 40)
    async with runner_of(m=Slow()) as runner:
        trials = Trials(runner, folder, singles("m"), Referee(EXACT, None), in_flight=4, lookahead=10)
        work = asyncio.create_task(trials.run())
        while len(started) < 10:  # noqa: ASYNC110  the backend is what counts
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert len(started) == 10
        assert not (folder.path / "answers/m.jsonl").read_text()
        gate.set()
        await work
    assert len(read(folder, "answers", "m")) == 40


async def test_answers_are_on_the_disk_only_after_what_they_rest_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    store = Store.open(tmp_path / "store.sqlite")
    flushed: list[int] = []

    async def flush() -> None:
        flushed.append(len((folder.path / "answers/m.jsonl").read_text().splitlines()))
        await Store.flush(store)

    store.flush = flush  # type: ignore[method-assign]
    async with runner_of(store, m=Scripted()) as runner:
        await Trials(runner, folder, singles("m"), Referee(EXACT, None)).run()
        assert flushed[0] == 0 and len(read(folder, "answers", "m")) == 5
    await store.aclose()


async def test_everybody_is_compared_with_the_baseline_but_itself(tmp_path: Path) -> None:
    folder, judge = folder_of(tmp_path, 2), Comparing()
    long = Scripted(lambda request: "a much longer answer")
    async with runner_of(m=Scripted(lambda request: "short"), n=long, o=long) as runner:
        await Trials(runner, folder, singles("m", "n", "o"), Referee(None, judge), "m").run()
    assert sorted(judge.seen) == [("q0", "n", "m"), ("q0", "o", "m"), ("q1", "n", "m"), ("q1", "o", "m")]
    assert [line["value"] for line in read(folder, "verdicts", "n")] == [1.0, 1.0]
    assert not (folder.path / "verdicts/m.jsonl").exists()


async def test_without_the_baselines_answer_there_is_no_verdict_and_nobody_is_asked(tmp_path: Path) -> None:
    folder, judge = folder_of(tmp_path, 1), Comparing()
    broken = Scripted(lambda request: ServerFailedError("no", retryable=False))
    async with runner_of(m=broken, n=Scripted()) as runner:
        await Trials(runner, folder, singles("m", "n"), Referee(None, judge), "m").run()
    [verdict] = read(folder, "verdicts", "n")
    assert (verdict["state"], verdict["value"]) == ("failed", None)
    assert "m has no answer: ServerFailedError: no" in str(verdict["text"])
    assert judge.seen == []


async def test_an_error_of_the_judge_is_a_failed_verdict(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    judge = Comparing(ServerFailedError("the judge is ill"))
    async with runner_of(m=Scripted(), n=Scripted()) as runner:
        await Trials(runner, folder, singles("m", "n"), Referee(None, judge), "m").run()
    [verdict] = read(folder, "verdicts", "n")
    assert (verdict["state"], verdict["text"]) == ("failed", "ServerFailedError: the judge is ill")


@pytest.mark.parametrize("where", ["answers", "judge"])
async def test_a_spent_budget_ends_everything(tmp_path: Path, where: str) -> None:
    folder = folder_of(tmp_path)
    error = BudgetExceededError("the budget is spent")
    judge = Comparing(error if where == "judge" else None)
    budget = Budget(tokens=40) if where == "answers" else None
    async with runner_of(budget=budget, m=Scripted(), n=Scripted()) as runner:
        with pytest.raises(BudgetExceededError):
            await Trials(runner, folder, singles("m", "n"), Referee(None, judge), "m", in_flight=1).run()
    assert len(read(folder, "answers", "m")) < 5


@pytest.fixture
def mix(tmp_path: Path) -> Iterator[Contender]:
    path = tmp_path / "mix.yaml"
    path.write_text(MIX)
    [found] = contenders([str(path)], Bindings.parse(["a=m", "b=n"]))
    yield found


async def test_what_is_recorded_is_what_it_takes_when_nothing_is_stored(
    tmp_path: Path, mix: Contender
) -> None:
    folder = folder_of(tmp_path, 1)
    models = {"m": Scripted(latency=0.01), "n": Scripted(latency=0.05)}
    async with Runner(store=tmp_path / "store.sqlite", backends=models) as runner:
        await Trials(runner, folder, [mix], Referee(EXACT, None)).run()
    first = (folder.path / "answers/mix.jsonl").read_bytes()
    [line] = read(folder, "answers", "mix")
    assert line["spent"] == {
        "calls": 4,
        "input_tokens": 30,
        "output_tokens": 20,
        "cached_tokens": 0,
        "cost": None,
    }
    # The slower draft and the aggregation follow each other; the two other drafts run beside them.
    assert isinstance(line["latency"], float) and 0.06 <= line["latency"] < 1
    assert '"cached":' not in first.decode()
    (folder.path / "answers/mix.jsonl").unlink()
    silent = {name: Scripted(lambda request: ServerFailedError("not again")) for name in models}
    async with Runner(store=tmp_path / "store.sqlite", backends=silent) as runner:
        await Trials(runner, folder, [mix], Referee(EXACT, None)).run()
    assert (folder.path / "answers/mix.jsonl").read_bytes() == first


async def test_latency_is_what_a_call_takes_and_not_how_long_it_waits_for_its_turn(tmp_path: Path) -> None:
    class OneByOne(Scripted):
        concurrency = 1

    folder = folder_of(tmp_path, 6)
    async with runner_of(m=OneByOne(latency=0.05)) as runner:
        await Trials(runner, folder, singles("m"), Referee(EXACT, None)).run()
    latencies = [line["latency"] for line in read(folder, "answers", "m")]
    assert all(isinstance(each, float) and 0.05 <= each < 0.2 for each in latencies)


async def test_a_draft_that_failed_is_told_and_the_answer_stands(tmp_path: Path, mix: Contender) -> None:
    folder = folder_of(tmp_path, 1)
    broken = Scripted(lambda request: ServerFailedError("no", retryable=False))
    async with runner_of(m=Scripted(), n=broken) as runner:
        await Trials(runner, folder, [mix], Referee(EXACT, None)).run()
    [line] = read(folder, "answers", "mix")
    assert line["state"] == "ok"
    assert line["warnings"] == ["slow: no response: no"]
    nodes = line["nodes"]
    assert isinstance(nodes, list)
    assert {node["id"]: node["state"] for node in nodes}["slow"] == "failed"


async def test_a_later_turn_that_fails_fails_the_answer(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1, turns=("First?", "Second?"))

    def script(request: Request) -> str | BaseException:
        if request.messages[-1]["content"] == "Second?":
            return ServerFailedError("no more", retryable=False)
        return "fine"

    async with runner_of(m=Scripted(script)) as runner:
        await Trials(runner, folder, singles("m"), Referee(EXACT, None)).run()
    [line] = read(folder, "answers", "m")
    assert (line["state"], line["outputs"]) == ("failed", [])
    nodes = line["nodes"]
    assert isinstance(nodes, list) and [node["turn"] for node in nodes] == [0, 1]
    [verdict] = read(folder, "verdicts", "m")
    assert verdict["state"] == "failed"
