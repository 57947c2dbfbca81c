"""The report in a real browser: every plot is seen, nothing is fetched, nothing is complained about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from urllib.parse import unquote

import pytest
import pytest_asyncio
from PIL import Image

from moa.evaluate.board import board
from moa.evaluate.report.page import report
from moa.evaluate.report.survey import survey
from tests.evaluate.report.sample import HOSTILE, write_sample
from tests.support.browser import Browser, Page, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]

ITEMS = 60
READY = "document.querySelector('#found').textContent.includes('questions')"
SHOWN = "[...document.querySelectorAll('#list > li')].map(li => li.dataset.id)"
SIZES = """[...document.querySelectorAll('figure')].map(figure => {
  const seen = [...figure.querySelectorAll('svg')].filter(svg => svg.getClientRects().length);
  const box = seen[0].getBoundingClientRect();
  return [figure.id, seen.length, box.width, box.height];
})"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page whose every text is hostile."""
    folder = write_sample(tmp_path_factory.mktemp("report") / "x", items=ITEMS, hostile=HOSTILE)
    made = report(board([folder], bootstrap=40), survey(folder, folder.experiment))
    place = folder.path / "report.html"
    place.write_text(made.html, encoding="utf-8")
    return place.as_uri()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with Browser.started() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, address: str) -> AsyncIterator[Page]:
    async with browser.page() as tab:
        await tab.show(1280)
        await tab.open(address)
        await tab.until(READY)
        yield tab
        fetched = [url for url in tab.requests if not url.startswith("data:")]
        assert set(fetched) == {address}, "nothing but the file itself"
        assert tab.console == []


async def test_every_plot_is_seen_at_every_width_by_day_and_by_night(page: Page, address: str) -> None:
    for width, dark in ((360, False), (360, True), (1280, False), (1280, True)):
        await page.show(width, dark=dark)
        await page.open(address)
        await page.until(READY)
        figures = await page.run(SIZES)
        assert len(figures) >= 8
        for name, seen, wide, high in figures:
            assert seen == 1, f"{name}: one of the two widths"
            assert wide > 250, name
            assert high > 60, name
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), (
            "nothing hangs over the edge"
        )
        assert await page.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        with Image.open(BytesIO(await page.picture("figure"))) as picture:
            pixels = picture.convert("L")
            assert len(pixels.getcolors() or ()) > 8, "something is drawn"
            assert (pixels.getpixel((1, 1)) or 0) < 64 if dark else (pixels.getpixel((1, 1)) or 0) > 192  # type: ignore[operator]


async def test_hostile_text_is_text(page: Page) -> None:
    await page.run("document.querySelectorAll('#list > li > details')[0].open = true")
    await page.until("document.querySelectorAll('#list .card').length > 1")
    await page.run("document.querySelectorAll('#list .card details').forEach(part => part.open = true)")
    await page.until("document.querySelectorAll('#list .node').length > 1")
    assert await page.run("document.querySelectorAll('#list script, #list img').length") == 0
    text = await page.run("document.querySelector('#list .question pre').textContent")
    assert "<script>alert(1)</script></script><!-- -->" in text
    assert "[U+202E]" in text, "what turns text round is shown"
    assert "\u202e" not in text


async def test_a_question_opens_with_its_answers_nodes_and_verdicts_by_the_keyboard(page: Page) -> None:
    await page.run("document.querySelector('#list summary').focus()")
    for kind in ("keyDown", "keyUp"):
        await page.send(
            "Input.dispatchKeyEvent",
            type=kind,
            key="Enter",
            code="Enter",
            windowsVirtualKeyCode=13,
            text="\r",
        )
    await page.until("document.querySelectorAll('#list .card').length === 4")
    names = await page.run(
        "[...document.querySelectorAll('#list .card h4 bdi')].map(name => name.textContent)"
    )
    assert names[0] == "gpt-4-turbo"
    assert set(names[1:]) == {"moa-lite", "self-moa", "single"}


async def test_questions_are_found_and_filtered(page: Page) -> None:
    async def choose(control: str, value: str) -> list[str]:
        change = f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}'; c.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        await page.run(change)
        await page.until("!document.querySelector('#found').textContent.startsWith('Searching')")
        return list(await page.run(SHOWN))

    everything = await page.run(SHOWN)
    assert len(everything) == 50, "a page of them"
    await page.run("document.querySelector('#more').click()")
    assert len(await page.run(SHOWN)) == ITEMS
    assert await page.run("document.querySelector('#more').hidden")
    wins, losses = await choose("by-outcome", "win"), await choose("by-outcome", "loss")
    assert wins != losses
    await choose("by-entrant", "0")
    one_loss = set(await choose("by-outcome", "loss"))
    failed, split = await choose("by-outcome", "failed"), await choose("by-outcome", "split")
    assert failed
    assert split
    assert not one_loss & set(failed)
    await choose("by-outcome", "")
    assert (await choose("by-words", "Question 17:"))[0].startswith("q17")
    await choose("by-words", "")
    assert len(await choose("by-group", "prose")) == ITEMS // 3
    await choose("by-group", "")
    await page.run("document.getElementById('deep').checked = true")
    found = await choose("by-words", "second is better")
    await page.until("document.querySelector('#found').textContent.includes(' of ')")
    assert len(found) < ITEMS


async def test_a_link_opens_its_question(page: Page, address: str) -> None:
    opened = "document.querySelector('#list details[open]').closest('li').dataset.id"
    links = await page.run(
        "[...document.querySelectorAll('#failures a')].map(link => link.getAttribute('href'))"
    )
    await page.open(f"{address}{links[0]}")
    await page.until("document.querySelector('#list details[open] .card')")
    assert await page.run(opened) == unquote(links[0].removeprefix("#item="))
    await page.open(address)
    await page.until(READY)
    other = next(link for link in links if link != links[0])
    await page.run("document.querySelector('#failures details').open = true")
    await page.run(
        f"[...document.querySelectorAll('#failures a')].find(a => a.getAttribute('href') === '{other}').click()"
    )
    await page.until("document.querySelector('#list details[open] .card')")
    assert await page.run(opened) == unquote(other.removeprefix("#item="))


async def test_tables_are_sorted_by_their_headings(page: Page) -> None:
    names = (
        "[...document.querySelectorAll('#leaderboard tbody')[0].rows].map(row => row.cells[1].textContent)"
    )
    head = "[...document.querySelectorAll('#leaderboard thead')[0].rows[0].cells].find(c => c.textContent.startsWith('Cost'))"
    ranked = await page.run(names)
    rank = "document.querySelector('#leaderboard thead th')"
    assert await page.run(f"{rank}.getAttribute('aria-sort')") == "ascending"
    await page.run(f"{head}.querySelector('button').click()")
    assert await page.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert await page.run(f"{rank}.getAttribute('aria-sort')") is None
    await page.run(f"{rank}.querySelector('button').click()")
    assert await page.run(names) == ranked
    await page.run(f"{rank}.querySelector('button').click()")
    assert await page.run(names) == ranked[::-1]
    assert await page.run(f"{rank}.getAttribute('aria-sort')") == "descending"


async def test_a_page_that_would_fetch_or_fail_is_caught(browser: Browser) -> None:
    async with browser.page() as tab:
        await tab.open("data:text/html,<script>nowhere()</script><img src='file:///nowhere.png'>")
        assert any("nowhere is not defined" in said for said in tab.console)
        assert any(url.endswith("nowhere.png") for url in tab.requests)
