"""Charts: the front, the heat map, the curve, and that page and file show the same."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.bars import Bar, bars
from moa.evaluate.report.dumbbells import Dumbbell, dumbbells
from moa.evaluate.report.front import Price, Spot, front, pareto
from moa.evaluate.report.heat import Difference, heat_map
from moa.evaluate.report.inline import inline, text
from moa.evaluate.report.lengths import Axes, Panel, fit, lengths
from moa.evaluate.report.palette import DARK, LEVELS, LIGHT, diverging
from moa.evaluate.report.paper import write_plot
from moa.evaluate.report.scene import NARROW, WIDE, Box, Dot, Plot, Words
from moa.evaluate.report.words import Unit, dollars, points
from moa.graph.lettering import width_of

RATE = Unit("Win rate", "%", 1, 0.0, 100.0, 50.0)
DOLLARS = Price("US dollars a question", dollars, "${:g}")
NAMES = ["moa", "self-moa[samples=6]", "single"]


def around(value: float, half: float = 3.0) -> Estimate:
    return Estimate(value, half / 1.96, value - half, value + half, 100, "t")


def spot(rank: int, name: str, price: float | None, quality: float) -> Spot:
    return Spot(rank, name, price, around(quality))


def every_plot() -> list[Plot]:
    pairs = {("moa", "single"): Difference(around(8), 0.001), ("moa", NAMES[1]): Difference(around(-1), 0.8)}
    random = np.random.default_rng(1)
    panels = [Panel(name, random.normal(0, 500, 60), random.uniform(0, 1, 60)) for name in NAMES]
    return [
        bars(
            "bars", "Win rate", [Bar(name, around(70 - 9 * place)) for place, name in enumerate(NAMES)], RATE
        ),
        bars("dots", "Elo", [Bar("moa", around(1020)), Bar("single", None)], Unit("Elo", digits=0)),
        front("cost", "Cost", [spot(1, "moa", 0.02, 70), spot(2, "single", None, 60)], DOLLARS, RATE),
        heat_map("heat", "Pairs", NAMES, pairs, points(RATE)),
        lengths("length", "Length", panels, Axes("Characters more", "Preference")),
        dumbbells("plan", "Plan", [Dumbbell("moa", 4000, 5000), Dumbbell("single", None, 300)], "Tokens"),
    ]


PLOTS = every_plot()


def written(plot: Plot, wide: bool = True) -> list[str]:
    """All words of a scene."""
    scene = plot.wide if wide else plot.narrow
    return [mark.text for mark in scene.marks if isinstance(mark, Words)]


def titles(plot: Plot) -> list[str]:
    return [title for mark in plot.wide.marks if (title := getattr(mark, "title", ""))]


def test_the_front_is_what_nothing_beats_in_both() -> None:
    spots = [spot(1, "best", 9, 80), spot(2, "good", 3, 70), spot(3, "dear", 5, 65), spot(4, "cheap", 1, 50)]
    assert pareto(spots) == {"best", "good", "cheap"}


def test_equals_are_both_on_the_front_and_ties_go_to_the_cheaper() -> None:
    assert pareto([spot(1, "a", 1, 50), spot(2, "b", 1, 50)]) == {"a", "b"}
    assert pareto([spot(1, "a", 1, 50), spot(2, "b", 2, 50)]) == {"a"}


def test_an_unknown_price_is_not_free() -> None:
    spots = [spot(1, "unknown", None, 90), spot(2, "free", 0.0, 40)]
    assert pareto(spots) == {"free"}
    plot = front("cost", "Cost", spots, DOLLARS, RATE)
    assert "n/a" in written(plot)
    assert "unknown: n/a, 90.0% (95% CI 87.0 to 93.0)" in titles(plot)
    assert "n/a" not in written(front("cost", "Cost", spots[1:], DOLLARS, RATE))


def test_a_price_for_which_more_is_better_has_no_front() -> None:
    plot = front("d", "Diversity", [spot(1, "a", 1.5, 50)], DOLLARS._replace(dear=False), RATE)
    assert "on the front" not in plot.alt


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_names_do_not_lie_on_dots_or_on_each_other(width: float) -> None:
    spots = [spot(n, f"an-entrant-with-a-name-{n}", 1.0 + n / 50, 50 + n / 3) for n in range(1, 12)]
    plot = front("c", "C", spots, DOLLARS, RATE)
    marks = (plot.wide if width == WIDE else plot.narrow).marks
    names = [mark for mark in marks if isinstance(mark, Words) and "name" in mark.text]
    dots = [mark for mark in marks if isinstance(mark, Dot)]
    assert len(dots) == len(spots)
    assert 0 < len(names) < len(spots), "where there is no room, the number has to do"
    for name in names:
        right = name.x + width_of(name.text, name.size)
        assert not any(
            name.x < dot.x + 8 and dot.x - 8 < right and abs(dot.y - name.y + 4) < 9 for dot in dots
        )
        others = [other for other in names if other is not name]
        assert not any(
            other.x < right and name.x < other.x + 50 and abs(other.y - name.y) < 11 for other in others
        )


def test_a_cell_says_who_is_better_and_whether_it_is_chance() -> None:
    plot = PLOTS[3]
    assert {"+8.0*", "−8.0*", "−1.0", "+1.0", "n/a"} <= set(written(plot))
    tones = {mark.title: mark.tone for mark in plot.wide.marks if isinstance(mark, Box) and mark.title}
    assert tones["moa minus single: +8.0 points (95% CI +5.0 to +11.0), p 0.001 (Holm)"] == "pos4"
    assert tones["single minus moa: −8.0 points (95% CI −11.0 to −5.0), p 0.001 (Holm)"] == "neg4"


@pytest.mark.parametrize("value", [-9.0, -4.0, -1.0, 0.0, 1.0, 4.0, 9.0, float("nan")])
def test_opposite_differences_have_opposite_tones(value: float) -> None:
    tone, _ = diverging(value, 9.0)
    other, _ = diverging(-value, 9.0)
    swapped = {"p": "neg", "n": "pos"}
    assert other == (tone if tone == "zero" else swapped[tone[0]] + tone[3:])


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("tones", [LIGHT, DARK], ids=["light", "dark"])
def test_words_can_be_read_on_what_is_behind_them(tones: dict[str, str]) -> None:
    for level, sign in product(range(LEVELS + 1), (1, -1)):
        tone, words = diverging(sign * level / LEVELS, 1.0)
        assert contrast(tones[tone], tones[words]) >= 4.5, (tone, words)
    for words, behind in product(("ink", "faint", "bar", "warn"), ("paper", "panel")):
        assert contrast(tones[words], tones[behind]) >= 4.5, (words, behind)
    for chip in ("pos2", "neg2", "zero"):
        assert contrast(tones["onpale"], tones[chip]) >= 4.5
    assert contrast(tones["paper"], tones["front"]) >= 4.5, "the number on a dot of the front"


def test_both_palettes_have_the_same_tones() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_the_curve_is_the_one_that_made_the_data() -> None:
    random = np.random.default_rng(7)
    places = random.normal(0, 600, 40_000)
    spread = places.std(ddof=1)
    chances = 1 / (1 + np.exp(-(0.4 + 1.1 * np.tanh(places / spread))))
    found = fit(places, chances)
    assert found is not None
    assert (found.level, found.slope) == pytest.approx((0.4, 1.1), abs=0.01)
    assert found(np.array([0.0]))[0] == pytest.approx(1 / (1 + np.exp(-0.4)), abs=0.01)


def test_lengths_that_decide_everything_still_have_a_curve() -> None:
    places = np.linspace(-100, 100, 30)
    found = fit(places, (places > 0).astype(float))
    assert found is not None
    assert np.isfinite(found.slope)


def test_equal_lengths_have_no_curve() -> None:
    assert fit(np.full(9, 5.0), np.linspace(0, 1, 9)) is None
    panel = Panel("same", np.array([1.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0]))
    assert "lengths do not differ" in lengths("l", "L", [panel], Axes("x", "y")).alt


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_every_scene_stays_within_its_frame(plot: Plot) -> None:
    for scene in (plot.wide, plot.narrow):
        for mark in scene.marks:
            for x, y in [(mark.x, mark.y)] if isinstance(mark, (Box, Words)) else []:
                assert -1 <= x <= scene.width + 1
                assert -1 <= y <= scene.height + 1


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_the_page_shows_both_widths_as_images_with_a_title_and_a_description(plot: Plot) -> None:
    pictures = [ElementTree.fromstring(f"<svg{part}") for part in inline(plot).split("<svg")[1:]]
    assert [picture.attrib["class"].split()[:2] for picture in pictures] == [
        ["plot", "wide"],
        ["plot", "narrow"],
    ]
    for picture in pictures:
        assert picture.attrib["role"] == "img"
        named = picture.attrib["aria-labelledby"].split()
        assert [child.attrib["id"] for child in picture[:2]] == named
        assert all(child.text for child in picture[:2])
        assert "style" not in {name for element in picture.iter() for name in element.attrib}
        classes = {word for element in picture.iter() for word in element.attrib.get("class", "").split()}
        tones = {word[2:] for word in classes if re.match("[fs]-", word)}
        assert tones <= LIGHT.keys()


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_a_plot_is_written_as_png_and_svg_and_always_the_same(plot: Plot, tmp_path: Path) -> None:
    png, svg = write_plot(plot, tmp_path)
    first = png.read_bytes(), svg.read_bytes()
    with Image.open(png) as image:
        assert image.width > plot.wide.width
        colours = image.convert("RGB").getcolors(2**20)
        assert colours is not None
        assert len(colours) > 10
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert write_plot(plot, tmp_path) == [png, svg]
    assert (png.read_bytes(), svg.read_bytes()) == first


def test_a_name_without_glyphs_or_with_dollars_can_be_drawn(tmp_path: Path) -> None:
    entries = [Bar("模型 $x^2$ \u202e ", around(50))]
    plot = bars("odd", "Odd", entries, RATE)
    assert write_plot(plot, tmp_path)
    assert "\u202e" not in inline(plot)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*nowhere: no such file"):
        write_plot(PLOTS[0], tmp_path / "nowhere")


def test_a_picture_has_no_markup_of_others() -> None:
    assert text("<b>&\u2028\x00") == "&lt;b&gt;&amp;  "
