"""The runs of an experiment's folder: every question, what each entrant said to it, and the verdicts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from moa.evaluate.folder import Folder, read_line
from moa.evaluate.records import Answer, Item, Record, Verdict
from moa.serve.viewer.picture import Past, past_plan, picture
from moa.serve.viewer.source import Page, matching

Json = dict[str, Any]
R = TypeVar("R", bound=Record)
KEPT = 4000
"""Characters of an answer that a search looks at."""
BASELINE = "b"
_ID = re.compile(r"(\d{1,9})\.(\d{1,6}|b)")


class Line(NamedTuple):
    """Where a record stands in its file."""

    number: int
    start: int


class _Lines:
    """A JSONL file whose records are read again when they are wanted; a last line without its end is left out."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path = path
        self.kind = kind
        self._end = 0
        self._number = 0
        self._file = 0

    def rewritten(self) -> bool:
        """Whether another file stands here now, or lines that were read are gone: all that is known is void."""
        if not self._end:
            return False
        try:
            seen = self.path.stat()
            with self.path.open("rb") as file:
                file.seek(self._end - 1)
                return seen.st_ino != self._file or file.read(1) != b"\n"
        except FileNotFoundError:
            return True

    def fresh(self) -> Iterator[tuple[Line, Any]]:
        """Records that came since; raises `UsageError` for a line that is none."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            self._file = os.fstat(file.fileno()).st_ino
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._number += 1
                at = Line(self._number, self._end)
                self._end += len(line)
                yield at, read_line(line, self.kind, self.path, self._number)

    def read(self, at: Line) -> Any:
        """The record of one line."""
        with self.path.open("rb") as file:
            file.seek(at.start)
            return read_line(file.readline(), self.kind, self.path, at.number)


class _Entrant:
    """What one entrant said, and what was said of it."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.name = name
        self.answers = _Lines(folder.answers_path(name), Answer)
        self.verdicts = _Lines(folder.verdicts_path(name), Verdict)
        self.answered: dict[str, Line] = {}
        self.judged: dict[str, list[Line]] = {}
        self.values: dict[str, list[float]] = {}
        self.failed: set[str] = set()
        self.words: dict[str, str] = {}

    def rewritten(self) -> bool:
        """Whether its files must be read anew."""
        return self.answers.rewritten() or self.verdicts.rewritten()

    def update(self) -> None:
        """Take in what came since."""
        for at, answer in self.answers.fresh():
            self.answered[answer.item] = at
            self.words[answer.item] = " ".join(answer.outputs)[:KEPT].lower()
            (self.failed.add if answer.state == "failed" else self.failed.discard)(answer.item)
        for at, verdict in self.verdicts.fresh():
            self.judged.setdefault(verdict.item, []).append(at)
            if verdict.value is not None:
                self.values.setdefault(verdict.item, []).append(verdict.value)

    def note(self, item: str) -> str:
        """How it did, in a word."""
        if item in self.failed:
            return "failed"
        values = self.values.get(item)
        return f"{sum(values) / len(values):.2f}" if values else ""


