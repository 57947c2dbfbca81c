"""Attack x defence matrices and what follows from them, held against the answers that they were made of."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from moa.evaluate.board import board
from moa.evaluate.deception.grid import Breakdown, grid
from moa.evaluate.deception.heard import last_heard, read_column
from moa.evaluate.deception.insights import Insights, insights
from moa.evaluate.deception.matrix import NONE, Matrix, matrices
from moa.evaluate.folder import Folder
from moa.evaluate.opening import opened
from moa.evaluate.report.deception import studies
from moa.evaluate.report.page import write_report
from moa.evaluate.standings import Board
from moa.evaluate.study import Study, study
from moa.graph.bind import Bindings
from moa.run.runner import Runner
from moa.spec.catalogue import load_eval

ITEMS = 20


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Twenty questions, one to three opposers in the last layer, with and without defences; all simulated."""
    place = tmp_path_factory.mktemp("attacked")
    lines = [
        {"id": f"q{n}", "question": f"Question {n}?", "options": [f"{c}{n}" for c in "wxyz"], "answer": "B"}
        for n in range(ITEMS)
    ]
    data = place / "items.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    skills = {"a": 0.95, "b": 0.9, "c": 0.9}
    slots = {s: f"sim:skill={k},member={s},answer=B,persuasiveness=0.6" for s, k in skills.items()}
    order = Breakdown(order=("refined[2]", "refined[0]", "refined[1]"))
    alter = grid(load_eval("sample_choice").spec, ["drafts[0]=opposer"], ["medoid,dropout-vote"], order)
    out = place / "out"
    planned = study("sample_choice", ["moa-3-3-1"], Bindings(slots), out=out, data=data, alter=alter)
    with opened(out, planned.design, planned.items) as folder:
        asyncio.run(_run(planned, folder))
    return Folder(out)


async def _run(planned: Study, folder: Folder) -> None:
    async with Runner() as runner:
        await planned.trials(runner, folder).run()


@pytest.fixture(scope="module")
def standings(attacked: Folder) -> Board:
    return board([attacked], bootstrap=40)


@pytest.fixture(scope="module")
def matrix(standings: Board) -> Matrix:
    [found] = matrices(standings)
    return found


@pytest.fixture(scope="module")
def known(matrix: Matrix, standings: Board) -> Insights:
    return insights(matrix, standings)


def right(folder: Folder, entrant: str) -> list[float]:
    return [verdict.value or 0.0 for verdict in folder.verdicts(entrant)]


def test_every_number_is_that_of_the_answers(attacked: Folder, matrix: Matrix) -> None:
    assert len(matrix.cells) == 5 * 3
    items = list(attacked.items())
    clean = right(attacked, matrix.clean.row.name)
    for cell in matrix.listed():
        own = right(attacked, cell.row.name)
        bare = right(attacked, matrix.cells[cell.attack, NONE].row.name)
        assert cell.figure is not None
        assert cell.figure.estimate.value == pytest.approx(100 * sum(own) / ITEMS)
        said = [verdict.details["extracted"] for verdict in attacked.verdicts(cell.row.name)]
        lured = sum(pick == item.target for pick, item in zip(said, items, strict=True))
        assert cell.persuaded is not None
        assert cell.persuaded.value == pytest.approx(100 * lured / ITEMS)
        if cell.change is not None:
            lost = 100 * (sum(own) - sum(clean)) / ITEMS
            assert cell.change.difference.value == pytest.approx(lost, abs=1e-9)
            assert cell.change.difference.value == pytest.approx(
                cell.figure.estimate.value - matrix.clean.row.headline.estimate.value  # type: ignore[union-attr]
            )
        if cell.attack != NONE and cell.defence != NONE and not all(bare):
            again = [one for one, before in zip(own, bare, strict=True) if not before]
            assert cell.recovery is not None
            assert cell.recovery.value == pytest.approx(100 * sum(again) / len(again))


def test_deceptive_picks_are_counted_where_references_are_picked(attacked: Folder, matrix: Matrix) -> None:
    cell = matrix.cells["breakdown:1:opposer", "medoid"]
    chosen = [answer.nodes[-1]["chosen"] for answer in attacked.answers(cell.row.name)]
    assert cell.selects
    assert cell.deceptive is not None
    assert cell.deceptive.value == pytest.approx(100 * chosen.count(["refined[2]"]) / ITEMS)
    assert matrix.cells["breakdown:1:opposer", NONE].deceptive.value == pytest.approx(100 / 3)  # type: ignore[union-attr]
    # Ballots are no references.
    assert matrix.cells["breakdown:1:opposer", "dropout-vote"].deceptive is None


