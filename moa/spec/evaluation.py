"""What users write about an evaluation: what is asked, who judges, which numbers come out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from moa.spec.agent import Spec

Order = Literal["both", "seeded", "fixed"]
JudgeKind = Literal["pairwise", "score", "checklist"]


class SourceSpec(Spec):
    """Where rows come from: a file, or a file of a dataset on the Hugging Face hub."""

    path: str | None = None
    """A JSONL, JSON, CSV or Parquet file (also .gz); relative to the evaluation's own file, then to here."""
    hub: str | None = None
    """A dataset's name on the hub, such as `openai/gsm8k`."""
    file: str | None = None
    """The file inside that dataset."""
    revision: str = "main"
    sha256: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    """Our name of a field to the file's own: `{prompt: question}`; those that agree need no entry."""
    where: dict[str, JsonValue] = Field(default_factory=dict)
    """Only rows whose fields have these values (or one of these, for a list)."""

    @model_validator(mode="after")
    def _one_place(self) -> SourceSpec:
        if (self.path is None) == (self.hub is None):
            raise ValueError("needs either `path` or `hub`")
        if (self.hub is None) != (self.file is None):
            raise ValueError("`hub` and `file` go together")
        return self


class BaselineSpec(SourceSpec):
    """Recorded outputs that every entrant is compared with."""

    name: str


class AnswerSpec(Spec):
    """How a reply is read and compared with the item's own answer; no model is asked."""

    read: Literal["number", "boxed", "letter", "literal", "text"] = "text"
    pattern: str | None = None
    """A regular expression whose last match's first group is read instead of the whole reply."""


class JudgeSpec(Spec):
    """Who judges, and how."""

    kind: JudgeKind = "pairwise"
    graph: str | None = None
    """A graph of judges: a name of the catalogue or a path; or `agent`, for a single one."""
    agent: str | None = None
    model: str = "judge"
    """The model that judges, or a slot of that name."""
    order: Order = "both"
    """Both orders averaged; AlpacaEval's seeded single order; or always the baseline first."""
    labels: tuple[str, str] | None = None
    """Fixed names of the two candidates; by default they are drawn anew for each call."""


class EvalSpec(Spec):
    """An evaluation: its data, how a row becomes a question, and how an answer is judged."""

    name: str = ""
    description: str = ""
    source: str | None = None
    """The paper or page that the evaluation comes from."""
    data: SourceSpec
    prompt: str | None = None
    """A template over a row's fields that makes the user's turn; without it, the row's own `prompt`."""
    system: str | None = None
    answer: AnswerSpec | None = None
    """Exact match; or `judge`."""
    judge: JudgeSpec | None = None
    baseline: BaselineSpec | None = None
    """What a pairwise judge compares with; without it, the entrant that `--baseline` names."""
    numbers: tuple[str, ...] = ()
    """The figures of the report, the first of them the headline."""

    @model_validator(mode="after")
    def _one_way(self) -> EvalSpec:
        if (self.answer is None) == (self.judge is None):
            raise ValueError("needs either `answer` (exact match) or `judge`")
        return self
