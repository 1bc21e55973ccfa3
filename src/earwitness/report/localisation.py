"""The section on localisation: metrics of scores over time, and timelines of the worst files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from earwitness.evaluation.localisation import TOLERANCES_S
from earwitness.evaluation.schema import Metrics
from earwitness.evaluation.timeline import MIX, Localisation, Timeline, TimelinePart
from earwitness.evaluation.windows import Segment, probability_of
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Gallery, Section
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.charts.timeline import Band, Truth, truth_chart
from earwitness.report.tables import (
    Column,
    Table,
    make_row,
    name_cell,
    number_cell,
)


def localisation(metrics: Metrics) -> Section | None:
    """Return metrics and timelines; ``None`` without labelled segments."""
    if not metrics.localisation:
        return None
    blocks: list[Block] = [localisation_table(metrics.localisation)]
    for one in metrics.localisation:
        cards = [_card(one, timeline) for timeline in one.worst]
        if cards:
            title = f"{one.detector}: files with the most wrong time"
            title += "" if one.part == MIX else f", {one.part}"
            blocks.append(Gallery(cards, title=title))
    lead = (
        "Windows scored against the labelled parts of files. A time has the mean score of the "
        "windows over it. Points are windows; ranges are time, weighed by its length; F1 and IoU "
        "are of the time called fake, without the time this close to a change of the label."
    )
    return Section("localisation", "Where in the file", lead, blocks)


def localisation_table(
    found: Sequence[Localisation], *, tolerances_s: Sequence[float] = TOLERANCES_S
) -> Table:
    """Return one row per detector and stem."""
    rows = [
        make_row(
            *map(name_cell, (one.detector, one.part)),
            one.n_items,
            number_cell(one.scored_s / one.labelled_s),
            *(one.point_auroc, one.point_eer, one.range_auroc, one.range_eer),
            *(
                each
                for by in one.tolerances
                if by.tolerance_s in tolerances_s
                for each in (by.f1, by.iou)
            ),
            detector=one.detector,
        )
        for one in found
    ]
    columns = [
        Column("detector", "text"),
        Column("labels of", "text", short="labels\nof"),
        Column("files", "count"),
        *(
            Column(name, short=name.replace(" ", "\n", 1))
            for name in ("share scored", "point AUROC", "point EER", "range AUROC", "range EER")
        ),
        *(
            Column(f"{what} ±{by:g} s", short=f"{what}\n±{by:g} s")
            for by in tolerances_s
            for what in ("F1", "IoU")
        ),
    ]
    return Table("Localisation of fake parts", columns, rows)


def _card(found: Localisation, timeline: Timeline) -> ChartCard:
    duration_s = max(timeline.truth[-1].end_s, timeline.scores[-1].end_s)
    name = PurePosixPath(timeline.filepath).name
    segments = [Segment(*_times(s), s.logit, probability_of(s.logit)) for s in timeline.scores]
    band = Band(name, segments, probability_of(found.threshold))
    truth = [Truth(*_times(part), part.label) for part in timeline.truth]
    fake_s = sum(part.end_s - part.start_s for part in timeline.truth if part.label)
    label = (
        f"{name} over {duration_s:.0f} s, of which {fake_s:.0f} s are fake: the labels, and the "
        f"scores of {found.detector}."
    )
    note = (
        f"{formatting.percent(timeline.wrong)} of the scored time is decided wrongly. The strip on "
        f"top is the truth: {formatting.count(round(fake_s))} of "
        f"{formatting.count(round(duration_s))} s are fake."
    )
    chart = draw_inline(truth_chart(band, truth, duration_s), aria_label=label)
    return ChartCard(
        title=timeline.dataset, charts=[chart], note=note, detector=found.detector, is_wide=True
    )


def _times(part: TimelinePart) -> tuple[float, float]:
    return part.start_s, part.end_s
