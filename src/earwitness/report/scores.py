"""Sections on scores: ROC and DET curves, histograms, reliability and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from earwitness.evaluation.schema import Calibration, Metrics
from earwitness.evaluation.slices import Curves, Histogram, Slice
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Gallery, Note, Section
from earwitness.report.charts.curves import (
    Bin,
    Curve,
    det_chart,
    distribution_chart,
    reliability_chart,
    roc_chart,
)
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.tables import (
    Cell,
    Table,
    estimate_cell,
    make_row,
    name_cell,
    number_cell,
    number_columns,
    text_columns,
)
from earwitness.report.thinning import keep_some, thin

_SCALES = {
    "logit": "logit of the score (0 is a score of 0.5)",
    "pred_prob": "score (0 real, 1 fake)",
}


def curves(metrics: Metrics) -> Section:
    """Return ROC and DET curves of each detector, or why there are none."""
    parts = metrics.where(kind="overall") or metrics.where(kind="dataset")
    drawn = [(part, part.curves) for part in parts if part.curves is not None]
    if not drawn:
        reasons = {part.no_curves or "no scored items" for part in parts} or {"no scored items"}
        return Section("curves", "Curves", "", [Note(f"No curves: {'; '.join(sorted(reasons))}.")])
    cards = [
        _curves_card(part, own, [(o.detector, found) for o, found in drawn if o is not part])
        for part, own in drawn
    ]
    missing = [
        Note(f"{part.detector} has no curves: {part.no_curves}.", detector=part.detector)
        for part in parts
        if part.curves is None
    ]
    lead = (
        "Error rates at all thresholds, over all items; grey curves are the other detectors. ROC "
        "curves are better toward the top left, DET curves toward the bottom left."
    )
    return Section("curves", "Curves", lead, [Gallery(cards, has_pairs=True), *missing])


def _curves_card(part: Slice, own: Curves, others: Sequence[tuple[str, Curves]]) -> ChartCard:
    auroc, eer = (formatting.full_estimate(part.estimates[name]) for name in ("auroc", "eer"))
    note = f"AUROC {auroc}; EER {eer}."
    charts = [_draw_roc(part.detector, own, others, auroc)]
    if own.det.fpr:
        charts.append(_draw_det(part.detector, own, others, eer))
    else:
        note += " No DET curve: at every threshold one of the two error rates is 0."
    tables = [_points_table(part, own)]
    return ChartCard(part.detector, charts, note, tables, detector=part.detector)


def _draw_roc(name: str, own: Curves, others: Sequence[tuple[str, Curves]], auroc: str) -> Markup:
    roc = own.roc
    tooltips = [
        f"threshold {_threshold(at)}: {formatting.percent(tpr)} of fakes found, "
        f"{formatting.percent(fpr)} of reals flagged"
        for fpr, tpr, at in zip(roc.fpr, roc.tpr, roc.threshold, strict=True)
    ]
    front = Curve(name, roc.fpr, roc.tpr, keep_some(tooltips))
    behind = [Curve(n, thin(c.roc.fpr), thin(c.roc.tpr)) for n, c in others]
    return draw_inline(roc_chart(front, behind), aria_label=f"ROC curve of {name}, AUROC {auroc}")


def _draw_det(name: str, own: Curves, others: Sequence[tuple[str, Curves]], eer: str) -> Markup:
    det = own.det
    tooltips = [
        f"{formatting.percent(fpr)} of reals flagged, {formatting.percent(fnr)} of fakes missed"
        for fpr, fnr in zip(det.fpr, det.fnr, strict=True)
    ]
    front = Curve(name, det.probit_fpr, det.probit_fnr, keep_some(tooltips))
    behind = [Curve(n, thin(c.det.probit_fpr), thin(c.det.probit_fnr)) for n, c in others]
    return draw_inline(det_chart(front, behind), aria_label=f"DET curve of {name}, EER {eer}")


def _points_table(part: Slice, own: Curves) -> Table:
    points = list(zip(own.roc.threshold, own.roc.fpr, own.roc.tpr, strict=True))
    rows = [
        make_row(Cell(_threshold(at), at), *map(number_cell, (fpr, tpr, 1 - tpr)))
        for at, fpr, tpr in thin(points, 24)
    ]
    columns = number_columns("threshold", "reals called fake", "fakes called fake", "fakes missed")
    return Table(f"Points of the curves of {part.detector}", columns, rows)


def _threshold(at: float | None) -> str:
    return "above all" if at is None else f"{at:.4g}"


def scores(metrics: Metrics) -> Section | None:
    """Return histograms and reliability diagrams; ``None`` without scores."""
    cards = [_scores_card(p) for p in metrics.where(kind="overall") if p.histograms]
    if not cards:
        return None
    blocks: list[Block] = [Gallery(cards, has_pairs=True)]
    if metrics.calibrations:
        blocks.append(_calibrations(metrics.calibrations))
    lead = (
        "The distribution of scores over reals and fakes, over all items, and the share of fakes "
        "among items with similar scores. Scores on the dashed line are calibrated probabilities, "
        "at the share of fakes in this data."
    )
    return Section("scores", "Scores", lead, blocks)


def _scores_card(part: Slice) -> ChartCard:
    """Return histogram and reliability; bins of logits separate more than those of scores."""
    drawn = next((h for h in part.histograms if h.scale == "logit"), part.histograms[0])
    charts, tables = [_draw_histogram(part.detector, drawn)], [_bins(part.detector, drawn)]
    note = "Reals upwards, fakes downwards, each as a share of its class."
    if part.reliability:
        charts.append(_draw_reliability(part))
        tables.append(_reliability_table(part))
        ece = part.estimates.get("ece")
        note += "" if ece is None else f" ECE {formatting.full_estimate(ece)}."
    return ChartCard(part.detector, charts, note, tables, detector=part.detector)


def _draw_histogram(detector: str, drawn: Histogram) -> Markup:
    classes = [
        f"{sum(counts)} {name}, median about {_median(drawn.edges, counts)}"
        for name, counts in (("reals", drawn.real), ("fakes", drawn.fake))
    ]
    chart = distribution_chart(drawn.edges, drawn.real, drawn.fake, title=_SCALES[drawn.scale])
    label = f"Histogram of the scores of {detector}: {'; '.join(classes)}."
    return draw_inline(chart, aria_label=label)


def _median(edges: list[float], counts: list[int]) -> str:
    """Return the middle of the median's bin."""
    half, seen = sum(counts) / 2, 0
    for (low, high), n in zip(pairwise(edges), counts, strict=True):
        seen += n
        if n and seen >= half:
            return f"{(low + high) / 2:.2g}"
    return formatting.UNDEFINED


