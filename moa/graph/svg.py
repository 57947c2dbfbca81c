"""A plan as an SVG picture that follows the reader's light or dark page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from moa.graph.layout import NAME, SMALL, TITLE, Box, Curve, Frame, Mark, Picture, Point, lay_out
from moa.graph.palette import DARK, DARK_PAGE, LIGHT, LIGHT_PAGE, Colours, Page
from moa.graph.plan import Plan

_FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"


def svg(plan: Plan) -> str:
    """Draw a plan; raises `UsageError` for one that is too large for a picture."""
    picture = lay_out(plan)
    body = [line for part in _parts(picture) for line in part]
    size = f'width="{picture.width:g}" height="{picture.height:g}" viewBox="0 0 {picture.width:g} {picture.height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{_text(picture.title)}">',
            f"<title>{_text(picture.title)}</title>",
            f"<style>\n{_style()}</style>",
            f'<rect class="paper" width="{picture.width:g}" height="{picture.height:g}" rx="12"/>',
            *body,
            "</svg>\n",
        ]
    )


def _parts(picture: Picture) -> Iterator[Iterator[str]]:
    yield _heading(picture)
    yield from (_frame(frame) for frame in picture.frames)
    yield from (_curve(curve) for curve in picture.curves)
    yield from (_box(box) for box in picture.boxes)
    yield from (_label(curve) for curve in picture.curves if curve.label)
    yield from (_mark(mark) for mark in picture.legend)


def _heading(picture: Picture) -> Iterator[str]:
    middle = picture.width / 2
    yield f'<text class="title" x="{middle:g}" y="30">{_text(picture.title)}</text>'
    yield f'<text class="small" x="{middle:g}" y="48">{_text(picture.subtitle)}</text>'


def _frame(frame: Frame) -> Iterator[str]:
    yield f'<rect class="frame" x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" height="{frame.height:.1f}" rx="10"/>'
    for number, words in enumerate(frame.title):
        baseline = frame.y + frame.height / 2 - 3.5 + 14 * number
        yield f'<text class="small left" x="{frame.x + 12:.1f}" y="{baseline:.1f}">{_text(words)}</text>'


def _box(box: Box) -> Iterator[str]:
    kind = f"box {box.role}{' answer' if box.answers else ''}"
    middle = box.x + box.width / 2
    yield f'<g><title>{_text(box.id)}</title><rect class="{kind}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="9"/>'
    baseline = box.y + box.height / 2 + 4.5 - 7 * len(box.small)
    yield f'<text class="name" x="{middle:.1f}" y="{baseline:.1f}">{_text(box.name)}</text>'
    for number, words in enumerate(box.small, 1):
        yield f'<text class="small" x="{middle:.1f}" y="{baseline + 14 * number:.1f}">{_text(words)}</text>'
    yield "</g>"


def _curve(curve: Curve) -> Iterator[str]:
    kind = " ".join(["line", *(["thick"] if curve.thick else []), *(["dashed"] if curve.dashed else [])])
    end = curve.points[-1]
    short = curve._replace(points=(*curve.points[:-1], Point(end.x, end.y - 5)))
    yield f'<path class="{kind}" d="{path_of(short)}"/>'
    half = 5 if curve.thick else 3.5
    yield (f'<path class="head" d="M{end.x:.1f} {end.y:.1f}l{-half:g} {-2 * half:g}h{2 * half:g}z"/>')


def path_of(curve: Curve) -> str:
    """The curve as the `d` of an SVG path."""
    path = f"M{curve.points[0].x:.1f} {curve.points[0].y:.1f}"
    for before, after in pairwise(curve.points):
        if before.x == after.x:
            path += f"V{after.y:.1f}"
        else:
            middle = (before.y + after.y) / 2
            path += f"C{before.x:.1f} {middle:.1f} {after.x:.1f} {middle:.1f} {after.x:.1f} {after.y:.1f}"
    return path


def _label(curve: Curve) -> Iterator[str]:
    yield f'<text class="small label" x="{curve.label_at.x:.1f}" y="{curve.label_at.y + 3.5:.1f}">{_text(curve.label)}</text>'


def _mark(mark: Mark) -> Iterator[str]:
    if mark.kind in ("thick", "dashed"):
        kind = "line thick" if mark.kind == "thick" else "line thick dashed"
        yield f'<path class="{kind}" d="M{mark.x:.1f} {mark.y:.1f}h19"/>'
    else:
        yield f'<rect class="box {mark.kind}" x="{mark.x + 4:.1f}" y="{mark.y - 6:.1f}" width="12" height="12" rx="3"/>'
    yield f'<text class="small left" x="{mark.x + 24:.1f}" y="{mark.y + 3.8:.1f}">{_text(mark.word)}</text>'


def _style() -> str:
    rules = [
        f"text {{ font-family: {_FONT}; text-anchor: middle; }}",
        ".left { text-anchor: start; }",
        f".title {{ font-size: {TITLE:g}px; font-weight: 600; }}",
        f".name {{ font-size: {NAME:g}px; font-weight: 600; }}",
        f".small {{ font-size: {SMALL:g}px; }}",
        ".box { stroke-width: 1.2; } .answer { stroke-width: 2.6; }",
        ".line { fill: none; stroke-width: 1.2; } .thick { stroke-width: 3; } .dashed { stroke-dasharray: 7 5; }",
        ".label { paint-order: stroke; stroke-width: 4px; stroke-linejoin: round; }",
        *_colour_rules(LIGHT_PAGE, LIGHT),
        "@media (prefers-color-scheme: dark) {",
        *_colour_rules(DARK_PAGE, DARK),
        "}",
    ]
    return "\n".join(rules) + "\n"


def _colour_rules(page: Page, roles: dict[str, Colours]) -> Iterator[str]:
    yield f".paper {{ fill: {page.paper}; }} .title, .name {{ fill: {page.ink}; }} .small {{ fill: {page.faint}; }}"
    yield f".frame {{ fill: {page.frame}; stroke: {page.frame_edge}; }}"
    yield f".line {{ stroke: {page.line}; }} .head {{ fill: {page.line}; }} .label {{ stroke: {page.paper}; }}"
    for role, colours in roles.items():
        yield f".{role} {{ fill: {colours.fill}; stroke: {colours.stroke}; }}"


def _text(text: str) -> str:
    """Escaped, and without the control characters that XML forbids."""
    return escape("".join(c if c.isprintable() else " " for c in text))
