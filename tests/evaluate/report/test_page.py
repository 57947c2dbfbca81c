"""The page: whole in one file, the same each time, escaped, honest, and made for every reader."""

from __future__ import annotations

import base64
import re
import shutil
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from moa.errors import UsageError
from moa.evaluate.board import board
from moa.evaluate.folder import Folder, write_lines
from moa.evaluate.report.page import Report, report, write_report
from moa.evaluate.report.survey import survey
from moa.evaluate.standings import Board, Finding
from tests.evaluate.report.sample import BASELINE, HOSTILE, write_choices, write_sample

VOID = {"meta", "link", "img", "input"}


class Tag(HTMLParser):
    """What is in a page: tags with their attributes, and the text within each."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]

    def within(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def made(folder: Folder, most: int = 2000) -> tuple[Board, Report]:
    found = board([folder], bootstrap=40)
    return found, report(found, survey(folder, folder.experiment, most))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_sample(tmp_path_factory.mktemp("report") / "x", items=40, hostile=HOSTILE)


@pytest.fixture(scope="module")
def whole(sample: Folder) -> tuple[Board, Report]:
    return made(sample)


@pytest.fixture(scope="module")
def standing(whole: tuple[Board, Report]) -> Board:
    return whole[0]


@pytest.fixture(scope="module")
def page(whole: tuple[Board, Report]) -> str:
    return whole[1].html


@pytest.fixture(scope="module")
def tags(page: str) -> Tag:
    return Tag(page)


def test_nothing_is_loaded_from_anywhere(tags: Tag) -> None:
    for tag, attributes in tags.found:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            if name in attributes and not (tag == "svg" and name == "data"):
                assert attributes[name].startswith(("#", "data:")), (tag, attributes)
    assert not tags.of("iframe") + tags.of("object") + tags.of("embed") + tags.of("base")
    style = "".join(tags.within("style"))
    assert "@import" not in style
    assert "url(" not in style


def test_the_policy_allows_the_page_s_own_parts_by_their_hash_and_nothing_else(tags: Tag) -> None:
    policy = next(meta["content"] for meta in tags.of("meta") if meta.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    assert "http" not in policy
    for kind in ("style", "script"):
        text = "".join(tags.within(kind)) if kind == "style" else tags.within("script")[-1]
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag


def test_no_text_of_a_model_becomes_markup(page: str, tags: Tag) -> None:
    scripts = tags.of("script")
    assert all(script.get("type") in ("application/x-moa", "module") for script in scripts)
    assert [script.get("type") for script in scripts].count("module") == 1
    assert not any(attributes.get("src") == "x" for attributes in tags.of("img"))
    for raw in ("alert(1)</script>", "<!-- -->", "\u2028", "\u202e", "\x00"):
        assert raw not in page, raw
    assert "{{ 7 * 7 }}" in page, "no template is made of it"
    assert any("<script>alert(1)" in text for text in tags.within("bdi")), "it is shown as text"
    assert tags.open == [], "everything is closed"


def test_names_are_unique_and_lead_somewhere(tags: Tag) -> None:
    ids = Counter(attributes["id"] for _, attributes in tags.found if "id" in attributes)
    assert [name for name, times in ids.items() if times > 1] == []
    for _, attributes in tags.found:
        for name in attributes.get("aria-labelledby", "").split():
            assert name in ids
        link = attributes.get("href", "")
        if link.startswith("#") and not link.startswith("#item="):
            assert link[1:] in ids


def test_tables_have_captions_headings_and_an_order(tags: Tag) -> None:
    assert len(tags.of("caption")) == len(tags.of("table")) > 3
    assert {cell.get("scope") for cell in tags.of("th")} == {"col", "row"}
    assert {cell["aria-sort"] for cell in tags.of("th") if "aria-sort" in cell} == {"ascending"}
    regions = [part for part in tags.of("div") if part.get("class") == "scroll"]
    assert all(part["tabindex"] == "0" and part["aria-label"] for part in regions)


def test_there_are_landmarks_and_a_language(tags: Tag) -> None:
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert len(tags.of(tag)) == 1, tag
    assert tags.of("html") == [{"lang": "en"}]
    assert all(part.get("aria-labelledby") for part in tags.of("section"))
    assert all(picture["alt"] for picture in tags.of("img"))


def test_every_plot_is_in_the_page_at_two_widths(whole: tuple[Board, Report], tags: Tag) -> None:
    plots = whole[1].plots
    figures = [figure["id"] for figure in tags.of("figure")]
    assert figures == [f"plot-{plot.name}" for plot in plots]
    assert {"win-rate", "quality-cost", "quality-latency", "paired-differences", "length", "plan"} <= {
        p.name for p in plots
    }
    kinds = Counter(" ".join(svg["class"].split()[:2]) for svg in tags.of("svg"))
    assert kinds == {"plot wide": len(plots), "plot narrow": len(plots)}


def test_the_same_folder_gives_the_same_bytes(sample: Folder, page: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(sample.path, folder)
    written = write_report(folder, bootstrap=40)
    assert written.page.read_text(encoding="utf-8") == page
    names = [path.name for path in written.plots]
    assert sorted(path.name for path in (folder / "plots").iterdir()) == sorted(names)
    assert {Path(name).suffix for name in names} == {".png", ".svg"}


def test_what_is_known_comes_first(page: str, standing: Board, tags: Tag) -> None:
    best = standing.rows[0]
    assert best.headline is not None
    told = " ".join(tags.within("p"))
    assert f"{best.name} has the highest win rate, {best.headline.estimate.value:.1f}%" in told
    facts = " ".join(tags.within("bdi"))
    for fact in ("40", BASELINE, "pairwise by sim:judge", "both orders, averaged"):
        assert fact in facts
    assert standing.experiment.fingerprint in page
    for row in standing.rows:
        for figure in row.figures:
            assert figure.estimate.method in page, "which fit a number came from"


def test_an_interval_about_the_middle_is_said_to_show_nothing(sample: Folder, standing: Board) -> None:
    best = standing.rows[0]
    assert best.headline is not None
    estimate = replace(best.headline.estimate, value=51.0, low=47.0, high=55.0)
    even = replace(best, headline=replace(best.headline, estimate=estimate))
    found = replace(standing, rows=(even, *standing.rows[1:]))
    html = report(found, survey(sample, sample.experiment)).html
    assert "an interval that spans 50%: nothing shows that it is better or worse than gpt-4-turbo" in html


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"p_adjusted": 0.9},
            "cannot tell the two apart; about 1,234 more would settle a difference of this size",
        ),
        ({"p_adjusted": 0.01}, "which is beyond chance"),
    ],
)
def test_the_runner_up_is_told_apart_or_not(
    sample: Folder, standing: Board, change: dict[str, float], said: str
) -> None:
    pair = standing.pairs[0]
    difference = replace(pair.difference, value=1.0, low=-1.0, high=3.0)
    changed = replace(pair, difference=difference, more=1234, p_adjusted=change["p_adjusted"])
    found = replace(standing, pairs=(changed, *standing.pairs[1:]))
    assert said in report(found, survey(sample, sample.experiment)).html


def test_what_is_suspicious_is_said_at_the_top_and_among_the_checks(sample: Folder, standing: Board) -> None:
    finding = Finding("single", "suspicious", "single: 40 of 40 answers are the same <b>text</b>")
    found = replace(standing, findings=(finding,))
    html = report(found, survey(sample, sample.experiment)).html
    assert "Suspicious: single. See the checks" in html
    assert "40 of 40 answers are the same &lt;b&gt;text&lt;/b&gt;" in html


def test_right_answers_have_no_judge_no_baseline_and_unknown_prices(tmp_path: Path) -> None:
    found, written = made(write_choices(tmp_path / "x"))
    html = written.html
    assert "No price is known for moa-lite: not free, but unknown" in html
    assert "The dashed line" not in html
    assert "Accuracy (%)" in html
    assert found.baseline is None
    assert "limited to 30" in html
    names = [plot.name for plot in written.plots]
    assert names[0] == "accuracy"
    assert "length" not in names, "all answers are equally long"


def test_an_entrant_may_be_the_baseline(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=20)
    folder.write_experiment(folder.experiment.model_copy(update={"baseline": "single"}))
    write_lines(
        folder.items_path, [item.model_copy(update={"baseline": ()}) for item in list(folder.items())]
    )
    folder.verdicts_path("single").unlink()
    for name in ("moa-lite", "self-moa"):
        moved = [verdict.model_copy(update={"against": "single"}) for verdict in folder.verdicts(name)]
        write_lines(folder.verdicts_path(name), moved)
    found, written = made(folder)
    assert found.row("single").is_baseline
    assert "single has the highest" not in written.html
    assert "<small>baseline</small>" in written.html
    assert "Characters more than single&#x27;s answer" in written.html


def test_an_experiment_that_has_not_begun_has_a_report(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=8)
    shutil.rmtree(folder.path / "answers")
    shutil.rmtree(folder.path / "verdicts")
    _, written = made(folder)
    assert "Nothing was judged yet." in written.html
    assert "8 of 8 items are not answered yet" in written.html
    assert written.plots == ()
    Tag(written.html)


def test_a_sample_is_called_one(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=30)
    assert "A sample of 12 of 30 questions" in made(folder, 12)[1].html
    assert "All 30 questions" in made(folder)[1].html


def test_a_graph_whose_file_is_gone_has_no_plan_but_a_report(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=8)
    experiment = folder.experiment
    lost = experiment.entrants[0].model_copy(
        update={"yaml": "nodes: {answer: {agent: ./gone.yaml, model: a}}", "svg": ""}
    )
    folder.write_experiment(experiment.model_copy(update={"entrants": (lost, *experiment.entrants[1:])}))
    assert "n/a" in made(folder)[1].html


def test_a_hostile_drawing_stays_an_image(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=8, graphs=["single"])
    experiment = folder.experiment
    evil = experiment.entrants[0].model_copy(
        update={"svg": "<svg onload='alert(1)'><script>alert(2)</script></svg>"}
    )
    folder.write_experiment(experiment.model_copy(update={"entrants": (evil,)}))
    html = made(folder)[1].html
    tags = Tag(html)
    (picture,) = tags.of("img")
    assert picture["src"].startswith("data:image/svg+xml;base64,")
    assert len(tags.of("svg")) == len(re.findall("<svg class=", html))


def test_a_folder_that_is_no_experiment_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no experiment: it has no experiment\.json"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "x", items=8, graphs=["single"])
    with pytest.raises(UsageError, match=r"cannot write .*report\.html: no such file or directory"):
        write_report(folder.path, tmp_path / "nowhere" / "report.html", bootstrap=20)
