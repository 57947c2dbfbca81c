"""Selections over AlpacaEval's published outputs and preferences, against numbers computed straight from the files."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from moa.evaluate.board import board
from moa.evaluate.difficulty import keep_reference
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.opening import opened
from moa.evaluate.recordings import read_recordings
from moa.evaluate.study import study
from moa.graph.bind import Bindings
from moa.run.runner import Runner
from tests.support.shared import ALPACA_EVAL, needs_alpaca_eval

pytestmark = needs_alpaca_eval

SIX = (
    "FuseChat-Gemma-2-9B-Instruct",
    "FuseChat-Llama-3.2-3B-Instruct",
    "claude-2.1",
    "claude-instant-1.2",
    "gpt-3.5-turbo-1106",
    "Qwen-14B-Chat",
)
OTHERS = ("vicuna-13b-v1.5", "FuseChat-Llama-3.2-1B-Instruct", "Mixtral-8x7B-Instruct-v0.1_concise")


class Published(NamedTuple):
    """The files of some models: texts without space at their ends, and preferences and lengths (members, n)."""

    texts: list[list[str]]
    preferences: Floats
    lengths: Floats


def published(models: Sequence[str]) -> Published:
    import pyarrow.parquet as pq

    table = pq.read_table(ALPACA_EVAL / "annotations.parquet").to_pydict()
    preferences = np.full((len(models), 805), np.nan)
    lengths = np.full((len(models), 805), np.nan)
    for model, index, preference, length in zip(
        table["model"], table["index"], table["preference"], table["len_2"], strict=True
    ):
        if model in models:
            preferences[models.index(model), index] = preference - 1
            lengths[models.index(model), index] = length
    return Published([_texts(model) for model in models], preferences, lengths)


def _texts(model: str) -> list[str]:
    with gzip.open(ALPACA_EVAL / "outputs" / f"{model}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = {row["index"]: row["output"].strip() for row in map(json.loads, file)}
    return [rows[index] for index in range(805)]


async def replayed(
    out: Path, graphs: Sequence[str], members: Sequence[str], settings: Sequence[str] = ()
) -> Folder:
    """An experiment over the published outputs of `members`."""
    found = read_recordings(ALPACA_EVAL)
    bindings = Bindings({"members": tuple(members)} if members else {}).knowing(found.models)
    planned = study(
        "alpaca_eval", graphs, bindings, out=out, judge=found.judge, data=found.data, settings=settings
    )
    with opened(out, planned.design, planned.items) as folder:
        assert planned.reference is not None
        keep_reference(folder, planned.reference)
        async with Runner(models=bindings.models) as runner:
            await planned.trials(runner, folder).run()
    return Folder(out)


def values(folder: Folder, entrant: str) -> Floats:
    """The value of every verdict, in the order of the instructions."""
    return np.array([np.nan if v.value is None else v.value for v in folder.verdicts(entrant)])


@pytest.mark.parametrize("models", [SIX, OTHERS], ids=["six", "others"])
async def test_selections_are_scored_to_the_last_digit(tmp_path: Path, models: tuple[str, ...]) -> None:
    graphs = ("random", "oracle", "longest", "shortest")
    folder = await replayed(tmp_path / "out", graphs, models)
    texts, preferences, _ = published(models)
    characters = np.array([[len(text) for text in row] for row in texts])
    items = np.arange(805)
    assert np.array_equal(values(folder, "oracle"), preferences.max(axis=0))
    assert np.array_equal(values(folder, "longest"), preferences[characters.argmax(axis=0), items])
    assert np.array_equal(values(folder, "shortest"), preferences[characters.argmin(axis=0), items])
    drawn = [verdict.details["models"] for verdict in folder.verdicts("random")]
    chosen = [models.index(str(names[0])) for names in drawn if isinstance(names, list)]
    assert np.array_equal(values(folder, "random"), preferences[chosen, items])
    counts = np.bincount(chosen, minlength=len(models))
    assert (np.abs(counts - 805 / len(models)) < 4 * np.sqrt(805 / len(models))).all()
    for answer, verdict in zip(folder.answers("oracle"), folder.verdicts("oracle"), strict=True):
        known = [node["text"].strip() for node in answer.nodes if node["model"]]
        assert answer.output.strip() in known and len(known) == len(models)
        worth = verdict.details["drafts"]
        assert isinstance(worth, list) and worth == preferences[:, int(answer.item)].tolist()


async def test_single_models_have_their_published_numbers(tmp_path: Path) -> None:
    models = (*SIX[:2], "phi-2")
    folder = await replayed(tmp_path / "out", ["single"], (), [f"a={','.join(models)}"])
    found = board([folder], bootstrap=20, fit="liblinear-cv")
    leaderboard = _table("leaderboard.csv")
    official = _table("official_lc_reference.csv")
    for model in models:
        row = found.row(f"single[a={model}]")
        raw, controlled = row.figure("win-rate"), row.figure("length-controlled")
        assert raw is not None and controlled is not None and row.cost is not None
        assert raw.estimate.value == pytest.approx(float(leaderboard[model]["win_rate"]), abs=1e-9)
        if model != "phi-2":  # it lacks two rows, which shifts the official scorer's difficulties
            assert int(row.cost.length) == int(leaderboard[model]["avg_length"])
            expected = float(official[model]["lc_reconstructed"])
            assert controlled.estimate.value == pytest.approx(expected, abs=1e-6)
        assert row.counts.ok == int(float(leaderboard[model]["n_total"]))


def _table(name: str) -> dict[str, dict[str, str]]:
    with (ALPACA_EVAL / name).open(encoding="utf-8") as file:
        return {row["model"]: row for row in csv.DictReader(file)}
