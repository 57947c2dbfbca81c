"""A scene as PNG and SVG files for papers; the same scene always gives the same bytes."""

from __future__ import annotations

import warnings
from functools import singledispatch
from pathlib import Path
from typing import Any

from moa.errors import MissingExtraError, UsageError
from moa.evaluate.report.palette import LIGHT
from moa.evaluate.report.scene import Area, Box, Cloud, Dot, Line, Mark, Plot, Scene, Words

DPI = 100.0
"""Pixels of a scene to the inch."""
MARGIN = 10.0
SHARPER = 2.0
"""Pixels of the PNG for one of the scene."""
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "moa",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "text.usetex": False,
    "text.parse_math": False,
    "path.simplify": False,
}


def write_plot(plot: Plot, folder: Path) -> list[Path]:
    """Write FOLDER/NAME.png and FOLDER/NAME.svg of the wide scene, on a white page.

    Raises:
        MissingExtraError: when matplotlib is not installed.
        UsageError: when the folder cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
    except ImportError:
        raise MissingExtraError("the plots of a report", "eval") from None
    png, svg = folder / f"{plot.name}.png", folder / f"{plot.name}.svg"
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes in their place.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = _figure(plot.wide)
        try:
            agg: Any = FigureCanvasAgg(figure)
            agg.print_png(png, metadata={"Software": None, "Title": plot.title})
            figure.set_dpi(DPI)
            vector: Any = FigureCanvasSVG(figure)
            vector.print_svg(svg, metadata={"Date": None, "Creator": None, "Title": plot.title})
        except OSError as error:
            raise UsageError(
                f"cannot write {folder}: {(error.strerror or 'no reason given').lower()}"
            ) from None
    return [png, svg]


def _figure(scene: Scene) -> Any:
    from matplotlib.figure import Figure

    size = ((scene.width + 2 * MARGIN) / DPI, (scene.height + 2 * MARGIN) / DPI)
    figure = Figure(figsize=size, dpi=DPI * SHARPER, facecolor=LIGHT["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-MARGIN, scene.width + MARGIN)
    axes.set_ylim(scene.height + MARGIN, -MARGIN)
    axes.set_axis_off()
    for order, mark in enumerate(scene.marks):
        paint(mark, axes, order)
    return figure


@singledispatch
def paint(mark: Mark, axes: Any, order: int) -> None:
    """Draw a mark; `order` keeps later ones above earlier ones."""
    raise TypeError(f"nobody knows how to paint {type(mark).__name__}")


@paint.register
def _(mark: Box, axes: Any, order: int) -> None:
    from matplotlib.patches import BoxStyle, FancyBboxPatch

    style = BoxStyle.Round(pad=0, rounding_size=min(mark.radius, mark.width / 2, mark.height / 2))
    axes.add_patch(
        FancyBboxPatch(
            (mark.x, mark.y), max(mark.width, 0.01), mark.height,
            boxstyle=style, facecolor=LIGHT[mark.tone], linewidth=0, zorder=order,
        )
    )  # fmt: skip


@paint.register
def _(mark: Line, axes: Any, order: int) -> None:
    xs, ys = [point.x for point in mark.points], [point.y for point in mark.points]
    style: Any = (0, (5 / mark.width, 4 / mark.width)) if mark.dashed else "-"
    axes.plot(
        xs, ys, color=LIGHT[mark.tone], linewidth=_points(mark.width), linestyle=style, zorder=order,
        solid_capstyle="butt",
    )  # fmt: skip


@paint.register
def _(mark: Dot, axes: Any, order: int) -> None:
    from matplotlib.patches import Circle

    edge, inside = LIGHT[mark.tone], LIGHT["paper"] if mark.hollow else LIGHT[mark.tone]
    width = _points(2.0) if mark.hollow else 0.0
    place = (mark.x, mark.y)
    axes.add_patch(
        Circle(place, mark.radius, facecolor=inside, edgecolor=edge, linewidth=width, zorder=order)
    )


@paint.register
def _(mark: Cloud, axes: Any, order: int) -> None:
    xs, ys = [point.x for point in mark.points], [point.y for point in mark.points]
    size = _points(2 * mark.radius) ** 2
    axes.scatter(xs, ys, s=size, color=LIGHT[mark.tone], alpha=0.3, linewidths=0, zorder=order)


@paint.register
def _(mark: Area, axes: Any, order: int) -> None:
    axes.fill(
        [point.x for point in mark.points], [point.y for point in mark.points],
        color=LIGHT[mark.tone], alpha=0.25, linewidth=0, zorder=order,
    )  # fmt: skip


@paint.register
def _(mark: Words, axes: Any, order: int) -> None:
    sides = {"start": "left", "middle": "center", "end": "right"}
    axes.text(
        mark.x, mark.y, mark.text, fontsize=_points(mark.size), color=LIGHT[mark.tone],
        horizontalalignment=sides[mark.anchor], verticalalignment="baseline",
        rotation=90 if mark.turned else 0, rotation_mode="anchor",
        fontweight="bold" if mark.bold else "normal", zorder=order,
    )  # fmt: skip


def _points(pixels: float) -> float:
    """Matplotlib measures lines and letters in points, 72 to the inch."""
    return pixels * 72 / DPI
