"""A scene as SVG inside the page: its colours are the page's own, so that it is light or dark with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch
from html import escape

from moa.evaluate.report.scene import (
    NARROW,
    WIDE,
    Area,
    Box,
    Cloud,
    Dot,
    Line,
    Mark,
    Plot,
    Point,
    Scene,
    Words,
)


def inline(plot: Plot) -> str:
    """Both widths of a plot, of which the style sheet shows one."""
    return "\n".join(
        _svg(plot, scene, kind) for kind, scene in (("wide", plot.wide), ("narrow", plot.narrow))
    )


def _svg(plot: Plot, scene: Scene, kind: str) -> str:
    name = f"{plot.name}-{kind}"
    size = f'viewBox="0 0 {_n(scene.width)} {_n(scene.height)}" width="{_n(scene.width)}" height="{_n(scene.height)}"'
    # One that needs more room than there is keeps its size, and scrolls.
    fixed = " fixed" if scene.width > (WIDE if kind == "wide" else NARROW) else ""
    label = f'role="img" aria-labelledby="{name}-title {name}-alt"'
    return "\n".join(
        [
            f'<svg class="plot {kind}{fixed}" {size} {label}>',
            f'<title id="{name}-title">{text(plot.title)}</title><desc id="{name}-alt">{text(plot.alt)}</desc>',
            *(line for mark in scene.marks for line in paint(mark)),
            "</svg>",
        ]
    )


@singledispatch
def paint(mark: Mark) -> Iterator[str]:
    """The SVG elements of a mark."""
    raise TypeError(f"nobody knows how to paint {type(mark).__name__}")


@paint.register
def _(mark: Box) -> Iterator[str]:
    size = f'x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(max(mark.width, 0))}" height="{_n(mark.height)}"'
    corner = f' rx="{_n(mark.radius)}"' if mark.radius else ""
    yield _titled(f'<rect class="f-{mark.tone}" {size}{corner}', "rect", mark.title)


@paint.register
def _(mark: Line) -> Iterator[str]:
    dashes = ' stroke-dasharray="5 4"' if mark.dashed else ""
    yield f'<path class="s-{mark.tone}" d="{_path(mark.points)}" stroke-width="{_n(mark.width)}"{dashes}/>'


@paint.register
def _(mark: Dot) -> Iterator[str]:
    kind = f"s-{mark.tone} ring" if mark.hollow else f"f-{mark.tone}"
    size = f'cx="{_n(mark.x)}" cy="{_n(mark.y)}" r="{_n(mark.radius)}"'
    width = ' stroke-width="2"' if mark.hollow else ""
    yield _titled(f'<circle class="{kind}" {size}{width}', "circle", mark.title)


@paint.register
def _(mark: Cloud) -> Iterator[str]:
    way = "".join(f"M{_n(point.x)} {_n(point.y)}h0" for point in mark.points)
    yield f'<path class="s-{mark.tone} cloud" d="{way}" stroke-width="{_n(2 * mark.radius)}"/>'


@paint.register
def _(mark: Area) -> Iterator[str]:
    yield f'<path class="f-{mark.tone} band" d="{_path(mark.points)}z"/>'


@paint.register
def _(mark: Words) -> Iterator[str]:
    kind = f"f-{mark.tone}{' bold' if mark.bold else ''}"
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    turn = f' transform="rotate(-90 {_n(mark.x)} {_n(mark.y)})"' if mark.turned else ""
    place = f'x="{_n(mark.x)}" y="{_n(mark.y)}" font-size="{_n(mark.size)}"'
    yield f'<text class="{kind}" {place}{anchor}{turn}>{text(mark.text)}</text>'


def _titled(opening: str, tag: str, title: str) -> str:
    return f"{opening}><title>{text(title)}</title></{tag}>" if title else f"{opening}/>"


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_n(point.x)} {_n(point.y)}" for point in points)


def _n(value: float) -> str:
    return f"{round(value, 1):g}"


def text(words: str) -> str:
    """Escaped, and without control characters or those that turn the direction of writing."""
    return escape("".join(c if c.isprintable() else " " for c in words))
