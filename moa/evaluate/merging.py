"""Several folders as one experiment, where they ask and judge the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from moa.errors import UsageError
from moa.evaluate.fingerprint import change, item_mark
from moa.evaluate.folder import Folder
from moa.evaluate.records import Entrant, Experiment, Item
from moa.evaluate.sheet import Agenda, read_agenda


class Part(NamedTuple):
    """An entrant under a name that is its own on the board."""

    name: str
    entrant: Entrant
    folder: Folder
    is_baseline: bool


class Merged(NamedTuple):
    """The first folder's experiment, what all of them ask, and everybody who takes part."""

    experiment: Experiment
    agenda: Agenda
    parts: tuple[Part, ...]


def merge(folders: Sequence[Folder]) -> Merged:
    """Read what folders have in common; raises `UsageError` that names the file where they do not belong together."""
    if not folders:
        raise UsageError("a leaderboard needs the folder of an experiment")
    experiments = [folder.experiment for folder in folders]
    first = experiments[0]
    for folder, other in zip(folders[1:], experiments[1:], strict=True):
        found = change(first.rests_on, other.rests_on)
        if found is not None:
            raise UsageError(f"{folder.experiment_path}: does not belong to {folders[0].path}: {found}")
    agenda = read_agenda(folders[0].items())
    if len(folders) > 1:
        _check_items(folders)
    return Merged(first, agenda, tuple(_parts(folders, experiments)))


def _check_items(folders: Sequence[Folder]) -> None:
    known = {item.id: item_mark(item) for item in folders[0].items()}
    for folder in folders[1:]:
        count = 0
        for count, item in enumerate(folder.items(), 1):
            if known.get(item.id) != item_mark(item):
                raise UsageError(_strange(folder, count, item, folders[0], known=item.id in known))
        if count < len(known):
            raise UsageError(
                f"{folder.items_path}: asks {count} items where {folders[0].path} asks {len(known)}: "
                "run it again with the same --limit"
            )


def _strange(folder: Folder, line: int, item: Item, first: Folder, *, known: bool) -> str:
    what = "is another one" if known else "is not asked"
    return f"{folder.items_path}:{line}: the item {item.id!r} {what} in {first.path}"


def _parts(folders: Sequence[Folder], experiments: Sequence[Experiment]) -> Iterator[Part]:
    """Everybody once: an entrant that takes part in several folders under one name is called by its folder too."""
    taken: dict[str, Entrant] = {}
    for folder, experiment in zip(folders, experiments, strict=True):
        for entrant in experiment.entrants:
            if entrant.name in taken and taken[entrant.name].fingerprint == entrant.fingerprint:
                continue
            name = entrant.name if entrant.name not in taken else f"{entrant.name} ({folder.path.name})"
            if name in taken:
                name = f"{entrant.name} ({folder.path})"
            taken[name] = entrant
            yield Part(name, entrant, folder, entrant.name == experiment.baseline)
