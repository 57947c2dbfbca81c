"""A plot as lines, boxes, dots and words at their places: drawn once, painted in the page and in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from moa.graph.lettering import fitted, width_of

WIDE = 720.0
NARROW = 340.0
"""Widths of a plot in pixels: for a desk and for a phone."""
TEXT = 13.0
SMALL = 11.5

Anchor = Literal["start", "middle", "end"]


class Point(NamedTuple):
    """A place in pixels, from the top left."""

    x: float
    y: float


class Box(NamedTuple):
    """A filled rectangle; `title` is shown where the pointer rests."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    radius: float = 0.0
    title: str = ""


class Line(NamedTuple):
    """A line through points, without a filling."""

    points: tuple[Point, ...]
    tone: str
    width: float = 1.0
    dashed: bool = False


class Dot(NamedTuple):
    """A disc, or a ring where it is hollow."""

    x: float
    y: float
    radius: float
    tone: str
    hollow: bool = False
    title: str = ""


class Cloud(NamedTuple):
    """Many small faint dots."""

    points: tuple[Point, ...]
    tone: str
    radius: float


class Words(NamedTuple):
    """One line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    tone: str = "ink"
    size: float = TEXT
    anchor: Anchor = "start"
    bold: bool = False
    turned: bool = False
    """Whether it is written upwards."""


class Area(NamedTuple):
    """A filled outline, such as the band about a curve."""

    points: tuple[Point, ...]
    tone: str


Mark = Box | Line | Dot | Cloud | Words | Area


@dataclass(frozen=True, slots=True)
class Scene:
    """A plot at one width."""

    width: float
    height: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot at two widths, with what it says in words for those who do not see it.

    `name` is that of its files; `alt` describes it; `caption` are the paragraphs beside it.
    """

    name: str
    title: str
    alt: str
    wide: Scene
    narrow: Scene
    caption: tuple[str, ...] = ()


def short(text: str, room: float, size: float = TEXT) -> str:
    """A name that fits, its middle left out where it must be."""
    return fitted(text, size, room)


def widest(texts: Sequence[str], size: float = TEXT) -> float:
    """The width of the longest of several texts; 0 for none."""
    return max((width_of(text, size) for text in texts), default=0.0)
