"""A dossier as it is printed to PDF."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from builders import write_comb
from earwitness.detectors.loading import open_detector
from earwitness.listen.dossier import gather
from earwitness.listen.dossier_page import write_dossier

CSS_PX_PER_MM = 96 / 25.4
HEIGHTS_MM = {"A4": 297, "Letter": 279.4}


@pytest.fixture(scope="module")
def dossier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dossier of a short song with a comb."""
    folder = tmp_path_factory.mktemp("dossier")
    song = write_comb(folder / "song.wav", 1, seconds=6, level=0.05)
    write_dossier(
        gather(song, [open_detector("comb")], suite=None),
        folder / "dossier.html",
        command="earwitness dossier song.wav",
    )
    return folder / "dossier.html"


@pytest.mark.parametrize("paper", HEIGHTS_MM)
def test_it_prints_on_few_pages_of_that_size(
    browse: Callable, dossier: Path, paper: str, tmp_path: Path
) -> None:
    page = browse(dossier).page
    page.pdf(path=tmp_path / "dossier.pdf", format=paper)
    data = (tmp_path / "dossier.pdf").read_bytes()
    sheets = re.findall(rb"/MediaBox \[0 0 [\d.]+ ([\d.]+)\]", data)
    assert 2 <= len(sheets) <= 5
    points = HEIGHTS_MM[paper] / 25.4 * 72
    assert all(abs(float(sheet) - points) < 2 for sheet in sheets)


def test_rows_and_cards_are_kept_whole_and_headings_with_what_follows(
    browse: Callable, dossier: Path
) -> None:
    page = browse(dossier).page
    page.emulate_media(media="print")
    inside = "all => all.map(each => getComputedStyle(each).breakInside)"
    assert set(page.eval_on_selector_all("main tr, main .card", inside)) == {"avoid"}
    after = "all => all.map(each => getComputedStyle(each).breakAfter)"
    assert set(page.eval_on_selector_all("main h2, main .lead", after)) == {"avoid"}
    tallest = "all => Math.max(...all.map(each => each.getBoundingClientRect().height))"
    assert page.eval_on_selector_all("main tr", tallest) < 100 * CSS_PX_PER_MM
    for hidden in ("nav", ".chips"):
        assert not page.locator(hidden).first.is_visible()
    assert page.get_by_text("earwitness dossier song.wav").is_visible()
