"""Many streaming clients and some that hardly read: every answer comes, and nothing is left behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serve.py"


@pytest.mark.slow
def test_under_load_no_answer_fails_and_nothing_is_left() -> None:
    """The benchmark in short; it leaves with 1 for an error, a client without an answer, a task or a socket too many."""
    command = [
        sys.executable,
        str(BENCHMARK),
        "--clients",
        "64",
        "--seconds",
        "8",
        "--pace",
        "0.05",
        "--slow",
        "4",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = re.search(r"answers +([\d,]+), 0 errors", done.stdout)
    assert answers is not None and int(answers[1].replace(",", "")) >= 64, done.stdout
    # The slow readers were slow: what they asked for has megabytes.
    taken = re.search(r"slow readers +4, ([\d,]+) bytes", done.stdout)
    assert taken is not None and 0 < int(taken[1].replace(",", "")) < 1_000_000, done.stdout
