from __future__ import annotations

import numpy as np
import pytest
import torch

from earwitness.audio.spectrogram import mel_filters, mel_levels, standardise

FILTERS = mel_filters(n_fft=2_048, n_mels=128, sample_rate_hz=16_000, band_hz=(20, 8_000))


def levels(samples: torch.Tensor, top_db: float = 80) -> torch.Tensor:
    return mel_levels(
        samples,
        window=torch.hann_window(2_048),
        filters=torch.from_numpy(FILTERS),
        n_fft=2_048,
        hop=512,
        top_db=top_db,
    )


def noise(*levels_of_clips: float) -> torch.Tensor:
    made = np.random.default_rng(0).standard_normal((len(levels_of_clips), 16_000))
    return torch.from_numpy(made * np.array(levels_of_clips)[:, None]).float()


def tone(hz: float) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hz * torch.arange(16_000) / 16_000)[None]


def test_filters_are_triangles_on_the_mel_scale() -> None:
    assert FILTERS.shape == (1_025, 128)
    assert FILTERS.min() == 0
    assert 0.5 < FILTERS.max() <= 1
    inside = FILTERS[5:1_000].sum(axis=1)  # neighbours overlap so that they sum to 1
    np.testing.assert_allclose(inside, 1, atol=1e-5)
    centres_hz = (FILTERS * np.linspace(0, 8_000, 1_025)[:, None]).sum(axis=0) / FILTERS.sum(axis=0)
    mels = 2_595 * np.log10(1 + centres_hz[40:] / 700)  # wide enough to be told from bins
    np.testing.assert_allclose(np.diff(mels), (2_840.02 - 31.75) / 129, rtol=0.02)


@pytest.mark.parametrize("hz", [300.0, 1_000.0, 5_000.0])
def test_a_tone_stands_out_in_its_band(hz: float) -> None:
    loudest = int(levels(tone(hz))[0].mean(dim=1).argmax())
    assert FILTERS[round(hz * 2_048 / 16_000), loudest] > 0.3


def test_frames_are_centred() -> None:
    assert levels(noise(0.1)).shape == (1, 128, 16_000 // 512 + 1)


def test_levels_reach_from_the_loudest_down_by_top_db() -> None:
    found = levels(tone(1_000), top_db=60)
    assert found.max() == 0
    assert found.min() == -60


def test_a_quiet_clip_is_not_floored_by_a_loud_one() -> None:
    alone, beside = levels(noise(1e-3)), levels(noise(1e-3, 100.0))[:1]
    np.testing.assert_allclose(alone, beside, atol=1e-4)


def test_each_image_is_standardised_for_itself() -> None:
    images = standardise(torch.stack([noise(1.0), 5 + noise(20.0), torch.ones(1, 16_000)]))
    np.testing.assert_allclose(images[:2].mean(dim=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(images[:2].std(dim=(1, 2)), 1, atol=1e-5)
    assert not images[2].any()