class ExperimentSource:
    """An experiment whose questions can be listed and opened, one entrant's answer at a time."""

    kind = "experiment"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._folder = Folder(path)
        self._baseline = self._folder.experiment.baseline
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._items = _Lines(self._folder.items_path, Item)
        self._asked: list[tuple[Line, str, str]] = []
        """Of each item its place, its id and what a search looks at."""
        self._entrants: list[_Entrant] = []

    def page(self, words: str, offset: int, count: int) -> Page:
        """Questions that hold, with all their answers, all `words`."""
        with self._lock:
            self._update()
            found = [
                number
                for number, (_, id, text) in enumerate(self._asked)
                if matching(words, [text, *(one.words.get(id, "") for one in self._entrants)])
            ]
            return Page(len(found), [self._row(number) for number in found[offset : offset + count]])

    def run(self, id: str) -> Json | None:
        """One entrant's answer to one question, or the baseline's."""
        found = _ID.fullmatch(id)
        if found is None:
            return None
        with self._lock:
            self._update()
            number = int(found[1])
            if number >= len(self._asked):
                return None
            item: Item = self._items.read(self._asked[number][0])
            if found[2] == BASELINE:
                return self._recorded(item) if item.baseline else None
            place = int(found[2])
            return self._record(item, self._entrants[place]) if place < len(self._entrants) else None

    def _update(self) -> None:
        """Take in what came since; everything anew where a file was rewritten."""
        if self._items.rewritten():
            self._forget()
        self._entrants = [
            _Entrant(self._folder, one.name) if one.rewritten() else one for one in self._entrants
        ]
        for at, item in self._items.fresh():
            text = f"{item.id}\n{item.group}\n{' '.join(item.turns)}"
            self._asked.append((at, item.id, text[:KEPT].lower()))
        names = [entrant.name for entrant in self._folder.experiment.entrants]
        self._entrants += [_Entrant(self._folder, name) for name in names[len(self._entrants) :]]
        for entrant in self._entrants:
            entrant.update()

    def _row(self, number: int) -> Json:
        item: Item = self._items.read(self._asked[number][0])
        choices = [
            {"id": f"{number}.{place}", "label": entrant.name, "note": entrant.note(item.id)}
            for place, entrant in enumerate(self._entrants)
            if item.id in entrant.answered
        ]
        if item.baseline:
            choices.append(
                {"id": f"{number}.{BASELINE}", "label": self._baseline or "baseline", "note": "baseline"}
            )
        note = " · ".join(word for word in (item.id, item.group) if word)
        return {"title": item.instruction[:600], "when": None, "answer": "", "note": note, "choices": choices}

    def _recorded(self, item: Item) -> Json:
        text = "\n\n".join(item.baseline)
        node: Json = {
            "id": "answer",
            "agent": None,
            "model": self._baseline,
            "state": "ok",
            "text": text,
            "heard": [],
        }
        return _shown(item, self._baseline or "baseline", [node], "answer") | {"answer": text}

    def _record(self, item: Item, entrant: _Entrant) -> Json | None:
        at = entrant.answered.get(item.id)
        if at is None:
            return None
        answer: Answer = entrant.answers.read(at)
        nodes = [_node(node, turns=len(answer.outputs)) for node in answer.nodes]
        shown = _shown(item, entrant.name, nodes, nodes[-1]["id"] if nodes else "")
        return shown | {
            "answer": "\n\n".join(answer.outputs),
            "error": answer.error,
            "latency": answer.latency,
            "cost": answer.spent.cost,
            "sent": answer.spent.input_tokens,
            "received": answer.spent.output_tokens,
            "warnings": list(answer.warnings),
            "verdicts": [_verdict(entrant.verdicts.read(at)) for at in entrant.judged.get(item.id, ())],
        }


def _shown(item: Item, name: str, nodes: list[Json], answer: str) -> Json:
    past = [Past(node["id"], node["agent"], node["model"], node["heard"]) for node in nodes]
    note = " · ".join(word for word in (item.id, item.group) if word)
    return {
        "graph": name,
        "title": item.instruction,
        "note": note,
        "question": [{"role": "user", "text": turn} for turn in item.turns],
        "expected": item.answer,
        "answer_node": answer,
        "error": None,
        "nodes": nodes,
        "picture": picture(past_plan(name, past, answer)) if past else None,
    }


def _node(node: dict[str, Any], *, turns: int) -> Json:
    """A node as an experiment keeps it; of several turns each has its nodes."""
    usage = node.get("usage") or {}
    turn = f" (turn {int(node.get('turn', 0)) + 1})" if turns > 1 else ""
    return {
        "id": f"{node.get('id', '?')}{turn}",
        "agent": node.get("agent"),
        "model": node.get("model"),
        "state": node.get("state", "ok"),
        "text": node.get("text") or "",
        "reasoning": node.get("reasoning"),
        "cached": False,
        "sent": usage.get("prompt_tokens"),
        "received": usage.get("completion_tokens"),
        "cost": node.get("cost"),
        "latency": node.get("latency"),
        "heard": [f"{source}{turn}" for source in node.get("references") or ()],
        "chosen": [f"{source}{turn}" for source in node.get("chosen") or ()],
        "finish": node.get("finish_reason"),
        "error": node.get("error"),
    }


def _verdict(verdict: Verdict) -> Json:
    said = f"{verdict.value:.3g}" if verdict.value is not None else verdict.state
    against = f" against {verdict.against}" if verdict.against else ""
    order = ", shown first" if verdict.swapped else ", shown second" if verdict.against else ""
    grade = f" ({verdict.grade})" if verdict.grade else ""
    return {
        "title": f"{verdict.kind}: {said}{grade}{against}{order}, by {verdict.judge}",
        "text": verdict.text,
    }
