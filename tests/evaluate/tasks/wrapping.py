"""Ways in which models put a right answer into words."""

from __future__ import annotations

SAID = (
    "Answer: {x}",
    "**Answer:** {x}",
    "Answer: **{x}**",
    "answer: {x}.",
    "The answer is {x}.",
    "Therefore, the final answer is {x}",
    "The correct answer is: {x}.",
    "So the answer is:\n\n{x}",
    "### Final answer: {x}",
    "<think>Answer: no idea yet</think>\nAnswer: {x}",
)
"""Say `{x}` in words; for every kind of answer."""
BOXED = (
    "\\boxed{{{x}}}",
    "$\\boxed{{{x}}}$",
    "\\[\n\\boxed{{{x}}}\n\\]",
    "The answer is $\\boxed{{{x}}}$.",
    "Answer: \\boxed{{ {x} }}",
    "\\fbox{{{x}}}",
)
CHOSEN = (
    "{x}",
    "({x})",
    "**{x}**",
    "{x}.",
    "Answer: ({x})",
    "Answer: ({x}).",
    "Answer: [{x}]",
    "Answer: `{x}`",
    "Answer: {x}) {text}",
    "Answer: {x}. {text}",
    "Answer: **({x}) {text}**",
    "The answer is option {x}: {text}",
    "The correct option is ({x}).",
    "Answer: {text}",
    "[[{x}]]",
    "I choose {x}.",
    "So I would go with option {x}.",
    "Option {x} is correct.",
    "({x}) is the best answer.",
    "\\boxed{{\\text{{{x}}}}}",
    "\\boxed{{\\mathrm{{({x})}}}}",
    "Answer: \\textbf{{{x}}}",
)
"""Choose the option `{x}`, whose text is `{text}`."""
BEFORE = ("", "Let me think.\n\n", "I look at the question. It has 4 options, and a trap.\n")
AFTER = ("", "\n", " ", "\n\n")
