"""The option that deceivers argue for: the same for everybody who asks the question."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from moa.evaluate.deception.targets import SequentialTargets, seeded_target
from moa.evaluate.records import Item
from moa.evaluate.tasks import load_items
from moa.spec.evaluation import EvalSpec

GOLD = (1, 0, 2, 3, 1, 1, 0, 2)
PUBLISHED = (3, 1, 0, 2, 2, 0, 1, 0)


def items(path: Path, limit: int | None = None, seed: int = 0, **fields: object) -> list[Item]:
    rows = [
        {"id": f"q{n}", "question": f"Q{n}", "options": list("wxyz"), "answer": gold}
        for n, gold in enumerate(GOLD)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    spec = EvalSpec.model_validate(
        {
            "data": {"path": str(path)},
            "prompt": "{{ question }}\n{{ lettered }}",
            "answer": {"read": "index"},
            **fields,
        }
    )
    return list(load_items(spec, None, limit=limit, seed=seed))


def test_the_draws_of_the_paper() -> None:
    draws = SequentialTargets()
    assert tuple(int(draws.next("0123", str(gold))) for gold in GOLD) == PUBLISHED


@pytest.mark.parametrize("limit", [None, 1, 3, 7])
def test_the_draws_of_the_paper_do_not_depend_on_the_limit(tmp_path: Path, limit: int | None) -> None:
    found = items(tmp_path / "q.jsonl", limit, targets="sequential")
    assert {item.id: item.target for item in found} == {
        f"q{n}": str(target) for n, target in enumerate(PUBLISHED) if f"q{n}" in {item.id for item in found}
    }
    assert len(found) == (limit or 8)


@pytest.mark.parametrize("limit", [2, 5])
def test_bug_11_a_seeded_target_depends_on_question_and_seed_alone(tmp_path: Path, limit: int) -> None:
    """In the published code it depends on how many processes share the rows, and repeats from one to the next."""
    whole = {item.id: item.target for item in items(tmp_path / "q.jsonl")}
    part = {item.id: item.target for item in items(tmp_path / "q.jsonl", limit)}
    assert part == {name: whole[name] for name in part}
    assert all(item.target != item.answer for item in items(tmp_path / "q.jsonl"))
    assert whole != {item.id: item.target for item in items(tmp_path / "q.jsonl", seed=1)}


def test_every_wrong_option_is_a_target_equally_often() -> None:
    counts = Counter(seeded_target("ABCD", "B", str(number)) for number in range(6000))
    assert set(counts) == {"A", "C", "D"}
    assert all(abs(count - 2000) < 150 for count in counts.values())


def test_open_questions_have_none(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "Why?"}\n')
    spec = EvalSpec.model_validate({"data": {"path": str(path)}, "judge": {"kind": "pairwise"}})
    assert [item.target for item in load_items(spec, None)] == [None]