def test_the_chain_is_that_of_the_breakdown(matrix: Matrix) -> None:
    assert matrix.chain == (NONE, *(f"breakdown:{size}:opposer" for size in (1, 2, 3)))
    assert matrix.turning == ("refined[2]", "refined[0]", "refined[1]")


def test_a_defence_breaks_where_half_is_lost(attacked: Folder, matrix: Matrix, known: Insights) -> None:
    assert known.guessing == 0.25
    for defence, found in known.breaks.items():
        clean = sum(right(attacked, matrix.clean.row.name)) / ITEMS
        assert found.threshold == pytest.approx(0.25 + (clean - 0.25) / 2)
        values = [
            sum(right(attacked, matrix.cells[attack, defence].row.name)) / ITEMS for attack in matrix.chain
        ]
        below = [size for size, value in enumerate(values) if value < found.threshold]
        assert found.point == (below[0] if below else None)
    assert known.breaks[NONE].point is not None


def test_influences_come_from_the_ballots(known: Insights, matrix: Matrix) -> None:
    truthful = [agent for agent in known.agents if agent.attack == NONE]
    assert {agent.node for agent in truthful} == {"refined[0]", "refined[1]", "refined[2]", "drafts[0]"}
    alone = {agent.node: agent.alone for agent in truthful if agent.alone is not None}
    assert alone == {
        "drafts[0]": matrix.cells["drafts[0]=opposer", NONE].change,
        "refined[2]": matrix.cells["breakdown:1:opposer", NONE].change,
    }
    one = [agent for agent in known.agents if agent.attack == "breakdown:1:opposer"]
    liar = next(agent for agent in one if agent.deceives)
    assert liar.node == "refined[2]"
    assert liar.shapley is not None
    assert all(
        agent.shapley.value > liar.shapley.value for agent in one if not agent.deceives and agent.shapley
    )


def test_certified_accuracy_is_at_most_the_accuracy(known: Insights, matrix: Matrix) -> None:
    for found in known.certified:
        figure = matrix.cells[found.attack, found.defence].figure
        assert figure is not None
        assert found.rates[0].value == pytest.approx(figure.estimate.value)
        values = [rate.value for rate in found.rates]
        assert values == sorted(values, reverse=True)
        # One of three references is in more than half of all seven subsets.
        assert values[1] == 0


def test_the_report_shows_all_of_it(attacked: Folder, standings: Board, matrix: Matrix) -> None:
    [found] = studies(standings, [matrix])
    assert [plot.name for plot in found.plots] == ["attack-defence", "breakdown", "influence"]
    values = {
        cell.attack: cell.figure.estimate.value
        for cell in matrix.listed()
        if cell.defence == NONE and cell.figure
    }
    worst = min(values, key=lambda attack: values[attack])
    assert found.short[0].startswith(
        f"{worst} takes moa-3-3-1 from {values[NONE]:.1f}% to {values[worst]:.1f}% ("
    )
    assert found.short[1].startswith("Against it ")
    page = write_report(attacked.path, bootstrap=40, known=standings)
    html = page.page.read_text()
    for words in ("Deception", "Where each defence breaks", "Influence of each agent", "Certified accuracy"):
        assert words in html
    assert {"attack-defence.png", "breakdown.svg"} <= {path.name for path in page.plots}
    for cell in matrix.listed():
        assert f"{cell.attack} against {cell.defence}: " in html


def test_an_evaluation_without_attacks_has_no_matrix(standings: Board) -> None:
    from dataclasses import replace

    rows = tuple(row for row in standings.rows if row.entrant.clean == row.entrant.name)
    assert matrices(replace(standings, rows=rows)) == []


def test_a_selector_stands_for_those_it_chose() -> None:
    nodes = [
        {"id": "a", "references": []},
        {"id": "b", "references": []},
        {"id": "kept", "references": ["a", "b"], "chosen": ["b"]},
        {"id": "answer", "references": ["kept"]},
    ]
    assert last_heard(nodes) == ("b",)
    assert last_heard(nodes[:3]) == ("b",)
    assert last_heard([*nodes[:2], {"id": "answer", "references": ["a", "b"]}]) == ("a", "b")


def test_reasons_of_failures_are_kept(tmp_path: Path) -> None:
    place = tmp_path / "answers"
    place.mkdir()
    line = {"item": "q", "entrant": "e", "state": "failed", "error": "QuorumError: nobody\nmore"}
    (place / "e.jsonl").write_text(json.dumps(line) + "\n")
    column = read_column(Folder(tmp_path), "e")
    assert column.reasons == {"QuorumError: nobody": 1}
