"""Questions under way: listed and watched by whoever's key asked them, whichever API they came by."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession

from moa.graph.plan import Plan
from moa.run.events import NodeFinished, PromptMade, TextArrived
from moa.serve.context import Context
from moa.serve.keys import Keys, Tenant
from moa.serve.viewer import board as board_module
from moa.serve.viewer import live as live_module
from moa.serve.viewer.board import ENDED, NOT_KEPT, Board, Reader
from tests.serve.serving import Server, duo, until
from tests.serve.test_viewer import KEY, fetch
from tests.serve.viewing import read_events, watched
from tests.support.backends import Scripted

OTHER = "sk-moa-fedcba9876543210"
ASK: list[Any] = [{"role": "user", "content": "Why?"}]


async def live(server: Server, since: Any = "", **headers: str) -> Any:
    """The list."""
    status, body = await fetch(server.url, f"/viewer/api/live?since={since}", **headers)
    assert status == 200, body
    return body


async def told(server: Server, id: str, **headers: str) -> list[dict[str, Any]]:
    """What one who watches is told, to the end."""
    status, body = await fetch(server.url, f"/viewer/api/live/{id}", **headers)
    assert status == 200, body
    return read_events(body)


@pytest.mark.parametrize("api", ["chat", "stream", "responses", "messages", "ollama", "n"])
async def test_a_question_of_any_api_is_watched_node_by_node(api: str) -> None:
    sink = Scripted(lambda request: "the whole answer", latency=0.2)
    backends = {"panel": Scripted(lambda request: "draft {seed}", latency=0.1), "sink": sink}
    about: dict[str, Any] = {"model": "duo", "messages": ASK}
    apis: dict[str, tuple[str, dict[str, Any]]] = {
        "chat": ("/v1/chat/completions", {}),
        "stream": ("/v1/chat/completions", {"stream": True}),
        "n": ("/v1/chat/completions", {"n": 2}),
        "responses": ("/v1/responses", {"input": "Why?"}),
        "messages": ("/v1/messages", {"max_tokens": 9}),
        "ollama": ("/api/chat", {}),
    }
    path, more = apis[api]
    async with watched(backends=backends) as server, server.http() as http, asyncio.TaskGroup() as group:
        asking = group.create_task(http.post(path, json=about | more))
        await until(lambda: backends["panel"].in_flight > 0)
        [row] = (await live(server))["runs"]
        assert (row["graph"], row["title"], row["state"], row["done"]) == ("duo", "Why?", "running", 0)
        first, *events = await told(server, row["id"])
        assert (await asking).status == 200
        after = await live(server)
        again = await told(server, row["id"])
    assert first["type"] == "run" and first["question"] == [{"role": "user", "text": "Why?"}]
    assert first["answer"] == "answer" and first["picture"]["boxes"]
    nodes = 4 if api == "n" else 3
    kinds = [event["type"] for event in events]
    assert kinds.count("started") == kinds.count("finished") == nodes == len(first["nodes"])
    assert kinds[-1] == "reply" and events[-1]["run"]["answer"] == "the whole answer"
    prompts = {
        node: each["messages"] for each in events if each["type"] == "prompt" for node in each["nodes"]
    }
    assert "draft" in prompts["answer"][0]["text"] and prompts["drafts[0]"] == first["question"]
    assert (after["running"], [each["state"] for each in after["runs"]]) == (0, ["done"])
    assert [each for each in again[1:] if each["type"] != "text"] == [
        e for e in events if e["type"] != "text"
    ]


async def test_the_answer_is_watched_as_it_streams() -> None:
    class Slowly(Scripted):
        async def complete(self, request: Any, emit: Any = None) -> Any:
            from moa.backends.base import Choice, Completion, Delta

            for number in range(20):
                emit(Delta(0, f"word{number} "))
                await asyncio.sleep(0.02)
            return Completion((Choice(" ".join(f"word{n}" for n in range(20)), "stop"),), "typing")

    async with (
        watched(backends={"panel": Scripted(), "sink": Slowly()}) as server,
        server.client() as client,
        asyncio.TaskGroup() as group,
    ):
        stream = await client.chat.completions.create(model="duo", messages=ASK, stream=True)
        await anext(stream)
        [row] = (await live(server))["runs"]
        watching = [group.create_task(told(server, row["id"])) for _ in range(2)]
        [part async for part in stream]
    for task in watching:
        events = await task
        pieces = [event for event in events if event["type"] == "text"]
        assert len(pieces) > 3 and [piece["restart"] for piece in pieces[:2]] == [True, False]
        text = "".join(piece["text"] for piece in pieces)
        assert events[-1]["run"]["answer"].startswith(text.strip()) and "word5" in text


async def test_the_list_waits_for_something_new() -> None:
    async with watched() as server, server.client() as client, asyncio.TaskGroup() as group:
        empty = await live(server)
        assert empty["runs"] == []
        waiting = group.create_task(live(server, empty["version"]))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await client.chat.completions.create(model="duo", messages=ASK)
        assert len((await waiting)["runs"]) == 1


async def test_nobody_sees_what_another_key_asked() -> None:
    slow = Scripted(lambda request: 0.4)
    backends = {"panel": slow, "sink": Scripted()}
    ann, bob = {"authorization": f"Bearer {KEY}"}, {"authorization": f"Bearer {OTHER}"}
    keys = Keys([("ann", KEY), ("bob", OTHER)])
    async with watched(backends=backends, keys=keys) as server, asyncio.TaskGroup() as group:
        before = await live(server, **bob)
        async with server.client(KEY) as client:
            asking = group.create_task(client.chat.completions.create(model="duo", messages=ASK))
            await until(lambda: slow.in_flight > 0)
            [row] = (await live(server, **ann))["runs"]
            seen = await live(server, **bob)
            assert (seen["runs"], seen["running"], seen["version"]) == ([], 0, before["version"])
            hidden, unknown = [
                await fetch(server.url, f"/viewer/api/live/{id}", **bob) for id in (row["id"], "nothing")
            ]
            assert hidden == unknown and hidden[0] == 404, "not even that there is one"
            await asking
        assert (await live(server, **bob))["runs"] == []
        assert (await fetch(server.url, f"/viewer/api/live/{row['id']}", **bob))[0] == 404
        assert (await fetch(server.url, "/viewer/api/live"))[0] == 401
        assert (await told(server, row["id"], **ann))[-1]["run"]["answer"]


async def test_behind_keys_what_is_watched_names_no_server() -> None:
    import moa

    broken = moa.BackendError("http://10.0.0.7 is gone")
    backends = {"panel": Scripted(lambda request: broken), "sink": Scripted()}
    ann = {"authorization": f"Bearer {KEY}"}
    async with watched(backends=backends, keys=Keys([("ann", KEY)]), detailed=False) as server:
        async with server.http(headers=ann) as http:
            await http.post("/v1/chat/completions", json={"model": "duo", "messages": ASK})
        [row] = (await live(server, **ann))["runs"]
        assert row["state"] == "failed"
        assert "10.0.0.7" not in str(await told(server, row["id"], **ann))


async def test_a_question_that_is_given_up_says_so_and_leaves_the_list_of_those_under_way() -> None:
    slow = Scripted(lambda request: 30.0)
    async with watched(backends={"panel": slow, "sink": Scripted()}) as server, server.http() as http:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(
                http.post("/v1/chat/completions", json={"model": "duo", "messages": ASK})
            )
            await until(lambda: slow.in_flight > 0)
            [row] = (await live(server))["runs"]
            watching = group.create_task(told(server, row["id"]))
            await asyncio.sleep(0.05)
            asking.cancel()
            events = await watching
        assert events[-1]["type"] == "refusal" and "given up" in events[-1]["message"]
        listed = await live(server)
        assert (listed["running"], listed["runs"][0]["state"]) == (0, "stopped")


async def test_every_question_of_a_decision_is_listed() -> None:
    def say(request: Any) -> str:
        return "Yes"

    questions = [{"type": "predicate", "instructions": f"Is it {word}?"} for word in ("so", "not so")]
    body = {"model": "duo", "input": "The sky is blue.", "questions": questions}
    async with (
        watched(backends={"panel": Scripted(say), "sink": Scripted(say)}) as server,
        server.http() as http,
    ):
        assert (await http.post("/v1/decisions", json=body)).status == 200
        rows = (await live(server))["runs"]
        assert {row["title"] for row in rows} == {"Is it so?", "Is it not so?"}
        assert (await told(server, rows[0]["id"]))[0]["picture"]["boxes"]


async def test_those_who_look_hold_up_neither_an_answer_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "VISITORS", 3)
    slow = Scripted(lambda request: 0.3)
    async with (
        watched(backends={"panel": slow, "sink": Scripted()}) as server,
        ClientSession(server.url) as http,
    ):
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(
                http.post("/v1/chat/completions", json={"model": "duo", "messages": ASK})
            )
            await until(lambda: slow.in_flight > 0)
            [row] = (await live(server))["runs"]
            unread = [await http.get(f"/viewer/api/live/{row['id']}") for _ in range(3)]
            status, said = await fetch(server.url, f"/viewer/api/live/{row['id']}")
            assert (status, said["error"]["code"]) == (503, "overloaded")
            assert (await asking).status == 200, "nobody reads, and the answer comes"
        for reply in unread:
            assert read_events(await reply.text())[-1]["type"] == "reply"
        version = (await live(server))["version"]
        began = asyncio.get_running_loop().time()
        waiting = [asyncio.create_task(live(server, version)) for _ in range(2)]
        await asyncio.sleep(0.05)
    assert [len((await task)["runs"]) for task in waiting] == [1, 1]
    assert asyncio.get_running_loop().time() - began < 2, "they were sent home"


def board() -> tuple[Board, Context, Plan]:
    """A board whose time stands still, somebody who asks, and a plan."""
    numbers = iter(range(10**6))
    made = Board(lambda: 0.0, lambda: 0.0, lambda: str(next(numbers)), detailed=True)
    return made, Context("x", Tenant("ann"), 0.0, "duo"), duo().plan({})


def test_what_ended_makes_room_and_nothing_grows() -> None:
    made, context, plan = board()
    for number in range(3 * ENDED):
        live = made.begin(context, plan, f"Question {number}")
        live.hear(TextArrived(1, "answer", "x" * 1000))
        live.end(None)
    rows = [live.title for live in made.rows(context.tenant)]
    assert rows == [f"Question {number}" for number in range(3 * ENDED - 1, 2 * ENDED - 1, -1)]
    assert made.kept == sum(live.kept for live in made.rows(context.tenant)) < ENDED * 1100
    assert made.rows(Tenant("bob")) == []


def test_long_texts_are_left_out_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from moa.backends.base import Usage

    monkeypatch.setattr(board_module, "OF_ONE", 100)
    made, context, plan = board()
    live = made.begin(context, plan, "Why?")
    live.hear(PromptMade(1, ("drafts[0]",), ({"role": "user", "content": "p" * 101},)))
    live.hear(TextArrived(1, "answer", "a" * 60))
    live.hear(TextArrived(1, "answer", "b" * 60))
    live.hear(TextArrived(1, "answer", "c"))
    reader = Reader()
    prompt, text = live.news(reader)
    assert prompt["messages"][0]["text"] == NOT_KEPT
    assert text["text"] == "a" * 60, "nothing follows what was left out"
    assert live.news(reader) == []
    live.hear(NodeFinished(1, "answer", "ok", "a" * 60 + "b" * 30, False, Usage(), 0.0))
    assert live.news(reader)[0]["text"].startswith("a"), "there is room again, without the pieces"
    assert made.kept == live.kept == 4 + 90


def test_a_text_that_begins_anew_is_told_from_its_beginning() -> None:
    made, context, plan = board()
    live = made.begin(context, plan, "Why?")
    early, late = Reader(), Reader()
    live.hear(TextArrived(1, "answer", "one "))
    assert [(each["text"], each["restart"]) for each in live.news(early)] == [("one ", True)]
    live.hear(TextArrived(1, "answer", "two "))
    live.hear(TextArrived(1, "answer", "uno ", restart=True))
    live.hear(TextArrived(1, "answer", "due"))
    for reader in (early, late):
        assert [(each["text"], each["restart"]) for each in live.news(reader)] == [("uno due", True)]
    assert json.dumps(live.row())
