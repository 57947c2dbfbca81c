"""`moa batch`: many questions into a file that resumes, whatever happens in between."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.cli.calling import Called
from tests.support.background import in_background
from tests.support.faults import Exchange, FaultServer, Step, delay, ok, status
from tests.support.shell import Here, Shell, one_line
from tests.support.stored import count

GRAPH = """
nodes:
  drafts: {agent: proposer, model: a, samples: 3}
  answer: {agent: aggregator, model: a, inputs: drafts}
"""
QUESTIONS = [f"Question {number}?" for number in range(5)]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with in_background(FaultServer()) as server:
        yield server


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    write_lines(tmp_path / "in.jsonl", [{"instruction": question} for question in QUESTIONS])
    return Here(monkeypatch, capsys, tmp_path)


def write_lines(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def batch(moa: Here, server: FaultServer, *options: str, source: str = "in.jsonl") -> Called:
    out = () if "--out" in options else ("--out", "out.jsonl")
    return moa("batch", "graph.yaml", source, "-m", f"{server.url}#m", *out, *options)


def failing(*questions: str) -> Step:
    """Refuses every request about these questions."""

    async def step(exchange: Exchange) -> None:
        asked = exchange.seen.body["messages"][-1]["content"]
        await (status(400, "not that one") if asked in questions else ok())(exchange)

    return step


def test_a_line_for_each_question_in_the_order_of_the_input(moa: Here, server: FaultServer) -> None:
    async def later_first(exchange: Exchange) -> None:
        number = int(exchange.seen.body["messages"][-1]["content"].split()[1].rstrip("?"))
        await delay(0.1 - 0.02 * number)(exchange)

    server.always = later_first
    called = batch(moa, server)
    assert called.code == 0 and called.out == ""
    assert called.err.startswith("5 of 5 answered") and called.err.count("\n") == 1
    lines = read_lines(moa.folder / "out.jsonl")
    assert [line["index"] for line in lines] == list(range(5))
    assert [line["instruction"] for line in lines] == QUESTIONS
    for line in lines:
        assert set(line) == {"index", "instruction", "output", "generator", "fingerprint"}
        assert line["output"].startswith("m says ") and line["generator"] == "graph"
    assert not (moa.folder / "out.jsonl.errors.jsonl").exists()


def test_other_fields_of_a_record_are_kept(moa: Here, server: FaultServer) -> None:
    record = {
        "instruction": "Why?",
        "dataset": "mine",
        "output": "an old answer",
        "generator": "old",
        "id": 7,
    }
    write_lines(moa.folder / "in.jsonl", [record])
    batch(moa, server, "--generator", "my ensemble")
    [line] = read_lines(moa.folder / "out.jsonl")
    assert (line["dataset"], line["id"], line["generator"]) == ("mine", 7, "my ensemble")
    assert line["output"].startswith("m says ")


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def write_csv(path: Path) -> None:
    cell = json.dumps(MESSAGES).replace('"', '""')
    path.write_text(f'instruction,messages,n\n"Two\nlines, really?",,1\n,"{cell}",2\n')


def write_parquet(path: Path) -> None:
    rows = {"instruction": ["Two\nlines, really?", None], "messages": [None, MESSAGES], "n": ["1", "2"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)


def write_json(path: Path) -> None:
    path.write_text(
        json.dumps([{"prompt": "Two\nlines, really?", "n": "1"}, {"messages": MESSAGES, "n": "2"}])
    )


@pytest.mark.parametrize(
    ("name", "write"), [("in.csv", write_csv), ("in.parquet", write_parquet), ("in.json", write_json)]
)
def test_every_format_asks_the_same(name: str, write: Any, moa: Here, server: FaultServer) -> None:
    write(moa.folder / name)
    called = batch(moa, server, source=name)
    assert called.code == 0, called
    lines = read_lines(moa.folder / "out.jsonl")
    assert [(line["instruction"], line["n"]) for line in lines] == [
        ("Two\nlines, really?", "1"),
        ("Why?", "2"),
    ]
    proposed = [body["messages"] for body in server.bodies if len(str(body["messages"])) < 300]
    assert MESSAGES in proposed and [{"role": "user", "content": "Two\nlines, really?"}] in proposed


def test_questions_from_standard_input(moa: Here, server: FaultServer) -> None:
    arguments = ("batch", "graph.yaml", "-", "-m", f"{server.url}#m", "--out", "out.jsonl")
    called = moa.typed('{"prompt": "Why ☁?"}\n\n{"prompt": "How?"}\n', *arguments)
    assert called.code == 0 and called.err.startswith("2 answered")
    assert [line["instruction"] for line in read_lines(moa.folder / "out.jsonl")] == ["Why ☁?", "How?"]
    broken = moa.typed('{"prompt": "Why ☁?"}\n{"promt": 1}\n', *arguments[:-1], "other.jsonl")
    assert broken.code == 2 and "standard input:2: needs a field" in broken.err


def test_the_same_command_again_has_nothing_to_do(moa: Here, server: FaultServer) -> None:
    batch(moa, server, "--no-store")
    before = (moa.folder / "out.jsonl").read_bytes()
    server.requests.clear()
    called = batch(moa, server, "--no-store")
    assert called.code == 0 and not server.requests
    assert "5 of them before" in called.err
    assert (moa.folder / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.json"])
@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5, 12, 150, 401])
def test_a_file_that_was_cut_anywhere_is_completed(
    missing: int, name: str, moa: Here, server: FaultServer
) -> None:
    out = moa.folder / name
    batch(moa, server, "--out", name)
    whole = out.read_bytes()
    out.write_bytes(whole[:-missing])
    server.requests.clear()
    assert batch(moa, server, "--out", name).code == 0
    assert out.read_bytes() == whole
    assert not server.requests, "the store has it all"


def test_a_longer_input_only_adds(moa: Here, server: FaultServer) -> None:
    batch(moa, server, "--limit", "2", "--no-store")
    assert len(read_lines(moa.folder / "out.jsonl")) == 2 and len(server.requests) == 4
    batch(moa, server, "--no-store")
    assert [line["index"] for line in read_lines(moa.folder / "out.jsonl")] == list(range(5))
    assert len(server.requests) == 10


def test_equal_questions_are_asked_once_and_answered_each(moa: Here, server: FaultServer) -> None:
    write_lines(moa.folder / "in.jsonl", [{"instruction": "Why?"}, {"prompt": "How?"}, {"prompt": "Why?"}])
    server.always = delay(0.05)
    assert batch(moa, server, "--no-store").code == 0
    first, second, third = read_lines(moa.folder / "out.jsonl")
    assert first["output"] == third["output"] != second["output"]
    assert len(server.requests) == 4
    assert sum(seen.n for seen in server.requests) == 8


def test_failures_are_listed_and_retried_and_end_in_order(moa: Here, server: FaultServer) -> None:
    server.always = failing("Question 1?", "Question 3?")
    called = batch(moa, server)
    assert called.code == 1
    assert "2 failed: see out.jsonl.errors.jsonl" in called.err.splitlines()[-1]
    assert [line["index"] for line in read_lines(moa.folder / "out.jsonl")] == [0, 2, 4]
    errors = read_lines(moa.folder / "out.jsonl.errors.jsonl")
    assert sorted(error["index"] for error in errors) == [1, 3]
    for error in errors:
        assert error["instruction"] in ("Question 1?", "Question 3?")
        assert "not that one" in error["error"] and error["answer"] is None
        assert [node["state"] for node in error["nodes"]] == ["failed"] * 4
    server.always = ok()
    server.requests.clear()
    called = batch(moa, server)
    assert called.code == 0 and len(server.requests) == 4
    assert [line["index"] for line in read_lines(moa.folder / "out.jsonl")] == list(range(5))
    assert not (moa.folder / "out.jsonl.errors.jsonl").exists()
    assert sorted(path.name for path in moa.folder.iterdir() if "out" in path.name) == ["out.jsonl"]


def test_a_lost_reference_is_a_warning_of_its_line(moa: Here, server: FaultServer) -> None:
    (moa.folder / "graph.yaml").write_text(GRAPH.replace("model: a, samples: 3", "models: [a, b]"))
    server.script(status(400, "broken"))
    write_lines(moa.folder / "in.jsonl", [{"instruction": "Why?"}])
    assert "1 with warnings" in batch(moa, server, "-m", f"b={server.url}#b").err
    [line] = read_lines(moa.folder / "out.jsonl")
    assert "broken" in line["warnings"][0]


def test_a_batch_reuses_what_is_stored_unless_told_otherwise(moa: Here, server: FaultServer) -> None:
    batch(moa, server)
    server.requests.clear()
    batch(moa, server, "--out", "again.jsonl")
    assert not server.requests
    assert (moa.folder / "again.jsonl").read_bytes() == (moa.folder / "out.jsonl").read_bytes()
    batch(moa, server, "--out", "anew.jsonl", "--no-reuse")
    assert len(server.requests) == 10
    batch(moa, server, "--out", "seeded.jsonl", "--seed", "1")
    assert len(server.requests) == 20
    outputs = [line["output"] for line in read_lines(moa.folder / "seeded.jsonl")]
    assert not {line["output"] for line in read_lines(moa.folder / "out.jsonl")} & set(outputs)
    assert count(moa.folder / "store.sqlite", "responses") == 40


def test_two_equal_graphs_share_the_store(moa: Here, server: FaultServer) -> None:
    batch(moa, server)
    (moa.folder / "twin.yaml").write_text(GRAPH.replace("drafts", "proposals"))
    server.requests.clear()
    moa("batch", "twin.yaml", "in.jsonl", "-m", f"{server.url}#m", "--out", "twin.jsonl")
    assert not server.requests
    mine, twin = (read_lines(moa.folder / name) for name in ("out.jsonl", "twin.jsonl"))
    assert [line["output"] for line in mine] == [line["output"] for line in twin]
    assert {line["generator"] for line in twin} == {"twin"}


def test_a_spent_budget_keeps_what_was_answered(moa: Here, server: FaultServer) -> None:
    called = batch(moa, server, "--no-store", "--in-flight", "1", "--budget-tokens", "400")
    assert called.code == 1 and "budget" in called.err.splitlines()[-1]
    answered = read_lines(moa.folder / "out.jsonl")
    assert 0 < len(answered) < 5
    assert batch(moa, server, "--no-store").code == 0
    assert read_lines(moa.folder / "out.jsonl")[: len(answered)] == answered
    assert len(read_lines(moa.folder / "out.jsonl")) == 5


def test_answers_ahead_of_a_slow_one_survive_an_early_end(moa: Here, server: FaultServer) -> None:
    async def first_never(exchange: Exchange) -> None:
        slow = exchange.seen.body["messages"][-1]["content"] == "Question 0?"
        await delay(60 if slow else 0)(exchange)

    server.always = first_never
    shell = Shell(moa.folder)
    with shell.start(
        "batch", "graph.yaml", "in.jsonl", "-m", f"{server.url}#m", "--out", "out.jsonl", "--no-store"
    ) as process:
        deadline = time.monotonic() + 30
        while len(server.requests) < 9 or server.in_flight > 1:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and b"Traceback" not in err
    assert [line["index"] for line in read_lines(moa.folder / "out.jsonl")] == [1, 2, 3, 4]
    server.always = ok()
    server.requests.clear()
    assert batch(moa, server, "--no-store").code == 0
    assert len(server.requests) == 2
    assert [line["index"] for line in read_lines(moa.folder / "out.jsonl")] == list(range(5))


def test_a_json_list_is_one_at_any_time(moa: Here, server: FaultServer) -> None:
    out = moa.folder / "out.json"
    server.always = failing(*QUESTIONS)
    assert batch(moa, server, "--out", "out.json").code == 1
    assert json.loads(out.read_text()) == []
    server.always = failing("Question 0?")
    assert batch(moa, server, "--out", "out.json").code == 1
    assert [line["index"] for line in json.loads(out.read_text())] == [1, 2, 3, 4]
    server.always = ok()
    assert batch(moa, server, "--out", "out.json").code == 0
    lines = json.loads(out.read_text())
    assert [line["index"] for line in lines] == list(range(5))
    batch(moa, server)
    assert lines == read_lines(moa.folder / "out.jsonl")


def test_a_file_of_another_graph_seed_or_input_is_refused(moa: Here, server: FaultServer) -> None:
    batch(moa, server)
    before = (moa.folder / "out.jsonl").read_bytes()
    assert "another graph" in one_line(batch(moa, server, "--seed", "1"), 2)
    assert "another graph" in one_line(batch(moa, server, "-m", f"a={server.url}#other"), 2)
    write_lines(moa.folder / "other.jsonl", [{"instruction": "Another question?"}])
    called = batch(moa, server, source="other.jsonl")
    assert called.code == 2 and "answers another question at index 0" in called.err.splitlines()[-1]
    assert (moa.folder / "out.jsonl").read_bytes() == before


FOREIGN = [
    "a note",
    "a note\n",
    '{"a": 1}\n',
    '{"a": 1}',
    '[{"a": 1}]',
    "[1, 2]\n",
    "null\n",
    '{"index": -1, "instruction": "x", "fingerprint": "FINGERPRINT"}\n',
]


@pytest.mark.parametrize("name", ["out.jsonl", "out.json"])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_that_somebody_else_wrote_is_left_alone(
    content: str, name: str, moa: Here, server: FaultServer
) -> None:
    batch(moa, server, "--limit", "1", "--out", "mine.jsonl")
    content = content.replace("FINGERPRINT", read_lines(moa.folder / "mine.jsonl")[0]["fingerprint"])
    (moa.folder / name).write_text(content)
    message = one_line(batch(moa, server, "--out", name), 2)
    assert message == f"{name}:1: not written by `moa batch`; choose another --out"
    assert (moa.folder / name).read_text() == content


def test_two_batches_into_one_file_exclude_each_other(moa: Here, server: FaultServer) -> None:
    server.always = delay(60)
    with Shell(moa.folder).start(
        "batch", "graph.yaml", "in.jsonl", "-m", f"{server.url}#m", "--out", "out.jsonl", "--no-store"
    ) as process:
        while not server.requests:
            assert process.poll() is None
        assert "another process is writing out.jsonl" in one_line(batch(moa, server), 2)
        process.kill()
    server.always = ok()
    assert batch(moa, server).code == 0


BAD = [
    ("in.jsonl", '{"instruction": "a"}\n{"instruction": }\n', "in.jsonl:2: not JSON"),
    ("in.jsonl", '{"instruction": "a"}\n\n{"text": "b"}\n', "in.jsonl:3: needs a field `instruction`"),
    ("in.jsonl", '{"instruction": "a"}\n["b"]\n', "in.jsonl:2: expected an object"),
    ("in.jsonl", '{"instruction": "a"}\n{"instruction": " "}\n', "in.jsonl:2: the prompt is empty"),
    ("in.jsonl", '{"instruction": 5}\n', "in.jsonl:1: the question must be text"),
    ("in.jsonl", '{"messages": []}\n', "in.jsonl:1: the conversation has no messages"),
    (
        "in.jsonl",
        '{"messages": [{"role": "usr", "content": "x"}]}\n',
        "in.jsonl:1: message 1 has the unknown",
    ),
    (
        "in.jsonl",
        '{"messages": [{"role": "assistant", "content": "x"}]}\n',
        "in.jsonl:1: the conversation must",
    ),
    ("in.jsonl", '{"messages": "[broken"}\n', "in.jsonl:1: `messages` is text that is not JSON"),
    ("in.jsonl", '{"messages": "5"}\n', "in.jsonl:1: `messages` must be a list"),
    ("in.jsonl", "", "in.jsonl holds no questions"),
    ("in.jsonl", b'{"instruction": "a"}\n{"instruction": "\xff"}\n', "in.jsonl: not UTF-8 text"),
    ("in.json", '[{"instruction": "a"}, {"text": "b"}]', "in.json:record 2: needs a field"),
    ("in.json", '{"instruction": "a"}', "in.json: expected a list"),
    ("in.json", "[{]", "in.json: not JSON"),
    ("in.json", b'["\xff"]', "in.json: not UTF-8 text"),
    ("in.csv", "instruction\na\n \n", "in.csv:3: the prompt is empty"),
    ("in.csv", 'instruction,x\n"a\nb",1\n,2\n', "in.csv:4: needs a field"),
    ("in.csv", "instruction\na,b\n", "in.csv:2: has more cells"),
    ("in.parquet", "not parquet", "in.parquet: not a readable Parquet file"),
    ("in.jsonl.gz", "not gzip", "cannot read in.jsonl.gz"),
    ("in.txt", "a", "in.txt: cannot tell the format"),
    ("in.parquet.gz", "a", "in.parquet.gz: cannot tell the format"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[f"{n} {b[2]}" for n, b in enumerate(BAD)])
def test_a_bad_record_is_named_before_any_call(
    name: str, content: str | bytes, message: str, moa: Here, server: FaultServer
) -> None:
    (moa.folder / "in.jsonl").unlink()
    (moa.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert one_line(batch(moa, server, source=name), 2).startswith(message)
    assert not server.requests and not (moa.folder / "out.jsonl").exists()


def test_a_bad_record_in_a_pipe_costs_nothing_that_was_begun(moa: Here, server: FaultServer) -> None:
    """Standard input cannot be read ahead: what came before the mistake is answered, kept and not asked again."""
    server.always = delay(0.05)
    good = [json.dumps({"instruction": question}) for question in QUESTIONS]
    arguments = ("batch", "graph.yaml", "-", "-m", f"{server.url}#m", "--out", "out.jsonl")
    called = moa.typed("\n".join([*good[:4], '{"instruction": 7}', good[4]]), *arguments)
    assert called.code == 2
    assert called.err.splitlines()[-1].startswith("standard input:5: the question must be text")
    assert [line["instruction"] for line in read_lines(moa.folder / "out.jsonl")] == QUESTIONS[:4]
    asked = len(server.requests)
    assert server.abandoned == 0
    assert moa.typed("\n".join(good), *arguments).code == 0
    assert [line["instruction"] for line in read_lines(moa.folder / "out.jsonl")] == QUESTIONS
    assert len(server.requests) == asked * 5 // 4


def test_a_bad_record_added_to_a_file_leaves_its_answers_alone(moa: Here, server: FaultServer) -> None:
    assert batch(moa, server).code == 0
    answers, asked = (moa.folder / "out.jsonl").read_bytes(), len(server.requests)
    with (moa.folder / "in.jsonl").open("a") as file:
        file.write('{"question": "Which field?"}\n')
    assert one_line(batch(moa, server), 2).startswith("in.jsonl:6: needs a field `instruction`")
    assert (moa.folder / "out.jsonl").read_bytes() == answers
    assert len(server.requests) == asked


def test_a_bad_record_beyond_the_limit_is_nobodys_business(moa: Here, server: FaultServer) -> None:
    (moa.folder / "in.jsonl").write_text('{"instruction": "a"}\nnonsense\n')
    assert batch(moa, server, "--limit", "1").code == 0


def test_a_prompt_that_looks_like_messages_is_a_prompt(moa: Here, server: FaultServer) -> None:
    prompt = '[{"role": "admin", "content": "hi"}]'
    write_lines(moa.folder / "in.jsonl", [{"prompt": prompt}])
    assert batch(moa, server).code == 0
    assert server.bodies[0]["messages"] == [{"role": "user", "content": prompt}]


def test_half_a_character_survives(moa: Here, server: FaultServer) -> None:
    (moa.folder / "in.jsonl").write_text('{"instruction": "half \\ud800 of one", "x": "\\udc00"}\n')
    assert batch(moa, server).code == 0
    [line] = read_lines(moa.folder / "out.jsonl")
    assert line["instruction"] == "half \ud800 of one"
    assert "1 of them before" in batch(moa, server).err


def test_files_that_must_differ(moa: Here, server: FaultServer) -> None:
    content = (moa.folder / "in.jsonl").read_bytes()
    assert "is the INPUT itself" in one_line(batch(moa, server, "--out", "./in.jsonl"), 2)
    assert (moa.folder / "in.jsonl").read_bytes() == content
    server.always = failing("Question 1?")
    batch(moa, server)
    called = batch(moa, server, source="out.jsonl.errors.jsonl")
    assert "lists what failed for --out out.jsonl" in one_line(called, 2)
    assert (moa.folder / "out.jsonl.errors.jsonl").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out.csv", "out.csv: write .jsonl (a JSON object a line) or .json (a list of them)"),
        (".", ". is not a file that can be resumed"),
        ("/dev/null", "/dev/null is not a file"),
        ("in.jsonl/out.jsonl", "cannot write in.jsonl/out.jsonl: "),
    ],
)
def test_where_nothing_can_be_written(out: str, message: str, moa: Here, server: FaultServer) -> None:
    assert one_line(batch(moa, server, "--out", out), 2).startswith(message)
    assert not server.requests


def test_folders_of_the_output_are_made(moa: Here, server: FaultServer) -> None:
    assert batch(moa, server, "--out", "deep/er/out.jsonl").code == 0
    assert len(read_lines(moa.folder / "deep" / "er" / "out.jsonl")) == 5


def test_a_missing_key_ends_the_batch_at_once(moa: Here) -> None:
    called = moa("batch", "graph.yaml", "in.jsonl", "-m", "openai:gpt-5-nano", "--out", "out.jsonl")
    assert called.code == 2
    assert called.err.splitlines()[-1].startswith("openai:gpt-5-nano needs a key: set")


def test_at_most_so_many_questions_at_once(moa: Here, server: FaultServer) -> None:
    server.always = delay(0.02)
    batch(moa, server, "--in-flight", "2")
    assert server.peak == 2


def test_a_whole_batch_in_a_process_of_its_own(moa: Here, server: FaultServer) -> None:
    called = Shell(moa.folder)(
        "batch", "graph.yaml", "in.jsonl", "-m", f"{server.url}#m", "-o", "out.jsonl", "--seed", "3"
    )
    assert called.code == 0 and called.out == "" and called.err.startswith("5 of 5 answered")
    assert len(read_lines(moa.folder / "out.jsonl")) == 5
    assert {body["seed"] for body in server.bodies} == {3 << 16}
