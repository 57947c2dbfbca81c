"""The runs of a store: found in its samples, read-only."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from moa.errors import StoreError
from moa.run.database import ReadOnlyFile, explained
from moa.run.keys import expanded
from moa.run.record import COLUMNS, Record, readable
from moa.serve.viewer.lineage import Key, Lineage, Sample, Turn, ancestry
from moa.serve.viewer.picture import Past, past_plan, picture
from moa.serve.viewer.run import shown_messages, tool_calls_text
from moa.serve.viewer.source import Page, matching

Json = dict[str, Any]
NEWEST = 10_000
"""Samples that are looked at, the newest of them."""
PATIENCE = 5.0
"""Seconds to wait for other programs."""
_ID = re.compile(r"(\d{1,18})\.(\d{1,18})")


class StoreSource:
    """A store whose runs can be listed and opened."""

    kind = "store"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._file = ReadOnlyFile(str(path), PATIENCE)
        self._lock = Lock()
        self._text = lru_cache(maxsize=4096)(self._read_text)
        self._forget()
        with explained(str(path)):
            self._db()

    def page(self, words: str, offset: int, count: int) -> Page:
        """Runs whose question or any text holds all `words`."""
        with self._lock, explained(str(self.path)):
            self._update()
            found = [
                run
                for run in self._runs
                if not words or matching(words, [one.words for one in ancestry(run)])
            ]
            rows = [_row(run) for run in found[offset : offset + count]]
            note = (
                f"The newest {NEWEST:,} samples of {self._total:,} are looked at"
                if self._total > NEWEST
                else ""
            )
            return Page(len(found), rows, note)

    def run(self, id: str) -> Json | None:
        """The run that ends in this sample, or in samples of the same prompt."""
        found = _ID.fullmatch(id)
        if found is None:
            return None
        key = Key(int(found[1]), int(found[2]))
        with self._lock, explained(str(self.path)):
            self._update()
            sample = self._lineage.samples.get(key)
            if sample is None:
                return None
            last = next((run for run in self._runs if any(one.key == key for one in run)), [sample])
            return self._record(last)

    def _forget(self) -> None:
        self._lineage = Lineage()
        self._runs: list[list[Sample]] = []
        self._total = 0
        self._latest = -1

    def _db(self) -> sqlite3.Connection:
        return self._file.connection()

    def _update(self) -> None:
        """Take in what was stored since; everything anew where something was deleted."""
        db = self._db()
        total, latest = db.execute("SELECT count(*), coalesce(max(rowid), -1) FROM responses").fetchone()
        if (total, latest) == (self._total, self._latest):
            return
        if latest <= self._latest or total <= self._total:
            self._forget()
        query = (
            "SELECT r.rowid, r.request, r.sample, r.created, r.text, r.served_model, q.identity, q.messages"
            " FROM (SELECT rowid, * FROM responses WHERE rowid > ? ORDER BY rowid DESC LIMIT ?) AS r"
            " JOIN requests AS q ON q.id = r.request ORDER BY r.rowid"
        )
        for row, request, number, created, text, served, identity, messages in db.execute(
            query, (self._latest, NEWEST)
        ):
            said = [Turn(turn["role"], turn["text"]) for turn in shown_messages(self._expand(messages))]
            key = Key(request, number)
            self._lineage.add(key, _model(identity, served), created, said, readable(text))
            self._latest = max(self._latest, row)
        self._total = total
        self._runs = self._lineage.runs()

    def _expand(self, condensed: str) -> Any:
        return expanded(json.loads(condensed), self._text)

    def _read_text(self, digest: str) -> str:
        row = self._db().execute("SELECT text FROM texts WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            raise StoreError(f"is damaged: the text {digest} is missing")
        return readable(row[0])

    def _record(self, last: list[Sample]) -> Json:
        samples = ancestry(last)
        names = _names(samples, last)
        nodes = [self._node(sample, names) for sample in samples]
        past = [Past(node["id"], None, node["model"], node["heard"]) for node in nodes]
        answer = names[last[0].key]
        first = next(node for node in nodes if not node["heard"])
        return {
            "graph": ", ".join(dict.fromkeys(sample.model for sample in last)),
            "title": last[0].question,
            "when": last[-1].created,
            "question": [turn for turn in first["prompt"] if turn["role"] != "system"],
            "answer_node": answer,
            "answer": last[0].text,
            "error": None,
            "latency": _critical(nodes),
            "cost": None,
            "sent": sum(node["sent"] for node in nodes),
            "received": sum(node["received"] for node in nodes),
            "warnings": [],
            "nodes": nodes,
            "picture": picture(past_plan(_short(last[0].question), past, answer)),
        }

    def _node(self, sample: Sample, names: dict[Key, str]) -> Json:
        columns = ", ".join(f"r.{column}" for column in COLUMNS.split(", "))
        row = self._db().execute(
            f"SELECT q.messages, {columns} FROM responses AS r JOIN requests AS q ON q.id = r.request"
            " WHERE r.request = ? AND r.sample = ?",
            sample.key,
        ).fetchone()  # fmt: skip
        if row is None:
            raise StoreError("has changed meanwhile; load the page again")
        record = Record.from_row(row[1:])
        return {
            "id": names[sample.key],
            "agent": None,
            "model": sample.model,
            "state": "truncated" if record.finish_reason == "length" else "ok",
            "text": record.text.strip(),
            "reasoning": record.reasoning,
            "prompt": shown_messages(self._expand(row[0])),
            "cached": False,
            "sent": record.usage.input_tokens,
            "received": record.usage.output_tokens,
            "estimated": record.usage.estimated,
            "latency": record.latency,
            "heard": [names[one.key] for one in sample.heard],
            "finish": record.finish_reason,
            "calls": tool_calls_text(record.tool_calls),
        }


def _model(identity: str, served: str) -> str:
    """A model's own name: its identity says where it is, too."""
    try:
        named = json.loads(identity)
    except ValueError:
        return identity
    name = named.get("model") if isinstance(named, dict) else None
    return str(name or served or identity)


def _row(run: list[Sample]) -> Json:
    last = run[0]
    samples = ancestry(run)
    models = dict.fromkeys(sample.model for sample in samples)
    return {
        "title": _short(last.question),
        "when": run[-1].created,
        "answer": _short(last.text),
        "note": f"{len(samples)} call{'s' if len(samples) > 1 else ''}",
        "choices": [{"id": f"{last.key.request}.{last.key.sample}", "label": ", ".join(models), "note": ""}],
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def _names(samples: Iterable[Sample], last: list[Sample]) -> dict[Key, str]:
    """`answer` for the last one, `step 1[0]` for the others: how deep they stand, and which of those they are."""
    depths: dict[Key, int] = {}
    layers: dict[int, int] = {}
    names: dict[Key, str] = {}
    ends = {sample.key for sample in last}
    for sample in samples:
        depth = depths[sample.key] = 1 + max((depths[one.key] for one in sample.heard), default=0)
        if sample.key in ends:
            names[sample.key] = "answer" if len(last) == 1 else f"answer[{last.index(sample)}]"
        else:
            names[sample.key] = f"step {depth}[{layers.get(depth, 0)}]"
            layers[depth] = layers.get(depth, 0) + 1
    return names


def _critical(nodes: list[Json]) -> float:
    """Seconds of the longest way from the question to the answer."""
    ends: dict[str, float] = {}
    for node in nodes:
        ends[node["id"]] = node["latency"] + max((ends[source] for source in node["heard"]), default=0.0)
    return max(ends.values())
