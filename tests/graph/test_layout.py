"""Pictures: nothing overlaps, no text leaves its box, and the files are what they say."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations
from time import perf_counter
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from moa.errors import UsageError
from moa.graph.compile import compile_graph
from moa.graph.layout import NAME, SMALL, Box, Frame, Picture, Point, lay_out
from moa.graph.lettering import fitted, width_of
from moa.graph.plan import Plan
from moa.graph.png import png
from moa.graph.svg import svg
from moa.spec.catalogue import load_graph, names
from tests.graph.sketch import compiled

LONG = "openrouter:meta-llama/llama-3.1-405b-instruct-turbo-preview"
ODD = {
    "ballots": """
drafts:  {agent: proposer, models: [a, b, c, d, e]}
refined: {agent: aggregator, models: [a, b, c], inputs: drafts, rounds: 2}
ballots: {agent: aggregator, model: a, inputs: drafts, subsets: all}
answer:  {select: majority, inputs: [ballots, refined]}
""",
    "long names": f"""
a-node-with-a-name-that-is-longer-than-any-box: {{agent: proposer, model: '{LONG}', samples: 3}}
answer: {{agent: aggregator, model: '{LONG}', inputs: a-node-with-a-name-that-is-longer-than-any-box}}
""",
    "thirty": """
drafts: {agent: proposer, model: a, samples: 30}
answer: {agent: aggregator, model: a, inputs: drafts}
""",
    "markup": """
answer: {agent: proposer, model: 'x:<script>&"''\x07y'}
""".replace("\x07", "é"),
}


def plans() -> dict[str, Plan]:
    shipped = {name: compile_graph(load_graph(name).spec) for name in names("graphs")}
    return shipped | {name: compiled(text) for name, text in ODD.items()}


@pytest.fixture(params=sorted(plans()))
def plan(request: pytest.FixtureRequest) -> Plan:
    return plans()[request.param]


def overlap(one: Box | Frame, other: Box | Frame) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def check(picture: Picture, plan: Plan) -> None:
    """What must hold of every picture."""
    assert [box.id for box in picture.boxes] == [node.id for node in plan.nodes]
    boxes: list[Box | Frame] = list(picture.boxes)
    frames: list[Box | Frame] = list(picture.frames)
    for kind in (boxes, frames):
        assert not [pair for pair in combinations(kind, 2) if overlap(*pair)]
    for shape in boxes + frames:
        assert shape.x >= 0 and shape.x + shape.width <= picture.width
        assert shape.y >= 0 and shape.y + shape.height <= picture.height
    for box in picture.boxes:
        assert width_of(box.name, NAME) <= box.width
        assert all(width_of(words, SMALL) <= box.width for words in box.small)
    heights = {box.id: box.y for box in picture.boxes}
    for node in plan.nodes:
        assert all(heights[source] < heights[node.id] for source in node.sources)


def test_nothing_overlaps_and_text_stays_in_its_box(plan: Plan) -> None:
    check(lay_out(plan), plan)


def test_exactly_one_box_answers(plan: Plan) -> None:
    assert [box.id for box in lay_out(plan).boxes if box.answers] == [plan.answer]


def test_no_line_passes_through_a_box(plan: Plan) -> None:
    picture = lay_out(plan)
    for curve in picture.curves:
        for before, after in zip(curve.points, curve.points[1:], strict=False):
            if before.x != after.x:
                continue
            crossed = [box.id for box in picture.boxes if _inside(box, before, after)]
            assert set(crossed) <= {curve.source, curve.target}


def _inside(box: Box, top: Point, bottom: Point) -> bool:
    across = box.x < top.x < box.x + box.width
    return across and top.y < box.y + box.height and box.y < bottom.y


def test_svg_is_well_formed_and_says_who_is_in_it(plan: Plan) -> None:
    root = ElementTree.fromstring(svg(plan))
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    titles = [group.findtext(f"{space}title") for group in root.iter(f"{space}g")]
    assert titles == [node.id for node in plan.nodes]
    assert "prefers-color-scheme: dark" in (root.findtext(f"{space}style") or "")


def test_svg_has_no_markup_of_the_user() -> None:
    text = svg(compiled(ODD["markup"]))
    assert "<script>" not in text
    assert "&lt;script&gt;&amp;&quot;" in text


@pytest.mark.parametrize("name", ["single", "moa-lite", "review-loop", "thirty", "long names"])
def test_png_is_twice_the_size_of_the_layout(name: str) -> None:
    plan = plans()[name]
    picture = lay_out(plan)
    with Image.open(BytesIO(png(plan))) as image:
        image.load()
        assert image.format == "PNG"
        assert (image.width, image.height) == (2 * picture.width, 2 * picture.height)
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 20


def test_drawing_the_same_plan_again_gives_the_same_picture() -> None:
    plan = plans()["review-loop"]
    assert svg(plan) == svg(plan)
    assert png(plan) == png(plan)


def test_the_references_of_a_window_stand_beside_the_step_before() -> None:
    picture = lay_out(plans()["self-moa-seq"])
    rows = {box.id: box.y for box in picture.boxes}
    assert rows["drafts[6]"] == rows["answer[0]"] < rows["answer[1]"] == rows["drafts[9]"]
    assert picture.width < 900


def test_the_legend_explains_what_occurs() -> None:
    kinds = {mark.kind for mark in lay_out(compiled(ODD["ballots"])).legend}
    assert kinds == {"proposer", "aggregator", "selector", "thick", "dashed"}
    assert {mark.kind for mark in lay_out(plans()["single"]).legend} == {"proposer"}


def test_a_plan_too_large_for_a_picture_says_what_else_there_is() -> None:
    large = compiled(
        "drafts: {agent: proposer, model: a, samples: 700}\n"
        "answer: {agent: aggregator, model: a, inputs: drafts}"
    )
    with pytest.raises(UsageError, match="use --format mermaid or dot"):
        lay_out(large)


def test_the_largest_picture_is_quick_enough() -> None:
    large = compiled(
        "drafts: {agent: proposer, model: a, samples: 500}\n"
        "answer: {agent: aggregator, model: a, inputs: drafts, window: {size: 20, keep: 3}}"
    )
    began = perf_counter()
    check(lay_out(large), large)
    assert perf_counter() - began < 10


@given(st.text(max_size=60), st.floats(20, 300))
def test_fitted_text_is_a_line_that_fits(text: str, room: float) -> None:
    line = fitted(text, SMALL, room)
    assert "\n" not in line
    assert width_of(line, SMALL) <= room or line == "…"


@st.composite
def layered(draw: st.DrawFn) -> str:
    """A random graph: each node hears some of the ones before, and the answer hears all."""
    count = draw(st.integers(1, 7))
    lines = []
    for index in range(count):
        heard = [f"n{other}" for other in range(index) if draw(st.booleans())]
        samples = draw(st.integers(1, 13))
        agent = f"agent: aggregator, inputs: [{', '.join(heard)}]" if heard else "agent: proposer"
        lines.append(f"n{index}: {{{agent}, model: a, samples: {samples}}}")
    everything = ", ".join(f"n{index}" for index in range(count))
    return "\n".join([*lines, f"answer: {{agent: aggregator, model: a, inputs: [{everything}]}}"])


@settings(max_examples=40, deadline=None)
@given(layered())
def test_random_graphs_are_laid_out_without_overlap(text: str) -> None:
    plan = compiled(text)
    check(lay_out(plan), plan)
    ElementTree.fromstring(svg(plan))