def _bins(detector: str, drawn: Histogram) -> Table:
    bins = zip(pairwise(drawn.edges), drawn.real, drawn.fake, strict=True)
    rows = [
        make_row(Cell(f"{low:.3g} to {high:.3g}", low), real, fake)
        for (low, high), real, fake in bins
        if real or fake
    ]
    columns = number_columns(_SCALES[drawn.scale].split(" (")[0], "reals", "fakes")
    return Table(f"Histogram of {detector} (non-empty bins)", columns, rows)


def _draw_reliability(part: Slice) -> Markup:
    bins = []
    for one in part.reliability:
        share, mean = one.share_fake, one.mean_prob
        tooltip = f"score {mean:.2f}: {formatting.full_estimate(share)} fake, {one.n} items"
        bins.append(Bin(mean, share.number, share.low, share.high, one.n, tooltip))
    label = f"Reliability diagram of {part.detector}: {'; '.join(one.tooltip for one in bins)}"
    return draw_inline(reliability_chart(bins), aria_label=label)


def _reliability_table(part: Slice) -> Table:
    rows = [
        make_row(
            Cell(f"{one.low:.3f} to {one.high:.3f}", one.low),
            number_cell(one.mean_prob),
            one.share_fake,
            one.n,
        )
        for one in part.reliability
    ]
    columns = number_columns("scores", "mean score", "share of fakes", "items")
    return Table(f"Reliability of {part.detector}", columns, rows)


def _calibrations(found: list[Calibration]) -> Table:
    names = list(dict.fromkeys(name for one in found for name in one.before))
    rows = []
    for one in found:
        fitted = f"{one.method}: {one.scale:.3g} × logit"
        if one.offset:
            fitted += f" {'+' if one.offset > 0 else '−'} {abs(one.offset):.3g}"
        fake = formatting.percent(one.prevalence_fitted)
        source = f"{one.fitted_on} ({formatting.count(one.n_fitted)} items, {fake} fake)"
        metrics = [estimate_cell(part.get(n)) for n in names for part in (one.before, one.after)]
        rows.append(
            make_row(name_cell(one.detector), fitted, source, *metrics, detector=one.detector)
        )
    labels = [f"{n.replace('_', ' ')} {when}" for n in names for when in ("before", "after")]
    return Table(
        "Calibration, evaluated on rows it was not fitted on",
        [*text_columns("detector", "map", "fitted on"), *number_columns(*labels)],
        rows,
        ["Calibrated scores are probabilities at the share of fakes they were fitted at."],
    )
