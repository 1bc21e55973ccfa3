from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import Perturbation
from earwitness.perturb.catalog import PERTURBATIONS, draw_for
from earwitness.perturb.suites import load_suite, read_suite


def tone(rate_hz: int = 16_000, seconds: float = 1.0, n_channels: int = 2) -> np.ndarray:
    time_s = np.arange(int(rate_hz * seconds)) / rate_hz
    wave = 0.1 * np.sin(2 * np.pi * 440 * time_s)
    return np.tile(wave, (n_channels, 1)).astype(np.float32)


def test_a_draw_depends_on_seed_name_and_item_alone() -> None:
    name = "noise_white_snr_20"
    first = draw_for(name, seed=0, item="a.wav")
    assert draw_for(name, seed=0, item="a.wav") == first
    others = [(name, 1, "a.wav"), (name, 0, "b.wav"), ("noise_white_snr_10", 0, "a.wav")]
    seeds = {draw_for(n, seed=s, item=i).parameters["noise_seed"] for n, s, i in others}
    assert first.parameters["noise_seed"] not in seeds
    assert len(seeds) == 3


@pytest.mark.parametrize("color", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [30, 20, 10])
def test_noise_has_the_named_ratio(color: str, snr_db: int) -> None:
    drawn = draw_for(f"noise_{color}_snr_{snr_db}", seed=0, item="a")
    assert isinstance(drawn, Perturbation)
    samples = tone()
    noisy, _ = drawn.apply(samples, 16_000)
    noise = noisy.astype(np.float64) - samples
    measured = 10 * np.log10(np.mean(np.square(samples, dtype=float)) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.01)


def test_pink_noise_falls_by_three_db_an_octave() -> None:
    drawn = draw_for("noise_pink_snr_10", seed=0, item="a")
    assert isinstance(drawn, Perturbation)
    samples = tone(seconds=20)
    noise = drawn.apply(samples, 16_000)[0].astype(np.float64) - samples
    power = np.square(np.abs(np.fft.rfft(noise[0])))
    hz = np.fft.rfftfreq(noise.shape[1], 1 / 16_000)
    bands = [power[(hz >= low) & (hz < 2 * low)].mean() for low in (500, 1000, 2000)]
    assert np.diff(10 * np.log10(bands)) == pytest.approx([-3.01, -3.01], abs=0.3)


def test_gain_is_exact_below_full_scale_and_limited_above() -> None:
    gain = draw_for("gain_db_+12", seed=0, item="a")
    assert isinstance(gain, Perturbation)
    changed, _ = gain.apply(tone(), 16_000)
    assert changed == pytest.approx(tone() * 10**0.6, abs=1e-6)
    loud, _ = gain.apply(9 * tone(), 16_000)
    assert np.abs(loud).max() == 1


def test_a_suite_of_a_file_has_names_kinds_and_a_seed(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(
        "seed: 3\nperturbations:\n- polarity\n"
        "- {name: gain_db_+3, kind: gain, options: {gain_db: 3}}\n"
    )
    suite = read_suite(file, seed=9)
    assert suite.seed == 3
    drawn = [entry.draw(seed=3, item="a").parameters for entry in suite.perturbations]
    assert drawn == [{}, {"gain_db": 3}]
    file.write_text("perturbations: [polarity]")
    assert read_suite(file, seed=9).seed == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("perturbations: []", "perturbations"),
        ("perturbations: [polarty]", "did you mean 'polarity'"),
        ("perturbations: [polarity, polarity]", "listed twice"),
        ("perturbations: [{name: a, kind: gain, options: {db: 3}}]", "unexpected keyword"),
        ("perturbations: [{name: a, kind: gian}]", "did you mean 'gain'"),
        ("perturbations: [{name: polarity, options: {a: 1}}]", "expected a kind"),
        ("perturbations: [polarity]\nsede: 1", "sede"),
        ("a: [", "expected a YAML file"),
    ],
)
def test_an_invalid_suite_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(text)
    with pytest.raises(PerturbationError, match=message) as raised:
        read_suite(file)
    assert "\n" not in str(raised.value)


def test_the_suites_are_built_in_names() -> None:
    quick, full = load_suite("quick"), load_suite("full")
    assert {entry.name for entry in quick.perturbations} <= set(PERTURBATIONS)
    assert {e.name for e in quick.perturbations} < {e.name for e in full.perturbations}
