"""The colours of the report: told apart by colour-blind eyes, and by all on light and dark pages."""

from __future__ import annotations

from moa.graph.palette import DARK_PAGE, LIGHT_PAGE

LEVELS = 4
"""Steps of the diverging palette on each side of its middle."""

LIGHT = {
    "paper": LIGHT_PAGE.paper,
    "ink": LIGHT_PAGE.ink,
    "faint": LIGHT_PAGE.faint,
    "grid": LIGHT_PAGE.frame_edge,
    "panel": LIGHT_PAGE.frame,
    "axis": LIGHT_PAGE.line,
    "bar": "#1f78b4",
    "fill": "#93c3e6",
    "best": "#0b4f80",
    "warn": "#b34700",
    "front": "#c2410c",
    "neg4": "#a8480a",
    "neg3": "#e38a4a",
    "neg2": "#f6bf94",
    "neg1": "#fde4d0",
    "zero": "#eef2f6",
    "pos1": "#d8e8f5",
    "pos2": "#a6cce8",
    "pos3": "#63a5d6",
    "pos4": "#14619f",
    "onpale": LIGHT_PAGE.ink,
    "onmild": LIGHT_PAGE.ink,
    "onstrong": "#ffffff",
}
DARK = {
    "paper": DARK_PAGE.paper,
    "ink": DARK_PAGE.ink,
    "faint": DARK_PAGE.faint,
    "grid": DARK_PAGE.frame_edge,
    "panel": DARK_PAGE.frame,
    "axis": DARK_PAGE.line,
    "bar": "#58a9e0",
    "fill": "#2f6b98",
    "best": "#9fd3f7",
    "warn": "#f6a25c",
    "front": "#fb923c",
    "neg4": "#f0924a",
    "neg3": "#a85a1c",
    "neg2": "#6e3f18",
    "neg1": "#41291a",
    "zero": "#1d242d",
    "pos1": "#17314a",
    "pos2": "#1c4a70",
    "pos3": "#2c6ca0",
    "pos4": "#6db8ee",
    "onpale": DARK_PAGE.ink,
    "onmild": DARK_PAGE.ink,
    "onstrong": "#0b1016",
}


def diverging(value: float, reach: float) -> tuple[str, str]:
    """The tone of a signed value and of the words on it; `reach` is the size that takes the strongest."""
    if reach <= 0 or value != value:
        return "zero", "onpale"
    level = min(LEVELS, int(abs(value) / reach * LEVELS + 0.5))
    if level == 0:
        return "zero", "onpale"
    written = "onstrong" if level == LEVELS else "onmild" if level == LEVELS - 1 else "onpale"
    return f"{'pos' if value > 0 else 'neg'}{level}", written


def variables(tones: dict[str, str]) -> str:
    """The colours as custom properties of a style sheet."""
    return " ".join(f"--{name}: {colour};" for name, colour in tones.items())
