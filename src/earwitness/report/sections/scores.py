"""Scores: how they are spread, and whether they could be read as probabilities."""

from __future__ import annotations

from itertools import pairwise

from markupsafe import Markup

from earwitness.evaluation.schema import Calibration, Histogram, Metrics, ReliabilityBin, Slice
from earwitness.report import formatting
from earwitness.report.charts.distribution import distribution_chart
from earwitness.report.charts.reliability import Bin, reliability_chart
from earwitness.report.svg import draw_inline
from earwitness.report.tables import (
    Block,
    Cell,
    Chapter,
    Figure,
    Gallery,
    Row,
    Table,
    count_cell,
    estimate_cell,
    text_cell,
)

_LEAD = (
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
    figures = [_figure(part) for part in parts if part.histograms]
    if not figures:
        return None
    blocks: list[Block] = [Gallery(figures, has_pairs=True)]
    if metrics.calibrations:
        blocks.append(_calibrations(metrics.calibrations))
    return Chapter("scores", "Scores", _LEAD, blocks)


def _figure(part: Slice) -> Figure:
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
