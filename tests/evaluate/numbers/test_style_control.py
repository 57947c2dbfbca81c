"""Style features by hand, and strengths that survive a change of style."""

from __future__ import annotations

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.logistic import sigmoid
from moa.evaluate.numbers.style_control import (
    Style,
    StyleControlled,
    style_controlled,
    style_differences,
    style_of,
)

TEXT = """# Title
Some **bold** and __bold__ words, 2 * 3 ** 4.

1. one
2. two
- three
  * four

```python
# not a header
- not an item
**not bold**
```
###### Deep
####### too deep
"""


def test_markdown_is_counted_outside_code() -> None:
    assert style_of(TEXT)[1:] == (2, 4, 2)


def test_tokens_may_be_given() -> None:
    assert style_of("a b", tokens=7).tokens == 7
    assert style_of("Yes, it is.").tokens == 5
    assert style_of("") == Style(0, 0, 0, 0)


def test_differences_are_the_formulas() -> None:
    found = style_differences([Style(99, 10, 0, 5)], [Style(49, 0, 5, 5)])
    assert found[0] == pytest.approx(
        [50 / 148, 0.1 / 1.1, -0.1 / 1.1, (0.05 - 0.1) / 1.15],
    )


def test_two_empty_answers_do_not_differ() -> None:
    assert style_differences([Style(0, 0, 0, 0)], [Style(0, 0, 0, 0)]).tolist() == [[0, 0, 0, 0]]


def rows(seed: int = 0, n: int = 3000) -> tuple[list[str], Floats, Floats]:
    """Models of strength 0.5, 0 and -1, judged by a fan of length (2 for each unit of the feature)."""
    random = np.random.default_rng(seed)
    models = random.choice(["x", "y", "z"], n)
    differences = random.normal(size=(n, 4)) * [0.3, 0.01, 0.02, 0.01] + [0.2, 0, 0, 0]
    strength = np.select([models == "x", models == "y"], [0.5, 0.0], -1.0)
    wins = random.random(n) < sigmoid(strength + 2 * differences[:, 0])
    return models.tolist(), wins.astype(float), differences


def test_at_equal_style_the_true_win_rates_come_back() -> None:
    models, scores, differences = rows(1)
    found = style_controlled(models, scores, differences, reference="equal", level=0.99, replicates=60)
    for name, strength in (("x", 0.5), ("y", 0.0), ("z", -1.0)):
        assert found.win_rates[name].contains(float(sigmoid(np.array([strength]))[0]))
    raw = scores[np.array(models) == "y"].mean()
    assert raw > found.win_rates["y"].high


def test_the_average_style_is_the_average_rows() -> None:
    models, scores, differences = rows(1)
    found = style_controlled(models, scores, differences, replicates=10)
    expected = sigmoid(np.array([0.0 + 2 * differences[:, 0].mean()]))[0]
    assert found.win_rates["y"].value == pytest.approx(expected, abs=0.04)
    # Two for each unit is 2 * 0.3 for each deviation.
    assert found.coefficients["length"].value == pytest.approx(0.6, abs=0.1)
    assert found.coefficients["headers"].contains(0)


def controlled(control: list[str]) -> StyleControlled:
    models, scores, differences = rows(n=300)
    return style_controlled(models, scores, differences, control=control, replicates=5)  # type: ignore[arg-type]


def test_controls_are_the_named_features() -> None:
    # Arena-Hard's own script takes the first model's column for the length feature.
    assert list(controlled(["length"]).coefficients) == ["length"]
    assert list(controlled(["markdown"]).coefficients) == ["headers", "lists", "bold"]
    with pytest.raises(UsageError, match="`length`, `markdown`, or both"):
        controlled([])


def test_a_strong_verdict_is_three_rows() -> None:
    models, scores, differences = rows(n=300)
    weights = np.where(np.arange(300) % 4 == 0, 3.0, 1.0)
    repeats = weights.astype(int)
    weighted = style_controlled(models, scores, differences, weights=weights, replicates=3)
    repeated = style_controlled(
        np.repeat(models, repeats).tolist(),
        np.repeat(scores, repeats),
        np.repeat(differences, repeats, axis=0),
        replicates=3,
    )
    for name in "xyz":
        assert weighted.win_rates[name].value == pytest.approx(repeated.win_rates[name].value)


def test_a_model_that_always_wins_stays_finite_and_an_unused_feature_is_nothing() -> None:
    found = style_controlled(
        ["x"] * 20 + ["y"] * 20, [1.0] * 20 + [1.0, 0.0] * 10, np.zeros((40, 4)), replicates=5
    )
    assert 0.99 < found.win_rates["x"].value <= 1
    assert found.win_rates["y"].value == pytest.approx(0.5)
    assert found.coefficients["length"].value == 0


def test_questions_are_drawn_whole_and_seeded() -> None:
    models, scores, differences = rows(n=100)
    double = [*models, *models], np.tile(scores, 2), np.tile(differences, (2, 1))
    clustered = style_controlled(*double, questions=list(range(100)) * 2, seed=1, replicates=20)
    single = style_controlled(models, scores, differences, seed=1, replicates=20)
    assert clustered.win_rates["x"].n == 100
    assert clustered.win_rates["x"].low == pytest.approx(single.win_rates["x"].low, abs=1e-3)
    assert single == style_controlled(models, scores, differences, seed=1, replicates=20)


def test_rows_must_match() -> None:
    with pytest.raises(UsageError, match="one model, score, weight"):
        style_controlled(["x"], [1.0, 0.0], np.zeros((2, 4)))
    with pytest.raises(UsageError, match="pair them first"):
        style_differences([Style(1, 0, 0, 0)], [])
