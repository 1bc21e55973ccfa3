"""The charts of a report: what is drawn follows the numbers, and names are text."""

from __future__ import annotations

import itertools

import pytest

from earwitness.report.charts.curves import (
    Bin,
    Curve,
    Interval,
    det_chart,
    distribution_chart,
    forest_chart,
    reliability_chart,
    roc_chart,
)
from earwitness.report.charts.matrices import ALARMS, SHARES, HeatCell, heatmap_chart
from earwitness.report.charts.style import PALETTE, RAMP, ink, label_expression, shorten


def rows_of(chart):
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_has_one_name():
    assert len({colour.light for colour in PALETTE.values()}) == len(PALETTE)


@pytest.mark.parametrize("shade", [*RAMP, "pale"])
def test_letters_can_be_read_on_every_shade(shade):
    ground, letters = PALETTE[shade], PALETTE[f"on_{shade}"]
    assert contrast(ground.light, letters.light) >= 4.5
    assert contrast(ground.dark, letters.dark) >= 4.5


@pytest.mark.parametrize("name", ["ink", "soft", "accent", "real", "fake"])
def test_words_can_be_read_on_paper(name):
    assert contrast(PALETTE[name].light, PALETTE["paper"].light) >= 4.5
    assert contrast(PALETTE[name].dark, PALETTE["paper"].dark) >= 4.5


def test_shades_follow_values_and_undefined_has_none():
    cells = [HeatCell("r", str(value), value, "t") for value in (0.1, 0.55, 0.99, None)]
    drawn = rows_of(heatmap_chart(cells, steps=SHARES))
    assert [row["fill"] for row in drawn] == [*map(ink, ("low1", "low2", "high4", "empty"))]
    assert [row["letter"] for row in drawn] == [".10", ".55", ".99", "–"]
    assert ALARMS.shade(0.001) == "high4"
    assert ALARMS.shade(0.9) == "low1"


def test_values_are_not_rounded_to_0_or_1():
    cells = [HeatCell("r", str(value), value, "t") for value in (0.0, 0.001, 0.999, 1.0)]
    letters = [row["letter"] for row in rows_of(heatmap_chart(cells, steps=SHARES))]
    assert letters == [".00", "<.01", ">.99", "1.00"]


def test_rows_and_columns_keep_their_order():
    cells = [HeatCell(r, c, 0.5, "t") for r in ("z", "a") for c in ("9", "1")]
    encoding = heatmap_chart(cells, steps=SHARES).to_dict()["layer"][0]["encoding"]
    assert (encoding["y"]["sort"], encoding["x"]["sort"]) == (["z", "a"], ["9", "1"])


def test_names_are_text_to_the_language_of_charts():
    hostile = '"] + alert(1) + ["'
    assert label_expression({hostile: "x"}) == '{"\\"] + alert(1) + [\\"": "x"}[datum.value]'


def test_long_names_lose_their_middle():
    assert shorten("short", 10) == "short"
    assert shorten("abcdefghijklmnop", 9) == "abcd…mnop"
    assert len(shorten("长" * 30, 11)) <= 6


def test_a_row_without_an_interval_is_hollow_and_an_undefined_one_has_no_dot():
    rows = [Interval("a", 0.9, 0.8, 0.95, "t"), Interval("b", 0.4, None, None, "t")]
    rows.append(Interval("c", None, None, None, "t"))
    chart = forest_chart(rows, title="AUROC", chance=0.5)
    drawn = {row["name"]: row for row in rows_of(chart) if "name" in row}
    assert [row["has_interval"] for row in drawn.values()] == [True, False, False]
    assert [row["is_there"] for row in drawn.values()] == [True, True, False]
    domains = [
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in chart.to_dict()["layer"]
        if "scale" in layer["encoding"]["x"]
    ]
    assert domains == [[0.3, 1]] * 2


def test_reals_go_up_and_fakes_down_each_as_a_share_of_its_class():
    drawn = rows_of(distribution_chart([0, 1, 2], [30, 10], [0, 5], title="score"))
    shares = [row["share"] for row in drawn if "share" in row]
    assert shares == [0.75, 0.25, -1.0]
    told = [row["tooltip"] for row in drawn if "share" in row]
    assert told[0] == "30 of 40 reals score 0 to 1 (75.0%)"


def test_an_absent_class_is_labelled():
    drawn = rows_of(distribution_chart([0, 1, 2], [0, 0], [2, 3], title="score"))
    assert {row["label"] for row in drawn if "label" in row} == {
        "no reals",
        "fakes",
    }


@pytest.mark.parametrize("draw", [roc_chart, det_chart])
def test_curves_keep_their_points_in_order(draw):
    front = Curve("me", [0.0, 0.2, 0.2, 1.0], [0.0, 0.5, 0.7, 1.0], ["", "tip", "", ""])
    behind = [Curve("other", [0.0, 1.0], [0.0, 1.0])]
    chart = draw(front, behind)
    drawn = [row for row in rows_of(chart) if row.get("name") == "me"]
    lines = [(row["x"], row["y"]) for row in drawn]
    assert set(lines) >= set(zip(front.x, front.y, strict=True))
    assert {row["tooltip"] for row in drawn} == {"", "tip"}
    at = [row["at"] for row in drawn[:4]]
    assert all(b > a for a, b in itertools.pairwise(at))


def test_reliability_has_a_dot_a_bin():
    bins = [Bin(0.1, 0.2, 0.1, 0.3, 5, "a"), Bin(0.9, 0.8, None, None, 3, "b")]
    drawn = [row for row in rows_of(reliability_chart(bins)) if "tooltip" in row]
    assert [(row["mean"], row["has_interval"]) for row in drawn] == [(0.1, True), (0.9, False)]
