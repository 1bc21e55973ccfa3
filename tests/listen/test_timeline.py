import itertools

import pytest

from earwitness.evaluation.windows import (
    Segment,
)
from earwitness.listen.text import tick_seconds
from earwitness.report.charts.style import ink
from earwitness.report.charts.timeline import Band, timeline_chart


def spec_of(*bands, duration_s=30.0, title="song", subtitle="told"):
    chart = timeline_chart(bands, title=title, subtitle=subtitle, duration_s=duration_s)
    return chart.to_dict()


def bars_of(row, spec):
    bars = [layer for layer in row["layer"] if layer["encoding"].get("color")]
    return spec["datasets"][bars[0]["data"]["name"]]


def test_bars_start_at_the_threshold_and_differ_by_side():
    band = Band(
        "d says",
        [Segment(0, 5, 0, 0.9), Segment(5, 10, 0, 0.7), Segment(20, 30, 0, 0.1)],
        threshold=0.8,
    )
    spec = spec_of(band)
    (row,) = spec["vconcat"]
    bars = bars_of(row, spec)
    drawn = [(bar["from"], bar["to"], bar["score"]) for bar in bars]
    assert drawn == [(one.start_s, one.end_s, one.prob) for one in band.segments]
    assert {bar["base"] for bar in bars} == {0.8}
    assert bars[0]["color"] != bars[1]["color"] == bars[2]["color"]


def test_what_a_detector_of_traces_does_not_find_is_neither_called_nor_coloured_real():
    segments = [Segment(0, 10, 0, 0.9), Segment(10, 20, 0, 0.1)]
    usual, sided = (
        spec_of(Band("d", segments, 0.5, one_sided=one))["vconcat"][0] for one in (False, True)
    )
    labels = [row["encoding"]["y"]["axis"]["labelExpr"] for row in (usual, sided)]
    assert labels == ["datum.value ? 'fake' : 'real'", "datum.value ? 'trace' : 'no trace'"]
    colours = [
        [bar["color"] for bar in bars_of(row, spec_of(Band("d", segments, 0.5, one_sided=one)))]
        for row, one in ((usual, False), (sided, True))
    ]
    assert colours[0][0] == colours[1][0]
    assert colours[0][1] == ink("real") != colours[1][1]


def test_every_detector_has_a_band_and_the_last_one_the_times():
    bands = [Band(f"d{n} leans real", [Segment(0, 30, 0, 0.2)], threshold=0.5) for n in range(3)]
    rows = spec_of(*bands)["vconcat"]
    assert [row["title"]["text"] for row in rows] == [[band.title] for band in bands]
    axes = [row["encoding"]["x"]["axis"] for row in rows]
    assert [axis["labels"] for axis in axes] == [False, False, True]


def test_long_titles_are_broken_and_nothing_is_lost():
    name = "ein sehr langer Name " * 12
    title = spec_of(Band("d", [Segment(0, 1, 0, 0.5)], 0.5), title=name)["title"]["text"]
    assert len(title) > 1
    assert " ".join(title).split() == name.split()


@pytest.mark.parametrize("duration_s", [0.3, 3, 30, 61, 240, 3_600, 10_800, 1e6])
def test_ticks_are_round_few_and_inside_the_song(duration_s):
    ticks = tick_seconds(duration_s)
    assert ticks[0] == 0
    assert ticks[-1] <= duration_s
    assert len(ticks) <= 11
    assert len({later - earlier for earlier, later in itertools.pairwise(ticks)}) <= 1
    if duration_s >= 3:
        assert len(ticks) >= 3
