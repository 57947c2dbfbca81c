"""Who judges answers: pairs, scores, checklists, juries, and recorded preferences."""

from __future__ import annotations

from moa.evaluate.judges.base import Judge as Judge
from moa.evaluate.judges.opening import open_judge as open_judge

__all__ = ["Judge", "open_judge"]
