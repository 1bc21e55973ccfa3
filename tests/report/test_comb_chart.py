"""Charts of a decoder's comb, from residual spectra made here."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import write_comb
from earwitness.core.errors import AudioError
from earwitness.detectors import comb
from earwitness.detectors.base import SpectralLines
from earwitness.detectors.comb_lines import read_comb
from earwitness.detectors.loading import open_detector
from earwitness.report.charts.comb import comb_picture

BIN_HZ = comb.SAMPLE_RATE_HZ / comb.N_FFT


def spectrum(period_hz: float, *, height_db: float, of_every: int = 1) -> SpectralLines:
    """Noise to 15 kHz with lines at every so many multiples of a period."""
    residual = np.random.default_rng(0).normal(0, 1, round(15_000 / BIN_HZ)).astype(np.float32)
    lines = np.arange(1, 15_000 / period_hz / of_every - 1) * period_hz * of_every
    residual[np.rint(lines / BIN_HZ).astype(int)] += height_db
    return SpectralLines(residual.clip(-3, 6), period_hz)


def charts(found: SpectralLines) -> list[list[list[dict[str, Any]]]]:
    """Return the data of each layer of each chart."""
    spec = comb_picture(found, {"decoder_period_hz": found.period_hz}, title="song").to_dict()
    data = spec["datasets"]
    return [
        [data[layer.get("data", row.get("data"))["name"]] for layer in row["layer"]]
        for row in spec["vconcat"]
    ]


def level_at(curve: list[dict[str, Any]], hz: float) -> float:
    return float(np.interp(hz, [p["hz"] for p in curve], [p["db"] for p in curve]))


@pytest.mark.parametrize("period_hz", [12.5, 21.533203125, 50, 86.1328125, 1102.5])
def test_the_folded_spectrum_has_a_peak_at_every_line_and_none_between(period_hz: float) -> None:
    (rules, curve), _, _ = charts(spectrum(period_hz, height_db=4))
    assert 80 <= len(rules) * period_hz <= max(200, period_hz)
    for rule in rules:
        between = [level_at(curve, rule["hz"] + side * period_hz / 2) for side in (-1, 1)]
        assert level_at(curve, rule["hz"]) > max(between) + 1.5
    (_, noise), _, _ = charts(spectrum(period_hz, height_db=0))
    assert max(abs(point["db"]) for point in noise) < 1.5


def test_lines_at_every_fourth_multiple_are_seen_apart() -> None:
    (rules, curve), _, _ = charts(spectrum(12.5, height_db=4, of_every=4))
    high = [level_at(curve, rule["hz"]) > 1.5 for rule in rules]
    assert high == [True, False, False, False] * 2


def test_bands_show_the_level_on_the_lines_over_that_between_them() -> None:
    _, (bands, *_), _ = charts(spectrum(50, height_db=4))
    assert all(band["on"] > band["off"] + 1 for band in bands)
    assert all(abs(band["off"]) < 0.5 for band in bands)
    assert bands[0]["hz"] == pytest.approx(975)
    assert all(one["end"] == two["hz"] for one, two in itertools.pairwise(bands))


def test_the_stretch_shown_is_one_with_lines_not_a_loud_note() -> None:
    found = spectrum(50, height_db=0)
    lines = np.rint(np.arange(9_000, 9_600, 50) / BIN_HZ).astype(int)
    found.residual[lines] += 4
    found.residual[round(3_000 / BIN_HZ) : round(3_200 / BIN_HZ)] = 6
    _, _, (rules, _) = charts(found)
    assert [rule["hz"] for rule in rules] == list(range(9_000, 9_600, 50))


def test_a_file_is_read_again_and_a_period_that_it_cannot_have_is_refused(tmp_path: Path) -> None:
    card = open_detector("comb").card
    path = write_comb(tmp_path / "x.wav", 0, seconds=2)
    assert read_comb(path, {"decoder_period_hz": 86.1328125}, card).residual.max() > 4
    for period_hz in (0.0, -50.0, 1e9, None):
        with pytest.raises(AudioError, match=r"no lines every .* Hz in its spectrum"):
            read_comb(path, {"decoder_period_hz": period_hz}, card)
