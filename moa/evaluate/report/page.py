"""The report: one HTML file that needs nothing else, and its plots as files for papers."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import moa
from moa.errors import UsageError
from moa.evaluate.board import board
from moa.evaluate.deception.matrix import matrices
from moa.evaluate.folder import Folder
from moa.evaluate.records import Entrant
from moa.evaluate.report import leaderboard as tables
from moa.evaluate.report.deception import Study, studies
from moa.evaluate.report.drill import MOST_BYTES, Drill, drill
from moa.evaluate.report.failures import failures
from moa.evaluate.report.inline import inline
from moa.evaluate.report.palette import DARK, LIGHT, variables
from moa.evaluate.report.panels import panels, value_name
from moa.evaluate.report.paper import write_plot
from moa.evaluate.report.plots import judged, plots
from moa.evaluate.report.scene import Plot
from moa.evaluate.report.short import SUSPICIOUS, Fact, facts, in_short
from moa.evaluate.report.spending import Planned, planned
from moa.evaluate.report.survey import MOST_ITEMS, Survey, survey
from moa.evaluate.report.tables import words
from moa.evaluate.standings import Board

CHARACTERS = 4
"""Characters to a token, as `moa plan` counts them."""


class Part(NamedTuple):
    """A section of the page."""

    id: str
    title: str


class Report(NamedTuple):
    """The page, and the plots in it."""

    html: str
    plots: tuple[Plot, ...]


class Written(NamedTuple):
    """Which files a report is."""

    page: Path
    plots: tuple[Path, ...]


def write_report(
    path: Path,
    out: Path | None = None,
    *,
    seed: int = 0,
    bootstrap: int = 1000,
    reference: Path | None = None,
    most_items: int = MOST_ITEMS,
    known: Board | None = None,
) -> Written:
    """Write PATH/report.html, or `out`, and PATH/plots; the same folder always gives the same bytes.

    Args:
        path: An experiment's folder.
        out: The page's file.
        seed: Of the bootstrap.
        bootstrap: How many replicates an interval rests on.
        reference: A folder with AlpacaEval's instruction difficulties, for its length control.
        most_items: Questions whose texts are put into the page; of more, a sample.
        known: The folder's board, where there is one already.

    Raises:
        UsageError: where `path` is no experiment, or a file cannot be written.
        MissingExtraError: where the extra `eval` is not installed.
    """
    folder, page = Folder(path), out or path / "report.html"
    made = report(
        known or board([folder], seed=seed, bootstrap=bootstrap, reference=reference),
        survey(folder, folder.experiment, most_items),
    )
    _write(page, made.html)
    place = path / "plots"
    _make(place)
    return Written(page, tuple(file for plot in made.plots for file in write_plot(plot, place)))


def report(board: Board, survey: Survey, *, most_bytes: int = MOST_BYTES) -> Report:
    """The page of a board and a survey of the same folder."""
    plans = _plans(board, survey)
    drawn = plots(board, panels(board, survey), plans, value_name(survey))
    deceived = studies(board, matrices(board))
    style, script = _style(), _text("script.js")
    context = {
        "policy": _policy(style, script),
        "version": moa.__version__,
        "title": board.evaluation or board.experiment.evaluation or "Evaluation",
        "description": str(board.experiment.spec.get("description") or ""),
        "style": _safe(style),
        "script": _safe(script),
        "short": [sentence for study in deceived for sentence in study.short] or list(in_short(board)),
        "facts": list(facts(board, survey)),
        "deception": [_deceived(study) for study in deceived],
        "plots": [_shown(plot) for plot in drawn],
        "leaderboard": _safe(tables.leaderboard(board)),
        "methods": _safe(tables.methods(board)),
        "pairs": _safe(tables.pairs(board)) if board.pairs else "",
        "checks": _safe(_checks(board, plans)),
        "entrants": list(_entrants(board)),
        "failures": _safe(failures(survey)),
        "fingerprint": board.experiment.fingerprint,
        **_drill(drill(board.experiment, survey, most_bytes)),
    }  # fmt: skip
    context["parts"] = list(_parts(context))
    return Report(_rendered(context), (*(plot for study in deceived for plot in study.plots), *drawn))


def _shown(plot: Plot) -> dict[str, Any]:
    return {
        "name": plot.name,
        "title": plot.title,
        "svg": _safe(inline(plot)),
        "caption": plot.caption,
    }


def _deceived(study: Study) -> dict[str, Any]:
    return {
        "title": study.title,
        "short": study.short,
        "plots": [_shown(plot) for plot in study.plots],
        "tables": [_safe(table) for table in study.tables],
    }


def _rendered(context: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    environment.finalize = _clean
    return environment.from_string(_text("page.html")).render(context)


def _clean(value: Any) -> Any:
    """Everything that is not markup of our own, without control characters."""
    from markupsafe import Markup

    return Markup(words(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _safe(html: str) -> Any:
    """HTML that is made here, in which everything foreign is escaped already."""
    from markupsafe import Markup

    return Markup(html)


def _parts(context: Mapping[str, Any]) -> Iterator[Part]:
    if context["deception"]:
        yield Part("deception", "Deception")
    yield Part("leaderboard", "Leaderboard")
    if context["plots"]:
        yield Part("plots", "Plots")
    if context["pairs"]:
        yield Part("pairs", "Pairs")
    if context["checks"]:
        yield Part("checks", "Checks")
    yield from (Part("entrants", "Entrants"), Part("questions", "Questions"), Part("failures", "What failed"))


def _style() -> str:
    """The style sheet, before it the colours, which each stand for a filling and a stroke."""
    classes = "\n".join(
        f".f-{tone} {{ fill: var(--{tone}); }} .s-{tone} {{ stroke: var(--{tone}); }}" for tone in LIGHT
    )
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}"
    return f":root {{ {variables(LIGHT)} }}\n{dark}\n{_text('style.css')}\n{classes}\n.s-front, .cloud {{ fill: none; }}\n"


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, sent or run but what is in the page itself, by the hash of each part."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _text(name: str) -> str:
    return files(__package__ or "moa.evaluate.report").joinpath(name).read_text(encoding="utf-8")


def _plans(board: Board, survey: Survey) -> dict[str, Planned | None]:
    turns = [len(turn) for asked in survey.sample for turn in asked.item.turns]
    tokens = round(sum(turns) / len(turns) / CHARACTERS) if turns else 100
    times = len(turns) / len(survey.sample) if survey.sample else 1.0
    return {row.name: _times(planned(row.entrant, tokens), times) for row in board.rows}


def _times(plan: Planned | None, turns: float) -> Planned | None:
    """The plan of all turns of a question."""
    if plan is None:
        return None
    calls, sent, written, cost = (None if amount is None else amount * turns for amount in plan[:4])
    return Planned(calls, sent, written, cost, plan.cached)


def _checks(board: Board, plans: Mapping[str, Planned | None]) -> str:
    found = "\n".join(
        f'<li class="{"warn" if finding.kind == SUSPICIOUS else ""}"><bdi>{words(finding.message)}</bdi></li>'
        for finding in board.findings
    )
    parts = [
        f'<ul class="findings">\n{found}\n</ul>' if found else "<p>Nothing speaks against the numbers.</p>"
    ]
    return "\n".join([*parts, tables.consistency(board), tables.drafts(board), tables.spending(board, plans)])


def _entrants(board: Board) -> Iterator[dict[str, Any]]:
    ranks = {row.name: rank for rank, row, _ in judged(board)}
    for row in board.rows:
        yield {
            "rank": f"{ranks[row.name]}." if row.name in ranks else "",
            "name": row.name,
            "graph": row.entrant.graph,
            "picture": _picture(row.entrant),
            "facts": list(_entrant_facts(row.entrant)),
            "yaml": row.entrant.yaml,
        }


def _picture(entrant: Entrant) -> str:
    """The drawing as an image: what is in it can neither run nor restyle the page."""
    if not entrant.svg:
        return ""
    return f"data:image/svg+xml;base64,{base64.b64encode(entrant.svg.encode('utf-8', 'replace')).decode()}"


def _entrant_facts(entrant: Entrant) -> Iterator[Fact]:
    yield Fact("Graph", entrant.graph)
    yield from (Fact(f"Slot {slot}", model) for slot, model in entrant.models.items())
    yield from (Fact(name, str(value)) for name, value in entrant.settings.items())
    if entrant.fingerprint:
        yield Fact("Fingerprint", entrant.fingerprint)


def _drill(found: Drill) -> dict[str, Any]:
    note = f"All {found.total:,} questions, with every answer, what each node said, and every verdict. They are unpacked when you open them."
    if found.shown < found.total:
        note = (
            f"A sample of {found.shown:,} of {found.total:,} questions, drawn by the hash of their names: more would make this page too large. "
            "All numbers and plots above say how many questions they are of; the folder has every text."
        )
    return {
        "questions_note": note,
        "index": _safe(found.index),
        "chunks": [_safe(chunk) for chunk in found.chunks],
    }


def _write(page: Path, html: str) -> None:
    part = page.with_name(f".{page.name}.part")
    try:
        part.write_bytes(html.encode("utf-8", "replace"))
        part.replace(page)
    except OSError as error:
        raise UsageError(f"cannot write {page}: {(error.strerror or 'no reason given').lower()}") from None


def _make(place: Path) -> None:
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {place}: {(error.strerror or 'no reason given').lower()}") from None
