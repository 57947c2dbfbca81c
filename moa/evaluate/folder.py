"""The folder of an experiment: plain JSON lines that people, notebooks and the report read.

DIR/experiment.json             what is run: the evaluation, the entrants, the judge, their fingerprint
DIR/items.jsonl                 what is asked
DIR/answers/ENTRANT.jsonl       what each entrant said, in the items' order
DIR/verdicts/ENTRANT.jsonl      every judgment of those answers
DIR/outputs/ENTRANT.json        the same answers as AlpacaEval's command reads them
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from moa.errors import UsageError
from moa.evaluate.records import Answer, Experiment, Item, Record, Verdict

R = TypeVar("R", bound=Record)


class Folder:
    """Reads an experiment's folder, a record at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def experiment(self) -> Experiment:
        """What is run here; raises `UsageError` where `path` is no experiment."""
        place = self.path / "experiment.json"
        try:
            return Experiment.model_validate_json(place.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{self.path} is no experiment: it has no experiment.json") from None
        except ValidationError as error:
            raise UsageError(f"{place}: {_first(error)}") from None

    def items(self) -> Iterator[Item]:
        """What is asked, in order."""
        return read_lines(self.path / "items.jsonl", Item)

    def answers(self, entrant: str) -> Iterator[Answer]:
        """What `entrant` said; nothing before it has begun."""
        return read_lines(self.answers_path(entrant), Answer)

    def verdicts(self, entrant: str) -> Iterator[Verdict]:
        """Every judgment of what `entrant` said."""
        return read_lines(self.verdicts_path(entrant), Verdict)

    def answers_path(self, entrant: str) -> Path:
        """Where the answers of `entrant` are."""
        return self.path / "answers" / f"{file_name(entrant)}.jsonl"

    def verdicts_path(self, entrant: str) -> Path:
        """Where the judgments of `entrant` are."""
        return self.path / "verdicts" / f"{file_name(entrant)}.jsonl"


def file_name(entrant: str) -> str:
    """A name that every file system takes, different for different entrants."""
    return re.sub(r"[^\w.=,+\[\]-]", lambda found: f"%{ord(found[0]):02x}", entrant)


def read_lines(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of a JSONL file; raises `UsageError` that names the line of one that is not."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                raise UsageError(f"{path}:{number}: {_first(error)}") from None


def write_lines(path: Path, records: Iterable[Record]) -> None:
    """Write a whole JSONL file at once: it is there complete, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n")
    part.replace(path)


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {found['msg']}" if place else found["msg"]
