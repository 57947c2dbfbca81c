r"""LaTeX formulas brought to one spelling: `\dfrac12` and `\frac{1}{2}`, spaces, units, brackets."""

from __future__ import annotations

import re

_LONGEST = 2000
_SIGNS = {
    "−": "-",
    "–": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "π": r"\pi ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    "√": r"\sqrt ",
    "±": r"\pm ",
}
_NAMES = {
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "leq": "le",
    "geq": "ge",
    "neq": "ne",
    "cdots": "dots",
    "ldots": "dots",
}
_WORD = r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname|textnormal)\s*"
_UNITS = (
    r"degrees?|cents?|dollars?|inch(?:es)?|feet|foot|ft|cm|mm|km|kg|hours?|minutes?|seconds?|days?|"
    r"(?:square |cubic )?units?|miles?|met(?:er|re)s?|centimet(?:er|re)s?|people|ways"
)
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])|°", ""),
        (r"\{,\}|,\\!\s*", ""),
        (rf"{_WORD}\{{\s*(?:and|or)\s*\}}", ","),
        (rf"(?<=[\d}})])\s*{_WORD}\{{[^{{}}]*\}}(?:\^\{{?-?\d\}}?)?", ""),
        (r"\\(?:left|right|[bB]ig[lr]?|displaystyle|limits)(?![a-zA-Z])\.?", ""),
        (r"\\[,;:!]|\\(?:quad|qquad)(?![a-zA-Z])|(?<!\\)\\ |~|\\?[$%]", " "),
        (rf"(?<=[\d}})])\s*(?:{_UNITS})(?:\s*\^\s*\{{?[23]\}}?)?\s*$", ""),
        (rf"{_WORD}\{{([^{{}}]*)\}}", r"\1"),
        (r"\\(begin|end)\{[bvBV]matrix\}", r"\\\1{pmatrix}"),
        (r"\\frac\s*([\da-zA-Z])", r"\\frac{\1}"),
        (r"(\\frac\s*\{[^{}]*\})\s*([\da-zA-Z])", r"\1{\2}"),
        (r"\\sqrt(?:\s+(\d+)|(\d)|\s*([a-zA-Z])(?![a-zA-Z]))", r"\\sqrt{\1\2\3}"),
        (r"_\s*\{\s*(\w+)\s*\}", r"_\1"),
        (r"\^\s*\{\s*(\w)\s*\}", r"^\1"),
        (r"\s+", ""),
        (r"(?<=\d)(?:\\cdot|\*)(?=[\\a-zA-Z(])", ""),
        (
            r"(\d*\\pi|\d*\\sqrt\{[^{}]*\}|\d+|(?<![a-zA-Z])[a-zA-Z])/(\d+|[a-zA-Z])(?![\w{])",
            r"\\frac{\1}{\2}",
        ),
        (r"^\\frac\{-", r"-\\frac{"),
    )
)


def normal(formula: str) -> str:
    """One spelling of a formula: no spaces, no units, no sizes of brackets, every argument in braces."""
    text = formula[:_LONGEST].strip().strip("$").strip().removesuffix(".")
    for sign, name in _SIGNS.items():
        text = text.replace(sign, name)
    for name, ours in _NAMES.items():
        text = re.sub(rf"\\{name}(?![a-zA-Z])", rf"\\{ours}", text)
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text
