"""The colours of drawings, on a light and on a dark page."""

from __future__ import annotations

from typing import NamedTuple


class Colours(NamedTuple):
    """One role's box: its inside and its border."""

    fill: str
    stroke: str


class Page(NamedTuple):
    """What does not belong to a role."""

    paper: str
    ink: str
    faint: str
    frame: str
    frame_edge: str
    line: str


DARK_INK = "#0f172a"
LIGHT = {
    "proposer": Colours("#dbeafe", "#3b82f6"),
    "aggregator": Colours("#d1fae5", "#10b981"),
    "selector": Colours("#fef3c7", "#f59e0b"),
    "agent": Colours("#ede9fe", "#8b5cf6"),
    "deceiver": Colours("#fee2e2", "#dc2626"),
}
DARK = {
    "proposer": Colours("#1e3a5f", "#60a5fa"),
    "aggregator": Colours("#064e3b", "#34d399"),
    "selector": Colours("#5c3a0b", "#fbbf24"),
    "agent": Colours("#3b2a6b", "#a78bfa"),
    "deceiver": Colours("#5f1a1a", "#f87171"),
}
LIGHT_PAGE = Page("#ffffff", DARK_INK, "#475569", "#f8fafc", "#e2e8f0", "#94a3b8")
DARK_PAGE = Page("#0d1117", "#f1f5f9", "#a8b3c4", "#161b22", "#30363d", "#6b7a90")
