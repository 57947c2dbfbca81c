"""Opening an experiment's folder: new, to be resumed, widened, or forked where something changed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import moa
from moa.errors import UsageError
from moa.evaluate.entrants import Contender
from moa.evaluate.fingerprint import change, changed_entrant, fingerprint, item_mark, text_mark
from moa.evaluate.folder import Folder, line_of
from moa.evaluate.journal import drop_torn_line
from moa.evaluate.records import Entrant, Experiment, Item
from moa.run.output import lock
from moa.spec.evaluation import EvalSpec

STORE = "store.sqlite"
OURS = frozenset({"items.jsonl", STORE, f"{STORE}-wal", f"{STORE}-shm", ".lock", ".items.part"})
"""What a folder may hold that was killed before it had an experiment.json."""
FORKS = 1000

Items = Callable[[], Iterable[Item]]


@dataclass(frozen=True, slots=True)
class Design:
    """What is to be run."""

    spec: EvalSpec
    contenders: Sequence[Contender]
    baseline: str | None
    judge: str | None
    rests_on: dict[str, str]
    seed: int
    limit: int | None


class Changed(UsageError):
    """The folder holds another experiment."""


@contextmanager
def opened(path: Path, design: Design, items: Items, *, fork: bool = False) -> Iterator[Folder]:
    """The folder of an experiment with its items and its experiment.json, held by one process at a time.

    More entrants and more items are added to what is there. Anything else that changed is refused with
    `UsageError`, or goes with `fork` into the next free folder beside it, together with a copy of the store.
    """
    for place in _places(path, fork):
        _check_ours(place)
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("ab") as held:
            lock(held, place / ".lock")
            folder = Folder(place)
            try:
                _prepare(folder, design, items)
            except Changed as error:
                if not fork:
                    raise UsageError(f"{error}; --fork goes on in a new folder beside it") from None
                continue
            yield folder
            return
    raise UsageError(f"{path}: too many forks")


def _places(path: Path, fork: bool) -> Iterator[Path]:
    yield path
    for number in range(2, FORKS) if fork else ():
        place = path.with_name(f"{path.name}-{number}")
        if not place.exists():
            _copy_store(path / STORE, place / STORE)
        yield place


def _check_ours(place: Path) -> None:
    if place.exists() and not place.is_dir():
        raise UsageError(f"--out {place} is a file; name a folder")
    if not place.exists() or (place / "experiment.json").exists():
        return
    strange = sorted(path.name for path in place.iterdir() if path.name not in OURS)
    if strange:
        raise UsageError(
            f"--out {place} is not empty ({strange[0]}) and no experiment; choose another folder"
        )


def _copy_store(source: Path, target: Path) -> None:
    """What was answered already need not be paid for again."""
    target.parent.mkdir(parents=True)
    if not source.exists():
        return
    part = target.with_name(f"{STORE}.part")
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(part)) as new:
        old.backup(new)
    shutil.move(part, target)


def _prepare(folder: Folder, design: Design, items: Items) -> None:
    """Check what is there, add what is new, and say what is run."""
    before = folder.experiment if folder.experiment_path.exists() else None
    entrants = [contender.entrant for contender in design.contenders]
    if before is not None:
        _refuse_change(folder, before, design, entrants)
    marks = _add_items(folder, items)
    known = {entrant.name: entrant for entrant in (*(before.entrants if before else ()), *entrants)}
    folder.write_experiment(
        Experiment(
            moa=before.moa if before else moa.__version__,
            evaluation=design.spec.name,
            spec=design.spec.model_dump(mode="json", exclude_unset=True),
            entrants=tuple(known.values()),
            baseline=design.baseline,
            judge=design.judge,
            seed=design.seed,
            limit=design.limit,
            items=len(marks),
            rests_on=design.rests_on,
            fingerprint=fingerprint(design.rests_on, marks),
        )
    )


def _refuse_change(folder: Folder, before: Experiment, design: Design, entrants: Sequence[Entrant]) -> None:
    found = change(before.rests_on, design.rests_on) or changed_entrant(before.entrants, entrants)
    if found is not None:
        raise Changed(f"{folder.path} holds another experiment: {found}; choose another --out")


class _Known(NamedTuple):
    """The marks of recorded items by that of their ids, and those that have not been met again."""

    marks: dict[int, int]
    unmet: set[int]


def _add_items(folder: Folder, items: Items) -> list[int]:
    """Bring the file of items up to date; the marks of all of them.

    Items that are there stay where they are, and those that a larger limit brings follow them.
    """
    known = _known(folder)
    part = folder.path / ".items.part"
    added = 0
    with part.open("wb") as file:
        for item in items():
            name, mark = text_mark(item.id), item_mark(item)
            if name in known.marks:
                if known.marks[name] != mark:
                    raise Changed(
                        f"{folder.items_path}: the item {item.id!r} is another now; choose another --out"
                    )
                known.unmet.discard(name)
                continue
            known.marks[name] = mark
            file.write(line_of(item))
            added += 1
    _refuse_fewer(folder, known, added)
    if added:
        with folder.items_path.open("ab") as whole, part.open("rb") as more:
            shutil.copyfileobj(more, whole)
    part.unlink()
    return list(known.marks.values())


def _known(folder: Folder) -> _Known:
    if folder.items_path.exists():
        with folder.items_path.open("r+b") as file:
            drop_torn_line(file)
    marks = {text_mark(item.id): item_mark(item) for item in folder.items()}
    return _Known(marks, set(marks))


def _refuse_fewer(folder: Folder, known: _Known, added: int) -> None:
    if not known.unmet:
        return
    count = len(known.unmet)
    if added:
        raise Changed(
            f"{folder.items_path}: {count} of its items are not among those asked now; choose another --out"
        )
    raise UsageError(
        f"{folder.path} asks {len(known.marks)} items already, {count} more than now: "
        "leave --limit as it was or raise it, or choose another --out"
    )
