import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from moa.backends.resolve import identity, model_spec
from moa.cli.store_ import command
from moa.errors import UsageError
from moa.run.store import Store
from tests.support.stored import count, put, record


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "store.sqlite"
    store = Store.open(path)
    put(store, "why?", record("weil: ß", created=0.0), record("two \ud800", created=4e9))
    put(store, "why?", record("three", created=4e9), identity="beta")
    store.close()
    monkeypatch.setenv("MOA_STORE", str(path))
    return path


def moa_store(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def printed(*arguments: str) -> str:
    result = moa_store(*arguments)
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.stdout


def test_stats(path: Path) -> None:
    first, second, _, *table = printed("stats").splitlines()
    assert first.startswith(f"{path}: 3 samples of 2 requests, ")
    assert second == "from 1970-01-01 00:00 UTC to 2096-10-02 07:06 UTC"
    assert [row.split() for row in table] == [
        ["model", "requests", "samples", "tokens", "in", "tokens", "out"],
        ["alpha", "1", "2", "20", "10"],
        ["beta", "1", "1", "10", "5"],
    ]
    assert len({len(row) for row in table}) == 1


def test_stats_as_json(path: Path) -> None:
    stats = json.loads(printed("stats", "--json"))
    assert stats["path"] == str(path)
    assert stats["bytes"] == path.stat().st_size
    assert (stats["samples"], stats["requests"]) == (3, 2)
    assert [model["model"] for model in stats["models"]] == ["alpha", "beta"]


def test_models_without_a_name_are_told_by_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store.open(path)
    (recording := tmp_path / "said.jsonl").write_text('{"instruction": "why?", "output": "so"}\n')
    names = ["sim:", "sim:skill=0.8,latency=0.1", f"replay:{recording}"]
    for name in names:
        put(store, "why?", record("so"), identity=identity(model_spec(name)))
    store.close()
    digest = hashlib.sha256(recording.read_bytes()).hexdigest()
    shown = ["replay:" + digest[:12], "sim:", "sim:latency=0.1,skill=0.8"]
    stats = json.loads(printed("stats", "--json", "--store", str(path)))
    assert [model["model"] for model in stats["models"]] == shown
    (line,) = printed("export", "--store", str(path), "--model", shown[2]).splitlines()
    assert json.loads(line)["model"] == shown[2]


def test_stats_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    Store.open(path).close()
    assert printed("stats", "--store", str(path)).startswith(f"{path}: 0 samples of 0 requests, ")


def test_export(path: Path) -> None:
    output = printed("export")
    assert "weil: ß" in output
    texts = [json.loads(line)["response"]["text"] for line in output.splitlines()]
    assert texts == ["weil: ß", "two \ud800", "three"]


def test_export_of_a_model_to_a_file(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert printed("export", "--model", "beta", "-o", str(out)) == ""
    [line] = out.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["response"]["text"] == "three"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "store.sqlite"]


def test_export_to_where_nothing_can_be_written(path: Path, tmp_path: Path) -> None:
    result = moa_store("export", "-o", str(tmp_path / "no" / "out.jsonl"))
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == f"--out {tmp_path / 'no' / 'out.jsonl'}: No such file or directory"


def test_gc(path: Path) -> None:
    assert (
        printed("gc", "--older-than", "30d", "--dry-run") == "would delete 1 sample, 0 requests and 0 texts\n"
    )
    assert count(path, "responses") == 3
    deleted, freed = printed("gc", "--older-than", "30d").splitlines()
    assert deleted == "deleted 1 sample, 0 requests and 0 texts"
    assert freed.startswith("freed ")
    assert count(path, "responses") == 2
    assert printed("gc", "--model", "beta").startswith("deleted 1 sample, 1 request and 0 texts\n")


@pytest.mark.parametrize("age", ["30", "d", "", "-1d", "1.5h", "3y", "²d"])
def test_an_age_that_cannot_be_read(path: Path, age: str) -> None:
    result = moa_store("gc", "--older-than", age)
    assert isinstance(result.exception, UsageError)
    assert "such as 30d" in str(result.exception)
    assert count(path, "responses") == 3


@pytest.mark.parametrize("arguments", [["stats"], ["export"], ["gc"]])
def test_a_missing_store_is_one_line_and_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"
    run = [sys.executable, "-m", "moa", "store", *arguments, "--store", str(path)]
    process = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr == f"there is no store at {path}; name one with --store or $MOA_STORE\n"
    assert not path.exists()


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("notes\n" * 500)
    run = [sys.executable, "-m", "moa", "store", "stats", "--store", str(path)]
    process = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith(f"store {path}: is not a SQLite database")
    assert process.stderr.count("\n") == 1


def test_the_reader_may_leave_early(path: Path) -> None:
    store = Store.open(path)
    for number in range(300):
        put(store, f"question {number}", record("answer " * 100))
    store.close()
    run = [sys.executable, "-m", "moa", "store", "export", "--store", str(path)]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
