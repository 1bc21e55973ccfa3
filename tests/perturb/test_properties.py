from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import Perturbation, apply_to
from earwitness.perturb.catalog import PERTURBATIONS, draw_for

NAMES = sorted(name for name in PERTURBATIONS if PERTURBATIONS.is_built_in(name))
SAMPLED = [n for n in NAMES if isinstance(draw_for(n, seed=0, item=""), Perturbation)]


@pytest.mark.parametrize("name", SAMPLED)
@settings(max_examples=12, deadline=None)
@given(
    n_channels=st.sampled_from([1, 2, 6]),
    n_samples=st.sampled_from([1, 2, 500, 9000]),
    rate_hz=st.sampled_from([8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]),
    peak=st.sampled_from([0.0, 1e-4, 0.5, 1.0]),
    seed=st.integers(0, 5),
)
def test_any_audio_is_changed_the_same_way_twice_or_refused_in_one_line(
    *, name: str, n_channels: int, n_samples: int, rate_hz: int, peak: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, (n_channels, n_samples))
    samples = (peak * noise).astype(np.float32)
    before = samples.copy()
    perturbation = draw_for(name, seed=seed, item="a")
    assert isinstance(perturbation, Perturbation)
    try:
        first, first_hz = apply_to(perturbation, samples, rate_hz)
    except PerturbationError as error:
        message = str(error)
    else:
        message = None
    assert np.array_equal(samples, before)
    if message is not None:
        assert "expected" in message
        assert "\n" not in message
        return
    assert first_hz == rate_hz
    assert not np.shares_memory(first, samples)
    second, _ = apply_to(draw_for(name, seed=seed, item="a"), samples, rate_hz)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", [n for n in SAMPLED if n not in {"rerecording"}])
def test_stereo_music_of_three_seconds_is_changed_by_every_perturbation(name: str) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 3 * 44_100))
    samples = (0.1 * noise).astype(np.float32)
    perturbation = draw_for(name, seed=0, item="a")
    assert isinstance(perturbation, Perturbation)
    changed, _ = apply_to(perturbation, samples, 44_100)
    unchanged = name in {"resample_44100"}
    assert np.array_equal(changed, samples) == unchanged
