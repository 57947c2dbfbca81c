"""Folders of recordings: what is found in them, in our layout and in AlpacaEval's."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa.errors import UsageError
from moa.evaluate.recordings import read_recordings
from tests.support.recordings import MODELS, write_official, write_recordings


def test_a_folder_brings_models_judge_questions_and_difficulties(tmp_path: Path) -> None:
    recorded = write_recordings(tmp_path / "rec", 3)
    found = read_recordings(recorded.folder)
    assert set(found.models) == set(MODELS)
    assert {(m.provider, m.file) for m in found.models.values()} == {
        ("replay", str(recorded.folder / "outputs" / f"{name}.jsonl")) for name in MODELS
    }
    assert found.judge == f"recorded:{recorded.folder / 'annotations.jsonl'}"
    assert (found.data, found.reference) == (recorded.folder / "instructions.jsonl", recorded.folder)


def test_a_folder_of_alpaca_eval_s_results(tmp_path: Path) -> None:
    folder = write_official(write_recordings(tmp_path / "rec", 3), tmp_path / "results")
    found = read_recordings(folder)
    assert found.models["second"].file == str(folder / "second" / "model_outputs.json")
    assert (found.judge, found.data, found.reference) == (f"recorded:{folder}", None, None)


def test_outputs_alone_are_models(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    for name in ("a.jsonl.gz", "b.json", "notes.txt", "b.c-1.jsonl"):
        (tmp_path / "outputs" / name).touch()
    found = read_recordings(tmp_path)
    assert set(found.models) == {"a", "b", "b.c-1"}
    assert (found.judge, found.data, found.reference) == (None, None, None)


def test_a_folder_without_outputs_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no recorded outputs: expected \S+outputs/MODEL\.jsonl or"):
        read_recordings(tmp_path)
    with pytest.raises(UsageError, match="holds no recorded outputs"):
        read_recordings(tmp_path / "nowhere")
