"""What every chart must hold to; a new one is added to ``CHARTS``.

A chart is made of a label and of values from 0 to 1. It draws no data, one point, many points and
NaN; labels are text whatever they hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

import altair as alt
import numpy as np
import pytest

from earwitness.core.estimate import Counts
from earwitness.detectors.base import SpectralLines
from earwitness.evaluation.windows import (
    Segment,
)
from earwitness.report.charts.comb import comb_picture
from earwitness.report.charts.curves import (
    Bin,
    Curve,
    Interval,
    det_chart,
    distribution_chart,
    forest_chart,
    reliability_chart,
    risk_coverage_chart,
    roc_chart,
)
from earwitness.report.charts.matrices import SHARES, HeatCell, confusion_chart, heatmap_chart
from earwitness.report.charts.renderer import render
from earwitness.report.charts.style import printable
from earwitness.report.charts.timeline import Band, timeline_chart
from earwitness.training.curves import learning_chart
from frames import HOSTILE

Values = Sequence[float]
EMPTY: Values = ()
ONE: Values = (0.5,)
MANY: Values = (0.1, 0.4, 0.9)
WITH_NAN: Values = (0.1, math.nan, 0.9)
LABELS = {
    "wide": "長い名前🎵 שלום",
    "long": "word_" * 80,
    "hostile": f'"] + alert(1) + ["\\{HOSTILE}',
    "control": "a\x00b\x1b[31mc\u202ed\ud800e\nf",
}


class Chart(NamedTuple):
    """How a chart is drawn, and the entries of its legend."""

    draw: Callable[[str, Values], alt.TopLevelMixin]
    legend: tuple[str, ...] = ()
    takes_none: bool = True


def confusion(label: str, values: Values) -> alt.TopLevelMixin:
    return confusion_chart(Counts(len(values), 0, 1, 2), title=label, normalized=True)


def heatmap(label: str, values: Values) -> alt.TopLevelMixin:
    cells = [HeatCell(label, f"{at} {label}", value, label) for at, value in enumerate(values)]
    return heatmap_chart(cells, steps=SHARES)


def forest(label: str, values: Values) -> alt.TopLevelMixin:
    rows = [Interval(f"{label} {at}", v, v, v, label) for at, v in enumerate(values)]
    return forest_chart([Interval(label, None, None, None, label), *rows], title="AUROC")


def curve(draw: Callable[..., alt.TopLevelMixin]) -> Callable[[str, Values], alt.TopLevelMixin]:
    def drawn(label: str, values: Values) -> alt.TopLevelMixin:
        front = Curve(label, values, values, [label] * len(values))
        return draw(front, [Curve("other", values, values)])

    return drawn


def distribution(label: str, values: Values) -> alt.TopLevelMixin:
    n_bins = len(values)
    edges = [] if not n_bins else [at / n_bins for at in range(n_bins + 1)]
    return distribution_chart(edges, [1] * n_bins, [0] * n_bins, title=label)


def reliability(label: str, values: Values) -> alt.TopLevelMixin:
    return reliability_chart([Bin(v, v, None, None, 1, label) for v in values])


def timeline(label: str, values: Values) -> alt.TopLevelMixin:
    bars = [Segment(at, at + 1, 0, value) for at, value in enumerate(values)]
    return timeline_chart([Band(label, bars, 0.5)], title=label, subtitle="s", duration_s=30)


def comb(label: str, values: Values) -> alt.TopLevelMixin:
    residual = np.resize(np.nan_to_num(np.asarray([0.0, *values], dtype=np.float32)), 11_888)
    return comb_picture(
        SpectralLines(residual, 50.0),
        {"decoder_period_hz": 50.0, "decoder_guess": label},
        title=label,
    )


def learning(label: str, values: Values) -> alt.TopLevelMixin:
    names = ("train_loss", "valid_loss", "valid_auroc", "valid_balanced_accuracy")
    rows = [{"epoch": at + 1, **dict.fromkeys(names, v)} for at, v in enumerate(values)]
    return learning_chart(rows, title=label, best_epoch=1)


CHARTS = {
    "confusion": Chart(confusion),
    "heatmap": Chart(heatmap),
    "forest": Chart(forest),
    "roc": Chart(curve(roc_chart)),
    "det": Chart(curve(det_chart)),
    "risk-coverage": Chart(curve(risk_coverage_chart)),
    "distribution": Chart(distribution),
    "reliability": Chart(reliability),
    "timeline": Chart(timeline),
    "comb": Chart(comb),
    "learning": Chart(
        learning,
        ("training loss", "validation loss", "AUROC", "balanced accuracy"),
        takes_none=False,
    ),
}
each_chart = pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)


def svg(chart: Chart, label: str, values: Values) -> ET.Element:
    return ET.fromstring(render(chart.draw(label, values), "svg"))  # noqa: S314 - our own


def squashed(root: ET.Element) -> str:
    """All that is written in a picture or told of its marks, without spaces."""
    texts = ["".join(part.itertext()) for part in root.iter() if part.tag.endswith("}text")]
    tips = [part.get("aria-label", "") for part in root.iter()]
    return re.sub(r"\s", "", "".join([*texts, *tips]))


@each_chart
@pytest.mark.parametrize("values", [EMPTY, ONE, WITH_NAN], ids=["none", "one", "nan"])
def test_few_values_and_undefined_ones_are_drawn(chart: Chart, values: Values) -> None:
    if not values and not chart.takes_none:
        pytest.skip("never drawn without data")
    root = svg(chart, "name", values)
    assert float(root.get("width", 0)) > 0
    assert "NaN" not in ET.tostring(root, encoding="unicode")


@each_chart
@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_labels_are_text_in_the_picture(chart: Chart, label: str) -> None:
    root = svg(chart, label, MANY)
    assert re.sub(r"\s", "", printable(label))[:6] in squashed(root)
    tags = {part.tag.rpartition("}")[2] for part in root.iter()}
    assert tags <= {"svg", "g", "path", "rect", "text", "tspan", "line", "circle", "defs"}
    assert not {name for part in root.iter() for name in part.attrib if name.startswith("on")}


@each_chart
def test_a_legend_has_one_entry_a_series(chart: Chart) -> None:
    labels = [
        "".join(text.itertext())
        for part in svg(chart, "name", MANY).iter()
        if "role-legend-label" in part.get("class", "")
        for text in part.iter()
        if text.tag.endswith("}text")
    ]
    assert sorted(labels) == sorted(chart.legend)
