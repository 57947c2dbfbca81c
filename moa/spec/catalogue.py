"""The agents, graphs, defences and evaluations that come with `moa`, and the user's own beside them."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from moa.errors import SpecError, UsageError
from moa.spec.agent import AgentSpec
from moa.spec.defence import DefenceSpec
from moa.spec.document import parse_leniently
from moa.spec.evaluation import EvalSpec
from moa.spec.graph import GraphSpec
from moa.spec.loader import Located, kind_of, read_agent, read_defence, read_eval, read_graph, read_text
from moa.spec.model import ModelsSpec
from moa.spec.words import nearest

Kind = Literal["agents", "graphs", "defences", "evals"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_FOLDERS: dict[Kind, str] = {"defences": "graphs/defences"}
"""Where a kind has a folder of another name."""
_ENDINGS = (".yaml", ".yml")


def shipped(kind: Kind) -> Path:
    """The folder of `kind` inside the installed package, or in the checkout that it is installed from."""
    package = Path(str(files("moa")))
    folder = _FOLDERS.get(kind, kind)
    inside = package / "catalogue" / folder
    return inside if inside.is_dir() else package.parent / folder


def own(kind: Kind, near: Path | None = None) -> list[Path]:
    """The folders with a user's own files of `kind`: beside the graph file, then where `moa` was called."""
    return [folder / _FOLDERS.get(kind, kind) for folder in _places(near)]


def names(kind: Kind) -> list[str]:
    """The names of `kind` that can be used here: the shipped ones and those in the folder `./<kind>`, sorted.

    Defences are in `./graphs/defences`.
    """
    return sorted({path.stem for folder in (*own(kind), shipped(kind)) for path in _yaml_files(folder)})


def find(kind: Kind, name: str, near: Path | None = None) -> Path:
    """The file of an agent, graph, defence or evaluation.

    `name` is a path where it ends in `.yaml` or `.yml` or contains a separator; it is looked for from
    `near` (the folder of the graph file that names it), then from the working directory. Any other
    `name` is one of the catalogue, in which a user's own file wins over a shipped one.

    Raises `UsageError` for one that is not there.
    """
    return _find_path(name, near) if is_path(name) else _find_name(kind, name, near)


class Found(NamedTuple):
    """A file and the kind of thing that it describes."""

    kind: Kind
    path: Path


def find_any(name: str, kind: str | None = None) -> Found:
    """The file called `name` of whichever kind has it: graphs first, then defences, agents and evaluations.

    The kind of a path is told by the keys of the file. Raises `UsageError` for one that is not there.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}: choose one of {', '.join(KINDS)}")
    if is_path(name):
        path = _find_path(name, None)
        return Found(_kind_at(path), path)
    order: tuple[Kind, ...] = ("graphs", "defences", "agents", "evals")
    kinds = [each for each in order if kind in {None, each}]
    for each in kinds:
        if name in names(each):
            return Found(each, find(each, name))
    known = [other for each in kinds for other in names(each)]
    meant = nearest(name, known)
    hint = f"did you mean `{meant}`?" if meant else "`moa list` shows what there is"
    raise UsageError(f"nothing in the catalogue is called {name!r}; {hint}")


class Entry(NamedTuple):
    """A line of the catalogue: what can be named, and what it says of itself."""

    kind: Kind
    name: str
    description: str
    source: str
    """The paper that it comes from; empty where it names none."""
    path: Path


def entries(kind: Kind) -> list[Entry]:
    """Everything of `kind` that can be used here, by name."""
    return [entry_at(kind, find(kind, name)) for name in names(kind)]


def entry_at(kind: Kind, path: Path) -> Entry:
    """What a file says of itself, even where the rest of it is wrong."""
    try:
        data = parse_leniently(read_text(path), str(path)).document.data
    except SpecError:
        return Entry(kind, path.stem, f"cannot be read: try `moa validate {path}`", "", path)
    about = {key: str(data.get(key) or "") for key in ("description", "source")}
    return Entry(kind, path.stem, about["description"], about["source"], path)


def is_path(name: str) -> bool:
    """Whether `name` is meant as a path rather than as a name of the catalogue."""
    return name.endswith(_ENDINGS) or "/" in name or os.sep in name


def load_agent(name: str, near: Path | None = None) -> Located[AgentSpec]:
    """Find and read an agent; the same file is read once."""
    return _agent(*_stamped(find("agents", name, near)))


def load_graph(name: str) -> Located[GraphSpec]:
    """Find and read a graph; the same file is read once."""
    return _graph(*_stamped(find("graphs", name)))


def load_defence(name: str) -> Located[DefenceSpec]:
    """Find and read a defence; the same file is read once."""
    return _defence(*_stamped(find("defences", name)))


def load_eval(name: str) -> Located[EvalSpec]:
    """Find and read an evaluation; the same file is read once."""
    return _eval(*_stamped(find("evals", name)))


def _kind_at(path: Path) -> Kind:
    kind = kind_of(parse_leniently(read_text(path), str(path)).document.data)
    if kind is ModelsSpec:
        raise UsageError(f"{path} lists models: `moa show` shows agents, graphs, defences and evaluations")
    if kind is EvalSpec or path.resolve().parent.name == "evals":
        return "evals"
    if kind is DefenceSpec:
        return "defences"
    return "graphs" if kind is GraphSpec else "agents"


def _places(near: Path | None) -> list[Path]:
    here = [Path()]
    return [near if near.is_dir() else near.parent, *here] if near is not None else here


def _find_path(name: str, near: Path | None) -> Path:
    expanded = os.path.expanduser(name)  # noqa: PTH111 - Path.expanduser raises for an unknown user
    for place in _places(near):
        if (path := place / expanded).is_file():
            return path
    raise UsageError(f"no file {name}{_neighbours(Path(expanded))}")


def _neighbours(path: Path) -> str:
    """The file of the same folder that a wrong path most likely means."""
    meant = nearest(path.name, [other.name for other in _yaml_files(path.parent)])
    return f"; did you mean {path.with_name(meant)}?" if meant else ""


def _find_name(kind: Kind, name: str, near: Path | None) -> Path:
    for folder in (*own(kind, near), shipped(kind)):
        for ending in _ENDINGS:
            if name and (path := folder / f"{name}{ending}").is_file():
                return path
    known = names(kind)
    meant = nearest(name, known)
    hint = f"; did you mean `{meant}`?" if meant else ""
    listed = f"known: {', '.join(known)}; a path ends in .yaml"
    raise UsageError(f"unknown {kind.removesuffix('s')} {name!r}{hint} ({listed})")


def _yaml_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in _ENDINGS] if folder.is_dir() else []


def _stamped(path: Path) -> tuple[Path, int, int]:
    """The path with what changes when the file does."""
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _agent(path: Path, modified: int, size: int) -> Located[AgentSpec]:
    return read_agent(path)


@lru_cache(maxsize=256)
def _graph(path: Path, modified: int, size: int) -> Located[GraphSpec]:
    return read_graph(path)


@lru_cache(maxsize=256)
def _defence(path: Path, modified: int, size: int) -> Located[DefenceSpec]:
    return read_defence(path)


@lru_cache(maxsize=256)
def _eval(path: Path, modified: int, size: int) -> Located[EvalSpec]:
    return read_eval(path)
