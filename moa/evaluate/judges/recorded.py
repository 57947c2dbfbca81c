"""Recorded preferences as the judge: what a selection hands on is scored exactly, and no model is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import JsonValue

from moa.errors import UsageError
from moa.evaluate.annotations import annotation_files
from moa.evaluate.judges.base import JudgedKind, check_answered
from moa.evaluate.judges.panel import fingerprint
from moa.evaluate.judges.recording import Preferences, Recorded, mark, model_of, read_preferences
from moa.evaluate.records import Answer, Item, Verdict

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
    needs_baseline = True

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UsageError(f"{PREFIX}{path}: there is no such file of recorded preferences")
        self.path = path
        self.name = f"{PREFIX}{path.name}"
        self.fingerprint = fingerprint("recorded", [_digest(file) for file in annotation_files(path)])

    @cached_property
    def preferences(self) -> Preferences:
        """The file, read when it is first needed; raises `UsageError` that names a row that does not fit."""
        return read_preferences(self.path)

    def calls(self, item: Item) -> int:
        """Nobody is asked."""
        return 0

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        """The recorded preference, or a verdict that says why there is none."""
        check_answered(answer)
        known = self.preferences.by_instruction.get(mark(item.instruction), [])
        if not known:
            return [self._failed(item, answer, against, "holds no preference for this instruction")]
        if against is not None and not any(_same_baseline(each, against) for each in known):
            why = f"was judged against other outputs than those of {against.entrant}"
            return [self._failed(item, answer, against, why)]
        found = _meant(known, answer)
        if not found:
            why = "has no preference for this text: nobody in it gave exactly this answer to the instruction"
            return [self._failed(item, answer, against, why)]
        return [self._verdict(item, answer, against, found)]

    def _verdict(
        self, item: Item, answer: Answer, against: Answer | None, found: Sequence[Recorded]
    ) -> Verdict:
        values = [each.value for each in found if each.value is not None]
        details: dict[str, JsonValue] = {"models": [each.model for each in found]}
        if len(set(values)) > 1:
            details["values"] = list(values)
        if not values:
            details["error"] = f"{self.path.name} holds an empty preference"
        value = (values[0] if len(set(values)) == 1 else fmean(values)) if values else None
        return self._fields(
            item, answer, against, state="ok" if values else "unparsed", value=value, details=details
        )

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


def _meant(known: Sequence[Recorded], answer: Answer) -> list[Recorded]:
    """The records that an answer may stand for: of its text and its author, of its text, or of its author."""
    text = mark(answer.output)
    authors = _authors(answer)
    same = [each for each in known if each.output == text]
    own = [each for each in same if each.model in authors]
    unseen = [each for each in known if each.output is None and each.model in authors]
    return own or same or unseen


def _authors(answer: Answer) -> set[str]:
    """The models of the nodes that said exactly this."""
    text = answer.output.strip()
    return {
        model_of(str(node["model"]))
        for node in answer.nodes
        if node.get("model")
        and text in [str(node.get("text")).strip(), *map(str, node.get("responses") or ())]
    }


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


def open_recorded(model: str, near: Path | None) -> RecordedJudge:
    """The judge `recorded:FILE`; the file is looked for beside the evaluation, then from here."""
    path = Path(model.removeprefix(PREFIX)).expanduser()
    beside = near / path if near is not None else path
    return RecordedJudge(beside if beside.exists() else path)
