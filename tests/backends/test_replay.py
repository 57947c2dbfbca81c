"""Recorded outputs as a model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from moa.backends.base import Backend, Delta, Request
from moa.backends.replay import Replay, read_recording
from moa.errors import BadRequestError, UsageError
from moa.spec.model import ModelSpec

ALPACA_EVAL = Path(__file__).parents[3] / "shared" / "data" / "alpaca_eval2"


def replay(path: Path, **fields: Any) -> Replay:
    return Replay(ModelSpec(name="rec", provider="replay", file=str(path), **fields))


def asking(text: str, n: int = 1, seed: int | None = None) -> Request:
    return Request(({"role": "user", "content": text},), n=n, seed=seed)


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


ROWS = (
    {"instruction": "Why?", "output": "Because.", "generator": "g"},
    {"instruction": "How?", "output": "So.", "generator": "g"},
)


def as_json(folder: Path) -> Path:
    path = folder / "outputs.json"
    path.write_text(json.dumps(ROWS))
    return path


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.json"])
async def test_answers_what_was_recorded(tmp_path: Path, name: str) -> None:
    path = as_json(tmp_path) if name.endswith(".json") else write_lines(tmp_path / name, *ROWS)
    backend = replay(path)
    assert isinstance(backend, Backend)
    completion = await backend.complete(asking("  How?\n"))
    assert [choice.text for choice in completion.choices] == ["So."]
    assert completion.model == "g"
    assert completion.usage.estimated and completion.usage.output_tokens == 1
    await backend.aclose()


async def test_the_latest_user_turn_is_looked_up(tmp_path: Path) -> None:
    backend = replay(write_lines(tmp_path / "o.jsonl", *ROWS))
    messages = (
        {"role": "system", "content": "1. How?"},
        {"role": "user", "content": "How?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    )
    assert (await backend.complete(Request(messages))).choices[0].text == "Because."


async def test_several_recordings_are_samples_by_seed(tmp_path: Path) -> None:
    rows = [{"instruction": "q", "output": text} for text in "abc"]
    backend = replay(write_lines(tmp_path / "o.jsonl", *rows))
    together = await backend.complete(asking("q", n=3, seed=1))
    alone = [(await backend.complete(asking("q", seed=seed))).choices[0].text for seed in (1, 2, 3)]
    assert [choice.text for choice in together.choices] == alone == ["b", "c", "a"]
    assert backend.notes() == ()


async def test_too_few_recordings_are_told(tmp_path: Path) -> None:
    backend = replay(write_lines(tmp_path / "o.jsonl", *ROWS))
    completion = await backend.complete(asking("Why?", n=2))
    assert [choice.text for choice in completion.choices] == ["Because."] * 2
    assert backend.notes() == ("rec has too few recordings of 1 question(s); they repeat",)
    assert completion.choices[1].usage.input_tokens == 0


async def test_streams_each_sample(tmp_path: Path) -> None:
    heard: list[Delta] = []
    await replay(write_lines(tmp_path / "o.jsonl", *ROWS)).complete(asking("Why?", n=2), heard.append)
    assert heard == [Delta(0, "Because."), Delta(1, "Because.")]


async def test_an_unknown_question_is_an_error_that_names_it(tmp_path: Path) -> None:
    backend = replay(write_lines(tmp_path / "o.jsonl", *ROWS))
    with pytest.raises(BadRequestError, match=r"o\.jsonl holds no output for 'Who x+…'") as caught:
        await backend.complete(asking("Who " + "x" * 100))
    assert not caught.value.retryable


async def test_a_question_without_an_answer_is_as_good_as_unrecorded(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"instruction": "a", "output": None}, {"instruction": "b", "output": "B"}]
    backend = replay(write_lines(tmp_path / "o.jsonl", *rows))
    with pytest.raises(BadRequestError):
        await backend.complete(asking("a"))
    assert (await backend.complete(asking("b"))).choices[0].text == "B"


async def test_one_generator_of_several(tmp_path: Path) -> None:
    rows = [{"instruction": "q", "output": name, "generator": name} for name in ("x", "y")]
    path = write_lines(tmp_path / "o.jsonl", *rows)
    backend = replay(path, options={"generator": "y"})
    assert (await backend.complete(asking("q", n=1))).choices[0].text == "y"
    with pytest.raises(UsageError, match="no outputs of generator 'z'"):
        await replay(path, options={"generator": "z"}).complete(asking("q"))


TABLE = ({"index": 4, "instruction": "Why?"}, {"index": 7, "instruction": "How?"})


@pytest.mark.parametrize("place", ["instructions.jsonl", "../instructions.jsonl.gz"])
async def test_recordings_by_index_find_their_instructions(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    write_lines(folder / place, *TABLE)
    path = write_lines(folder / "m.jsonl.gz", {"index": 7, "output": "So."})
    assert (await replay(path).complete(asking("How?"))).choices[0].text == "So."


async def test_the_table_of_instructions_can_be_named(tmp_path: Path) -> None:
    table = write_lines(tmp_path / "t.jsonl", *TABLE)
    path = write_lines(tmp_path / "m.jsonl", {"index": 4, "output": "x"})
    backend = replay(path, options={"instructions": str(table)})
    assert (await backend.complete(asking("Why?"))).choices[0].text == "x"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no outputs"),
        ("{]", r"o\.jsonl:1: not JSON"),
        ('{"instruction": "a", "output": "b"}\n[1]', r"o\.jsonl:2: expected an object"),
        ('{"instruction": "a"}', r"o\.jsonl:1: expected a text in `output`"),
        ('{"output": "a"}', "expected `instruction`, or `index`"),
        ('{"output": "a", "index": 1}', "put instructions.jsonl beside it"),
        ('[{"output": 1}]', "item 1: expected a text"),
    ],
)
def test_a_damaged_recording_is_one_line_that_names_the_row(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "sub" / "o.jsonl"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_recording(path)


def test_an_index_that_the_table_lacks(tmp_path: Path) -> None:
    write_lines(tmp_path / "instructions.jsonl", *TABLE)
    path = write_lines(tmp_path / "m.jsonl", {"index": 5, "output": "x"})
    with pytest.raises(UsageError, match="no index 5"):
        read_recording(path)


async def test_a_missing_or_cut_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recording at"):
        await replay(tmp_path / "nothing.jsonl").complete(asking("q"))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"instruction": "a", "output": "b"}')[:-12])
    with pytest.raises(UsageError, match="cannot read"):
        await replay(cut).complete(asking("q"))


def test_options_are_checked_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rec: options: .*instruction"):
        replay(tmp_path / "o.jsonl", options={"instruction": "x"})
    with pytest.raises(UsageError, match="names no file"):
        Replay(ModelSpec(provider="replay"))


@pytest.mark.skipif(not ALPACA_EVAL.is_dir(), reason="the AlpacaEval outputs are not beside this checkout")
def test_published_outputs_are_a_recording() -> None:
    recording = read_recording(ALPACA_EVAL / "outputs" / "Together-MoA.jsonl.gz")
    assert sum(map(len, recording.outputs.values())) == 805
    first = recording.outputs[
        "What are the names of some famous actors that started their careers on Broadway?"
    ]
    assert first[0].strip()
