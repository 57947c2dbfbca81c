"""An experiment's folder as a run leaves it, small, seeded, and as hostile as wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from moa.evaluate.folder import Folder, write_lines
from moa.evaluate.records import Answer, Entrant, Experiment, Item, Spent, Verdict
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.graph.svg import svg
from moa.spec.catalogue import load_graph
from moa.spec.loader import read_text

BASELINE = "gpt-4-turbo"
GRAPHS = {"moa-lite": 0.9, "self-moa": 0.6, "single": 0.0}
"""Graphs, and how much better than the baseline their answers are, in log-odds."""
HOSTILE = "<script>alert(1)</script></script><!-- --><img src=x onerror=alert(2)> \u2028 \u202e evil \x00 ]]> ' \" &amp; {{ 7 * 7 }}"
WORDS = [
    "the",
    "sky",
    "is",
    "blue",
    "because",
    "light",
    "scatters",
    "from",
    "small",
    "things",
    "more",
    "when",
    "its",
    "waves",
    "are",
    "short",
]


def write_sample(
    path: Path, *, items: int = 24, graphs: Sequence[str] = tuple(GRAPHS), seed: int = 3, hostile: str = ""
) -> Folder:
    """A pairwise experiment in both orders, with failed answers, refusals and verdicts that nobody can read."""
    folder = Folder(path)
    entrants = [entrant(name) for name in graphs]
    asked = list(questions(items, seed, hostile))
    write_lines(folder.items_path, asked)
    for number, one in enumerate(entrants):
        random_ = random.Random(f"{seed}/{one.name}")
        answers = [answer(item, one.name, random_, hostile) for item in asked]
        write_lines(folder.answers_path(one.name), answers)
        better = GRAPHS.get(one.name, 0.3 * number)
        verdicts = [
            v
            for item, said in zip(asked, answers, strict=True)
            for v in verdicts_on(item, said, better, random_, hostile)
        ]
        write_lines(folder.verdicts_path(one.name), verdicts)
    folder.write_experiment(experiment(entrants, len(asked)))
    return folder


def write_choices(
    path: Path, *, items: int = 30, graphs: Sequence[str] = tuple(GRAPHS), seed: int = 5
) -> Folder:
    """A multiple-choice experiment: no judge, no baseline, prices unknown for the first entrant, two turns."""
    folder = Folder(path)
    asked = [
        Item(
            id=f"c{number}",
            turns=("Which?", "Sure?"),
            options=("red", "blue"),
            answer="A",
            references=("A", "yes"),
        )
        for number in range(items)
    ]
    write_lines(folder.items_path, asked)
    for number, name in enumerate(graphs):
        random_ = random.Random(f"{seed}/{name}")
        spent = Spent(
            calls=2,
            input_tokens=50,
            output_tokens=9 + number,
            cost=None if number == 0 else 0.001 * 20**number,
        )
        write_lines(
            folder.answers_path(name),
            [
                Answer(
                    item=item.id,
                    entrant=name,
                    state="ok",
                    outputs=("A", "A it is"),
                    spent=spent,
                    latency=1.0 + number,
                )
                for item in asked
            ],
        )
        write_lines(
            folder.verdicts_path(name),
            [
                Verdict(
                    item=item.id,
                    entrant=name,
                    kind="correct",
                    judge="exact",
                    state="ok",
                    value=float(random_.random() < 0.8),
                    turn=1,
                )
                for item in asked
            ],
        )
    spec = {
        "name": "choices",
        "data": {"path": "c.jsonl"},
        "answer": {"read": "letter"},
        "numbers": ["accuracy"],
    }
    folder.write_experiment(
        Experiment(moa="0.1.0", evaluation="choices", spec=spec, entrants=tuple(map(entrant, graphs)), judge="exact",
                   limit=items, items=items, fingerprint="1" * 64)
    )  # fmt: skip
    return folder


def experiment(entrants: Sequence[Entrant], items: int) -> Experiment:
    """What is asked of whom."""
    spec = {
        "name": "mine",
        "description": "Questions of our own, against recorded outputs.",
        "source": "https://example.org/paper",
        "data": {"path": "questions.jsonl"},
        "judge": {"kind": "pairwise", "order": "both"},
        "numbers": ["win-rate", "length-controlled"],
    }
    return Experiment(
        moa="0.1.0", evaluation="mine", spec=spec, entrants=tuple(entrants), baseline=BASELINE,
        judge="pairwise by sim:judge", seed=0, items=items, fingerprint="0" * 64,
    )  # fmt: skip


@cache
def entrant(graph: str) -> Entrant:
    """A graph of the catalogue over simulated models."""
    located = load_graph(graph)
    plan = compile_graph(located.spec, Bindings(rest="sim:skill=0.7"), near=located.folder)
    text = read_text(Path(located.document.source))
    return Entrant(
        name=graph, graph=graph, models=dict.fromkeys("abcdef", "sim:skill=0.7"), fingerprint=plan.fingerprint,
        yaml=text, svg=svg(plan),
    )  # fmt: skip


def questions(count: int, seed: int, hostile: str = "") -> Iterator[Item]:
    """Questions of two groups, each with the baseline's output."""
    random_ = random.Random(seed)
    for number in range(count):
        text = f"Question {number}: why is {random_.choice(WORDS)} so? {hostile}"
        yield Item(
            id=f"q{number}{hostile[:8]}", turns=(text,), group="physics" if number % 3 else "prose", baseline=(said(random_, 40),),
        )  # fmt: skip


