"""Quality against what it takes: money, seconds or tokens, with those marked that nothing beats in both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.scale import Scale, linear, positive
from moa.evaluate.report.scene import NARROW, SMALL, WIDE, Box, Dot, Line, Mark, Plot, Point, Scene, Words
from moa.evaluate.report.words import Unit, has_interval
from moa.graph.lettering import fitted, width_of

RADIUS = 9.0
STRIP = 54.0
"""Width of the strip for those whose price is unknown."""


class Spot(NamedTuple):
    """An entrant: its rank on the leaderboard, its price (None: unknown) and its quality."""

    rank: int
    name: str
    price: float | None
    quality: Estimate


class Price(NamedTuple):
    """What is on the horizontal axis, and how its values are written."""

    title: str
    write: Callable[[float | None], str]
    tick: str = "{:g}"
    """How a round value is written on the axis."""
    dear: bool = True
    """Whether less of it is better; else there is no front."""


class Frame(NamedTuple):
    """A rectangle in pixels: its left and right, top and bottom."""

    left: float
    right: float
    top: float
    bottom: float


def pareto(spots: Sequence[Spot]) -> set[str]:
    """The names of those that no other beats: none as cheap and better, or as good and cheaper.

    Those of unknown price are not compared.
    """
    priced = [spot for spot in spots if spot.price is not None and math.isfinite(spot.quality.value)]
    return {spot.name for spot in priced if not any(_beats(other, spot) for other in priced)}


def _beats(one: Spot, other: Spot) -> bool:
    assert one.price is not None and other.price is not None
    cheaper, better = one.price <= other.price, one.quality.value >= other.quality.value
    return cheaper and better and (one.price < other.price or one.quality.value > other.quality.value)


def front(
    name: str,
    title: str,
    spots: Sequence[Spot],
    price: Price,
    unit: Unit,
    caption: Sequence[str] = (),
) -> Plot:
    """A dot an entrant, numbered by its rank; the front as steps through those that nothing beats."""
    best = pareto(spots) if price.dear else set()
    said = "; ".join(
        f"{spot.rank} {spot.name}: {price.write(spot.price)}, {unit.long(spot.quality)}"
        f"{', on the front' if spot.name in best else ''}"
        for spot in spots
    )
    wide, narrow = (_scene(spots, best, price, unit, width) for width in (WIDE, NARROW))
    return Plot(name, title, f"{unit.title} against {price.title}. {said}.", wide, narrow, tuple(caption))


def _scene(spots: Sequence[Spot], best: set[str], price: Price, unit: Unit, width: float) -> Scene:
    unknown = any(spot.price is None for spot in spots)
    height = 400.0 if width == WIDE else 330.0
    area = Frame(50.0, width - (STRIP + 8 if unknown else 0) - 12, 14.0, height - 52)
    prices = [spot.price for spot in spots if spot.price is not None]
    across = (positive if price.dear else linear)(prices, area.left, area.right)
    up = _upright(spots, unit, area)
    places = {spot.name: Point(_x(spot, across, width), up(spot.quality.value)) for spot in spots}
    marks: list[Mark] = [*_axes(across, up, price, unit, area, width)]
    if unknown:
        marks += _unknown(area, width)
    lines = [*_steps([spot for spot in spots if spot.name in best], places, area)]
    lines += [line for spot in spots for line in _errors(spot, places[spot.name], up, unit)]
    marks += lines
    # The best lies on top where several meet.
    for spot in reversed(spots):
        marks += _dot(
            spot,
            places[spot.name],
            spot.name in best,
            f"{price.write(spot.price)}, {unit.long(spot.quality)}",
        )
    marks += _names(spots, places, Frame(area.left, width, 0, area.bottom), best, lines)
    return Scene(width, height, tuple(marks))


def _upright(spots: Sequence[Spot], unit: Unit, area: Frame) -> Scale:
    ends = [
        end
        for spot in spots
        for end in (spot.quality.low, spot.quality.value, spot.quality.high)
        if math.isfinite(end)
    ]
    return linear(ends, area.bottom, area.top)


def _x(spot: Spot, across: Scale, width: float) -> float:
    return width - STRIP / 2 - 6 if spot.price is None else across(spot.price)


def _axes(across: Scale, up: Scale, price: Price, unit: Unit, area: Frame, width: float) -> Iterator[Mark]:
    for tick in up.ticks(7):
        y = up(tick)
        yield Line((Point(area.left, y), Point(area.right, y)), "grid")
        yield Words(area.left - 7, y + 4, f"{tick:g}".replace("-", "−"), "faint", SMALL, "end")
    yield Line((Point(area.left, area.bottom), Point(area.right, area.bottom)), "axis")
    for tick in across.ticks(4 if width < WIDE else 7):
        x = across(tick)
        yield Line((Point(x, area.bottom), Point(x, area.bottom + 5)), "axis")
        yield Words(x, area.bottom + 19, price.tick.format(tick), "faint", SMALL, "middle")
    kind = f"{price.title}{' (logarithmic)' if across.log else ''}"
    yield Words((area.left + area.right) / 2, area.bottom + 41, kind, "faint", SMALL, "middle")
    yield Words(11, (area.top + area.bottom) / 2, unit.heading, "faint", SMALL, "middle", turned=True)


def _unknown(area: Frame, width: float) -> Iterator[Mark]:
    yield Box(width - STRIP - 6, area.top, STRIP, area.bottom - area.top, "panel", 4)
    yield Words(width - STRIP / 2 - 6, area.bottom + 19, "n/a", "faint", SMALL, "middle")


def _steps(front: Sequence[Spot], places: dict[str, Point], area: Frame) -> Iterator[Line]:
    """From each on the front straight on to the next one's price, and only then up."""
    along = sorted((places[spot.name] for spot in front), key=lambda point: (point.x, -point.y))
    if not along:
        return
    way = [along[0]]
    for point in along[1:]:
        way += [Point(point.x, way[-1].y), point]
    way.append(Point(area.right, way[-1].y))
    yield Line(tuple(way), "front", 2, dashed=True)


