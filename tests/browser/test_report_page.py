"""The report as its reader meets it, in a browser."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from earwitness.report.page import write_report
from frames import HOSTILE

MB = 1_000_000


def widths_of(page) -> tuple[int, int]:
    root = "document.documentElement"
    return page.evaluate(f"[{root}.scrollWidth, {root}.clientWidth]")


def table_of(page, caption: str):
    return page.locator("table", has=page.locator(f"caption:text-is('{caption}')"))


def first_column(page, caption: str) -> list[str]:
    return table_of(page, caption).locator("tbody tr:visible th").all_inner_texts()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["report", "report_of_counts"])
def test_it_opens_without_an_error_or_a_request(browse, request, which, dark):
    path = request.getfixturevalue(which)
    opened = browse(path, dark=dark)
    opened.page.wait_for_load_state("networkidle")
    assert opened.logged == []
    assert opened.asked == [path.as_uri()]
    assert path.stat().st_size < 5 * MB


@pytest.mark.parametrize("which", ["report", "report_of_counts"])
@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_never_scrolls_sideways(browse, request, which, width):
    page = browse(request.getfixturevalue(which), width=width).page
    for part in page.locator("details").all():
        part.evaluate("part => part.open = true")
    content, window = widths_of(page)
    assert content == window == width


def test_what_would_be_markup_is_text(browse, report):
    opened = browse(report)
    page = opened.page
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script, main b, main i").count() == 0
    page.locator("#mistakes details").nth(0).evaluate("part => part.open = true")
    assert page.locator("#mistakes .name", has_text=HOSTILE).count() >= 1
    assert page.locator(".chips button", has_text="second<b>net</b>").is_visible()
    assert page.locator("#coverage td", has_text="broken <i>header</i>").is_visible()
    assert opened.logged == []


def test_a_script_that_is_put_in_does_not_run(browse, report, tmp_path):
    path = tmp_path / "tampered.html"
    text = report.read_text(encoding="utf-8")
    path.write_text(text.replace("<main>", "<main><script>window.hit=3</script>"), "utf-8")
    opened = browse(path)
    assert opened.page.evaluate("window.hit") is None
    assert any("Content Security Policy" in line for line in opened.logged)


def test_headings_sort_both_ways_and_undefined_stays_last(browse, report):
    page = browse(report).page
    caption = "Detectors over all items"
    assert first_column(page, caption) == ["second<b>net</b>", "first/net@v1"]
    heading = table_of(page, caption).locator("th", has_text="AUROC")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert first_column(page, caption) == ["first/net@v1", "second<b>net</b>"]
    page.get_by_text("All slices: data sets").click()
    table = table_of(page, "All slices")
    for _ in range(2):
        table.locator("th button", has_text="AUROC").click()
        cells = table.locator("tbody tr td:nth-child(4)").all_inner_texts()
        defined = [not text.startswith("–") for text in cells]
        assert defined == sorted(defined, reverse=True)
        assert True in defined
        assert False in defined


def test_rows_are_filtered_by_what_they_say(browse, report):
    page = browse(report).page
    page.get_by_text("All slices: data sets").click()
    box = page.locator("#leaderboard input[type=search]")
    box.fill("suno")
    names = first_column(page, "All slices")
    assert names
    assert all("suno" in name for name in names)
    box.fill("")
    assert len(first_column(page, "All slices")) > len(names)


def test_detectors_are_chosen_for_the_whole_page(browse, report):
    page = browse(report).page
    figures = page.locator("main figure[data-detector]:visible")
    n_all = figures.count()
    page.locator(".chips button", has_text="first/net@v1").click()
    shown = {part.get_attribute("data-detector") for part in figures.all()}
    assert shown == {"first/net@v1"}
    assert figures.count() == n_all / 2
    assert first_column(page, "Detectors over all items") == ["first/net@v1"]
    page.locator(".chips button", has_text="all detectors").click()
    assert figures.count() == n_all


def test_tips_come_by_pointer_and_by_key(browse, report):
    page = browse(report).page
    tip = page.locator(".tip")
    assert tip.is_hidden()
    mark = page.locator("#grid svg [data-tip]").first
    mark.scroll_into_view_if_needed()
    mark.hover()
    assert tip.inner_text() == mark.get_attribute("data-tip")
    assert "groups" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    chart = page.locator("#grid svg").first
    chart.focus()
    told = []
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        told.append(tip.inner_text())
    assert told[0] != told[1]
    box, window = tip.bounding_box(), page.viewport_size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= window["width"]


def luminance(colour: str) -> float:
    channels = [float(part) / 255 for part in colour.strip("rgb()").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground_in_light_and_dark(browse, report, dark):
    page = browse(report, dark=dark).page
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground < 0.05) == dark
    for selector in ("h1", ".lead", ".note", "td", "nav a", ".chart svg text"):
        ink = page.locator(selector).first.evaluate(
            "part => { const s = getComputedStyle(part);"
            " return part.ownerSVGElement ? s.fill : s.color; }"
        )
        lighter, darker = sorted((luminance(ink), ground), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector


def test_every_picture_and_table_is_named_for_those_who_do_not_see_it(browse, report):
    page = browse(report).page
    pictures = page.locator("main svg")
    assert pictures.count() > 8
    for picture in pictures.all():
        assert picture.get_attribute("role") == "img"
        assert len(picture.get_attribute("aria-label")) > 20
    for table in page.locator("main table").all():
        assert table.locator("caption").text_content()
        assert (
            table.locator("thead th:not([scope=col]), tbody tr > th:not([scope=row])").count() == 0
        )
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_paper_shows_what_is_folded(browse, report):
    page = browse(report).page
    closed = page.locator("details.fold:not([open])")
    n_closed = closed.count()
    assert n_closed >= 3
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert closed.count() == 0
    assert table_of(page, "All slices").is_visible()
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert closed.count() == n_closed


def test_a_player_plays_or_says_that_it_cannot(browse, metrics, tmp_path):
    detector = metrics.detectors[0]
    there = [wrong for wrong in detector.worst_misses if wrong.filepath != HOSTILE][:2]
    for wrong in there:
        path = tmp_path / "music" / wrong.filepath
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(800), 8000)
    page_path = tmp_path / "out" / "report.html"
    write_report(metrics, page_path, audio_roots=[tmp_path / "music"])
    (tmp_path / "music" / there[1].filepath).unlink()
    opened = browse(page_path)
    page = opened.page
    players = page.locator("#mistakes details").first.locator("audio")
    assert players.count() == 2
    first, second = players.all()
    first.evaluate("player => player.play()")
    page.wait_for_function(
        "player => player.currentTime > 0 || player.ended", arg=first.element_handle()
    )
    second.evaluate("player => { player.play().catch(() => 0); }")
    page.get_by_text("cannot be played from here").wait_for()
    assert players.count() == 1
