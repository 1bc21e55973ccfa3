"""Curves over all thresholds: ROC and DET, one detector in front of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from markupsafe import Markup

from earwitness.evaluation.schema import Curves, Metrics, Slice
from earwitness.report import formatting
from earwitness.report.charts.curves import Curve, det_chart, roc_chart
from earwitness.report.svg import draw_inline
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
)

T = TypeVar("T")
_N_TOLD, _N_BEHIND = 24, 40
_LEAD = (
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
        figures.append(_figure(part, own, others))
    blocks: list[Block] = [Gallery(figures, has_pairs=True)]
    missing = [
        Remark(f"{part.detector} has no curves: {part.no_curves}.", detector=part.detector)
        for part in parts
        if part.curves is None
    ]
    blocks += [Remarks(missing)] if missing else []
    return Chapter("curves", "Curves", _LEAD, blocks)


def _figure(part: Slice, own: Curves, others: Sequence[tuple[str, Curves]]) -> Figure:
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
        tables=[_points(part, own)],
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


def _points(part: Slice, own: Curves) -> Table:
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
