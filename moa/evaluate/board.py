"""The leaderboard of an experiment: every entrant's numbers with error bars, and who is better than whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moa.errors import UsageError
from moa.evaluate.difficulty import length_model
from moa.evaluate.figures import (
    LABELS,
    LengthControl,
    LengthModel,
    Sizes,
    length_control,
    names_of,
    plain_figure,
    scale_of,
    scores_for,
)
from moa.evaluate.findings import findings
from moa.evaluate.folder import Folder
from moa.evaluate.merging import Merged, merge
from moa.evaluate.numbers.agreement import length_bias
from moa.evaluate.numbers.intervals import Estimate, Floats, mean
from moa.evaluate.numbers.length_control import Fit
from moa.evaluate.pairing import paired, paired_by_length, settled
from moa.evaluate.rating import ratings
from moa.evaluate.sheet import Sheet, read_sheet
from moa.evaluate.standings import Board as Board
from moa.evaluate.standings import Consistency as Consistency
from moa.evaluate.standings import Cost as Cost
from moa.evaluate.standings import Counts as Counts
from moa.evaluate.standings import Drafts as Drafts
from moa.evaluate.standings import Figure as Figure
from moa.evaluate.standings import Finding as Finding
from moa.evaluate.standings import Pair as Pair
from moa.evaluate.standings import Row as Row
from moa.evaluate.styling import style_figures
from moa.evaluate.texts import Texts, look_at, sampled_items
from moa.spec.evaluation import AnswerSpec

LENGTH_CONTROLLED = "length-controlled"
STYLE_CONTROLLED = "style-controlled"
EVEN = 50.0


def board(
    folders: Sequence[Folder],
    *,
    seed: int = 0,
    bootstrap: int = 1000,
    reference: Path | None = None,
    fit: Fit = "newton",
) -> Board:
    """The leaderboard of one experiment, or of several that ask and judge the same.

    Args:
        folders: experiments with the same evaluation, judge and items.
        seed: of everything that is drawn.
        bootstrap: replicates of an interval.
        reference: a folder with AlpacaEval's instruction difficulties, for its length control.
        fit: of length control: `liblinear-cv` is AlpacaEval's own, to the last digit.

    Raises:
        UsageError: where folders do not belong together, or a file in them is damaged; names the file.
    """
    merged = merge(folders)
    sizes = Sizes(bootstrap, seed).of(len(merged.agenda))
    return _Maker(merged, sizes, reference, fit).board()


@dataclass(slots=True)
class _Maker:
    """Puts a board together from what was read."""

    merged: Merged
    sizes: Sizes
    reference: Path | None
    fit: Fit
    sheets: dict[str, Sheet] = field(default_factory=dict)
    controls: dict[str, LengthControl | None] = field(default_factory=dict)
    styles: dict[str, Figure] = field(default_factory=dict)
    baseline: str | None = None
    baseline_lengths: Floats = field(default_factory=lambda: np.empty(0))

    def board(self) -> Board:
        """Everything, best first."""
        self._read()
        experiment = self.merged.experiment
        kinds = dict.fromkeys(kind for sheet in self.sheets.values() for kind in sheet.kinds)
        names = names_of(experiment.spec.get("numbers", ()), tuple(kinds))
        first = self.merged.parts[0].folder
        model = length_model(experiment, first, self.baseline_lengths, self.reference, self.fit)
        if STYLE_CONTROLLED in names:
            everybody = list(self.sheets.values())
            agenda = self.merged.agenda
            self.styles = style_figures(everybody, self.baseline, first, agenda, self.sizes)
        figures = {sheet.name: self._figures(sheet, names, model) for sheet in self.sheets.values()}
        texts = self._texts(first)
        rated = ratings(list(self.sheets.values()), self.baseline, seed=self.sizes.seed)
        headline = next(
            (name for name in names if any(_named(name, found) for found in figures.values())), ""
        )
        rows = [
            self._row(sheet, headline, (*figures[sheet.name], *rated.get(sheet.name, ())), texts[sheet.name])
            for sheet in self.sheets.values()
        ]
        rows.sort(key=lambda row: -row.headline.estimate.value if row.headline else np.inf)
        ranked = [self.sheets[row.name] for row in rows]
        unit = next((row.headline.unit for row in rows if row.headline), "")
        return Board(
            evaluation=experiment.evaluation,
            experiment=experiment,
            items=len(self.merged.agenda),
            judge=experiment.judge or "",
            baseline=self.baseline,
            headline=headline,
            label=LABELS.get(headline, headline),
            unit=unit,
            rows=tuple(rows),
            pairs=self._pairs(ranked, headline),
            findings=tuple(findings(rows, self.sheets, self.controls, texts)),
        )

    def _texts(self, folder: Folder) -> dict[str, Texts]:
        items = sampled_items(folder, self.merged.agenda)
        asked = self.merged.experiment.spec.get("answer")
        exact = AnswerSpec.model_validate(asked) if asked is not None else None
        return {
            sheet.name: look_at(sheet, items, self.merged.agenda, exact) for sheet in self.sheets.values()
        }

    def _read(self) -> None:
        agenda = self.merged.agenda
        for part in self.merged.parts:
            sheet = read_sheet(part.name, part.entrant, part.folder, agenda)
            self.sheets[part.name] = sheet
            if part.is_baseline and self.baseline is None:
                self.baseline, sheet.is_baseline = part.name, True
        self.baseline = self.baseline or self.merged.experiment.baseline
        own = self.sheets.get(self.baseline or "")
        self.baseline_lengths = own.lengths if own is not None else agenda.baseline_lengths
        for sheet in self.sheets.values():
            known = np.isfinite(self.baseline_lengths)
            self.baseline_lengths = np.where(known, self.baseline_lengths, sheet.baseline_lengths)
        if own is not None and any("preference" in sheet.kinds for sheet in self.sheets.values()):
            own.values = np.where(own.answered == 1, 0.5, np.nan)

    def _figures(self, sheet: Sheet, names: Sequence[str], model: LengthModel) -> tuple[Figure, ...]:
        if sheet.is_baseline and np.isfinite(sheet.values).any() and not sheet.kinds:
            even = Estimate(EVEN, 0.0, EVEN, EVEN, int(np.isfinite(sheet.values).sum()), "by definition")
            shown = [name for name in names if name.endswith(("win-rate", "controlled"))]
            if LENGTH_CONTROLLED in names:
                self.controls[sheet.name] = None
            return tuple(Figure(name, LABELS[name], even, "%", "the baseline") for name in shown)
        return tuple(self._entrant_figures(sheet, names, model))

    def _entrant_figures(self, sheet: Sheet, names: Sequence[str], model: LengthModel) -> Iterator[Figure]:
        for name in names:
            if name == STYLE_CONTROLLED:
                if sheet.name in self.styles:
                    yield self.styles[sheet.name]
                continue
            if name != LENGTH_CONTROLLED:
                figure = plain_figure(name, sheet, self.baseline_lengths)
                if figure is not None:
                    yield figure
                continue
            try:
                control = length_control(sheet, model, self.sizes)
            except UsageError:  # nothing was judged, or all lengths are alike
                continue
            self.controls[sheet.name] = control
            yield Figure(name, LABELS[name], control.estimate, "%", model.note)

    def _row(self, sheet: Sheet, headline: str, figures: tuple[Figure, ...], texts: Texts) -> Row:
        return Row(
            name=sheet.name,
            entrant=sheet.entrant,
            folder=sheet.folder,
            headline=_named(headline, figures),
            figures=figures,
            counts=_counts(sheet),
            cost=_cost(sheet),
            judge_cost=_judge_cost(sheet),
            consistency=_consistency(sheet),
            drafts=texts.drafts,
            is_baseline=sheet.is_baseline,
            longer_preferred=_longer_preferred(sheet, self.baseline_lengths),
        )

    def _pairs(self, ranked: Sequence[Sheet], headline: str) -> tuple[Pair, ...]:
        if headline == LENGTH_CONTROLLED:
            controls = {
                sheet.name: self.controls[sheet.name] for sheet in ranked if sheet.name in self.controls
            }
            return settled(paired_by_length(controls, len(self.merged.agenda), self.sizes))
        scores = {sheet.name: scores_for(headline, sheet, self.baseline_lengths) for sheet in ranked}
        return settled(paired(scores, scale_of(headline), self.sizes.seed))


def _named(name: str, figures: Sequence[Figure]) -> Figure | None:
    return next((figure for figure in figures if figure.name == name), None)


def _counts(sheet: Sheet) -> Counts:
    values = sheet.values[np.isfinite(sheet.values)] if "preference" in sheet.kinds else np.empty(0)
    return Counts(
        items=len(sheet.answered),
        answered=int(np.sum(sheet.answered == 1)),
        failed=int(np.sum(sheet.answered == 0)),
        ok=sheet.states["ok"],
        refused=sheet.states["refused"],
        unparsed=sheet.states["unparsed"],
        unjudged=sheet.states["failed"],
        wins=int(np.sum(values > 0.5)),
        losses=int(np.sum(values < 0.5)),
        draws=int(np.sum(values == 0.5)),
    )


def _cost(sheet: Sheet) -> Cost | None:
    known = sheet.answered == 1
    if not known.any():
        return None
    latencies = sheet.latencies[known]
    return Cost(
        calls=float(sheet.calls[known].mean()),
        input_tokens=float(sheet.input_tokens[known].mean()),
        output_tokens=float(sheet.output_tokens[known].mean()),
        cached_tokens=float(sheet.cached_tokens[known].mean()),
        usd=_or_none(float(sheet.costs[known].mean())),
        latency_median=float(np.median(latencies)),
        latency_p90=float(np.quantile(latencies, 0.9)),
        length=float(sheet.lengths[known].mean()),
    )


def _judge_cost(sheet: Sheet) -> float | None:
    known = sheet.judge_costs[np.isfinite(sheet.read)]
    return _or_none(float(known.mean())) if len(known) else None


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _longer_preferred(sheet: Sheet, baseline_lengths: Floats) -> Estimate | None:
    if "preference" not in sheet.kinds:
        return None
    longer = sheet.lengths - baseline_lengths
    known = np.isfinite(longer) & np.isfinite(sheet.values)
    try:
        return length_bias(sheet.values[known], longer[known]).longer_preferred
    except UsageError:  # too few pairs, or nothing varies
        return None


def _consistency(sheet: Sheet) -> Consistency | None:
    gap = sheet.shown_first - sheet.shown_second
    both = np.isfinite(gap)
    if both.sum() < 2:
        return None
    sides = [np.sign(values[both] - 0.5) for values in (sheet.shown_first, sheet.shown_second)]
    return Consistency(int(both.sum()), float(np.mean(sides[0] == sides[1])), mean(gap[both]))
