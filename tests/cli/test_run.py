"""`moa run`: the answer on standard output, everything else on standard error."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.background import in_background
from tests.support.faults import FaultServer, delay, status, text
from tests.support.shell import Here, Shell, one_line
from tests.support.stored import count

KEY = "sk-proj-abcDEF123456ghiJKL789"
GRAPH = """
slots: {a: a model, b: another}
nodes:
  drafts: {agent: proposer, models: [a, b], samples: 2}
  answer: {agent: aggregator, model: a, inputs: drafts}
"""
USAGE = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "estimated",
}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with in_background(FaultServer()) as server:
        yield server


@pytest.fixture
def graph(tmp_path: Path) -> str:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    return "graph.yaml"


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    return Here(monkeypatch, capsys, tmp_path)


def bound(server: FaultServer) -> list[str]:
    return ["-m", f"a={server.url}#alpha", "-m", f"b={server.url}#beta"]


def test_the_answer_alone_is_on_standard_output(tmp_path: Path, graph: str, server: FaultServer) -> None:
    called = Shell(tmp_path)("run", graph, "Why?", *bound(server))
    assert called.code == 0 and called.err == ""
    assert called.out.startswith("alpha says ") and called.out.count("\n") == 1
    assert len(server.requests) == 3


def test_the_prompt_comes_from_standard_input(tmp_path: Path, graph: str, server: FaultServer) -> None:
    called = Shell(tmp_path)("run", graph, "-", *bound(server), stdin="Why\nis the sky blue? ☁\n")
    assert called.code == 0
    assert server.bodies[0]["messages"][-1] == {"role": "user", "content": "Why\nis the sky blue? ☁\n"}


def test_a_prompt_that_is_not_text(moa: Here, graph: str, server: FaultServer) -> None:
    called = moa.typed(b"\xff\xfe", "run", graph, "-", *bound(server))
    assert one_line(called, 2) == "standard input is not UTF-8 text"


def test_json_holds_everything_once(moa: Here, graph: str, server: FaultServer) -> None:
    called = moa("run", graph, "Why?", *bound(server), "--json")
    told = json.loads(called.out)
    assert called.code == 0 and called.err == ""
    assert set(told) == {"answer", "graph", "usage", "cost", "latency", "nodes", "warnings"}
    assert set(told["usage"]) == USAGE
    assert told["cost"] is None, "nobody said what these models cost"
    assert told["warnings"] == []
    ids = [node["id"] for node in told["nodes"]]
    assert ids == [f"drafts[{number}]" for number in range(4)] + ["answer"]
    for node in told["nodes"]:
        assert {"id", "agent", "model", "text", "usage", "latency", "state"} <= set(node)
        assert node["state"] == "ok" and node["text"] and set(node["usage"]) == USAGE
    assert told["answer"] == told["nodes"][-1]["text"]
    assert told["nodes"][-1]["references"] == ids[:4]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert told["usage"][name] == sum(node["usage"][name] for node in told["nodes"])


def test_the_cost_of_priced_models(moa: Here, graph: str, server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        f"models:\n  mine: {{base_url: '{server.url}', model: m, price: {{input: 1, output: 10}}}}\n"
        "slots: {a: mine, b: mine}\n"
    )
    told = json.loads(moa("run", graph, "Why?", "--models", "models.yaml", "--json").out)
    usage = told["usage"]
    assert told["cost"] == pytest.approx(
        (usage["prompt_tokens"] + 10 * usage["completion_tokens"]) / 1e6, rel=1e-9
    )
    assert told["cost"] == pytest.approx(sum(node["cost"] for node in told["nodes"]))


def test_a_failed_run_is_told_in_json_too(moa: Here, graph: str, server: FaultServer) -> None:
    server.always = status(400, "no such luck")
    called = moa("run", graph, "Why?", *bound(server), "--json")
    told = json.loads(called.out)
    assert called.code == 1
    assert told["answer"] is None and "no such luck" in told["error"]
    assert [node["state"] for node in told["nodes"]] == ["failed"] * 5
    assert "no such luck" in called.err.splitlines()[-1]


def test_a_lost_reference_is_a_warning(moa: Here, graph: str, server: FaultServer) -> None:
    server.script(status(400, "broken"))
    called = moa("run", graph, "Why?", *bound(server), "--json")
    told = json.loads(called.out)
    assert called.code == 0
    assert [node["state"] for node in told["nodes"]].count("failed") == len(told["warnings"]) == 2
    assert called.err.count("warning: 2 nodes (drafts[0..1]): ") == 1


def test_the_trace_shows_who_heard_whom(moa: Here, graph: str, server: FaultServer) -> None:
    called = moa("run", graph, "Why?", *bound(server), "--trace")
    assert called.out.count("\n") == 1 and called.out.startswith("alpha says ")
    for name in ("graph  Why?", "answer ok", "drafts[0] ok", "drafts[3] ok", "tokens", "beta says"):
        assert name in called.err


def test_a_long_text_is_shortened_in_the_trace_alone(moa: Here, graph: str, server: FaultServer) -> None:
    server.always = text("word " * 500, "word " * 500)
    called = moa("run", "single", "Why?", "-m", f"{server.url}#m", "--trace")
    assert called.out == "word " * 499 + "word\n"
    assert "…" in called.err and called.err.count("word") < 60


def test_run_asks_anew_unless_told_to_reuse(moa: Here, graph: str, server: FaultServer) -> None:
    first = moa("run", graph, "Why?", *bound(server))
    moa("run", graph, "Why?", *bound(server))
    assert len(server.requests) == 6
    reused = moa("run", graph, "Why?", *bound(server), "--reuse", "--json")
    assert len(server.requests) == 6
    told = json.loads(reused.out)
    assert all(node["cached"] for node in told["nodes"]) and told["cost"] == 0
    assert told["answer"] == first.out.strip()


def test_where_answers_are_kept(moa: Here, graph: str, server: FaultServer, tmp_path: Path) -> None:
    mine = tmp_path / "deep" / "mine.sqlite"
    moa("run", graph, "Why?", *bound(server), "--no-store")
    assert not list(tmp_path.rglob("*.sqlite"))
    moa("run", graph, "Why?", *bound(server), "--store", str(mine))
    assert count(mine, "responses") == 5
    assert not (tmp_path / "store.sqlite").exists()
    moa("run", graph, "Why?", *bound(server))
    assert count(tmp_path / "store.sqlite", "responses") == 5


def test_the_seed_names_the_samples(moa: Here, graph: str, server: FaultServer) -> None:
    answers = {
        seed: moa("run", graph, "Why?", *bound(server), "--seed", seed, "--no-store").out
        for seed in ("0", "1", "2")
    }
    assert len(set(answers.values())) == 3
    assert moa("run", graph, "Why?", *bound(server), "--seed", "1", "--no-store").out == answers["1"]


def test_a_spent_budget_stops_with_one_line(moa: Here, graph: str, server: FaultServer) -> None:
    called = moa("run", graph, "Why?", *bound(server), "--budget-tokens", "1")
    assert "budget" in one_line(called, 1)
    assert not server.requests


def test_a_budget_in_dollars_needs_prices(moa: Here, graph: str, server: FaultServer) -> None:
    called = moa("run", graph, "Why?", *bound(server), "--budget-usd", "1")
    assert "price" in one_line(called, 2)
    assert not server.requests


def test_the_time_limit_stops_a_slow_run(moa: Here, graph: str, server: FaultServer) -> None:
    server.always = delay(30)
    called = moa("run", graph, "Why?", *bound(server), "--timeout", "0.2")
    assert "within 0.2 s" in one_line(called, 1)


def test_a_server_that_is_not_there(moa: Here, graph: str) -> None:
    called = moa("run", graph, "Why?", "-m", "http://127.0.0.1:9/v1#m")
    *retries, last = called.err.splitlines()
    assert called.code == 1 and called.out == ""
    assert "connection refused" in last and "http://127.0.0.1:9/v1" in last
    assert all("again in" in line or line.startswith("warning") for line in retries)


MISTAKES = [
    (["run", "nope", "Why?"], "unknown graph 'nope'"),
    (["run", "nope.yaml", "Why?"], "nope.yaml"),
    (["run", "GRAPH", "Why?", "-m", "z=http://h/v1#m"], "no slot `z`"),
    (["run", "GRAPH", "Why?", "-m", "a=http://h/v1#m"], "slot `b` is not bound"),
    (["run", "GRAPH", "Why?", "-m", "gpt5"], "unknown model 'gpt5'"),
    (["run", "GRAPH", "Why?", "-m", "foo:gpt5"], "unknown model 'foo:gpt5'"),
    (["run", "GRAPH", "Why?", "-m", "openai:gpt5"], "OPENAI_API_KEY"),
    (["run", "GRAPH", "", "-m", "SERVER"], "the prompt is empty"),
    (["run", "GRAPH", "   ", "-m", "SERVER"], "the prompt is empty"),
    (["run", "GRAPH", "Why?", "-m", "SERVER", "--store", "x", "--no-store"], "exclude each other"),
    (["run", "GRAPH", "Why?", "-m", "SERVER", "--timeout", "0"], "--timeout must be"),
    (["run", "GRAPH", "Why?", "-m", "SERVER", "--timeout", "nan"], "--timeout must be"),
    (["run", "GRAPH", "Why?", "-m", "SERVER", "--budget-usd", "nan"], "--budget-usd must be"),
    (["run", "GRAPH", "Why?", "-m", "SERVER", "--budget-tokens", "-5"], "--budget-tokens must be"),
    (["run", "GRAPH", "Why?", "--models", "none.yaml"], "none.yaml"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=[f"{m[1][:12]} {n}" for n, m in enumerate(MISTAKES)]
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, moa: Here, graph: str, server: FaultServer
) -> None:
    known = {"GRAPH": graph, "SERVER": f"{server.url}#m"}
    called = moa(*(known.get(argument, argument) for argument in arguments))
    assert message in one_line(called, 2)
    assert not server.requests


def test_a_directory_is_no_store(moa: Here, graph: str, server: FaultServer, tmp_path: Path) -> None:
    called = moa("run", graph, "Why?", *bound(server), "--store", str(tmp_path))
    assert str(tmp_path) in one_line(called, 1)


def test_a_key_is_sent_and_shown_nowhere(tmp_path: Path, graph: str, server: FaultServer) -> None:
    shell = Shell(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.url)
    server.script(status(401, f"Incorrect API key provided: {KEY}"))
    refused = shell("run", graph, "Why?", "-m", "openai:gpt-5-nano", "--json", "--trace")
    assert refused.code == 1
    answered = shell("run", graph, "Why?", "-m", "openai:gpt-5-nano", "--json", "--trace")
    assert answered.code == 0
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {KEY}"}
    for called in (refused, answered):
        assert KEY not in called.out + called.err and KEY[8:] not in called.out + called.err
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept


def test_ctrl_c_stops_without_a_traceback(tmp_path: Path, graph: str, server: FaultServer) -> None:
    server.always = delay(60)
    with Shell(tmp_path).start("run", graph, "Why?", *bound(server)) as process:
        while len(server.requests) < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == b"" and b"Traceback" not in err


def test_debug_shows_the_traceback(moa: Here) -> None:
    from moa.errors import MoaError

    with pytest.raises(MoaError, match="unknown graph"):
        moa("--debug", "run", "nope", "Why?")
