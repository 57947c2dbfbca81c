"""What is asked, and the answers that can be checked without a judge."""

from moa.evaluate.tasks.about import About, about
from moa.evaluate.tasks.exact import check_answer
from moa.evaluate.tasks.load import count_items, load_items
from moa.evaluate.tasks.override import with_baseline, with_data, without_baseline

__all__ = [
    "About",
    "about",
    "check_answer",
    "count_items",
    "load_items",
    "with_baseline",
    "with_data",
    "without_baseline",
]
