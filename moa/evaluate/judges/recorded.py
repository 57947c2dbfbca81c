"""Recorded preferences as the judge: what a selection hands on is scored exactly, and no model is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import JsonValue

from moa.errors import UsageError
from moa.evaluate.annotations import annotation_files
from moa.evaluate.judges.base import JudgedKind, check_answered
from moa.evaluate.judges.panel import fingerprint
from moa.evaluate.judges.recording import (
    Preferences,
    Recorded,
    mark,
    model_of,
    preferences_in,
    worth,
)
from moa.evaluate.records import DRAFTS, LENGTHS, Answer, Item, Verdict

PREFIX = "recorded:"
_SPACE = 32
"""Characters of space at the ends of a baseline's output that an answer may have lost."""


class RecordedJudge:
    """Looks up what was once judged, by the instruction and by the text or its author.

    A selection's answer is one member's output, word for word. So the preference is that of the member whose
    text it is; where members wrote the same text, of those that the answer's own nodes name, and their
    mean where these were judged differently. A text that nobody is on record with has no verdict.
    """

    kind: JudgedKind = "preference"
    needs_baseline = False
    """The preferences were given against outputs of their own baseline; where another is given it is compared."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UsageError(f"{PREFIX}{path}: there is no such file of recorded preferences")
        self.path = path
        self.name = f"{PREFIX}{path.name}"
        self.fingerprint = fingerprint("recorded", [_digest(file) for file in annotation_files(path)])

    @cached_property
    def preferences(self) -> Preferences:
        """The file, read when it is first needed; raises `UsageError` that names a row that does not fit."""
        return preferences_in(self.path)

    @property
    def baseline(self) -> str | None:
        """Whom the recorded outputs were compared with, where the file says it."""
        return self.preferences.baseline

    def calls(self, item: Item) -> int:
        """Nobody is asked."""
        return 0

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        """The recorded preference, or a verdict that says why there is none."""
        check_answered(answer)
        known = self.preferences.about(item.instruction)
        if not known:
            return [self._failed(item, answer, against, "holds no preference for this instruction")]
        if against is not None and not any(_same_baseline(each, against) for each in known):
            why = f"was judged against other outputs than those of {against.entrant}"
            return [self._failed(item, answer, against, why)]
        find, authors = self.preferences.meant, _authors(answer)
        found = find(item.instruction, answer.output, authors)
        if not found:
            why = "has no preference for this text: nobody in it gave exactly this answer to the instruction"
            if authors and not authors & self.preferences.models:
                why = f"has no preference for any answer of {' or '.join(sorted(authors))}"
            return [self._failed(item, answer, against, why)]
        drafts = [worth(find(item.instruction, text, {model})) for model, text in _drafts(answer)]
        return [self._verdict(item, answer, against, found, drafts)]

    def _verdict(
        self,
        item: Item,
        answer: Answer,
        against: Answer | None,
        found: Sequence[Recorded],
        drafts: Sequence[float | None],
    ) -> Verdict:
        value = worth(found)
        details: dict[str, JsonValue] = {
            "models": [each.model for each in found],
            LENGTHS: [found[0].length, fmean(each.own_length for each in found)],
        }
        if len({each.value for each in found}) > 1:
            details["values"] = [each.value for each in found]
        if value is None:
            details["error"] = f"{self.path.name} holds an empty preference"
        if len(drafts) > 1:
            details[DRAFTS] = list(drafts)
        state = "ok" if value is not None else "unparsed"
        return self._fields(item, answer, against, state=state, value=value, details=details)

    def _failed(self, item: Item, answer: Answer, against: Answer | None, why: str) -> Verdict:
        return self._fields(
            item, answer, against, state="failed", details={"error": f"{self.path.name} {why}"}
        )

    def _fields(self, item: Item, answer: Answer, against: Answer | None, **fields: Any) -> Verdict:
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind="preference",
            judge=self.name,
            against=against.entrant if against is not None else self.preferences.baseline,
            method="recorded",
            **fields,
        )


def _drafts(answer: Answer) -> Iterator[tuple[str, str]]:
    """The model and the text of each node that heard nobody: what a selection chose from."""
    for node in answer.nodes:
        if node.get("model") and node.get("text") and not node.get("references"):
            yield model_of(str(node["model"])), str(node["text"])


def _authors(answer: Answer) -> set[str]:
    """The model of the node that a selection chose; else those of the nodes that said exactly this."""
    text = answer.output.strip()
    nodes = [node for node in answer.nodes if node.get("turn", 0) == answer.nodes[-1].get("turn", 0)]
    chosen = nodes[-1].get("chosen", []) if nodes else []
    said = [node for node in nodes if node["id"] in chosen] or [
        node
        for node in nodes
        if text in [str(node.get("text")).strip(), *map(str, node.get("responses") or ())]
    ]
    return {model_of(str(node["model"])) for node in said if node.get("model")}


def _same_baseline(recorded: Recorded, against: Answer) -> bool:
    """Whether a preference was recorded against this output, as far as the file tells."""
    if recorded.baseline is not None:
        return recorded.baseline == mark(against.output)
    return len(against.output.strip()) <= recorded.length <= len(against.output) + _SPACE


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_recorded(model: str) -> bool:
    """Whether a judge's model is a file of recorded preferences."""
    return model.startswith(PREFIX)


def recorded_path(model: str, near: Path | None) -> Path:
    """The file of `recorded:FILE`, which is looked for beside the evaluation, then from here."""
    path = Path(model.removeprefix(PREFIX)).expanduser()
    beside = near / path if near is not None else path
    return beside if beside.exists() else path


def open_recorded(model: str, near: Path | None) -> RecordedJudge:
    """The judge `recorded:FILE`."""
    return RecordedJudge(recorded_path(model, near))
