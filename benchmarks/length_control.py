"""Length-controlled win rates: our two fits beside alpaca_eval's own, and the bootstrap.

    python benchmarks/length_control.py [--data DIR] [--peer PYTHON] [--rounds 3]

DIR holds annotations.parquet, df_gamed.csv and instruction_difficulty.csv (default: ../shared/data/alpaca_eval2). `--peer`
is a Python that has alpaca-eval (0.6.6) and pyarrow; without it, this one. Fits are measured in CPU time, one after
another, and the median of the rounds counts. Whether intervals cover is measured in coverage.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

DATA = Path(__file__).parents[2] / "shared" / "data" / "alpaca_eval2"

T = TypeVar("T")


def timed(work: Callable[[], T], clock: Callable[[], float] = time.process_time) -> tuple[T, float]:
    """A result and how many seconds it took."""
    began = clock()
    found = work()
    return found, clock() - began


def peer(data: Path) -> Iterator[dict[str, Any]]:
    """alpaca_eval's own scorer on one model for each line of standard input."""
    import logging

    import pandas  # type: ignore[import-untyped]
    from alpaca_eval.metrics import glm_winrate

    logging.disable(logging.CRITICAL)
    glm_winrate.hf_hub_download = lambda *, filename, **_: str(data / filename)
    table = pandas.read_parquet(data / "annotations.parquet")
    for line in sys.stdin:
        rows = table[table["model"] == line.strip()].sort_values("row")
        frame = pandas.DataFrame(
            {
                "preference": rows["preference"].to_numpy(),
                "output_1": ["x" * length for length in rows["len_1"]],
                "output_2": ["x" * length for length in rows["len_2"]],
                "generator_1": "baseline",
                "generator_2": line.strip(),
                "annotator": "recorded",
            }
        )
        score = partial(glm_winrate.get_length_controlled_winrate, frame, save_weights_dir=None)
        found, seconds = timed(score)
        rates = {name: float(found[name]) for name in ("length_controlled_winrate", "lc_standard_error")}
        yield rates | {"seconds": seconds}


class Peer:
    """alpaca_eval in a process of its own."""

    def __init__(self, python: str, data: Path) -> None:
        command = [python, "-W", "ignore", __file__, "--data", str(data.resolve()), "--as-peer"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, model: str) -> dict[str, Any]:
        """One model's numbers and seconds."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        try:
            print(model, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            reason = self._process.stderr.read().strip().splitlines() or ["it ended"]
            sys.exit(f"alpaca_eval cannot run here ({reason[-1]}): name a Python that has it with --peer")
        found: dict[str, Any] = json.loads(line)
        return found


def compare(data: Path, python: str, rounds: int) -> None:
    """Both fits and the peer on every model, and the bootstrap of one."""
    from moa.evaluate.annotations import read_annotations
    from moa.evaluate.numbers.bootstrap import bootstrap_interval
    from moa.evaluate.numbers.length_control import Fit, Resampled, length_controlled
    from moa.evaluate.reference import read_reference
    from moa.evaluate.score import Keys, Options

    reference, theirs = read_reference(data), Peer(python, data)
    found = [each for each in read_annotations([data / "annotations.parquet"]) if not each.is_baseline]
    keys = Keys(found, reference, Options(row_index=True))
    seconds: dict[str, list[float]] = {"alpaca_eval": [], "liblinear-cv": [], "newton": []}
    gaps: dict[str, list[float]] = {"liblinear-cv": [], "newton": []}
    theirs(found[0].model)  # its first call imports and compiles
    fits: tuple[Fit, ...] = ("liblinear-cv", "newton")
    for each in found:
        keyed = keys.keyed(each)
        difficulty = reference.difficulty[keyed.instructions]
        rows = (keyed.preferences, keyed.len_1, keyed.len_2, difficulty, reference.gamed)
        calls = [theirs(each.model) for _ in range(rounds)]
        seconds["alpaca_eval"].append(statistics.median(call["seconds"] for call in calls))
        for fit in fits:
            ours = [timed(partial(length_controlled, *rows, fit=fit)) for _ in range(rounds)]
            seconds[fit].append(statistics.median(took for _, took in ours))
            gaps[fit].append(abs(ours[0][0].win_rate - calls[0]["length_controlled_winrate"]))
    print(f"{'':14} {'CPU ms':>9} {'x faster':>9} {'max gap':>9} {'median gap':>11}   ({len(found)} models)")
    for way, took in seconds.items():
        ratio = statistics.median(peer / our for peer, our in zip(seconds["alpaca_eval"], took, strict=True))
        gap = gaps.get(way, [0.0])
        shown = f"{1000 * statistics.median(took):9.1f} {ratio:9.1f} {max(gap):9.1e} {statistics.median(gap):11.1e}"
        print(f"{way:14} {shown}")
    c = length_controlled(*rows).c
    statistic = Resampled(*rows, c=c)
    draw = partial(bootstrap_interval, statistic, len(statistic), replicates=1000)
    interval, wall = timed(draw, time.perf_counter)
    shown = f"{wall:.2f} s on the clock, [{interval.low:.2f}, {interval.high:.2f}]"
    print(f"\n1,000 replicates of {found[-1].model}: {shown}")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_peer:
        for found in peer(options.data):
            print(json.dumps(found), flush=True)
        return
    if not (options.data / "annotations.parquet").is_file():
        sys.exit(f"{options.data} holds no annotations.parquet: name a folder that does with --data")
    compare(options.data, options.peer, options.rounds)


if __name__ == "__main__":
    main()
