"""Charts as parts of a page: named colours, told marks, and no markup out of data."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import altair as alt
import pytest

from earwitness.core.errors import ChartError
from earwitness.core.estimate import Counts
from earwitness.report.charts import renderer, style
from earwitness.report.charts.matrices import SHARES, HeatCell, confusion_chart, heatmap_chart
from earwitness.report.charts.renderer import draw_inline, palette_css, save_chart
from earwitness.report.charts.style import PALETTE, break_lines, printable
from frames import HOSTILE


def heatmap() -> alt.LayerChart:
    cells = [
        HeatCell(HOSTILE, HOSTILE[::-1], 0.7, f"told {HOSTILE}"),
        HeatCell("b", "c", None, "none"),
    ]
    return heatmap_chart(cells, steps=SHARES)


def test_colours_are_names_that_have_values_in_light_and_dark() -> None:
    drawn = draw_inline(heatmap(), aria_label="t")
    assert "#" not in re.sub(r'(aria-label|data-tip)="[^"]*"', "", re.sub(r">[^<]*<", "><", drawn))
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", drawn))
    assert {"high1", "on-high1", "empty"} <= used
    for dark in (False, True):
        declared = dict(re.findall(r"--([a-z0-9-]+):(#[0-9a-f]{6});", palette_css(dark=dark)))
        assert used <= set(declared)
        assert len(declared) == len(PALETTE)


def test_marks_tell_and_the_whole_is_one_picture() -> None:
    root = ET.fromstring(draw_inline(heatmap(), aria_label=HOSTILE))  # noqa: S314
    assert (root.get("role"), root.get("aria-label")) == ("img", HOSTILE)
    tips = [part.get("data-tip") for part in root.iter() if part.get("data-tip")]
    assert tips == [f"told {HOSTILE}", "none"]
    assert not [part for part in root.iter() if part is not root and part.get("role")]


def test_names_are_text_in_the_picture() -> None:
    root = ET.fromstring(draw_inline(heatmap(), aria_label="t"))  # noqa: S314
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
        draw_inline(image, aria_label="t")


def test_the_same_chart_is_a_picture_file_as_well(tmp_path: Path) -> None:
    for name in ("x.svg", "x.png"):
        save_chart(heatmap(), tmp_path / name)
    assert (tmp_path / "x.svg").read_text("utf-8").startswith("<svg")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "name",
    ["a\x00b\x01\x1b[31mc", "a\x7f\x9fb\u202ec\u2066", "a\ud800b\ufffe"],
    ids=ascii,
)
def test_names_that_cannot_be_drawn_are_escaped(name: str, tmp_path: Path) -> None:
    chart = confusion_chart(Counts(1, 2, 3, 4), title=name, subtitle=f"{name}\nx", normalized=True)
    save_chart(chart, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    cells = [HeatCell(name, f"{name} b", 0.7, f"tip {name}")]
    root = ET.fromstring(draw_inline(heatmap_chart(cells, steps=SHARES), aria_label=name))  # noqa: S314
    escaped = printable(name)
    assert escaped.isprintable()
    assert root.get("aria-label") == escaped
    assert f"tip {escaped}" in [part.get("data-tip") for part in root.iter()]


def test_long_names_stay_distinct_and_become_short() -> None:
    one, other = (printable(f"{'a' * 50_000}{mark}{'b' * 50_000}") for mark in "xy")
    assert one != other
    assert len(one) <= 400
    assert len(break_lines("a" * 100_000, 40)) <= 11
    draw_inline(
        heatmap_chart([HeatCell("c" * 100_000, "d", 0.7, "t")], steps=SHARES), aria_label="t"
    )


def test_plain_names_stay_as_they_are() -> None:
    for name in ("Ärger 東京 🎵 שלום\tx", "a\nb", "\u200d", "x" * 400):
        assert printable(name) == name


def test_a_renderer_that_dies_takes_nothing_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in (renderer, style):
        monkeypatch.setattr(module, "printable", lambda text: text)
    chart = confusion_chart(Counts(1, 2, 3, 4), title="a\x01b", normalized=True)
    with pytest.raises(ChartError, match="could not be drawn: the renderer ended with status -6"):
        save_chart(chart, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
    told = str(draw_inline(chart, aria_label="counts"))
    assert told.startswith('<p class="note">counts (a chart could not be drawn: ')
    assert draw_inline(heatmap(), aria_label="t").startswith("<svg")


def test_one_process_draws_all_charts() -> None:
    draw_inline(heatmap(), aria_label="t")
    first = renderer._RENDERER._process
    draw_inline(heatmap(), aria_label="t")
    assert renderer._RENDERER._process is first is not None


def test_a_chart_that_is_refused_leaves_the_renderer_alive() -> None:
    chart = alt.Chart.from_dict({"data": {"values": []}, "mark": "bar"})
    chart.mark = "no such mark"
    first = renderer._RENDERER._process
    with pytest.raises(ChartError, match="could not be drawn: "):
        renderer.render(chart, "svg")
    assert first is None or renderer._RENDERER._process is first


def test_every_row_of_a_heat_map_has_its_label() -> None:
    names = [f"ood_a_rather_long_name_of_a_data_set_{n}" for n in range(30)] + ["a\x1b[31mred"]
    cells = [HeatCell(name, "detector", 0.5, "t") for name in names]
    drawn = draw_inline(heatmap_chart(cells, steps=SHARES), aria_label="t")
    for number in range(30):
        assert f"set_{number}<" in drawn
    assert r"\x1b[31mred<" in drawn