def _errors(spot: Spot, place: Point, up: Scale, unit: Unit) -> Iterator[Line]:
    if has_interval(spot.quality):
        low, high = up(spot.quality.low), up(spot.quality.high)
        yield Line((Point(place.x, low), Point(place.x, high)), "axis", 1.5)


def _dot(spot: Spot, place: Point, best: bool, said: str) -> Iterator[Mark]:
    tone = "front" if best else "bar"
    yield Dot(place.x, place.y, RADIUS, tone, hollow=not best, title=f"{spot.name}: {said}")
    ink = "paper" if best else "ink"
    yield Words(
        place.x, place.y + 4, str(spot.rank), ink, SMALL if spot.rank < 10 else SMALL - 2, "middle", bold=True
    )


def _names(
    spots: Sequence[Spot], places: dict[str, Point], area: Frame, best: set[str], lines: Sequence[Line]
) -> Iterator[Mark]:
    """Names beside their dots where there is room; elsewhere the number has to do."""
    taken = [_around(place) for place in places.values()] + [*_along(lines)]
    for spot in sorted(spots, key=lambda spot: spot.name not in best):
        place, text = places[spot.name], fitted(spot.name, SMALL, 170)
        for words, box in _beside(place, text):
            inside = area.left <= box.left and box.right <= area.right and area.top <= box.top
            if inside and box.bottom <= area.bottom and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield words
                break


def _along(lines: Sequence[Line]) -> Iterator[Frame]:
    """What each straight piece of the lines covers."""
    for one, other in (piece for line in lines for piece in pairwise(line.points)):
        left, right = sorted((one.x, other.x))
        top, bottom = sorted((one.y, other.y))
        yield Frame(left - 1, right + 1, top - 1, bottom + 1)


def _around(place: Point) -> Frame:
    return Frame(place.x - RADIUS, place.x + RADIUS, place.y - RADIUS, place.y + RADIUS)


def _beside(place: Point, text: str) -> Iterator[tuple[Words, Frame]]:
    wide, gap = width_of(text, SMALL), RADIUS + 4
    for x, y in (
        *((gap, 4.0), (-gap - wide, 4.0)),
        *((6.0, -gap + 2), (-wide - 6, -gap + 2)),
        *((6.0, gap + 8), (-wide - 6, gap + 8)),
        *((-wide / 2, -gap - 4), (-wide / 2, gap + 12)),
    ):
        left, base = place.x + x, place.y + y
        yield Words(left, base, text, "ink", SMALL), Frame(left, left + wide, base - SMALL, base + 3)


def _overlap(one: Frame, other: Frame) -> bool:
    across = one.left < other.right and other.left < one.right
    return across and one.top < other.bottom and other.top < one.bottom
