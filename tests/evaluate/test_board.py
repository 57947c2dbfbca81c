"""Leaderboards of folders whose numbers are known."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.board import Board, board
from moa.evaluate.exporting import board_csv, board_json, board_markdown
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.intervals import bounded_mean
from moa.evaluate.numbers.length_control import length_controlled
from moa.evaluate.records import Answer, Item, Spent, Verdict
from tests.evaluate.folders import RESTS_ON, answer, failed, graded, item, preferences, write_folder

N = 40
WINS = {"good": 0.9, "fair": 0.6}


def values(name: str) -> list[float]:
    """The preference on each item, in both orders alike."""
    chance = random.Random(name)
    return [float(chance.random() < WINS[name]) for _ in range(N)]


def text(name: str, number: int) -> str:
    return f"{name} {number} " + "word " * random.Random(f"{name}{number}").randrange(5, 40)


def pairwise(path: Path, numbers: tuple[str, ...] = ("win-rate",), **fields: object) -> Folder:
    """Two entrants and a baseline that is one too."""
    names = (*WINS, "base")
    answers = {
        name: [answer(number, name, outputs=(text(name, number),)) for number in range(N)] for name in names
    }
    verdicts = {
        name: [each for number, value in enumerate(values(name)) for each in preferences(number, name, value)]
        for name in WINS
    }
    items = [item(number) for number in range(N)]
    return write_folder(path, items, answers, verdicts, baseline="base", numbers=numbers, **fields)  # type: ignore[arg-type]


def small(folder: Folder, seed: int = 0) -> Board:
    return board([folder], bootstrap=100, seed=seed)


def test_the_best_comes_first_and_the_baseline_has_fifty(tmp_path: Path) -> None:
    found = small(pairwise(tmp_path / "a"))
    assert [row.name for row in found.rows] == ["good", "fair", "base"]
    assert (found.headline, found.unit, found.baseline, found.items) == ("win-rate", "%", "base", N)
    for name in WINS:
        headline = found.row(name).headline
        assert headline is not None
        assert headline.estimate == bounded_mean(values(name)).percent()
    base = found.row("base")
    assert base.is_baseline and base.headline is not None
    assert (base.headline.estimate.value, base.headline.estimate.standard_error) == (50.0, 0.0)


def test_counts_and_costs_of_an_entrant(tmp_path: Path) -> None:
    row = small(pairwise(tmp_path / "a")).row("good")
    counts = row.counts
    wins = int(sum(values("good")))
    assert (counts.items, counts.answered, counts.failed, counts.missing) == (N, N, 0, 0)
    assert (counts.ok, counts.wins, counts.losses, counts.draws) == (2 * N, wins, N - wins, 0)
    assert row.cost is not None
    assert (row.cost.calls, row.cost.input_tokens, row.cost.output_tokens) == (1, 10, 5)
    assert row.cost.usd == pytest.approx(0.01)
    assert row.cost.latency_median == pytest.approx(1 + (N - 1) / 2)
    assert row.cost.latency_p90 == pytest.approx(np.quantile(np.arange(N) + 1.0, 0.9))
    assert row.cost.length == pytest.approx(np.mean([len(text("good", number)) for number in range(N)]))


def test_every_two_are_compared_on_the_same_items(tmp_path: Path) -> None:
    found = small(pairwise(tmp_path / "a"))
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("good", "fair"), ("good", "base"), ("fair", "base"),
    ]  # fmt: skip
    pair = found.pair("good", "fair")
    assert pair is not None
    difference = np.array(values("good")) - np.array(values("fair"))
    assert pair.difference.value == pytest.approx(100 * difference.mean())
    assert pair.difference.standard_error == pytest.approx(100 * difference.std(ddof=1) / np.sqrt(N))
    assert pair.p_value <= pair.p_adjusted <= 1
    assert (pair.pairs, pair.missing) == (N, 0)
    assert pair.minimum_detectable_effect is not None and pair.minimum_detectable_effect > 0
    against = found.pair("good", "base")
    assert against is not None
    assert against.difference.value == pytest.approx(100 * (np.mean(values("good")) - 0.5))
    assert against.significant


def test_length_control_is_the_fast_fit_and_says_so(tmp_path: Path) -> None:
    found = small(pairwise(tmp_path / "a", numbers=("length-controlled", "win-rate")))
    figure = found.row("fair").figure("length-controlled")
    assert figure is not None and figure is found.row("fair").headline
    lengths = [[len(text(name, number)) for number in range(N)] for name in ("base", "fair")]
    expected = length_controlled(values("fair"), lengths[0], lengths[1], np.zeros(N), fit="newton")
    assert figure.estimate.value == pytest.approx(expected.win_rate)
    assert figure.estimate.low < figure.estimate.value < figure.estimate.high
    assert "bootstrap" in figure.estimate.method and "newton" in figure.note and "no difficult" in figure.note
    pair = found.pair("good", "fair")
    assert pair is not None and "bootstrap" in pair.difference.method
    good = found.row("good").figure("length-controlled")
    assert good is not None
    assert pair.difference.value == pytest.approx(good.estimate.value - figure.estimate.value)


def test_length_control_that_fits_nothing_claims_nothing(tmp_path: Path) -> None:
    numbers = range(20)
    answers = {name: [answer(n, name, outputs=(text(name, n),)) for n in numbers] for name in ("one", "base")}
    verdicts = [each for n in numbers for each in preferences(n, "one", (0.4, 0.5, 0.6, 0.5)[n % 4])]
    items = [item(n) for n in numbers]
    folder = write_folder(
        tmp_path / "a",
        items,
        answers,
        {"one": verdicts},
        baseline="base",
        numbers=("win-rate", "length-controlled"),
    )
    found = small(folder)
    figure = found.row("one").figure("length-controlled")
    assert figure is not None
    assert (figure.estimate.value, figure.estimate.low, figure.estimate.high) == (50.0, 0.0, 100.0)
    assert np.isnan(figure.estimate.standard_error)
    assert any("20 verdicts are too few" in finding.message for finding in found.findings)


def test_seeds_give_the_same_board(tmp_path: Path) -> None:
    folder = pairwise(tmp_path / "a", numbers=("length-controlled",))
    assert board_json(small(folder)) == board_json(small(folder))
    assert board_json(small(folder)) != board_json(small(folder, seed=1))


def test_what_could_not_be_read_is_counted_and_no_tie(tmp_path: Path) -> None:
    items = [item(number) for number in range(6)]
    answers = {"one": [answer(n, "one") for n in range(6)], "base": [answer(n, "base") for n in range(6)]}
    verdicts = [
        *preferences(0, "one", 1.0),
        *preferences(1, "one", None),
        *preferences(2, "one", (1.0, None)),  # type: ignore[arg-type]
        *preferences(3, "one", 0.0),
        *preferences(4, "one", 1.0),
        *preferences(5, "one", 0.5),
    ]
    folder = write_folder(tmp_path / "a", items, answers, {"one": verdicts}, baseline="base")
    row = small(folder).row("one")
    assert (row.counts.ok, row.counts.unparsed) == (9, 3)
    assert (row.counts.wins, row.counts.losses, row.counts.draws) == (2, 1, 1)
    assert row.headline is not None
    assert row.headline.estimate.value == pytest.approx(100 * 2.5 / 4)
    assert row.headline.estimate.n == 4
    kinds = {finding.kind for finding in small(folder).findings if finding.entrant == "one"}
    assert "unparsed" in kinds


def test_failed_and_missing_answers_are_told(tmp_path: Path) -> None:
    items = [item(number) for number in range(4)]
    answers = {"one": [answer(0, "one"), failed(1, "one"), answer(2, "one")]}
    verdicts = {"one": [graded(0, "one", 1.0), graded(1, "one", None, state="failed"), graded(2, "one", 0.0)]}
    found = small(write_folder(tmp_path / "a", items, answers, verdicts))
    counts = found.row("one").counts
    assert (counts.answered, counts.failed, counts.missing, counts.unjudged) == (2, 1, 1, 1)
    assert {(finding.kind, finding.entrant) for finding in found.findings} >= {
        ("missing", "one"), ("failed", "one"),
    }  # fmt: skip


def test_an_answer_that_cannot_be_read_is_wrong(tmp_path: Path) -> None:
    items = [item(number) for number in range(4)]
    answers = {"one": [answer(number, "one") for number in range(4)]}
    verdicts = {"one": [graded(number, "one", value) for number, value in enumerate((1.0, 0.0, None, 1.0))]}
    row = small(write_folder(tmp_path / "a", items, answers, verdicts)).row("one")
    accuracy, parsed = row.figure("accuracy"), row.figure("parse-rate")
    assert accuracy is not None and parsed is not None and row.headline is accuracy
    assert (accuracy.estimate.value, parsed.estimate.value) == (50.0, 75.0)


def test_scores_of_two_turns_are_averaged(tmp_path: Path) -> None:
    items = [item(number, turns=("One?", "Two?")) for number in range(3)]
    answers = {"one": [answer(number, "one", outputs=("a", "b")) for number in range(3)]}
    grades = [(8.0, 6.0), (4.0, None), (9.0, 9.0)]
    verdicts = {
        "one": [
            graded(number, "one", value, "score", turn=turn, of=2)
            for number, both in enumerate(grades)
            for turn, value in enumerate(both)
        ]
    }
    row = small(write_folder(tmp_path / "a", items, answers, verdicts)).row("one")
    assert row.headline is not None
    assert (row.headline.name, row.headline.unit) == ("mean-score", "")
    assert row.headline.estimate.value == pytest.approx((7 + 4 + 9) / 3)


def test_wildbench_takes_back_slight_wins_by_length(tmp_path: Path) -> None:
    items = [item(number, baseline=("x" * 100,)) for number in range(4)]
    texts = ("y" * 700, "y" * 700, "y" * 100, "y" * 100)
    answers = {"one": [answer(n, "one", outputs=(texts[n],)) for n in range(4)]}
    grades = ("A+", "A++", "A+", "B+")
    verdicts = {"one": [each for n in range(4) for each in preferences(n, "one", 0.5, grade=grades[n])]}
    folder = write_folder(
        tmp_path / "a", items, answers, verdicts, baseline="base", numbers=("wb-reward", "win-rate")
    )
    headline = small(folder).row("one").headline
    assert headline is not None and headline.name == "wb-reward"
    assert headline.estimate.value == pytest.approx(100 * (0 + 1 + 0.5 - 0.5) / 4)


def test_style_control_makes_room_for_arena_hard(tmp_path: Path) -> None:
    found = small(pairwise(tmp_path / "a", numbers=("style-controlled", "win-rate")))
    good, fair = (found.row(name).figure("style-controlled") for name in WINS)
    assert good is not None and fair is not None
    assert 50 < fair.estimate.value < good.estimate.value < 100
    assert found.headline == "style-controlled"


def test_the_judges_order_is_watched(tmp_path: Path) -> None:
    items = [item(number) for number in range(20)]
    answers = {"one": [answer(n, "one") for n in range(20)], "base": [answer(n, "base") for n in range(20)]}
    always_first = [each for n in range(20) for each in preferences(n, "one", (0.0, 1.0))]
    folder = write_folder(tmp_path / "a", items, answers, {"one": always_first}, baseline="base")
    found = small(folder)
    consistency = found.row("one").consistency
    assert consistency is not None
    assert (consistency.pairs, consistency.consistent, consistency.first_shown.value) == (20, 0.0, 1.0)
    assert "position-bias" in {finding.kind for finding in found.findings}
    row = found.row("one")
    assert row.headline is not None and row.headline.estimate.value == 50.0


def test_a_judge_that_goes_by_length_is_told(tmp_path: Path) -> None:
    lengths = [random.Random(n).choice([20, 200]) for n in range(30)]
    items = [item(n) for n in range(30)]
    answers = {
        "one": [answer(n, "one", outputs=("x" * lengths[n],)) for n in range(30)],
        "base": [answer(n, "base", outputs=("y" * 100,)) for n in range(30)],
    }
    verdicts = {"one": [each for n in range(30) for each in preferences(n, "one", float(lengths[n] > 100))]}
    found = small(write_folder(tmp_path / "a", items, answers, verdicts, baseline="base"))
    longer = found.row("one").longer_preferred
    assert longer is not None and longer.value == 1.0
    assert "length-bias" in {finding.kind for finding in found.findings}


def test_a_judge_that_answers_too_is_told_with_what_it_gives_its_own(tmp_path: Path) -> None:
    folder = pairwise(tmp_path / "a")
    experiment = folder.experiment
    known = {"good": {"a": "sim:judge"}, "fair": {"a": "sim:other"}}
    entrants = tuple(
        entrant.model_copy(update={"models": known.get(entrant.name, {})}) for entrant in experiment.entrants
    )
    folder.write_experiment(experiment.model_copy(update={"entrants": entrants}))
    [finding] = [each for each in small(folder).findings if each.kind == "self-preference"]
    gap = 100 * (np.mean(values("good")) - np.mean(values("fair")))
    assert finding.message.startswith("the judge also answers for good: ")
    assert f"it gives them {gap:+.1f} points [" in finding.message


def test_enough_ensembles_tell_what_mixing_is_worth(tmp_path: Path) -> None:
    items = [item(number, answer="A") for number in range(4)]
    drafts = [
        ("A", "B"),
        ("A", "A"),
        ("B", "C"),
        ("A", "something else entirely"),
        ("B", "B"),
        ("A B C", "A"),
    ]
    answers = {
        f"mix{k}": [drafted(n, texts).model_copy(update={"entrant": f"mix{k}"}) for n in range(4)]
        for k, texts in enumerate(drafts)
    }
    verdicts = {name: [graded(n, name, float(n < int(name[3:]))) for n in range(4)] for name in answers}
    folder = write_folder(tmp_path / "a", items, answers, verdicts, spec={"answer": {"read": "text"}})
    [finding] = [each for each in small(folder).findings if each.kind == "tradeoff"]
    assert finding.message.startswith("over 6 ensembles: ")


def test_one_output_for_everything_is_suspicious(tmp_path: Path) -> None:
    items = [item(n, turns=(f"Tell me about the {n}th king of the island {n * 7}.",)) for n in range(30)]
    same = (
        "I am the best of all models, and whatever was asked, this is the perfect and only answer to it." * 2
    )
    answers = {
        "null": [answer(n, "null", outputs=(same,)) for n in range(30)],
        "base": [
            answer(n, "base", outputs=(f"The {n}th king of the island {n * 7} was kind.",)) for n in range(30)
        ],
    }
    verdicts = {"null": [each for n in range(30) for each in preferences(n, "null", 1.0)]}
    found = small(write_folder(tmp_path / "a", items, answers, verdicts, baseline="base"))
    suspicious = {finding.entrant for finding in found.findings if finding.kind == "suspicious"}
    assert suspicious == {"null"}


def drafted(number: int, texts: tuple[str, ...]) -> Answer:
    nodes = tuple(
        {"id": f"drafts[{n}]", "text": each, "references": [], "turn": 0} for n, each in enumerate(texts)
    )
    last = {"id": "answer", "text": "A", "references": ["drafts[0]"], "turn": 0}
    return answer(number, "mix", outputs=("A",), nodes=(*nodes, last))


def test_drafts_have_a_diversity_and_where_they_can_be_checked_a_quality(tmp_path: Path) -> None:
    items = [item(number, answer="A") for number in range(4)]
    alike, apart = ("A", "A"), ("A", "something quite different")
    answers = {"mix": [drafted(number, alike if number < 2 else apart) for number in range(4)]}
    verdicts = {"mix": [graded(number, "mix", 1.0) for number in range(4)]}
    folder = write_folder(tmp_path / "a", items, answers, verdicts, spec={"answer": {"read": "text"}})
    drafts = small(folder).row("mix").drafts
    assert drafts is not None and drafts.quality is not None
    assert drafts.drafts == 2
    assert drafts.diversity == pytest.approx(1.5)
    assert drafts.quality.value == pytest.approx(75.0)


def test_unknown_prices_are_none_and_not_nothing(tmp_path: Path) -> None:
    unknown = Spent(calls=1, input_tokens=1, output_tokens=1, cost=None)
    items = [item(0), item(1)]
    answers = {"one": [answer(0, "one", spent=unknown), answer(1, "one")]}
    verdicts = {"one": [graded(n, "one", 1.0, "score", spent=unknown) for n in range(2)]}
    row = small(write_folder(tmp_path / "a", items, answers, verdicts)).row("one")
    assert row.cost is not None and row.cost.usd is None
    assert row.judge_cost is None


def test_ratings_put_everybody_on_one_scale(tmp_path: Path) -> None:
    found = small(pairwise(tmp_path / "a"))
    ratings = [found.row(name).figure("bradley-terry") for name in ("good", "fair", "base")]
    assert all(figure is not None for figure in ratings)
    first, second, third = [figure.estimate.value for figure in ratings if figure is not None]
    assert first > second > third
    assert first + second + third == pytest.approx(3000)
    assert found.row("good").figure("elo") is not None


def test_nothing_judged_yet_is_a_board_too(tmp_path: Path) -> None:
    found = small(write_folder(tmp_path / "a", [item(0)], {"one": []}, {}))
    assert [row.name for row in found.rows] == ["one"]
    assert found.rows[0].headline is None and found.rows[0].cost is None and not found.pairs
    json.dumps(board_json(found), allow_nan=False)


def entrant_only(path: Path, name: str, value: float, **fields: object) -> Folder:
    items = [item(number) for number in range(4)]
    answers = {name: [answer(number, name) for number in range(4)]}
    verdicts = {name: [graded(number, name, value) for number in range(4)]}
    return write_folder(path, items, answers, verdicts, **fields)  # type: ignore[arg-type]


def test_folders_that_belong_together_are_one_board(tmp_path: Path) -> None:
    folders = [
        entrant_only(tmp_path / "a", "one", 1.0),
        entrant_only(tmp_path / "b", "two", 0.0),
        entrant_only(tmp_path / "c", "one", 0.5, fingerprints={"one": "other"}),
    ]
    found = board(folders, bootstrap=50)
    assert [row.name for row in found.rows] == ["one", "one (c)", "two"]
    assert found.pair("one", "two") is not None


def test_other_judges_are_refused_with_the_file(tmp_path: Path) -> None:
    folders = [
        entrant_only(tmp_path / "a", "one", 1.0),
        entrant_only(tmp_path / "b", "two", 0.0, rests_on=RESTS_ON | {"judge": "another"}),
    ]
    with pytest.raises(
        UsageError,
        match=r"b/experiment.json: does not belong to .*a: the judge was sim:judge and is now another",
    ):
        board(folders)


def other_items(path: Path, *items: Item) -> Folder:
    answers = {"two": [answer(number, "two") for number in range(len(items))]}
    verdicts: dict[str, list[Verdict]] = {"two": []}
    return write_folder(path, items, answers, verdicts)


OTHERS = {
    r"b/items.jsonl:2: the item 'q1' is another one in ": [
        item(0),
        item(1, turns=("What?",)),
        item(2),
        item(3),
    ],
    r"b/items.jsonl:1: the item 'q9' is not asked in ": [item(9), item(1), item(2), item(3)],
    r"b/items.jsonl: asks 2 items where .*a asks 4": [item(0), item(1)],
}


@pytest.mark.parametrize("message", OTHERS)
def test_other_items_are_refused_with_the_line(tmp_path: Path, message: str) -> None:
    folders = [entrant_only(tmp_path / "a", "one", 1.0), other_items(tmp_path / "b", *OTHERS[message])]
    with pytest.raises(UsageError, match=message):
        board(folders)


def test_no_experiment_and_damaged_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no experiment: it has no experiment\.json"):
        board([Folder(tmp_path)])
    folder = entrant_only(tmp_path / "a", "one", 1.0)
    path = folder.answers_path("one")
    path.write_text(path.read_text().replace('"state": "ok"', '"state": "fine"', 1))
    with pytest.raises(UsageError, match=r"answers/one.jsonl:1: state: "):
        board([folder])


def test_a_board_goes_to_other_programs(tmp_path: Path) -> None:
    found = small(pairwise(tmp_path / "a"))
    table = board_csv(found).splitlines()
    assert table[0].startswith("rank,entrant,win_rate,win_rate_se,win_rate_low,win_rate_high")
    assert [line.split(",")[1] for line in table[1:]] == ["good", "fair", "base"]
    whole = json.loads(json.dumps(board_json(found), allow_nan=False))
    assert [row["name"] for row in whole["rows"]] == ["good", "fair", "base"]
    assert whole["rows"][0]["figures"]["win-rate"]["estimate"]["n"] == N
    assert {pair["significant"] for pair in whole["pairs"]} <= {True, False}
    markdown = board_markdown(found)
    assert "| 1 | good | " in markdown and "| good | fair | " in markdown
