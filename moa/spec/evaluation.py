"""What users write about an evaluation: what is asked, who judges, which numbers come out."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints, field_validator, model_validator

from moa.spec.agent import Identifier, Spec
from moa.spec.attack import Overlay

Order = Literal["both", "seeded", "fixed"]
JudgeKind = Literal["pairwise", "score", "checklist"]
Number = Literal[
    "win-rate",
    "length-controlled",
    "discrete-win-rate",
    "style-controlled",
    "wb-reward",
    "wb-score",
    "mean-score",
    "pass-rate",
    "accuracy",
    "parse-rate",
    "bradley-terry",
    "elo",
]
"""Figures that a report can show, in the words of the papers that they come from."""

FieldPath = Annotated[str, StringConstraints(min_length=1)]
"""A field of a row; `references.gpt-4` and `messages.1.content` lead into objects and lists."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB = re.compile(r"(spaces/)?[\w.-]+/[\w.-]+")


class JoinSpec(Spec):
    """More fields of each row, from a second file in the same folder."""

    beside: str
    """The file's name; `*` stands for the name of the data file without its ending."""
    by: str
    """The field, of both files, whose values belong together."""


class SourceSpec(Spec):
    """Where rows come from: a file, or files of a dataset on the Hugging Face hub."""

    path: str | None = None
    """A JSONL, JSON, CSV or Parquet file (also .gz); relative to the evaluation's own file, then to here."""
    hub: str | None = None
    """A dataset's name on the hub, such as `openai/gsm8k`; a space's begins with `spaces/`."""
    file: str | tuple[str, ...] | None = None
    """The file inside that dataset, or several whose rows follow each other."""
    revision: str = "main"
    sha256: str | None = None
    """The file's SHA-256, where only that very file will do."""
    fields: dict[Identifier, FieldPath | tuple[FieldPath, ...]] = Field(default_factory=dict)
    """Our name of a field to the file's own: `{prompt: question}`; of several, the first that a row has.

    Ours are `id`, `prompt`, `turns`, `messages`, `group`, `answer`, `options`, `references`, `checklist` and
    `baseline`; any other name is for the templates. Those that agree need no entry. `@folder` is the name of the
    file's folder.
    """
    where: dict[str, JsonValue] = Field(default_factory=dict)
    """Only rows whose fields have these values (or one of these, for a list); null: the row lacks the field."""
    join: JoinSpec | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files inside the dataset."""
        return (self.file,) if isinstance(self.file, str) else self.file or ()

    @field_validator("hub")
    @classmethod
    def _a_dataset(cls, value: str | None) -> str | None:
        if value is not None and not _HUB.fullmatch(value):
            raise ValueError("a dataset on the hub is called `owner/name`, such as `openai/gsm8k`")
        return value

    @field_validator("sha256")
    @classmethod
    def _a_digest(cls, value: str | None) -> str | None:
        if value is not None and not _SHA256.fullmatch(value):
            raise ValueError("a SHA-256 is 64 characters of 0-9 and a-f")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> SourceSpec:
        if (self.path is None) == (self.hub is None):
            raise ValueError("needs either `path` or `hub`")
        if (self.hub is None) != (not self.files):
            raise ValueError("`hub` and `file` go together")
        if self.sha256 is not None and len(self.files) > 1:
            raise ValueError("`sha256` is that of one file, and these are several: pin `revision` instead")
        return self


class BaselineSpec(SourceSpec):
    """Recorded outputs that every entrant is compared with.

    A row's output is its field `output`. Rows belong to items by `id` where they have one, else by `prompt`.
    """

    name: str
    """What the report calls it."""
    models: dict[str, str] = Field(default_factory=dict)
    """Where rows of several models stand together: which one's is meant, by the item's group."""


class AnswerSpec(Spec):
    """How a reply is read and compared with the item's own answer; no model is asked."""

    read: Literal["number", "boxed", "letter", "index", "literal", "text"] = "text"
    """The last number; LaTeX in a box; the letter of an option, or its number from 0; a Python literal; or words."""
    pattern: str | None = None
    """A regular expression whose last match's first group is read instead of the whole reply."""
    given: Literal["index", "number", "letter", "text"] | None = None
    """How a row names the right option: counted from 0, from 1, by letter, or by its text; else it is told by the value."""
    shuffle: bool = False
    """Whether the options stand in an order drawn anew for each item and seed."""

    @field_validator("pattern")
    @classmethod
    def _a_pattern(cls, value: str | None) -> str | None:
        try:
            groups = re.compile(value or "()").groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if not groups:
            raise ValueError("needs a group in parentheses: what is read")
        return value

    @model_validator(mode="after")
    def _options_only(self) -> AnswerSpec:
        if not self.of_options and (self.given or self.shuffle):
            raise ValueError(
                "`given` and `shuffle` are about options: they need `read: letter` or `read: index`"
            )
        return self

    @property
    def of_options(self) -> bool:
        """Whether one of several options is right."""
        return self.read in {"letter", "index"}


