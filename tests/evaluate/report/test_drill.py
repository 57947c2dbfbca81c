"""The questions in the page: what is packed comes back, a sample is said to be one, and marks are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moa.evaluate.records import Answer, Item, Verdict
from moa.evaluate.report.drill import (
    CHUNK,
    FAILED,
    JUDGE_FAILED,
    MISSING,
    REFUSED,
    SPLIT,
    UNPARSED,
    Drill,
    drill,
    packed,
    unpacked,
)
from moa.evaluate.report.survey import MOST_FAILURES, disagree, survey
from tests.evaluate.report.sample import HOSTILE, write_sample


def verdict(value: float | None = None, **fields: Any) -> Verdict:
    defaults = {
        "item": "q",
        "entrant": "e",
        "kind": "preference",
        "judge": "j",
        "state": "ok" if value is not None else "refused",
    }
    return Verdict.model_validate(defaults | {"value": value} | fields)


def opened(found: Drill) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The index, and every chunk."""
    return unpacked(found.index), [unpacked(chunk) for chunk in found.chunks]


def test_what_is_packed_comes_back_and_holds_no_markup() -> None:
    data = {"text": HOSTILE, "list": [1, None, True, "é\ud83d"]}
    text = packed(data)
    assert unpacked(text) == data
    assert text.isascii()
    assert not set(text) & set("<>&'\"\u2028")
    assert packed(data) == text


def test_every_text_of_every_question_is_there(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=CHUNK + 3, hostile=HOSTILE)
    experiment = folder.experiment
    found = drill(experiment, survey(folder, experiment))
    index, chunks = opened(found)
    assert (found.shown, found.total, len(chunks)) == (CHUNK + 3, CHUNK + 3, 2)
    assert [row["id"] for row in index["items"]] == [item.id for item in folder.items()]
    rows = {row["id"]: row for row in index["items"]}
    items = {item.id: item for item in folder.items()}
    for number, entrant in enumerate(index["entrants"]):
        for answer in folder.answers(entrant):
            chunk, place = rows[answer.item]["at"]
            texts, item = chunks[chunk]["texts"], chunks[chunk]["items"][place]
            assert [texts[at] for at in item["turns"]] == list(items[answer.item].turns)
            assert [texts[at] for at in item["baseline"]] == list(items[answer.item].baseline)
            said = item["said"][number]
            assert said["state"] == answer.state
            assert [texts[at] for at in said.get("outputs", [])] == list(answer.outputs)
            assert [texts[node["text"]] for node in said.get("nodes", [])] == [
                n["text"] for n in answer.nodes
            ]
            judged = [v for v in folder.verdicts(entrant) if v.item == answer.item]
            assert [texts[v["text"]] for v in said.get("verdicts", [])] == [v.text for v in judged]
            assert [v.get("value") for v in said.get("verdicts", [])] == [v.value for v in judged]


def test_a_text_that_many_said_is_packed_once(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=2)
    answers = list(folder.answers("single"))
    index, chunks = opened(drill(folder.experiment, survey(folder, folder.experiment)))
    texts = chunks[0]["texts"]
    assert len(texts) == len(set(texts))
    assert sum(answer.output in texts for answer in answers if answer.state == "ok") > 0
    assert index["kind"] == "preference"


def test_of_too_many_questions_a_sample_is_shown_and_counted(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=40)
    experiment = folder.experiment
    found = {most: drill(experiment, survey(folder, experiment, most)) for most in (0, 10, 25)}
    ids = {most: [row["id"] for row in opened(one)[0]["items"]] for most, one in found.items()}
    assert {most: (one.shown, one.total) for most, one in found.items()} == {
        0: (0, 40),
        10: (10, 40),
        25: (25, 40),
    }
    assert set(ids[10]) < set(ids[25]), "a larger sample holds the smaller one"
    assert ids[25] == sorted(ids[25], key=lambda name: int(name[1:])), "in the order in which they were asked"


def test_texts_beyond_the_size_of_a_page_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=3 * CHUNK)
    experiment = folder.experiment
    whole = drill(experiment, survey(folder, experiment))
    room = len(whole.chunks[0]) + len(whole.chunks[1])
    found = drill(experiment, survey(folder, experiment), room)
    assert (found.shown, found.total, found.chunks) == (2 * CHUNK, 3 * CHUNK, whole.chunks[:2])
    assert len(unpacked(found.index)["items"]) == 2 * CHUNK


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([verdict(0.9, swapped=False), verdict(0.8, swapped=True)], False),
        ([verdict(0.9, swapped=False), verdict(0.2, swapped=True)], True),
        ([verdict(0.9, swapped=False), verdict(0.5, swapped=True)], False),
        ([verdict(0.9, swapped=False), verdict(0.2, swapped=True, turn=1)], False),
        ([verdict(0.9, swapped=False), verdict(0.2, swapped=True, judge="other")], False),
        ([verdict(0.9, swapped=False), verdict(0.2, swapped=False)], False),
        ([verdict(0.9, swapped=False), verdict(None, swapped=True)], False),
        ([verdict(1.0, kind="correct"), verdict(0.0, kind="correct", swapped=True)], False),
    ],
)
def test_orders_disagree_when_the_same_judge_turns_round(verdicts: list[Verdict], expected: bool) -> None:
    assert disagree(verdicts) is expected


def test_marks_say_what_went_wrong(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=6, graphs=["single"])
    answers = [
        Answer(
            item=f"q{n}",
            entrant="single",
            state="failed" if n == 0 else "ok",
            outputs=() if n == 0 else ("a",),
        )
        for n in range(5)
    ]
    from moa.evaluate.folder import write_lines

    write_lines(folder.answers_path("single"), answers)
    states = {"q1": "refused", "q2": "unparsed", "q3": "failed"}
    verdicts = [verdict(None, item=item, state=state, entrant="single") for item, state in states.items()]
    verdicts += [verdict(0.9, item="q4"), verdict(0.1, item="q4", swapped=True)]
    write_lines(folder.verdicts_path("single"), verdicts)
    index, _ = opened(drill(folder.experiment, survey(folder, folder.experiment)))
    marks = {row["id"]: row["f"][0] for row in index["items"]}
    assert marks == {
        "q0": FAILED,
        "q1": REFUSED,
        "q2": UNPARSED,
        "q3": JUDGE_FAILED,
        "q4": SPLIT,
        "q5": MISSING,
    }
    means = {row["id"]: row["v"][0] for row in index["items"]}
    assert means == {"q0": None, "q1": None, "q2": None, "q3": None, "q4": 0.5, "q5": None}


def test_failures_beyond_the_list_are_counted(tmp_path: Path) -> None:
    from moa.evaluate.folder import write_lines

    folder = write_sample(tmp_path / "x", items=3, graphs=["single"])
    write_lines(folder.items_path, [Item(id=f"q{n}", turns=("?",)) for n in range(MOST_FAILURES + 50)])
    failed = [
        Answer(item=f"q{n}", entrant="single", state="failed", error="QuorumError: 0 of 3")
        for n in range(MOST_FAILURES + 50)
    ]
    write_lines(folder.answers_path("single"), failed)
    write_lines(folder.verdicts_path("single"), [])
    record = survey(folder, folder.experiment).records["single"]
    assert len(record.failures) == MOST_FAILURES
    assert record.reasons == {("answer", "QuorumError: 0 of 3"): MOST_FAILURES + 50}
    assert record.asked == MOST_FAILURES + 50
