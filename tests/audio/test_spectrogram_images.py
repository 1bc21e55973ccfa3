from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from earwitness.audio.spectrogram import band_filters, colour_table, draw_levels
from earwitness.core.spectrogram import SpectrogramContract

SCALES = ("mel", "linear", "log")


def tone(contract: SpectrogramContract, hz: float, level: float = 0.5) -> torch.Tensor:
    times = np.arange(contract.clip_samples) / contract.sample_rate_hz
    return torch.from_numpy(level * np.sin(2 * np.pi * hz * times)).float()[None]


@pytest.mark.parametrize("scale", SCALES)
def test_a_tone_is_a_line_where_its_frequency_lies(scale: Any) -> None:
    contract = SpectrogramContract(scale=scale, height=100, width=40, band_hz=(50, 8_000))
    rows = []
    for hz in (500, 2_000, 6_000):
        image = draw_levels(tone(contract, hz), contract)[0].numpy()
        assert image.shape == (100, 40)
        assert image.dtype == np.uint8
        rows.append(image.mean(axis=1).argmax())
        assert image[rows[-1], 5:-5].min() > 240
    assert rows[0] > rows[1] > rows[2]  # high frequencies stand above low ones
    if scale == "linear":
        assert rows[1] == pytest.approx(100 * (1 - (2_000 - 50) / 7_950), abs=1.5)


def test_time_runs_to_the_right() -> None:
    contract = SpectrogramContract(height=32, width=60)
    samples = tone(contract, 1_000)
    samples[:, : contract.clip_samples // 2] *= 1e-4
    columns = draw_levels(samples, contract)[0].numpy().max(axis=0)
    assert columns[:25].max() < 60
    assert columns[35:].min() > 200


def test_silence_is_black_and_quiet_sound_is_drawn_as_loud_sound_is() -> None:
    contract = SpectrogramContract(height=32, width=40)
    assert not draw_levels(torch.zeros(1, contract.clip_samples), contract).any()
    loud, quiet = (draw_levels(tone(contract, 900, level), contract) for level in (0.5, 0.005))
    assert (loud.int() - quiet.int()).abs().max() <= 1


@given(st.permutations(range(5)), st.integers(1, 5))
def test_pixels_do_not_depend_on_the_clips_beside_them(order: list[int], n: int) -> None:
    contract = SpectrogramContract(height=16, width=12, hop=200, n_fft=512)
    rng = np.random.default_rng(0)
    clips = torch.from_numpy(rng.normal(0, 0.1, (5, contract.clip_samples))).float()
    alone = torch.cat([draw_levels(clip[None], contract) for clip in clips])
    together = draw_levels(clips[order[:n]], contract)
    assert torch.equal(together, alone[order[:n]])


@pytest.mark.parametrize("scale", SCALES)
def test_no_band_is_empty_however_close_they_lie(scale: Any) -> None:
    filters = band_filters(
        scale, n_fft=256, n_bands=500, sample_rate_hz=16_000, band_hz=(20, 8_000)
    )
    assert filters.shape == (129, 500)
    assert filters.sum(axis=0).min() > 0.49
    assert (filters >= 0).all()
    assert filters.max() <= 1
    centres = (filters * np.arange(129)[:, None]).sum(axis=0) / filters.sum(axis=0)
    assert (np.diff(centres) >= -1e-9).all()


def test_colours_run_from_dark_to_light() -> None:
    for colours in ("grey", "viridis", "magma"):
        table = colour_table(colours)  # type: ignore[arg-type]
        assert table.shape == (256, 3)
        luminance = table @ [0.299, 0.587, 0.114]
        assert (np.diff(luminance) > -1.5).all()
        assert luminance[-1] - luminance[0] > 150
    assert colour_table("viridis")[0].tolist() == [0x44, 0x01, 0x54]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"band_hz": (20, 9_000)}, "expected rising frequencies from 1 to 8000 Hz"),
        ({"scale": "log", "band_hz": (0, 8_000)}, "from 1 to"),
        ({"hop": 2}, "expected over 1024"),
        ({"sample_rate": 1}, "Extra inputs"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SpectrogramContract.model_validate(changes)


def test_a_contract_tells_how_it_differs() -> None:
    usual = SpectrogramContract()
    other = SpectrogramContract(height=128, band_hz=(30, 8_000))
    assert list(usual.list_differences(other)) == [
        "height 224 and not 128",
        "band_hz 20–8000 and not 30–8000",
    ]
    assert not list(usual.list_differences(SpectrogramContract()))
    assert SpectrogramContract.model_validate_json(other.model_dump_json()) == other