class JudgeSpec(Spec):
    """Who judges, and how."""

    kind: JudgeKind = "pairwise"
    graph: str | None = None
    """A graph of judges: a name of the catalogue or a path; or `agent`, for a single one."""
    agent: str | None = None
    """By default `judge-pairwise`, `judge-score` or `checklist-answerer`, as `kind` says."""
    model: str = "judge"
    """The model that judges, or a slot of that name; in a graph, of every slot that `models` leaves open."""
    models: dict[str, str] = Field(default_factory=dict)
    """The models of a graph's slots."""
    order: Order = "both"
    """Both orders averaged; AlpacaEval's seeded single order; or always the baseline first."""
    labels: tuple[str, str] | None = None
    """Fixed names of the two candidates; by default they are drawn anew for each call."""
    samples: int = Field(1, ge=1)
    """Verdicts of a single agent that are averaged, for models that give no log-probabilities."""
    scale: tuple[float, float] = (1, 10)
    """The lowest and the highest score; any other is unreadable."""
    writer: str = "checklist-writer"
    """The agent that writes the checklist of an item that brings none."""

    @model_validator(mode="after")
    def _whole(self) -> JudgeSpec:
        if self.agent is not None and self.graph is not None:
            raise ValueError("takes `agent` or `graph`, not both")
        if self.graph is not None and self.samples > 1:
            raise ValueError("`samples` belongs to a single agent: write it into the graph instead")
        if self.labels is not None and self.labels[0] == self.labels[1]:
            raise ValueError("the two labels must differ")
        if self.scale[0] >= self.scale[1]:
            raise ValueError("`scale` is the lowest score, then the highest")
        return self


class StandIn(Spec):
    """An agent with values for its templates; `NAME` is the short form."""

    agent: str
    vars: dict[str, JsonValue] = Field(default_factory=dict)


def _read_stand_in(value: object) -> object:
    return {"agent": value} if isinstance(value, str) else value


Standing = Annotated[StandIn, BeforeValidator(_read_stand_in)]


class ProtocolSpec(Spec):
    """Who stands in for a graph's own agents while it is evaluated, by their place in the graph.

    Made for the persuasion study of Wolf et al. 2025 (arXiv:2503.05856), in which the last aggregator sees only what
    others argue, and each of these sees a part of the passage.
    """

    first: Standing | None = None
    """At nodes that hear nobody."""
    middle: Standing | None = None
    """At nodes that hear others."""
    final: Standing | None = None
    """At the node that answers, and in a defence that stands there."""
    roles: Overlay = Field(default_factory=dict)
    """Who deceives here where an attack names this agent: `{promoter: {agent: persuader, vars: {stance: promoter}}}`."""
    passage: Literal["parts", "whole"] = "parts"
    """Whether each proposer sees a part of its own, told to agents with the variables `part` and `parts`; or all of it."""
    given: tuple[Identifier, ...] = ()
    """Fields of a row that agents are given beside the prompt."""


class EvalSpec(Spec):
    """An evaluation: its data, how a row becomes a question, and how an answer is judged."""

    name: str = ""
    description: str = ""
    source: str | None = None
    """The paper or page that the evaluation comes from."""
    licence: str | None = None
    """The licence of the data."""
    data: SourceSpec
    prompt: str | None = None
    """A template over a row's fields that makes the user's turn; without it, the row's own `prompt`.

    It also sees `lettered`: the options, a line each, as `A. ...`, or as `(0) ...` where their numbers are read.
    """
    system: str | None = None
    """A template that makes the system message."""
    answer: AnswerSpec | None = None
    """Exact match; or `judge`."""
    judge: JudgeSpec | None = None
    baseline: BaselineSpec | None = None
    """What a pairwise judge compares with; without it, the entrant that `--baseline` names."""
    numbers: tuple[Number, ...] = ()
    """The figures of the report, the first of them the headline."""
    targets: Literal["seeded", "sequential"] = "seeded"
    """How the wrong option is drawn that deceivers argue for: for each question by itself, with the seed of the run; or
    as Wolf et al. 2025 did, for one row after another by Python's `Random(42)`."""
    protocol: ProtocolSpec | None = None
    """Agents that stand in for those of every graph that is evaluated."""

    @model_validator(mode="after")
    def _one_way(self) -> EvalSpec:
        if (self.answer is None) == (self.judge is None):
            raise ValueError("needs either `answer` (exact match) or `judge`")
        return self
