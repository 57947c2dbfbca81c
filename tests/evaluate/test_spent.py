"""What answers use: summed over nodes, with what servers found in their caches."""

from __future__ import annotations

from pathlib import Path

from moa.backends.base import Usage
from moa.evaluate.answering import spent
from moa.evaluate.board import board
from moa.evaluate.folder import Folder, write_lines
from moa.evaluate.records import Spent
from moa.evaluate.report.leaderboard import spending
from moa.evaluate.report.spending import planned
from moa.run.reply import NodeResult
from tests.evaluate.report.sample import write_choices


def test_cached_tokens_are_a_part_of_the_input() -> None:
    node = NodeResult("a", "proposer", "m", "ok", usage=Usage(100, 20, cached_tokens=64), calls=1, worth=0.0)
    assert spent(node) == Spent(calls=1, input_tokens=100, output_tokens=20, cached_tokens=64)
    assert (spent(node) + spent(node)).cached_tokens == 128


def test_the_report_holds_the_cached_share_against_the_planned_one(tmp_path: Path) -> None:
    folder = write_choices(tmp_path, graphs=["self-moa"])
    answers = [
        answer.model_copy(
            update={"spent": answer.spent.model_copy(update={"input_tokens": 400, "cached_tokens": 100})}
        )
        for answer in folder.answers("self-moa")
    ]
    write_lines(folder.answers_path("self-moa"), answers)
    [row] = (found := board([Folder(tmp_path)], bootstrap=10)).rows
    expected = planned(row.entrant, 20)
    assert expected is not None and expected.cached is not None and 0 < expected.cached < 0.5
    table = spending(found, {row.name: expected})
    assert ">25%" in table and f"{expected.cached:.0%}" in table


def test_a_plan_needs_no_entries_of_the_models_yaml_that_named_them(tmp_path: Path) -> None:
    write_choices(tmp_path, graphs=["self-moa"])
    [row] = board([Folder(tmp_path)], bootstrap=10).rows
    nodes = "{drafts: {agent: proposer, model: a, samples: 4}, answer: {select: {top-k: {scorer: rm}}, inputs: drafts}}"
    entrant = row.entrant.model_copy(update={"yaml": f"nodes: {nodes}", "models": {"a": "sim:"}})
    expected = planned(entrant, 20)
    assert expected is not None and expected.calls == 4
    assert expected.cost is None, "nobody here knows what the entry `rm` costs"
