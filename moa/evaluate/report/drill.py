"""Every sampled question with all answers, node texts and verdicts, packed to be opened one by one in the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moa.evaluate.records import Answer, Experiment, Item, Verdict
from moa.evaluate.report.survey import Asked, Record, Survey, disagree, values

CHUNK = 16
"""Questions that are packed together: opening one of them unpacks them all."""
MOST_BYTES = 24 * 2**20
"""Characters of packed texts in the page, beyond which no further question is taken in."""
SNIPPET = 240

FAILED, SPLIT, REFUSED, UNPARSED, JUDGE_FAILED, MISSING = (1 << bit for bit in range(6))
"""What the page's filters look for: bits of an entrant's mark on a question."""
_STATES = {"refused": REFUSED, "unparsed": UNPARSED, "failed": JUDGE_FAILED}


@dataclass(frozen=True, slots=True)
class Drill:
    """What the page holds: an index to search, and chunks of texts. Both are base64 of gzipped JSON."""

    index: str
    chunks: tuple[str, ...]
    shown: int
    total: int


def drill(experiment: Experiment, survey: Survey, most_bytes: int = MOST_BYTES) -> Drill:
    """Pack the sample, as far as it fits; what does not is counted in `total` but not in `shown`."""
    names = [entrant.name for entrant in experiment.entrants]
    chunks: list[str] = []
    rows: list[tuple[int, dict[str, Any]]] = []
    room = most_bytes
    for batch in _batches(survey.sample):
        chunk = packed(_chunk([asked.item for asked in batch], survey.records))
        room -= len(chunk)
        if room < 0 and chunks:
            break
        for position, asked in enumerate(batch):
            at = [len(chunks), position]
            rows.append((asked.place, _row(asked.item, names, survey.records) | {"at": at}))
        chunks.append(chunk)
    rows.sort(key=lambda row: row[0])
    index = {
        "entrants": names,
        "baseline": experiment.baseline,
        "kind": _kind(survey),
        "items": [row for _, row in rows],
    }
    return Drill(packed(index), tuple(chunks), len(rows), survey.total)


def packed(data: Any) -> str:
    """JSON as base64 of gzip: about a quarter of its size, and without a character that HTML would read."""
    raw = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(raw, compresslevel=6, mtime=0)).decode()


def unpacked(text: str) -> Any:
    """The way back from `packed`."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def _batches(sample: Sequence[Asked]) -> Iterator[Sequence[Asked]]:
    return (sample[start : start + CHUNK] for start in range(0, len(sample), CHUNK))


def _kind(survey: Survey) -> str | None:
    """The kind of the verdicts; they are all of one in an experiment."""
    kinds = (
        verdict.kind
        for record in survey.records.values()
        for verdicts in record.verdicts.values()
        for verdict in verdicts
    )
    return next(kinds, None)


def _row(item: Item, names: Sequence[str], records: Mapping[str, Record]) -> dict[str, Any]:
    """A question in the index: its value and its mark for each entrant."""
    marks = [
        _mark(records[name].answers.get(item.id), records[name].verdicts.get(item.id, ())) for name in names
    ]
    means = [_mean(values(records[name].verdicts.get(item.id, ()))) for name in names]
    question = " ".join(item.instruction.split())
    snippet = question if len(question) <= SNIPPET else f"{question[: SNIPPET - 1]}…"
    return {"id": item.id, "group": item.group, "q": snippet, "v": means, "f": marks}


def _mean(found: Sequence[float]) -> float | None:
    return round(sum(found) / len(found), 4) if found else None


def _mark(answer: Answer | None, verdicts: Iterable[Verdict]) -> int:
    listed = list(verdicts)
    mark = MISSING if answer is None else FAILED if answer.state != "ok" else 0
    for verdict in listed:
        mark |= _STATES.get(verdict.state, 0)
    return mark | (SPLIT if disagree(listed) else 0)


class _Texts:
    """Each text once: the proposers of a shared pool said the same to many entrants."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


def _chunk(items: Sequence[Item], records: Mapping[str, Record]) -> dict[str, Any]:
    texts = _Texts()
    detailed = [_detail(item, records, texts) for item in items]
    return {"texts": list(texts.texts), "items": detailed}


def _detail(item: Item, records: Mapping[str, Record], texts: _Texts) -> dict[str, Any]:
    """A question with everything that was said about it; texts are numbers of `texts`."""
    return _filled(
        {
            "turns": [texts(turn) for turn in item.turns],
            "history": [[str(said.get("role", "")), texts(_content(said))] for said in item.history],
            "answer": item.answer,
            "options": [texts(option) for option in item.options],
            "checklist": [texts(line) for line in item.checklist],
            "references": [texts(reference) for reference in item.references],
            "baseline": [texts(output) for output in item.baseline],
            "said": [
                _said(record.answers.get(item.id), record.verdicts.get(item.id, ()), texts)
                for record in records.values()
            ],
        }
    )


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _said(answer: Answer | None, verdicts: Iterable[Verdict], texts: _Texts) -> dict[str, Any] | None:
    judged = [_verdict(verdict, texts) for verdict in verdicts]
    if answer is None:
        return {"verdicts": judged} if judged else None
    spent = answer.spent
    return _filled(
        {
            "outputs": [texts(output) for output in answer.outputs],
            "error": texts(answer.error) if answer.error else None,
            "warnings": [texts(warning) for warning in answer.warnings],
            "nodes": [_node(node, texts) for node in answer.nodes],
            "verdicts": judged,
        }
    ) | {
        "state": answer.state,
        "took": [answer.latency, spent.calls, spent.input_tokens, spent.output_tokens, spent.cost],
    }


def _node(node: Mapping[str, Any], texts: _Texts) -> dict[str, Any]:
    """The fields of a node's record that a reader looks for."""
    kept = {key: node.get(key) for key in ("id", "agent", "model", "state", "turn", "finish_reason")}
    responses = node.get("responses") or []
    spoken = [texts(str(node[key])) if node.get(key) else None for key in ("text", "reasoning", "error")]
    return _filled(
        kept
        | dict(zip(("text", "reasoning", "error"), spoken, strict=True))
        | {"heard": list(node.get("references") or ()), "responses": [texts(str(one)) for one in responses]}
    )


def _verdict(verdict: Verdict, texts: _Texts) -> dict[str, Any]:
    details = json.dumps(dict(verdict.details), ensure_ascii=False, indent=1, sort_keys=True, default=str)
    return _filled(
        {
            "value": verdict.value,
            "against": verdict.against,
            "turn": verdict.turn,
            "text": texts(verdict.text) if verdict.text else None,
            "method": verdict.method,
            "grade": verdict.grade,
            "details": texts(details) if verdict.details else None,
        }
    ) | {"state": verdict.state, "judge": verdict.judge, "kind": verdict.kind, "swapped": verdict.swapped}


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty."""
    return {
        name: value for name, value in fields.items() if value is not None and value != [] and value != ""
    }
