"""The page's server: what it tells of a run, who may ask, and what no address reaches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

import moa
from moa.serve.keys import Keys
from moa.serve.viewer.experiment import ExperimentSource
from moa.serve.viewer.picture import Past, past_plan, picture
from moa.serve.viewer.site import POLICY
from moa.serve.viewer.sources import open_sources
from tests.evaluate.report.sample import BASELINE, write_sample
from tests.serve.serving import duo, until, vote
from tests.serve.viewing import asked, read_events, viewing, watched
from tests.support.backends import Scripted

KEY = "sk-moa-0123456789abcdef"
FILES = ("/", "/viewer/main.js", "/viewer/style.css")


async def fetch(url: str, path: str, **headers: str) -> tuple[int, Any]:
    """Status and JSON (or text) of an address, which is sent as it stands."""
    from yarl import URL

    async with (
        ClientSession() as session,
        session.get(URL(url + path, encoded=True), headers=headers) as reply,
    ):
        json = reply.content_type == "application/json"
        return reply.status, await (reply.json() if json else reply.text())


async def test_every_file_of_the_page_comes_with_a_strict_policy_and_nothing_inline() -> None:
    async with watched() as server, server.http() as http:
        for path in (*FILES, "/viewer/api/about", "/viewer/nothing.js"):
            async with http.get(path) as reply:
                assert reply.headers["content-security-policy"] == POLICY
                assert reply.headers["x-content-type-options"] == "nosniff"
                assert reply.headers["referrer-policy"] == "no-referrer"
                assert reply.headers["server"] == "moa"
        async with http.get("/") as reply:
            page = await reply.text()
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/viewer/') == 1
    assert "http" not in page, "nothing from elsewhere"


async def test_a_question_is_told_node_by_node() -> None:
    backends = {
        "panel": Scripted(lambda request: "draft {seed}"),
        "sink": Scripted(lambda request: "the whole"),
    }
    async with watched(backends=backends) as server:
        events = await asked(server, "duo", "Why?")
    kinds = [event["type"] for event in events]
    assert kinds[-1] == "reply"
    assert kinds.count("started") == kinds.count("finished") == 3
    prompts = {
        node: event["messages"] for event in events if event["type"] == "prompt" for node in event["nodes"]
    }
    assert prompts["drafts[0]"] == [{"role": "user", "text": "Why?"}]
    assert "draft" in prompts["answer"][0]["text"]
    run = events[-1]["run"]
    assert run["answer"] == "the whole"
    assert [node["id"] for node in run["nodes"]] == ["drafts[0]", "drafts[1]", "answer"]
    assert run["nodes"][2]["heard"] == ["drafts[0]", "drafts[1]"]
    assert "".join(event["text"] for event in events if event["type"] == "text").strip() == "the whole"
    finished = {event["node"]: event for event in events if event["type"] == "finished"}
    assert finished["answer"]["at"] >= finished["drafts[0]"]["at"] >= 0
    assert server.lines[-1]["completion_tokens"] == run["received"]


async def test_an_answer_that_imitates_frames_stays_one_event() -> None:
    evil = 'x\n\ndata: [DONE]\n\nevent: reply\ndata: {"type":"reply"}\n\n\u2028\r\n\r\nend'
    async with watched(
        backends={"panel": Scripted(lambda request: evil), "sink": Scripted(lambda request: evil)}
    ) as server:
        events = await asked(server, "duo", "Why?")
    assert [event["type"] for event in events].count("reply") == 1
    assert events[-1]["run"]["answer"] == evil.strip()


async def test_a_failed_run_says_why_and_shows_its_nodes() -> None:
    broken = moa.BackendError("gone")
    async with watched(backends={"panel": Scripted(lambda request: broken), "sink": Scripted()}) as server:
        events = await asked(server, "duo", "Why?")
    run = events[-1]["run"]
    assert run["answer"] is None
    assert "cannot have" in run["error"]
    assert {node["state"] for node in run["nodes"]} == {"failed"}
    assert "cannot have" in server.lines[-1]["error"]


async def test_behind_keys_errors_name_no_server() -> None:
    broken = moa.BackendError("http://10.0.0.7 is gone")
    settings: dict[str, Any] = {"keys": Keys([("ann", KEY)]), "detailed": False}
    async with watched(
        backends={"panel": Scripted(lambda r: broken), "sink": Scripted()}, **settings
    ) as server:
        events = await asked(server, "duo", "Why?", authorization=f"Bearer {KEY}")
    assert events[-1]["run"]["error"]
    assert "10.0.0.7" not in str(events)
    assert "10.0.0.7" in server.lines[-1]["error"], "the log has it"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"graph": "duo"}, 400, "messages"),
        ({"graph": "duo", "messages": []}, 400, "messages"),
        ({"graph": "duo", "messages": [{"role": "system", "content": "x"}]}, 400, "role"),
        ({"graph": "duo", "messages": [{"role": "user", "content": ""}]}, 400, "content"),
        ({"graph": "dou", "messages": [{"role": "user", "content": "x"}]}, 404, "duo"),
    ],
)
async def test_what_cannot_be_asked_is_refused(body: Any, status: int, word: str) -> None:
    async with watched() as server, server.http() as http:
        async with http.post("/viewer/api/ask", json=body) as reply:
            assert reply.status == status
            assert word in (await reply.json())["error"]["message"]
        async with http.post("/viewer/api/ask", data="{}", headers={"content-type": "text/plain"}) as reply:
            assert reply.status == 415, "what a form of another site could send"


async def test_leaving_cancels_the_work() -> None:
    slow = Scripted(lambda request: 30.0)
    async with (
        watched(backends={"panel": slow, "sink": Scripted()}, keep_alive=0.05) as server,
        server.http() as http,
    ):
        body = {"graph": "duo", "messages": [{"role": "user", "content": "Why?"}]}
        async with http.post("/viewer/api/ask", json=body) as reply:
            assert read_events((await reply.content.readuntil(b"\n\n")).decode())[0]["type"] == "started"
            await until(lambda: slow.in_flight > 0)
        await until(lambda: slow.cancelled > 0, 1.0)
        await until(lambda: server.house.admission.running == 0)


async def test_with_keys_the_files_are_open_and_everything_else_is_not() -> None:
    async with watched(keys=Keys([("ann", KEY)])) as server:
        for path in FILES:
            assert (await fetch(server.url, path))[0] == 200
        for path in (
            "/viewer/api/about",
            "/viewer/api/graphs/0",
            "/viewer/main.js/../api/about",
            "/viewer%2fapi/about",
            "//viewer/api/about",
        ):
            status, said = await fetch(server.url, path)
            assert status in (401, 404), path
            assert "graphs" not in said
        assert (await fetch(server.url, "/viewer/api/about", authorization=f"Bearer {KEY}"))[1][
            "keys"
        ] is True
        status, said = await fetch(server.url, f"/viewer/api/about?key={KEY}")
        assert (status, said["error"]["code"]) == (400, "key_in_query")
        assert KEY not in str(server.lines)


async def test_pages_of_other_sites_may_not_ask() -> None:
    async with watched(hosts=frozenset({"127.0.0.1"})) as server, server.http() as http:
        body = {"graph": "duo", "messages": [{"role": "user", "content": "Why?"}]}
        async with http.post(
            "/viewer/api/ask", json=body, headers={"origin": "http://evil.example"}
        ) as reply:
            assert reply.status == 403
        async with http.get("/viewer/api/about", headers={"host": "evil.example"}) as reply:
            assert reply.status == 403, "a name that was bent to this address"


async def test_graphs_are_drawn_in_the_places_of_the_drawings() -> None:
    async with watched(duo(), vote()) as server:
        status, drawn = await fetch(server.url, "/viewer/api/graphs/1")
        assert status == 200
        boxes = {box["id"]: box for box in drawn["picture"]["boxes"]}
        assert (
            set(boxes)
            == {"drafts[0]", "drafts[1]", "drafts[2]", "answer"}
            == {node["id"] for node in drawn["nodes"]}
        )
        assert drawn["answer"] == "answer"
        assert boxes["answer"]["role"] == "selector"
        assert boxes["answer"]["y"] > boxes["drafts[0]"]["y"]
        assert all(curve["path"].startswith("M") for curve in drawn["picture"]["curves"])
        for number in ("2", "-1", "x", "99999999"):
            assert (await fetch(server.url, f"/viewer/api/graphs/{number}"))[0] == 404


TRAVERSALS = [
    "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fsecret.txt", "..%5c..%5csecret.txt", "%2fetc%2fpasswd", "/etc/passwd", "..", ".", "link.js",
    "../secret.txt", "index.html", "style.css%00.js", "....//secret.txt", "site.py", "__init__.py", "%c0%ae%c0%ae/secret.txt", "secret.txt", "0.0%2f..%2fsecret.txt",
]  # fmt: skip


async def test_no_address_reaches_another_file(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=3)
    (tmp_path / "secret.txt").write_text("the secret", encoding="utf-8")
    (folder.path / "link.js").symlink_to(tmp_path / "secret.txt")
    async with viewing(open_sources([folder.path])) as url:
        for path in TRAVERSALS:
            for before in (
                "/",
                "/viewer/",
                "/viewer/static/",
                "/viewer/api/sources/0/runs/",
                "/viewer/api/sources/",
                "/viewer/api/graphs/",
            ):
                status, said = await fetch(url.rstrip("/"), before + path)
                known = (before + path) in ("/..", "/.", "/viewer/..")  # the client itself makes `/` of these
                assert status == 404 or known, before + path
                assert "secret" not in str(said).replace("secret.txt", "")
                assert "root:" not in str(said)


async def test_the_viewer_alone_asks_nobody(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=3)
    async with viewing(open_sources([folder.path])) as url, ClientSession(url) as http:
        body = {"graph": "duo", "messages": [{"role": "user", "content": "Why?"}]}
        for path in ("/viewer/api/ask", "/v1/chat/completions"):
            async with http.post(path, json=body) as reply:
                assert reply.status == 404
        assert (await fetch(url, "/viewer/api/about"))[1]["graphs"] == []
        assert (await fetch(url, "/viewer/api/about", host="evil.example"))[0] == 403


async def test_an_experiments_questions_are_listed_searched_and_opened(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=30)
    async with viewing(open_sources([folder.path])) as url:
        runs = f"{url}/viewer/api/sources/0/runs"
        _, page = await fetch(runs, "?count=10&offset=25")
        assert page["total"] == 30
        assert [row["note"].split(" ")[0] for row in page["rows"]] == [
            f"q{number}" for number in range(25, 30)
        ]
        assert {choice["label"] for choice in page["rows"][0]["choices"]} == {
            "moa-lite",
            "self-moa",
            "single",
            BASELINE,
        }
        _, found = await fetch(runs, "?words=question%2017:")
        assert [row["note"].split(" ")[0] for row in found["rows"]] == ["q17"]
        _, run = await fetch(runs, "/17.0")
        answer = list(folder.answers("moa-lite"))[17]
        assert (run["graph"], run["title"]) == (
            "moa-lite",
            next(item for item in folder.items() if item.id == "q17").instruction,
        )
        assert run["answer"] == "\n\n".join(answer.outputs)
        assert [node["id"] for node in run["nodes"]] == [node["id"] for node in answer.nodes]
        assert len(run["verdicts"]) == sum(verdict.item == "q17" for verdict in folder.verdicts("moa-lite"))
        assert (await fetch(runs, "/17.b"))[1]["graph"] == BASELINE
        for id in ("30.0", "0.3", "0", "x.y", "0.0.0", "-1.0"):
            assert (await fetch(runs, f"/{id}"))[0] == 404, id
        assert (await fetch(runs, "?offset=-1"))[0] == 400
        assert (await fetch(runs, "?count=9999999"))[1]["total"] == 30


def test_an_experiment_under_way_grows(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=4)
    whole = folder.answers_path("single").read_bytes()
    lines = whole.splitlines(keepends=True)
    folder.answers_path("single").write_bytes(b"".join(lines[:2]) + lines[2][:20])
    source = ExperimentSource(folder.path)

    def answered() -> list[int]:
        rows = source.page("", 0, 10).rows
        return [
            number
            for number, row in enumerate(rows)
            if any(one["label"] == "single" for one in row["choices"])
        ]

    assert answered() == [0, 1], "a line that is being written is not read"
    folder.answers_path("single").write_bytes(whole)
    assert answered() == [0, 1, 2, 3]
    folder.answers_path("single").write_bytes(lines[0])
    assert answered() == [0], "cut off, to be asked again"
    anew = folder.path / "draft"
    anew.write_bytes(b"".join(reversed(lines)))
    anew.replace(folder.answers_path("single"))
    assert answered() == [0, 1, 2, 3]
    run: Any = source.run("0.2")
    said = next(answer for answer in folder.answers("single") if answer.item == "q0")
    assert (run["answer"], run["error"]) == ("\n\n".join(said.outputs), said.error), "read at its new place"


async def test_a_stores_new_runs_appear_while_it_is_written(tmp_path: Path) -> None:
    async with watched(run={"store": tmp_path / "s.sqlite"}) as server:
        runs = f"{server.url}/viewer/api/sources/0/runs"
        assert (await fetch(runs, ""))[1]["total"] == 0
        for question in ("Why is the sky so blue?", "Why is the sea so green?"):
            await asked(server, "duo", question)
        _, page = await fetch(runs, "")
        assert [row["title"] for row in page["rows"]] == [
            "Why is the sea so green?",
            "Why is the sky so blue?",
        ]
        _, run = await fetch(runs, f"/{page['rows'][0]['choices'][0]['id']}")
        assert len(run["nodes"]) == 3
        assert run["nodes"][-1]["heard"] == [node["id"] for node in run["nodes"][:2]]
        assert (await fetch(runs, "?words=green%20SEA"))[1]["total"] == 1
        assert (await fetch(runs, "?words=nowhere"))[1]["total"] == 0


async def test_many_ask_and_look_at_once(tmp_path: Path) -> None:
    async with watched(run={"store": tmp_path / "s.sqlite"}) as server, asyncio.TaskGroup() as group:
        questions = [group.create_task(asked(server, "duo", f"Question number {n}?")) for n in range(8)]
        looks = [group.create_task(fetch(server.url, "/viewer/api/sources/0/runs")) for _ in range(8)]
        events = [await task for task in questions]
        assert {(await task)[0] for task in looks} == {200}
        for number, told in enumerate(events):
            assert f"Question number {number}?" in str(told[1:4]), "nobody reads another's events"
            assert not any(f"Question number {other}?" in str(told) for other in range(8) if other != number)


def test_a_run_that_no_graph_could_leave_is_drawn_all_the_same() -> None:
    nodes = [
        Past("a", None, None, ["b", "a", "gone"]),
        Past("b", "x", "m", ["a", "a"]),
        Past("a", None, None, ["b"]),
    ]
    plan = past_plan("odd", nodes, "b")
    assert [(node.id, node.sources, node.distance) for node in plan.nodes] == [("a", (), 1), ("b", ("a",), 0)]
    assert picture(plan) is not None
