"""Scores: ROC and DET curves, histograms, reliability and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from markupsafe import Markup

from earwitness.evaluation.schema import (
    Calibration,
    Curves,
    Histogram,
    Metrics,
    ReliabilityBin,
    Slice,
)
from earwitness.report import formatting
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
    Block,
    Cell,
    Chapter,
    Figure,
    Gallery,
    Remark,
    Remarks,
    Row,
    Table,
    count_cell,
    estimate_cell,
    text_cell,
)

T = TypeVar("T")
_N_TOLD, _N_BEHIND = 24, 40
_CURVES_LEAD = (
    "Over all thresholds, on all items; grey curves are those of other detectors. Of ROC curves "
    "those further up and left are better, of DET curves those further down and left."
)


def curves(metrics: Metrics) -> Chapter:
    """Return ROC and DET of each detector, or why there are none."""
    parts = metrics.where(kind="overall") or metrics.where(kind="dataset")
    drawn = [(part, part.curves) for part in parts if part.curves is not None]
    if not drawn:
        whys = {part.no_curves or "nothing was judged" for part in parts} or {"nothing was judged"}
        told = f"There are no curves here: {'; '.join(sorted(whys))}."
        return Chapter("curves", "Curves", "", [Remarks([Remark(told)])])
    figures = []
    for part, own in drawn:
        others = [(other.detector, found) for other, found in drawn if other is not part]
        figures.append(_curves_figure(part, own, others))
    blocks: list[Block] = [Gallery(figures, has_pairs=True)]
    missing = [
        Remark(f"{part.detector} has no curves: {part.no_curves}.", detector=part.detector)
        for part in parts
        if part.curves is None
    ]
    blocks += [Remarks(missing)] if missing else []
    return Chapter("curves", "Curves", _CURVES_LEAD, blocks)


def _curves_figure(part: Slice, own: Curves, others: Sequence[tuple[str, Curves]]) -> Figure:
    area, eer = part.estimates["auroc"], part.estimates["eer"]
    note = f"AUROC {formatting.tell(area)}; EER {formatting.tell(eer)}."
    pictures = [_roc(part, own, others)]
    if own.det.fpr:
        pictures.append(_det(part, own, others))
    else:
        note += " No DET curve: at every threshold one of the two error rates is 0."
    return Figure(
        part.detector,
        pictures=pictures,
        note=note,
        tables=[_points_table(part, own)],
        detector=part.detector,
    )


def _roc(part: Slice, own: Curves, others: Sequence[tuple[str, Curves]]) -> Markup:
    roc = own.roc
    told = [
        f"called fake from {_threshold(at)} up: {formatting.percent(tpr)} of fakes found, "
        f"{formatting.percent(fpr)} of reals flagged"
        for fpr, tpr, at in zip(roc.fpr, roc.tpr, roc.threshold, strict=True)
    ]
    front = Curve(part.detector, roc.fpr, roc.tpr, _some(told))
    behind = [Curve(n, _thinned(c.roc.fpr), _thinned(c.roc.tpr)) for n, c in others]
    area = formatting.tell(part.estimates["auroc"])
    return draw_inline(roc_chart(front, behind), told=f"ROC curve of {part.detector}, AUROC {area}")


def _det(part: Slice, own: Curves, others: Sequence[tuple[str, Curves]]) -> Markup:
    det = own.det
    told = [
        f"{formatting.percent(fpr)} of reals flagged, {formatting.percent(fnr)} of fakes missed"
        for fpr, fnr in zip(det.fpr, det.fnr, strict=True)
    ]
    front = Curve(part.detector, det.probit_fpr, det.probit_fnr, _some(told))
    behind = [Curve(n, _thinned(c.det.probit_fpr), _thinned(c.det.probit_fnr)) for n, c in others]
    eer = formatting.tell(part.estimates["eer"])
    return draw_inline(det_chart(front, behind), told=f"DET curve of {part.detector}, EER {eer}")


def _points_table(part: Slice, own: Curves) -> Table:
    points = list(zip(own.roc.threshold, own.roc.fpr, own.roc.tpr, strict=True))
    rows = [
        Row([Cell(_threshold(at), at), _rate(fpr), _rate(tpr), _rate(1 - tpr)])
        for at, fpr, tpr in _few(points)
    ]
    columns = ["threshold", "reals called fake", "fakes called fake", "fakes called real"]
    return Table(f"Curves of {part.detector}, some points", columns, rows)


def _rate(value: float) -> Cell:
    return Cell(formatting.figure(value), value)


def _threshold(at: float | None) -> str:
    return "above all" if at is None else f"{at:.4g}"


def _kept(n: int, n_most: int) -> set[int]:
    """Return places evenly spread, the first and the last among them."""
    if n <= n_most:
        return set(range(n))
    return {round(step * (n - 1) / (n_most - 1)) for step in range(n_most)}


def _some(told: Sequence[str]) -> list[str]:
    kept = _kept(len(told), 2 * _N_TOLD)
    return [text if at in kept else "" for at, text in enumerate(told)]


def _few(points: Sequence[T]) -> list[T]:
    return [points[at] for at in sorted(_kept(len(points), _N_TOLD))]


def _thinned(points: Sequence[float]) -> list[float]:
    return [points[at] for at in sorted(_kept(len(points), _N_BEHIND))]


_SCORES_LEAD = (
    "How a detector's scores are spread over reals and fakes, on all items, and how many of the "
    "items with like scores are fake. Only on the dashed line could scores be read as "
    "probabilities, and only at the share of fakes that is in this data."
)
_SCALES = {
    "logit": "logit of the score (0 stands for 0.5)",
    "pred_prob": "score (0 real, 1 fake)",
}
_CALIBRATION_LEAD = "Calibration, fitted on other rows than it is reported on"


def scores(metrics: Metrics) -> Chapter | None:
    """Return distributions and reliability; ``None`` without scores."""
    parts = metrics.where(kind="overall")
    figures = [_scores_figure(part) for part in parts if part.histograms]
    if not figures:
        return None
    blocks: list[Block] = [Gallery(figures, has_pairs=True)]
    if metrics.calibrations:
        blocks.append(_calibrations(metrics.calibrations))
    return Chapter("scores", "Scores", _SCORES_LEAD, blocks)


def _scores_figure(part: Slice) -> Figure:
    """Return histogram and reliability; of histograms the one of logits, whose bins tell more."""
    drawn = next((h for h in part.histograms if h.scale == "logit"), part.histograms[0])
    pictures, tables = [_spread(part.detector, drawn)], [_bins(part.detector, drawn)]
    note = "Reals upwards, fakes downwards, each as a share of its class."
    if part.reliability:
        pictures.append(_reliability(part))
        tables.append(_reliability_table(part))
        ece = part.estimates.get("ece")
        note += "" if ece is None else f" ECE {formatting.tell(ece)}."
    return Figure(
        part.detector, pictures=pictures, note=note, tables=tables, detector=part.detector
    )


def _spread(detector: str, drawn: Histogram) -> Markup:
    n_real, n_fake = sum(drawn.real), sum(drawn.fake)
    told = (
        f"Histogram of the scores of {detector}: {n_real} reals, median about "
        f"{_median(drawn.edges, drawn.real)}; {n_fake} fakes, median about "
        f"{_median(drawn.edges, drawn.fake)}."
    )
    chart = distribution_chart(drawn.edges, drawn.real, drawn.fake, title=_SCALES[drawn.scale])
    return draw_inline(chart, told=told)


def _median(edges: list[float], counts: list[int]) -> str:
    """Return the middle of the bin that holds the median."""
    half, seen = sum(counts) / 2, 0
    for (low, high), n in zip(pairwise(edges), counts, strict=True):
        seen += n
        if n and seen >= half:
            return f"{(low + high) / 2:.2g}"
    return formatting.UNDEFINED


def _bins(detector: str, drawn: Histogram) -> Table:
    rows = [
        Row([Cell(f"{low:.3g} to {high:.3g}", low), count_cell(real), count_cell(fake)])
        for (low, high), real, fake in zip(
            pairwise(drawn.edges), drawn.real, drawn.fake, strict=True
        )
        if real or fake
    ]
    columns = [_SCALES[drawn.scale].split(" (")[0], "reals", "fakes"]
    return Table(f"Scores of {detector}, bins that hold any", columns, rows)


def _reliability(part: Slice) -> Markup:
    bins = [_bin(one) for one in part.reliability]
    told = f"Reliability diagram of {part.detector}: " + "; ".join(one.told for one in bins)
    return draw_inline(reliability_chart(bins), told=told)


def _reliability_table(part: Slice) -> Table:
    rows = [
        Row(
            [
                Cell(f"{one.low:.3f} to {one.high:.3f}", one.low),
                Cell(formatting.figure(one.mean_prob), one.mean_prob),
                estimate_cell(one.share_fake),
                count_cell(one.n),
            ]
        )
        for one in part.reliability
    ]
    columns = ["scores", "mean score", "share that is fake", "items"]
    return Table(f"Reliability of {part.detector}", columns, rows)


def _bin(one: ReliabilityBin) -> Bin:
    share = one.share_fake
    told = f"score {one.mean_prob:.2f}: {formatting.tell(share)} fake, {one.n} items"
    return Bin(one.mean_prob, share.number, share.low, share.high, one.n, told)


def _calibrations(found: list[Calibration]) -> Table:
    names = list(dict.fromkeys(name for one in found for name in one.before))
    rows = []
    for one in found:
        fitted = f"{one.method}: {one.scale:.3g} × logit"
        if one.offset:
            fitted += f" {'+' if one.offset > 0 else '−'} {abs(one.offset):.3g}"
        fake = formatting.percent(one.prevalence_fitted)
        share = f"{formatting.count(one.n_fitted)} items, {fake} fake"
        cells = [
            text_cell(one.detector, look="name"),
            text_cell(fitted),
            text_cell(f"{one.fitted_on} ({share})"),
        ]
        for name in names:
            cells += [estimate_cell(one.before.get(name)), estimate_cell(one.after.get(name))]
        rows.append(Row(cells, one.detector))
    columns = ["detector", "map", "fitted on"]
    for name in names:
        label = name.replace("_", " ")
        columns += [f"{label} before", f"{label} after"]
    notes = ["After calibration scores are probabilities at the share of fakes it was fitted at."]
    return Table(_CALIBRATION_LEAD, columns, rows, notes, texts=3)
