"""Charts as parts of a page: named colours, told marks, and no markup out of data."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import altair as alt
import pytest

from earwitness.charts.confusion import confusion_chart
from earwitness.charts.forest import Row, forest_chart
from earwitness.charts.heatmap import SHARES, Cell, heatmap_chart
from earwitness.charts.palette import PALETTE
from earwitness.core.results import Counts
from earwitness.reporting.drawing import draw_inline, palette_css, save_chart
from frames import HOSTILE


def heatmap() -> alt.LayerChart:
    cells = [Cell(HOSTILE, HOSTILE[::-1], 0.7, f"told {HOSTILE}"), Cell("b", "c", None, "none")]
    return heatmap_chart(cells, steps=SHARES)


def test_colours_are_names_that_have_values_in_light_and_dark() -> None:
    drawn = draw_inline(heatmap(), told="t")
    assert "#" not in re.sub(r'(aria-label|data-tip)="[^"]*"', "", re.sub(r">[^<]*<", "><", drawn))
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", drawn))
    assert {"high1", "on-high1", "empty"} <= used
    for dark in (False, True):
        declared = dict(re.findall(r"--([a-z0-9-]+):(#[0-9a-f]{6});", palette_css(dark=dark)))
        assert used <= set(declared)
        assert len(declared) == len(PALETTE)


def test_marks_tell_and_the_whole_is_one_picture() -> None:
    root = ET.fromstring(draw_inline(heatmap(), told=HOSTILE))  # noqa: S314
    assert (root.get("role"), root.get("aria-label")) == ("img", HOSTILE)
    tips = [part.get("data-tip") for part in root.iter() if part.get("data-tip")]
    assert tips == [f"told {HOSTILE}", "none"]
    assert not [part for part in root.iter() if part is not root and part.get("role")]


def test_names_are_text_in_the_picture() -> None:
    root = ET.fromstring(draw_inline(heatmap(), told="t"))  # noqa: S314
    assert {part.tag for part in root.iter()} <= {
        "svg",
        "g",
        "path",
        "rect",
        "text",
        "tspan",
        "line",
    }
    assert not {name for part in root.iter() for name in part.attrib if name.startswith("on")}
    assert any("<scri" in (part.text or "") for part in root.iter("text"))


def test_what_is_not_known_is_not_taken_over() -> None:
    values = alt.InlineData(values=[{"url": "https://example.org/x.png"}])
    image = alt.Chart(values).mark_image(width=5, height=5).encode(url="url:N")
    with pytest.raises(ValueError, match="<image> in a chart"):
        draw_inline(image, told="t")


@pytest.mark.parametrize(
    "chart",
    [
        confusion_chart(Counts(1, 2, 3, 4), normalized=True),
        forest_chart([Row("a", 0.5, 0.4, 0.6, "t")], title="AUROC"),
        heatmap_chart([Cell("a", "b", 0.5, "t")], steps=SHARES),
    ],
)
def test_the_same_chart_is_a_picture_file_as_well(chart: alt.LayerChart, tmp_path: Path) -> None:
    save_chart(chart, tmp_path / "x.svg")
    save_chart(chart, tmp_path / "x.png")
    assert (tmp_path / "x.svg").read_text("utf-8").startswith("<svg")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
