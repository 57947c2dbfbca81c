"""A plan as a PNG picture, drawn by Pillow alone."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise

from PIL import Image, ImageDraw

from moa.graph.layout import NAME, SMALL, TITLE, Box, Curve, Frame, Mark, Picture, Point, lay_out
from moa.graph.lettering import font
from moa.graph.palette import LIGHT, LIGHT_PAGE
from moa.graph.plan import Plan

SCALE = 2
"""Pixels of the file for one of the layout: sharp on a dense screen."""
_FINER = 2
"""The drawing is made that much larger and shrunk, which smooths its edges."""
_MOST_PIXELS = 80_000_000
_PAGE = LIGHT_PAGE


def png(plan: Plan) -> bytes:
    """Draw a plan; raises `UsageError` for one that is too large for a picture."""
    picture = lay_out(plan)
    scale = min(SCALE, (_MOST_PIXELS / (picture.width * picture.height)) ** 0.5 / _FINER)
    canvas = _Canvas(picture, scale * _FINER)
    canvas.paint(picture)
    size = (round(picture.width * scale), round(picture.height * scale))
    buffer = BytesIO()
    canvas.image.resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class _Canvas:
    """A drawing whose coordinates are those of the layout."""

    def __init__(self, picture: Picture, scale: float) -> None:
        self.scale = scale
        size = (round(picture.width * scale), round(picture.height * scale))
        self.image = Image.new("RGB", size, _PAGE.paper)
        self.pen = ImageDraw.Draw(self.image)

    def paint(self, picture: Picture) -> None:
        middle = picture.width / 2
        self._write(picture.title, middle, 30, TITLE, _PAGE.ink, bold=True)
        self._write(picture.subtitle, middle, 48, SMALL, _PAGE.faint)
        for frame in picture.frames:
            self._frame(frame)
        for curve in picture.curves:
            self._curve(curve)
        for box in picture.boxes:
            self._box(box)
        for curve in picture.curves:
            if curve.label:
                self._label(curve)
        for mark in picture.legend:
            self._mark(mark)

    def _frame(self, frame: Frame) -> None:
        self._rounded(frame.x, frame.y, frame.width, frame.height, 10, _PAGE.frame, _PAGE.frame_edge, 1)
        for number, words in enumerate(frame.title):
            baseline = frame.y + frame.height / 2 - 3.5 + 14 * number
            self._write(words, frame.x + 12, baseline, SMALL, _PAGE.faint, anchor="ls")

    def _box(self, box: Box) -> None:
        colours = LIGHT[box.role]
        line = 2.6 if box.answers else 1.2
        self._rounded(box.x, box.y, box.width, box.height, 9, colours.fill, colours.stroke, line)
        middle = box.x + box.width / 2
        baseline = box.y + box.height / 2 + 4.5 - 7 * len(box.small)
        self._write(box.name, middle, baseline, NAME, _PAGE.ink, bold=True)
        for number, words in enumerate(box.small, 1):
            self._write(words, middle, baseline + 14 * number, SMALL, _PAGE.faint)

    def _curve(self, curve: Curve) -> None:
        end = curve.points[-1]
        points = (*curve.points[:-1], Point(end.x, end.y - 5))
        self._line(list(_flattened(points)), 3.0 if curve.thick else 1.2, curve.dashed)
        half = 5 if curve.thick else 3.5
        head = [end, Point(end.x - half, end.y - 2 * half), Point(end.x + half, end.y - 2 * half)]
        self.pen.polygon([self._at(point) for point in head], fill=_PAGE.line)

    def _line(self, points: list[Point], width: float, dashed: bool) -> None:
        for piece in _dashes(points) if dashed else [points]:
            way = [self._at(point) for point in piece]
            self.pen.line(way, fill=_PAGE.line, width=round(width * self.scale), joint="curve")

    def _label(self, curve: Curve) -> None:
        x, y = self._at(Point(curve.label_at.x, curve.label_at.y + 3.5))
        self.pen.text(
            (x, y),
            curve.label,
            font=font(SMALL * self.scale),
            fill=_PAGE.faint,
            anchor="ms",
            stroke_width=round(2 * self.scale),
            stroke_fill=_PAGE.paper,
        )

    def _mark(self, mark: Mark) -> None:
        if mark.kind in ("thick", "dashed"):
            self._line([Point(mark.x + step, mark.y) for step in range(20)], 3.0, mark.kind == "dashed")
        else:
            colours = LIGHT[mark.kind]
            self._rounded(mark.x + 4, mark.y - 6, 12, 12, 3, colours.fill, colours.stroke, 1.2)
        self._write(mark.word, mark.x + 24, mark.y + 3.8, SMALL, _PAGE.faint, anchor="ls")

    def _rounded(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        radius: float,
        fill: str,
        edge: str,
        line: float,
    ) -> None:
        corners = (*self._at(Point(x, y)), *self._at(Point(x + width, y + height)))
        thickness = max(1, round(line * self.scale))
        self.pen.rounded_rectangle(corners, radius * self.scale, fill, edge, thickness)

    def _write(
        self, text: str, x: float, y: float, size: float, ink: str, *, anchor: str = "ms", bold: bool = False
    ) -> None:
        weight = max(1, round(0.02 * size * self.scale)) if bold else 0
        face = font(size * self.scale)
        self.pen.text(self._at(Point(x, y)), text, ink, face, anchor, stroke_width=weight, stroke_fill=ink)

    def _at(self, point: Point) -> tuple[float, float]:
        return round(point.x * self.scale, 3), round(point.y * self.scale, 3)


def _flattened(points: tuple[Point, ...]) -> Iterator[Point]:
    """The curve as short straight pieces: cubic Béziers that leave and arrive vertically."""
    yield points[0]
    for before, after in pairwise(points):
        middle = (before.y + after.y) / 2
        steps = 1 if before.x == after.x and before.y == after.y else _steps(before, after)
        for step in range(1, steps + 1):
            t = step / steps
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            x = (a + b) * before.x + (c + d) * after.x
            yield Point(x, a * before.y + (b + c) * middle + d * after.y)


def _steps(before: Point, after: Point) -> int:
    return max(8, int(abs(after.x - before.x) + abs(after.y - before.y)) // 2)


def _dashes(way: list[Point], on: float = 7, off: float = 5) -> Iterator[list[Point]]:
    """The pieces of a line that are drawn when it is dashed."""
    travelled, piece = 0.0, [way[0]]
    for before, after in pairwise(way):
        travelled += ((after.x - before.x) ** 2 + (after.y - before.y) ** 2) ** 0.5
        if travelled % (on + off) < on:
            piece.append(after)
        else:
            if len(piece) > 1:
                yield piece
            piece = [after]
    if len(piece) > 1:
        yield piece
