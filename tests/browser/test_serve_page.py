"""The page of ``earwitness serve`` as its visitor meets it, in a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from browser.conftest import Opened
from builders import write_comb
from frames import HOSTILE
from websites import Site, wait_until, web_site, write_run

_LARGE_BYTES = 201_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "first")
    write_run(runs / "second", threshold=1.0)
    with web_site(runs=runs, limit_mb=200) as site:
        yield site


@pytest.fixture(scope="module")
def context(chromium):
    context = chromium.new_context(viewport={"width": 1100, "height": 800})
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def visit(context, site):
    """Open a page of the server; at the end, nothing was logged and no other site asked."""
    opened = []

    def call(path: str = "/"):
        opened.append(Opened(context.new_page(), site.url + path))
        return opened[-1].page

    yield call
    for one in opened:
        one.page.close()
        refused = "Failed to load resource: the server responded with a status of 413"
        assert [text for text in one.logged if not text.startswith(refused)] == []
        assert all(url.startswith((site.url, "data:")) for url in one.asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a song whose tag and cover are hostile, and with what is no song."""
    folder = tmp_path_factory.mktemp("music") / "album"
    samples, rate_hz = soundfile.read(write_comb(folder / "comb.wav", 1, seconds=6))
    (folder / "disc 1").mkdir()
    soundfile.write(
        path := folder / "disc 1" / f"{HOSTILE.replace('/', '')}.flac", samples, rate_hz
    )
    path.write_bytes(_tag(HOSTILE, b"<svg onload='window.hit=1'/>") + path.read_bytes())
    (folder / "comb.wav").unlink()
    for name in ("notes.txt", "cover.jpg", "disc 1/broken.mp3"):
        (folder / name).write_bytes(b"hello\n" * 50)
    return folder


def _tag(title: str, cover: bytes) -> bytes:
    """Return an ID3v2.3 tag."""
    bodies = {b"TIT2": b"\0" + title.encode("latin-1"), b"APIC": b"\0image/svg+xml\0\3\0" + cover}
    frames = b"".join(
        name + len(body).to_bytes(4, "big") + b"\0\0" + body for name, body in bodies.items()
    )
    n = len(frames)
    return b"ID3\3\0\0" + bytes([n >> 21 & 127, n >> 14 & 127, n >> 7 & 127, n & 127]) + frames


def drop(page, path: Path) -> None:
    """Drop a file or folder of the disk, as a desktop does."""
    box = page.locator("form.drop").bounding_box()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"type": kind, "x": box["x"] + 20, "y": box["y"] + 10, "data": data}
        session.send("Input.dispatchDragEvent", at)


def choose(page, path: Path) -> None:
    page.locator("#files").set_input_files(path)
    page.get_by_role("button", name="Score").focus()
    page.keyboard.press("Enter")


def scored_song(site: Site, folder: Path) -> str:
    """Return the token of a song with a page of its own, scored if none was yet."""
    done = [song for song in site.songs.all() if song.sections]
    if not done:
        (path,) = folder.rglob("*.flac")
        with path.open("rb") as file:
            done = [site.songs.add(path.name, file)]
        wait_until(lambda: done[0].state == "done")
    return done[0].token


def test_a_folder_is_dropped_and_its_song_is_played_by_click_and_keyboard(visit, folder):
    page = visit()
    drop(page, folder)
    page.get_by_text("2 uploaded; skipped, not audio: album/cover.jpg, album/notes.txt").wait_for()
    page.locator(".scored tr", has_text="broken.mp3").get_by_text("not audio").wait_for()
    page.get_by_text("trace of a decoder found").first.wait_for()
    page.get_by_role("link", name=".flac").first.click()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0
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
    position = page.get_by_role("slider", name="Position in")
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


def test_what_is_refused_is_a_row_with_its_reason_and_two_tabs_share_the_list(visit, tmp_path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        os.truncate(file.fileno(), _LARGE_BYTES)  # sparse
    (text := tmp_path / "notes.mp3").write_bytes(b"hello\n" * 50)
    first, second = visit(), visit()
    choose(first, large)
    first.locator(".uploads", has_text="too large, expected at most 200 MB").wait_for()
    second.evaluate("document.querySelector('form.drop').dataset.maxBytes = 1e12")
    choose(second, large)
    choose(first, text)
    second.get_by_text("refused: large.wav: too large, expected at most 200 MB").wait_for()
    choose(second, text)
    for page in (first, second):
        page.reload()
        names = page.get_by_role("link", name="notes.mp3")
        wait_until(lambda found=names: found.count() == 2)
        wait_until(lambda p=page: p.locator(".scored", has_text="not audio").count() == 1)
        assert page.get_by_role("link", name="large.wav").count() == 0


def test_runs_are_compared_and_a_mistake_is_played_by_keyboard(visit):
    page = visit("/runs")
    page.get_by_role("button", name="Compare").press("Enter")
    page.get_by_text("first and second: 2 decisions flipped.").wait_for()
    page.get_by_role("link", name="Runs").press("Enter")
    page.get_by_role("link", name="items of first").press("Enter")
    page.get_by_label("outcome").select_option("wrong")
    page.get_by_role("button", name="Show").press("Enter")
    page.get_by_text("1 to 2 of 2").wait_for()
    assert page.locator(".items .name").all_inner_texts() == ["fake_1.wav", "noise.wav"]
    player = page.get_by_label("noise.wav")
    player.focus()
    page.keyboard.press("Space")
    wait_until(lambda: player.evaluate("audio => audio.currentTime") > 0)
    page.get_by_label("outcome").select_option("")
    page.get_by_role("button", name="Show").press("Enter")
    page.get_by_text("1 to 5 of 5").wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


def test_no_page_scrolls_sideways_or_logs_an_error(visit, site, folder):
    page = visit()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.goto(site.url + "/runs")
    runs = [link.get_attribute("href") for link in page.locator(".runs a").all()]
    first, second = (run.rpartition("/")[2] for run in runs[::2])
    compared = f"/compare?first={first}&second={second}"
    for path in ("/", f"/songs/{scored_song(site, folder)}", "/runs", runs[1], compared):
        page.goto(site.url + path, wait_until="networkidle")
        for width, dark in ((360, True), (800, False), (1400, True)):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme="dark" if dark else "light")
            assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("h1").count() == 1
        for field in page.locator("input:visible, select:visible, audio:visible").all():
            assert field.evaluate("e => e.ariaLabel || (e.labels && e.labels.length > 0)")
