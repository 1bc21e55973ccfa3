"""Operating points: what a flag is worth, and what a threshold does elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.core.estimate import Estimate
from earwitness.evaluation.operating import PER
from earwitness.evaluation.schema import Claim, Metrics, OperatingPoint, Transfer
from earwitness.report import formatting
from earwitness.report.charts.matrices import ALARMS, heatmap_chart
from earwitness.report.charts.matrices import Cell as HeatCell
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.tables import (
    Block,
    Card,
    Cards,
    Cell,
    Chapter,
    Fact,
    Figure,
    Gallery,
    Remark,
    Remarks,
    Row,
    Table,
    count_cell,
    estimate_cell,
    interval_notes,
    text_cell,
)

_LEAD = (
    "What a detector does once its threshold is set, and what a flag is then worth: that depends "
    "on how many fakes there are among what comes in."
)


def operating(metrics: Metrics) -> Chapter | None:
    """Return a card a detector and the transfer of thresholds; ``None`` without any."""
    blocks: list[Block] = []
    if metrics.operating_points:
        confidence = metrics.provenance.settings.confidence
        blocks.append(Cards([_card(point, confidence) for point in metrics.operating_points]))
    if metrics.transfers:
        blocks += _transfers(metrics)
    return Chapter("operating", "Operating points", _LEAD, blocks) if blocks else None


def _card(point: OperatingPoint, confidence: float) -> Card:
    facts = [
        _fact(point.recall, "of fakes found"),
        _fact(point.specificity, "of reals let pass"),
        _alarms(point.false_flags_per_100k),
    ]
    return Card(
        title=point.detector,
        subtitle=_rule(point),
        facts=facts,
        tables=[_worth(point), _claims(point, confidence)],
        detector=point.detector,
    )


def _rule(point: OperatingPoint) -> str:
    if point.reason is not None:
        return f"rule {point.rule}: no threshold, {point.reason}"
    if point.rule == "file":
        return "decisions as they stand in the predictions"
    at = "" if point.threshold is None else f"threshold {point.threshold:.4g}, "
    if point.fitted_on is None:
        return f"{at}set by hand"
    fitted = f"fitted on {point.fitted_on} ({formatting.count(point.n_fitted)} items)"
    return f"{at}rule {point.rule}, {fitted}; figures are of other rows"


def _fact(found: Estimate, told: str) -> Fact:
    return Fact(formatting.tell_share(found), told, formatting.share_note(found))


def _alarms(found: Estimate) -> Fact:
    """Return false flags as a range; none seen in a few reals is an upper bound."""
    told = "false flags in 100 000 real tracks"
    if found.value is None:
        return Fact(formatting.UNDEFINED, told, found.reason or "")
    reals = f"{formatting.count(found.n_items)} reals"
    if found.low is None or found.high is None:
        n_flagged = round(found.value / PER * found.n_items)
        return Fact(formatting.UNDEFINED, told, f"{n_flagged} of {reals} flagged: {found.reason}")
    high = formatting.count(round(found.high))
    if found.value == 0:
        return Fact(f"under {high}", told, f"none of {reals} flagged")
    small = f"{formatting.count(round(found.low))} to {high}, {reals}"
    return Fact(formatting.count(round(found.value)), told, small)


def _worth(point: OperatingPoint) -> Table:
    rows = [
        Row([Cell(formatting.set_percent(one.prevalence), one.prevalence), _share(one.precision)])
        for one in point.prevalences
    ]
    notes = interval_notes(one.precision for one in point.prevalences)
    return Table("What a flag is worth", ["fakes among all", "flags that are right"], rows, notes)


def _share(found: Estimate) -> Cell:
    """Return a share; without an interval, all or none is not written."""
    if found.value is None:
        return estimate_cell(found)
    small = found.reason or ""
    if found.low is not None and found.high is not None:
        small = f"{formatting.percent(found.low)} to {formatting.percent(found.high)}"
    return Cell(formatting.tell_share(found), found.value, small)


def _claims(point: OperatingPoint, confidence: float) -> Table:
    rows = [
        Row(
            [
                Cell(f"at most {formatting.set_percent(one.fpr)}", one.fpr),
                count_cell(one.n_reals),
                Cell(formatting.count(one.n_reals_here), one.n_reals_here, _enough(one)),
            ]
        )
        for one in point.claims
    ]
    notes = [
        f"Groups of reals it takes to claim a false positive rate with {confidence:.0%} confidence "
        "if none of them is flagged; with any flag it takes more, and that is what is compared."
    ]
    columns = ["false positive rate", "reals it takes", "reals here"]
    return Table("What could be claimed", columns, rows, notes)


def _enough(one: Claim) -> str:
    if one.n_flagged_here is None or one.n_reals_flagged is None:
        return "how many are flagged is not known"
    flagged = f"{formatting.count(one.n_flagged_here) if one.n_flagged_here else 'none'} flagged"
    if one.is_shown:
        return f"{flagged}: enough"
    return f"{flagged}: takes {formatting.count(one.n_reals_flagged)}"


def _transfers(metrics: Metrics) -> list[Block]:
    detectors = dict.fromkeys(found.detector for found in metrics.transfers)
    figures = [
        _transfer(name, [t for t in metrics.transfers if t.detector == name]) for name in detectors
    ]
    told = (
        "A threshold that keeps false alarms low on one corpus need not on another. Each row is "
        "the corpus that the threshold was fitted on, each column one that it was applied to; "
        "fitting and applying use different groups."
    )
    return [Remarks([Remark(told)]), Gallery(figures, title="Thresholds on other corpora")]


def _transfer(detector: str, found: Sequence[Transfer]) -> Figure:
    cells = [
        HeatCell(
            f"fitted on {one.fitted_on}",
            one.applied_to,
            one.fpr.value,
            f"fitted on {one.fitted_on}, applied to {one.applied_to}: "
            f"{formatting.tell(one.fpr)} of reals flagged, "
            f"{formatting.tell(one.recall)} of fakes found",
        )
        for one in _drawn(found)
    ]
    rows = [
        Row(
            [
                text_cell(one.fitted_on, look="name"),
                text_cell(one.applied_to, look="name"),
                _threshold(one),
                estimate_cell(one.fpr),
                estimate_cell(one.recall),
            ],
            detector,
        )
        for one in found
    ]
    rules = ", ".join(dict.fromkeys(one.rule for one in found))
    columns = ["fitted on", "applied to", "threshold", "reals flagged", "fakes found"]
    told = f"Share of reals that {detector} flags at thresholds fitted elsewhere"
    pictures = [draw_inline(heatmap_chart(cells, steps=ALARMS), told=told)] if cells else []
    note = f"Share of reals flagged; rule {rules}."
    return Figure(
        title=detector,
        pictures=pictures,
        note=note if cells else "No threshold could be fitted and applied: the data says why.",
        tables=[Table(f"Threshold transfer, {detector}", columns, rows, texts=2)],
        detector=detector,
    )


def _drawn(found: Sequence[Transfer]) -> list[Transfer]:
    """Leave out the corpora that nothing could be fitted on, or applied to."""
    defined = [one for one in found if one.fpr.is_defined]
    fitted, applied = {one.fitted_on for one in defined}, {one.applied_to for one in defined}
    return [one for one in found if one.fitted_on in fitted and one.applied_to in applied]


def _threshold(one: Transfer) -> Cell:
    if one.threshold is None:
        return Cell(formatting.UNDEFINED, None, one.reason or "", is_none=True)
    return Cell(f"{one.threshold:.4g}", one.threshold)