def said(random_: random.Random, most: int) -> str:
    """Some words."""
    return " ".join(random_.choice(WORDS) for _ in range(random_.randint(5, most)))


def answer(item: Item, name: str, random_: random.Random, hostile: str) -> Answer:
    """An answer with its nodes; one in twelve fails."""
    if random_.random() < 1 / 12:
        return Answer(
            item=item.id, entrant=name, state="failed", error=f"QuorumError: `answer` heard 0 of 3 {hostile}"
        )
    text = said(random_, 70) + hostile
    nodes = tuple(
        node(id_, said(random_, 60) + hostile, () if id_ != "answer" else ("drafts[0]", "drafts[1]"))
        for id_ in ("drafts[0]", "drafts[1]", "answer")
    )
    spent = Spent(
        calls=3, input_tokens=random_.randint(200, 400), output_tokens=random_.randint(100, 300), cost=0.002
    )
    return Answer(
        item=item.id, entrant=name, state="ok", outputs=(text,), spent=spent, latency=random_.uniform(1, 4),
        nodes=(*nodes[:-1], {**nodes[-1], "text": text}),
    )  # fmt: skip


def node(id_: str, text: str, heard: tuple[str, ...]) -> dict[str, Any]:
    """A node's record as an experiment keeps it."""
    return {
        "id": id_, "agent": "proposer", "model": "sim:skill=0.7", "state": "ok", "text": text, "turn": 0,
        "usage": {"prompt_tokens": 90, "completion_tokens": 60, "total_tokens": 150}, "cost": 0.0, "latency": 0.5,
        "references": list(heard), "finish_reason": "stop",
    }  # fmt: skip


def verdicts_on(
    item: Item, said: Answer, better: float, random_: random.Random, hostile: str
) -> Iterator[Verdict]:
    """Both orders; the judge likes length and what it sees first, and sometimes refuses or rambles."""
    if said.state != "ok":
        return
    longer = (len(said.output) - len(item.baseline[0])) / 150
    for swapped in (False, True):
        odds = better + longer + (0.3 if swapped else -0.3) + random_.gauss(0, 1.5)
        state = random_.choices(["ok", "refused", "unparsed"], [30, 1, 1])[0]
        yield Verdict(
            item=item.id, entrant=said.entrant, kind="preference", judge="sim:judge", state=state,
            value=round(1 / (1 + 2.718281828**-odds), 4) if state == "ok" else None, against=BASELINE, swapped=swapped,
            text=f"The {'first' if odds > 0 else 'second'} is better. {hostile}", method="logprobs",
            details={"probabilities": {"m": 0.6, "M": 0.4}}, spent=Spent(calls=1, input_tokens=300, output_tokens=1, cost=0.0005), of=2,
        )  # fmt: skip
