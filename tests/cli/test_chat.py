"""`moa chat`: the ensemble's answers are the history, and an error is not the end."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import Called
from tests.support.background import in_background
from tests.support.faults import Exchange, FaultServer, cut_mid_body, delay, events, ok, sse, status
from tests.support.shell import Here, Shell, one_line

GRAPH = """
nodes:
  drafts: {agent: proposer, models: [a, b], sampling: {temperature: 0.5}}
  answer: {agent: aggregator, model: a, inputs: drafts}
"""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with in_background(FaultServer()) as server:
        yield server


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    return Here(monkeypatch, capsys, tmp_path)


def command(server: FaultServer) -> list[str]:
    return ["chat", "graph.yaml", "-m", f"a={server.url}#m", "-m", f"b={server.url}#other"]


def chat(moa: Here, server: FaultServer, typed: str | bytes, *options: str) -> Called:
    return moa.typed(typed, *command(server), *options)


def proposed(server: FaultServer) -> list[list[dict[str, Any]]]:
    """The conversations that the second proposer was asked to continue."""
    return [body["messages"] for body in server.bodies if body["model"] == "other"]


def is_aggregation(body: dict[str, Any]) -> bool:
    return "Responses from models" in str(body["messages"][0]["content"])


def test_the_history_holds_the_aggregated_answers(moa: Here, server: FaultServer) -> None:
    called = chat(moa, server, "Hi\n\n  \nAnd then?\nReally?\n")
    answers = called.out.splitlines()
    assert called.code == 0 and len(answers) == 3
    assert called.err.startswith("graph: /reset forgets") and called.err.count("\n") == 1
    first, second, third = answers
    turns = ["Hi", first, "And then?", second, "Really?"]
    roles = ["user", "assistant"] * 2 + ["user"]
    assert proposed(server)[-1] == [
        {"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)
    ]
    [*_, aggregation] = [body for body in server.bodies if is_aggregation(body)]
    assert aggregation["messages"][1:] == proposed(server)[-1]
    assert third == server.answer(aggregation["messages"], aggregation["seed"], "m", 1)[0]


def test_a_command_that_there_is_not_asks_nobody(moa: Here, server: FaultServer) -> None:
    called = chat(moa, server, "/help\n/etc/hosts holds what?\n")
    assert "no command /help: /reset forgets" in called.err
    assert proposed(server) == [[{"role": "user", "content": "/etc/hosts holds what?"}]]


def test_reset_forgets_all_but_the_system_prompt(moa: Here, server: FaultServer) -> None:
    chat(moa, server, "Hi\n/reset\nAgain\n/quit\nnever asked\n", "--system", "Be brief.")
    system = {"role": "system", "content": "Be brief."}
    assert proposed(server) == [
        [system, {"role": "user", "content": "Hi"}],
        [system, {"role": "user", "content": "Again"}],
    ]


def test_an_error_is_told_and_the_conversation_goes_on(moa: Here, server: FaultServer) -> None:
    server.script(ok(), ok(), ok(), *[status(400, "broken")] * 2)
    called = chat(moa, server, "Hi\nfails\nworks\n")
    assert called.code == 0
    assert len(called.out.splitlines()) == 2
    assert [line for line in called.err.splitlines() if line.startswith("error: ")]
    assert "broken" in called.err
    assert [message["content"] for message in proposed(server)[-1]] == [
        "Hi",
        called.out.splitlines()[0],
        "works",
    ]


def test_a_lost_reference_is_a_warning(moa: Here, server: FaultServer) -> None:
    server.script(status(400, "broken"))
    called = chat(moa, server, "Hi\n")
    assert called.code == 0 and len(called.out.splitlines()) == 1
    assert "warning: drafts[" in called.err


@pytest.mark.parametrize("budget", ["1", "120"])
def test_a_spent_budget_is_the_end(budget: str, moa: Here, server: FaultServer) -> None:
    called = chat(moa, server, "Hi\nMore\nMore\nMore\n", "--budget-tokens", budget)
    assert called.code == 1
    assert "budget" in called.err.splitlines()[-1]
    assert len(called.out.splitlines()) < 4


def test_the_final_node_streams_and_others_do_not(moa: Here, server: FaultServer) -> None:
    chat(moa, server, "Hi\n")
    assert [is_aggregation(body) for body in server.bodies if body.get("stream")] == [True]


def test_pieces_arrive_as_they_are_made(moa: Here, server: FaultServer) -> None:
    async def slowly(exchange: Exchange) -> None:
        if not exchange.seen.body.get("stream"):
            return await ok()(exchange)
        chunks = [sse(event) for event in events(exchange.reply(), exchange.seen.body)]
        await exchange.stream(chunks[:3], finished=False)
        await exchange.server.left.wait()
        return None

    server.always = slowly
    with Shell(moa.folder).start(*command(server)) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"Hi\n")
        process.stdin.flush()
        began = os.read(process.stdout.fileno(), 100)
        assert began.startswith(b"m"), "the answer never ends, and is shown all the same"
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait(20) == 0, "the answer was stopped, not the conversation"


def test_an_answer_that_begins_again_stands_on_a_line_of_its_own(moa: Here, server: FaultServer) -> None:
    server.script(ok(), ok(), cut_mid_body())
    called = chat(moa, server, "Hi\n")
    assert called.code == 0
    assert "[the connection was lost; once more]" in called.err
    *_, whole = called.out.splitlines()
    [*_, aggregation] = server.bodies
    assert whole == server.answer(aggregation["messages"], aggregation["seed"], "m", 1)[0]


def test_chat_asks_anew_unless_told_to_reuse(moa: Here, server: FaultServer) -> None:
    answers = {chat(moa, server, "Hi\n").out for _ in range(2)}
    assert len(server.requests) == 6
    assert {chat(moa, server, "Hi\n", "--reuse").out} == answers
    assert len(server.requests) == 6


def test_a_time_limit_ends_one_answer(moa: Here, server: FaultServer) -> None:
    server.script(delay(60), delay(60))
    called = chat(moa, server, "Hi\nAgain\n", "--timeout", "0.3")
    assert called.code == 0 and len(called.out.splitlines()) == 1
    assert "error: no answer within 0.3 s" in called.err


def test_mistakes(moa: Here, server: FaultServer) -> None:
    assert "unknown graph" in one_line(moa.typed("Hi\n", "chat", "nope"), 2)
    called = moa.typed("Hi\n", "chat", "graph.yaml", "-m", "openai:gpt-5-nano")
    assert called.code == 2 and "OPENAI_API_KEY" in called.err.splitlines()[-1]
    called = chat(moa, server, b"\xff\xfe\n")
    assert called.code == 2 and "standard input is not UTF-8 text" in called.err


class Terminal:
    """`moa` as a person sees it."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self.screen, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moa", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=shell.folder, env={**shell.environ, "TERM": "dumb"},
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def leave(self) -> int:
        """Press Ctrl-C at the prompt; the exit code.

        Python's readline does not hear it in the moment between the prompt and the wait for a key, so press again as
        a person would.
        """
        for _ in range(4):
            self.press_ctrl_c()
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(5)
        raise AssertionError(f"still there: {self.shown}")

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.screen], [], [], 0.1)[0]:
                self.shown += os.read(self.screen, 4096).decode()
        self.shown = self.shown.partition(text)[2]


@pytest.mark.skipif(sys.platform != "linux", reason="opens a Linux terminal")
def test_ctrl_c_at_a_terminal(moa: Here, server: FaultServer) -> None:
    server.script(ok(), ok(), ok(), *[delay(60)] * 2)
    terminal = Terminal(Shell(moa.folder), *command(server))
    try:
        terminal.wait_for("> ")
        terminal.type("Hi\n")
        terminal.wait_for("m says")
        terminal.wait_for("> ")
        terminal.type("a question that takes too long\n")
        while len(server.requests) < 5:
            assert terminal.process.poll() is None
        terminal.press_ctrl_c()
        terminal.wait_for("[stopped]")
        terminal.wait_for("> ")
        assert terminal.leave() == 130
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.screen)
