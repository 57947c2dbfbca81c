"""A leaderboard for other programs: JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from typing import Any

from moa.evaluate.deception.insights import Insights
from moa.evaluate.deception.matrix import Cell, Matrix
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.standings import Board, Row


def board_json(board: Board) -> dict[str, Any]:
    """Everything on a board as plain JSON; a number that does not exist is null."""
    return {
        "evaluation": board.evaluation,
        "items": board.items,
        "judge": board.judge,
        "baseline": board.baseline,
        "headline": board.headline,
        "unit": board.unit,
        "seed": board.experiment.seed,
        "fingerprint": board.experiment.fingerprint,
        "rows": [_row_json(row) for row in board.rows],
        "pairs": [_plain(asdict(pair)) | {"significant": pair.significant} for pair in board.pairs],
        "findings": [asdict(finding) for finding in board.findings],
    }


def board_csv(board: Board) -> str:
    """A line an entrant, with the interval of each figure in columns of its own."""
    lines = list(_flat(board))
    columns = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def board_markdown(board: Board) -> str:
    """Two tables for a README: the leaderboard, and the paired differences."""
    names = list(dict.fromkeys(figure.name for row in board.rows for figure in row.figures))
    labels = {figure.name: figure.label for row in board.rows for figure in row.figures}
    head = ["", "entrant", *(labels[name] for name in names), "length", "tokens", "cost", "latency"]
    lines = [_line(head), _line(["---", "---", *["---:"] * (len(head) - 2)])]
    for number, row in enumerate(board.rows, 1):
        figures = [_interval(figure.estimate) if (figure := row.figure(name)) else "" for name in names]
        lines.append(_line([str(number), row.name, *figures, *_costs(row)]))
    if board.pairs:
        lines += ["", _line(["first", "second", "difference", "p (Holm)", "questions"]), _line(["---"] * 5)]
        for pair in board.pairs:
            cells = [_interval(pair.difference), f"{pair.p_adjusted:.3g}", str(pair.pairs)]
            lines.append(_line([pair.first, pair.second, *cells]))
    return "\n".join(lines) + "\n"


def matrix_json(matrix: Matrix) -> dict[str, Any]:
    """A matrix of attacks and defences as plain JSON; what is not defined is null."""
    return {
        "graph": matrix.graph,
        "attacks": list(matrix.attacks),
        "defences": list(matrix.defences),
        "label": matrix.label,
        "unit": matrix.unit,
        "cells": [_cell_json(cell) for cell in matrix.listed()],
    }


def insights_json(known: Insights) -> dict[str, Any]:
    """What follows from a matrix as plain JSON."""
    return {
        "breakdown": {defence: _plain(asdict(found)) for defence, found in known.breaks.items()},
        "agents": [_plain(asdict(agent)) for agent in known.agents],
        "certified": [_plain(asdict(found)) for found in known.certified],
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    shares = ("parse_rate", "persuaded", "recovery", "corruption", "deceptive")
    changes = {"change": cell.change, "gain": cell.gain}
    return {
        "attack": cell.attack,
        "defence": cell.defence,
        "entrant": cell.row.name,
        "deceivers": dict(cell.deceivers),
        "figure": _plain(asdict(cell.figure)) if cell.figure else None,
        **{name: _plain(asdict(found)) if found else None for name, found in changes.items()},
        **{name: _plain(asdict(found)) if (found := getattr(cell, name)) else None for name in shares},
        "selects": cell.selects,
        "cost": _plain(asdict(cell.row.cost)) if cell.row.cost else None,
        "trouble": cell.trouble or None,
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "graph": row.entrant.graph,
        "settings": dict(row.entrant.settings),
        "models": dict(row.entrant.models),
        "folder": str(row.folder.path),
        "is_baseline": row.is_baseline,
        "figures": {figure.name: _plain(asdict(figure)) for figure in row.figures},
        "counts": asdict(row.counts) | {"missing": row.counts.missing},
        "cost": _plain(asdict(row.cost)) if row.cost else None,
        "judge_cost": row.judge_cost,
        "consistency": _plain(asdict(row.consistency)) if row.consistency else None,
        "drafts": _plain(asdict(row.drafts)) if row.drafts else None,
    }


def _plain(value: Any) -> Any:
    """A value without NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _flat(board: Board) -> Iterator[dict[str, Any]]:
    for rank, row in enumerate(board.rows, 1):
        line: dict[str, Any] = {"rank": rank, "entrant": row.name}
        for figure in row.figures:
            part = figure.estimate
            ends = {"": part.value, "_se": part.standard_error, "_low": part.low, "_high": part.high}
            line |= {f"{figure.name.replace('-', '_')}{end}": _plain(value) for end, value in ends.items()}
        counts = asdict(row.counts)
        line |= counts | (asdict(row.cost) if row.cost else {}) | {"judge_usd": row.judge_cost}
        yield line


def _costs(row: Row) -> list[str]:
    if row.cost is None:
        return [""] * 4
    tokens = row.cost.input_tokens + row.cost.output_tokens
    usd = "n/a" if row.cost.usd is None else f"${row.cost.usd:.4f}"
    return [f"{row.cost.length:.0f}", f"{tokens:.0f}", usd, f"{row.cost.latency_median:.1f} s"]


def _interval(estimate: Estimate) -> str:
    if not isfinite(estimate.low):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
