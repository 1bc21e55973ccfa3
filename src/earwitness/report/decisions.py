"""Sections on decisions: confusion matrices, comparison table, mistakes, operating points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from earwitness.core.estimate import ComparisonRow, Estimate
from earwitness.evaluation.schema import (
    Claim,
    DetectorInfo,
    Metrics,
    Mistake,
    OperatingPoint,
    Transfer,
)
from earwitness.evaluation.slices import TableRow
from earwitness.evaluation.summarize import is_one_class
from earwitness.evaluation.thresholds import PER
from earwitness.report import formatting
from earwitness.report.blocks import (
    Block,
    ChartCard,
    Details,
    Gallery,
    Misclassified,
    MisclassifiedList,
    Note,
    Section,
    Stat,
    StatCard,
)
from earwitness.report.charts.matrices import (
    ALARMS,
    SHARES,
    HeatCell,
    confusion_chart,
    heatmap_chart,
)
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.comparison import comparison_table, lost_sentences
from earwitness.report.metric_tables import strata_table, transfer_table
from earwitness.report.selective import is_one_sided
from earwitness.report.tables import (
    Cell,
    Column,
    Table,
    interval_notes,
    make_row,
    number_columns,
    share_cell,
)

FindAudio = Callable[[Mistake], str | None]
"""Returns a link to the audio of a mistake; ``None`` if the page cannot reach it."""


def decisions(metrics: Metrics) -> Section | None:
    """Return confusion matrices and the comparison table; ``None`` without decisions."""
    overall = [part for part in metrics.where(kind="overall") if part.counts]
    if not overall and not metrics.table:
        return None
    traces = {one.name for one in metrics.detectors if is_one_sided(one)}
    blocks: list[Block] = []
    if overall:
        matrices = [
            _matrix(
                ComparisonRow(
                    part.detector,
                    "all items",
                    part.counts,
                    part.coverage.n_lost,
                    part.coverage.n_abstained,
                    one_sided=part.detector in traces,
                )
            )
            for part in overall
            if part.counts
        ]
        blocks.append(Gallery(matrices))
    if metrics.table:
        rows = [
            ComparisonRow(
                *(row.model, row.dataset, row.counts, row.n_lost, row.n_abstained),
                one_sided=row.model in traces,
            )
            for row in metrics.table
        ]
        blocks += [Gallery([_by_data_set(metrics.table)])] if len(rows) > 1 else []
        blocks.append(comparison_table(rows, always_lost=True))
        blocks += _matrices(rows, has_overall=bool(overall))
    lead = (
        "Confusion matrices and rates at the decision threshold. Recall is the share of fakes "
        "called fake, specificity the share of reals that are not; if a data set has one class "
        "only, the rate of the other is undefined. Items without a score are in no matrix."
    )
    return Section("decisions", "Decisions", lead, blocks)


def _matrices(rows: Sequence[ComparisonRow], *, has_overall: bool) -> list[Block]:
    """Return the matrices of data sets, unless there is one set only or very many rows."""
    if (has_overall and len({row.dataset for row in rows}) == 1) or len(rows) > 24:
        return []
    cards = [_matrix(row) for row in rows if row.counts.n]
    return [Details("A confusion matrix per detector and data set", [Gallery(cards)])]


def _matrix(row: ComparisonRow) -> ChartCard:
    """Return a confusion matrix, with the number of items that are not in it."""
    detector, counts, where = row.model, row.counts, row.dataset
    other, flagged = ("no trace", "trace") if row.one_sided else ("called real", "called fake")
    notes = [f"On {where}: {formatting.count(counts.n)} items.", *lost_sentences(row)]
    notes += ["No trace does not say real."] * row.one_sided
    label = (
        f"Confusion matrix of {detector} on {where}: of {counts.n_real} reals, {counts.tn} "
        f"{other} and {counts.fp} {flagged}; of {counts.n_fake} fakes, {counts.fn} {other} and "
        f"{counts.tp} {flagged}."
    )
    rows = [
        make_row("real", counts.tn, counts.fp, detector=detector),
        make_row("fake", counts.fn, counts.tp, detector=detector),
    ]
    columns = [Column("truth", "text"), *number_columns(other, flagged)]
    chart = confusion_chart(counts, normalized=True, one_sided=row.one_sided)
    return ChartCard(
        title=detector,
        charts=[draw_inline(chart, aria_label=label)],
        note=" ".join(notes),
        tables=[Table(f"Decisions of {detector}", columns, rows)],
        detector=detector,
    )


def _by_data_set(table: Sequence[TableRow]) -> ChartCard:
    cells = []
    for row in table:
        counts, name = row.counts, row.dataset
        if is_one_class(counts):
            name += f" · {'fakes' if counts.n_fake else 'reals'}"
        accuracy = (counts.tp + counts.tn) / counts.n if counts.n else None
        tooltip = f"{row.model} on {row.dataset}: {counts.tp + counts.tn} of {counts.n} correct"
        cells.append(HeatCell(name, row.model, accuracy, tooltip))
    low = min((c for c in cells if c.value is not None), key=lambda c: c.value or 0, default=None)
    lowest = f" Lowest: {low.tooltip}." if low else ""
    label = f"Accuracy of each detector on each data set.{lowest}"
    return ChartCard(
        title="Accuracy by data set",
        charts=[draw_inline(heatmap_chart(cells, steps=SHARES), aria_label=label)],
        note=f"Share of correct decisions.{lowest}",
        is_wide=True,
    )


def mistakes(metrics: Metrics, find_audio: FindAudio) -> Section | None:
    """Return the worst errors of each detector; ``None`` if the metrics come from counts."""
    if metrics.basis == "counts":
        return None
    blocks: list[Block] = [
        _mistakes_of(detector, find_audio, is_open=at == 0)
        for at, detector in enumerate(metrics.detectors)
    ]
    lead = "The most confident errors of each detector, with file names as in the prediction file."
    return Section("mistakes", "Worst mistakes", lead, blocks)


def _mistakes_of(detector: DetectorInfo, find_audio: FindAudio, *, is_open: bool) -> Details:
    flagged, missed = (
        [_misclassified(one, find_audio) for one in found]
        for found in (detector.worst_false_alarms, detector.worst_misses)
    )
    lists = [
        MisclassifiedList(
            "Reals flagged" if is_one_sided(detector) else "Reals called fake",
            flagged,
            "No real was flagged.",
        ),
        MisclassifiedList(
            "Fakes not flagged" if is_one_sided(detector) else "Fakes called real",
            missed,
            "No fake was missed.",
        ),
    ]
    summary = f"{detector.name} ({len(flagged) + len(missed)} shown)"
    return Details(summary, lists, detector.name, is_open)


def _misclassified(one: Mistake, find_audio: FindAudio) -> Misclassified:
    origin = " · ".join(part for part in (one.corpus, one.generator, one.dataset) if part)
    score = formatting.UNDEFINED if one.logit is None else f"logit {one.logit:.2f}"
    if one.pred_prob is not None:
        score = f"score {formatting.number(one.pred_prob)}"
    return Misclassified(one.filepath or "no file name", origin, score, find_audio(one))


def operating(metrics: Metrics) -> Section | None:
    """Return operating points and threshold transfer; ``None`` without any."""
    blocks: list[Block] = []
    if metrics.operating_points:
        confidence = formatting.exact_percent(metrics.provenance.settings.confidence)
        blocks.append(Gallery([_card(point, confidence) for point in metrics.operating_points]))
    if metrics.transfers:
        blocks += _transfers(metrics)
    if metrics.strata:
        note = (
            "Each stratum has a threshold of its own, fitted on other groups of that stratum. "
            "Detectors abstain from strata with too few reals to fit on."
        )
        blocks += [Note(note), strata_table(metrics.strata)]
    lead = (
        "Each detector at its decision threshold. The precision of its flags depends on the share "
        "of fakes in the input."
    )
    return Section("operating", "Operating points", lead, blocks) if blocks else None


def _card(point: OperatingPoint, confidence: str) -> StatCard:
    stats = [
        Stat(formatting.share(found), label, formatting.share_note(found))
        for found, label in ((point.recall, "of fakes found"), (point.specificity, "of reals pass"))
    ]
    return StatCard(
        title=point.detector,
        subtitle=_threshold_text(point),
        stats=[*stats, _false_flags(point.false_flags_per_100k)],
        tables=[_precisions(point), _claims(point, confidence)],
        detector=point.detector,
    )


def _threshold_text(point: OperatingPoint) -> str:
    if point.reason is not None:
        return f"rule {point.rule}: no threshold, {point.reason}"
    if point.rule == "file":
        return "decisions from the prediction file"
    at = "" if point.threshold is None else f"threshold {point.threshold:.4g}, "
    if point.fitted_on is None:
        return f"{at}set by hand"
    fitted = f"fitted on {point.fitted_on} ({formatting.count(point.n_fitted)} items)"
    return f"{at}rule {point.rule}, {fitted}; metrics are from other rows"


def _false_flags(found: Estimate) -> Stat:
    """Return false flags with their range; with none flagged, the upper bound."""
    label = "false flags per 100 000 reals"
    if found.value is None:
        return Stat(formatting.UNDEFINED, label, found.reason or "")
    reals = f"{formatting.count(found.n_items)} reals"
    if found.low is None or found.high is None:
        n_flagged = round(found.value / PER * found.n_items)
        note = f"{n_flagged} of {reals} flagged: {found.reason}"
        return Stat(formatting.UNDEFINED, label, note)
    low, value, high = (formatting.count(round(n)) for n in (found.low, found.value, found.high))
    if found.value == 0:
        return Stat(f"under {high}", label, f"none of {reals} flagged")
    return Stat(value, label, f"{low} to {high}, {reals}")


def _precisions(point: OperatingPoint) -> Table:
    rows = [
        make_row(
            Cell(formatting.exact_percent(one.prevalence), one.prevalence),
            share_cell(one.precision),
        )
        for one in point.prevalences
    ]
    notes = interval_notes(one.precision for one in point.prevalences)
    columns = number_columns("fakes in the input", "correct flags")
    return Table("Precision by prevalence", columns, rows, notes)


def _claims(point: OperatingPoint, confidence: str) -> Table:
    rows = [
        make_row(
            Cell(f"at most {formatting.exact_percent(one.fpr)}", one.fpr),
            one.n_reals,
            Cell(formatting.count(one.n_reals_here), one.n_reals_here, _is_enough(one)),
        )
        for one in point.claims
    ]
    note = (
        f"Groups of reals needed to claim a false positive rate with {confidence} confidence if "
        "none of them is flagged. Each flag raises that number; the last column accounts for the "
        "flags in this data."
    )
    columns = number_columns("false positive rate", "reals needed", "reals here")
    return Table("Claims that the data can support", columns, rows, [note])


def _is_enough(one: Claim) -> str:
    if one.n_flagged_here is None or one.n_reals_flagged is None:
        return "number of flags unknown"
    flagged = f"{formatting.count(one.n_flagged_here) if one.n_flagged_here else 'none'} flagged"
    enough = "enough" if one.is_shown else f"needs {formatting.count(one.n_reals_flagged)}"
    return f"{flagged}: {enough}"


def _transfers(metrics: Metrics) -> list[Block]:
    detectors = dict.fromkeys(found.detector for found in metrics.transfers)
    cards = [
        _transfer(name, [t for t in metrics.transfers if t.detector == name]) for name in detectors
    ]
    note = (
        "A threshold that keeps the false positive rate low on one corpus may not do so on "
        "another. The threshold is fitted on the corpus of the row and applied to other groups, of "
        "the corpus of the column."
    )
    return [Note(note), Gallery(cards, title="Thresholds on other corpora")]


def _transfer(detector: str, found: Sequence[Transfer]) -> ChartCard:
    cells = [
        HeatCell(
            f"fitted on {one.fitted_on}",
            one.applied_to,
            one.fpr.value,
            f"fitted on {one.fitted_on}, applied to {one.applied_to}: "
            f"{formatting.full_estimate(one.fpr)} of reals flagged, "
            f"{formatting.full_estimate(one.recall)} of fakes found",
        )
        for one in _drawable(found)
    ]
    label = f"Share of reals that {detector} flags at thresholds fitted on other corpora"
    chart = [draw_inline(heatmap_chart(cells, steps=ALARMS), aria_label=label)] if cells else []
    rules = ", ".join(dict.fromkeys(one.rule for one in found))
    undefined = "No threshold could be fitted and applied; see Data for the reasons."
    return ChartCard(
        title=detector,
        charts=chart,
        note=f"Share of reals flagged; rule {rules}." if cells else undefined,
        tables=[transfer_table(found)],
        detector=detector,
    )


def _drawable(found: Sequence[Transfer]) -> list[Transfer]:
    """Return the transfers between corpora with at least one defined rate."""
    defined = [one for one in found if one.fpr.is_defined]
    fitted, applied = {one.fitted_on for one in defined}, {one.applied_to for one in defined}
    return [one for one in found if one.fitted_on in fitted and one.applied_to in applied]
