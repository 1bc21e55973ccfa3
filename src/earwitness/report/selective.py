"""The section on abstention: risk-coverage curves, selective metrics, and detectors of traces."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.evaluation.schema import DetectorInfo, Metrics
from earwitness.evaluation.slices import RiskCoverage, Slice
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Gallery, Note, Section
from earwitness.report.charts.curves import Curve, risk_coverage_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.metric_tables import metric_table
from earwitness.report.tables import (
    Cell,
    Column,
    Table,
    count_cell,
    make_row,
    name_cell,
    number_columns,
)
from earwitness.report.thinning import keep_some, thin

_METRICS = (
    "coverage",
    "selective_risk",
    "tpr_abstained_unflagged",
    "fpr_abstained_unflagged",
    "aurc",
    "excess_aurc",
)


_LEAD = (
    "Errors among the most confident decisions, from the most confident down. Confidence is the "
    "distance of the logit from that of the threshold. A curve ends at the detector's own "
    "coverage: what it abstains from is neither right nor wrong. Lower curves are better."
)


def abstention(metrics: Metrics) -> Section | None:
    """Return risk and coverage of each detector; ``None`` without a curve or an abstention."""
    parts = metrics.where(kind="overall")
    drawn = [
        (part, part.curves.risk_coverage)
        for part in parts
        if part.curves is not None and part.curves.risk_coverage is not None
    ]
    one_sided = [one for one in metrics.detectors if is_one_sided(one)]
    if not drawn and not one_sided and not any(part.coverage.n_abstained for part in parts):
        return None
    cards = [
        _card(part, own, [(o.detector, curve) for o, curve in drawn if o is not part])
        for part, own in drawn
    ]
    blocks: list[Block] = [_one_sided_note(one) for one in one_sided]
    blocks += [Gallery(cards)] if cards else []
    if parts:
        blocks.append(
            metric_table(
                "Selective metrics over all items",
                parts,
                _METRICS,
                metrics.metrics,
                lead={Column("detector", "text"): lambda part: name_cell(part.detector)},
                trail={
                    Column("abstained", "count"): lambda part: count_cell(part.coverage.n_abstained)
                },
            )
        )
    return Section("abstention", "Confidence and abstention", _LEAD if drawn else "", blocks)


def is_one_sided(detector: DetectorInfo) -> bool:
    """Return whether a detector only finds traces, by its card."""
    return detector.one_sided or bool((detector.card or {}).get("one_sided"))


def _one_sided_note(detector: DetectorInfo) -> Note:
    text = (
        "looks for traces of a decoder. In an item that it does not flag, none was found; that "
        "is not a decision for real. Specificity and accuracy count such a real as right."
    )
    return Note(text, label=detector.name, detector=detector.name)


def _card(part: Slice, own: RiskCoverage, others: Sequence[tuple[str, RiskCoverage]]) -> ChartCard:
    points = list(zip(own.coverage, own.risk, own.confidence, strict=True))
    tooltips = [
        f"{formatting.percent(coverage)} of items decided, at least {confidence:.3g} from the "
        f"threshold: {formatting.percent(risk)} of them wrong"
        for coverage, risk, confidence in points
    ]
    name, aurc = part.detector, formatting.full_estimate(part.estimates["aurc"])
    front = Curve(name, own.coverage, own.risk, keep_some(tooltips))
    behind = [Curve(n, thin(c.coverage), thin(c.risk)) for n, c in others]
    label = f"Risk-coverage curve of {name}, AURC {aurc}"
    rows = [
        make_row(*(Cell(formatting.number(value), value) for value in point))
        for point in thin(points, 24)
    ]
    columns = number_columns("items decided", "errors among them", "least confidence")
    return ChartCard(
        title=name,
        charts=[draw_inline(risk_coverage_chart(front, behind), aria_label=label)],
        note=f"AURC {aurc}.",
        tables=[Table(f"Points of the risk-coverage curve of {name}", columns, rows)],
        detector=name,
    )
