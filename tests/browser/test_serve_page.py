"""The page of ``earwitness serve`` as its visitor meets it, in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders import write_comb
from frames import HOSTILE
from websites import Site, wait_until, web_site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with web_site(limit_mb=1) as site:
        yield site


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> str:
    return str(write_comb(tmp_path_factory.mktemp("music") / "comb.wav", 1, seconds=6))


@pytest.fixture
def visit(browse, site):
    """Open a page of the server; at the end, nothing was logged and no other site asked."""
    opened = []

    def call(path: str = "/", **how):
        opened.append(browse(site.url + path, **how))
        opened[-1].page.set_default_timeout(30_000)
        return opened[-1]

    yield call
    for one in opened:
        assert one.logged == []
        assert all(url.startswith((site.url, "data:")) for url in one.asked)


def upload(page, *files) -> None:
    page.locator("#files").set_input_files(list(files))
    page.get_by_role("button", name="Score").focus()
    page.keyboard.press("Enter")


def answer_of(page, name: str):
    return page.locator("tr", has=page.get_by_text(name, exact=True)).first.locator("td").last


def test_a_song_is_uploaded_by_keyboard_and_its_timeline_plays_from_a_click(visit, song):
    page = visit().page
    upload(page, song)
    page.get_by_text("trace of a decoder found").first.wait_for()
    page.get_by_role("link", name="comb.wav").first.click()
    chart = page.locator("figure[data-duration] svg").first
    ground = chart.locator("path[data-tip]").first
    box = ground.bounding_box()
    ground.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2}, force=True)
    page.get_by_text("playing from 0:04").wait_for()
    wait_until(lambda: page.evaluate("document.querySelector('audio').currentTime") >= 4.4)
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("playing from 0:00").wait_for()
    position = page.get_by_role("slider", name="Position in comb.wav")
    position.focus()
    page.keyboard.press("End")
    wait_until(lambda: position.get_attribute("aria-valuetext") == "0:06 of 0:06")
    page.keyboard.press("ArrowLeft")
    wait_until(lambda: position.get_attribute("aria-valuetext") == "0:01 of 0:06")
    position.click(position={"x": position.bounding_box()["width"] / 2, "y": 20})
    page.get_by_text("playing from 0:03").wait_for()
    before = float(page.locator(".playhead").first.get_attribute("x1"))
    wait_until(lambda: float(page.locator(".playhead").first.get_attribute("x1")) > before)
    page.get_by_role("button", name="What would change the verdict?").click()
    page.get_by_text("Scores after changes").wait_for()


def test_files_that_cannot_be_scored_are_rows_with_a_reason(visit, tmp_path):
    page = visit().page
    files = [
        {"name": "notes.mp3", "mimeType": "audio/mpeg", "buffer": b"hello\n" * 50},
        {"name": HOSTILE.replace("/", ""), "mimeType": "audio/wav", "buffer": b"x"},
        {"name": "large.wav", "mimeType": "audio/wav", "buffer": bytes(1_000_001)},
    ]
    upload(page, *files)
    page.get_by_text("large.wav: too large, expected at most 1 MB").wait_for()
    page.get_by_text("not audio").first.wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0
    assert page.get_by_role("link", name="large.wav").count() == 0


def test_two_tabs_at_once_share_the_list(visit, song):
    first, second = visit().page, visit().page
    n_before = first.locator(".songs tbody tr").count()
    upload(first, song)
    upload(second, song)
    for page in (first, second):
        page.locator(".songs tbody tr").nth(n_before + 1).wait_for()
        states = page.locator(".songs td:nth-child(2)")
        wait_until(lambda found=states: set(found.all_inner_texts()) == {"done"})


@pytest.mark.parametrize(("width", "dark"), [(360, True), (768, False), (1400, True)])
def test_no_page_scrolls_sideways_or_logs_an_error(visit, site, width, dark):
    done = [song.token for song in site.songs.all() if song.sections]
    for path in ("/", *(f"/songs/{token}" for token in done[:1])):
        page = visit(path, width=width, dark=dark).page
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("h1").count() == 1
        for field in page.locator("input:visible, audio:visible").all():
            named = "e => e.ariaLabel || (e.labels && e.labels.length > 0)"
            assert field.evaluate(named)
