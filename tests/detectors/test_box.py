from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boxes import RATE, synthetic_music, write_box
from earwitness.audio.clips import Clip, resample
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.predictions import DETAIL_COLUMNS, Details
from earwitness.detectors import comb
from earwitness.detectors.base import WEIGHTS_FILE, read_card
from earwitness.detectors.box import SHIPPED, UNLISTED, BoxDetector, codec_periods
from earwitness.detectors.box_features import FEATURES, fold, periods_hz
from earwitness.detectors.loading import look_up, open_detector
from earwitness.training.random_decoders import DecoderPlan, run_decoder
from earwitness.training.traces import Mix, mix_under


@pytest.fixture(scope="module")
def box() -> BoxDetector:
    opened = open_detector("box")
    assert isinstance(opened, BoxDetector)
    return opened


def mark(music: NDArray[np.float32], plan: DecoderPlan, level_db: float) -> NDArray[np.float32]:
    """Return music with the trace of a decoder under it."""
    native = resample(music[None], RATE, plan.sample_rate_hz)[0]
    decoded = resample(run_decoder(plan, native)[None], plan.sample_rate_hz, RATE)[0]
    decoded = np.pad(decoded, (0, max(0, len(music) - len(decoded))))[: len(music)]
    return mix_under(music, decoded, Mix(level_db, shaped=True))


def answer(
    box: BoxDetector, samples: NDArray[np.float32], codec: str | None = None
) -> tuple[float, str | None, Details]:
    scores = box.score([Clip(np.atleast_2d(samples), RATE, codec=codec)])
    return float(scores.logits[0]), scores.abstained[0], scores.details[0]


PLANS = [
    (DecoderPlan("EnCodec", 24_000, (8, 5, 4, 2), 2, 24, 0.5, 1), "EnCodec 24 kHz"),
    (DecoderPlan("DAC", 44_100, (8, 8, 4, 2), 2, 24, 0.5, 2), "DAC or LAC 44.1 kHz"),
    (DecoderPlan("stuffed", 32_000, (7, 5, 3), 2, 16, 0.5, 3), UNLISTED),
    (DecoderPlan("sub-pixel", 48_000, (10, 7, 6), 2, 16, 0.5, 4), UNLISTED),
]


@pytest.mark.parametrize(("plan", "guess"), PLANS)
def test_an_inserted_decoder_is_found_at_its_period(
    box: BoxDetector, plan: DecoderPlan, guess: str
) -> None:
    logit, reason, details = answer(box, mark(synthetic_music(1, seconds=15), plan, -18))
    assert logit > 0
    assert reason is None
    latent_hz = plan.sample_rate_hz / plan.hop
    period_hz = details["decoder_period_hz"]
    assert isinstance(period_hz, float)
    ratio = max(period_hz / latent_hz, latent_hz / period_hz)
    assert abs(ratio - round(ratio)) < 1e-3 * ratio
    assert details["decoder_guess"] in (guess, UNLISTED)
    assert details["n_teeth"]


@pytest.mark.parametrize("seed", range(4))
def test_synthetic_music_is_not_flagged(box: BoxDetector, seed: int) -> None:
    logit, reason, details = answer(box, synthetic_music(seed, seconds=15))
    assert logit < 0
    assert reason is None
    assert details == dict.fromkeys(DETAIL_COLUMNS)


def test_sustained_tones_are_not_flagged(box: BoxDetector) -> None:
    time_s = np.arange(15 * RATE) / RATE
    chord = sum(
        np.sin(2 * np.pi * hz * k * time_s) / k
        for hz in (195.998, 246.942, 293.665)
        for k in range(1, 30)
    )
    music = synthetic_music(0, seconds=15) + 0.02 * np.asarray(chord)
    assert answer(box, music.astype(np.float32))[0] < 0


def test_a_comb_that_the_codec_explains_is_not_decidable(box: BoxDetector) -> None:
    plan, _ = PLANS[1]
    marked = mark(synthetic_music(1, seconds=15), plan, -18)
    logit, reason, details = answer(box, marked, "aac")
    assert logit > 0
    assert "coding may leave, too" in str(reason)
    assert "aac coding" in str(reason)
    assert details == dict.fromkeys(DETAIL_COLUMNS)
    assert answer(box, marked, "flac")[1] is None


def test_periods_of_codecs_are_multiples_of_their_grids() -> None:
    periods = periods_hz()
    assert not codec_periods(None).any()
    assert not codec_periods("mp3").any()
    of_opus, of_aac = (set(np.round(periods[codec_periods(c)], 2)) for c in ("opus", "aac"))
    assert {12.5, 50, 75, 600} <= of_opus
    assert {57.42, 86.13, 93.75} <= of_aac
    assert 137.81 not in of_opus
    assert 133.33 not in of_aac


def test_short_empty_and_low_passed_audio_is_not_decidable(box: BoxDetector) -> None:
    music = synthetic_music(0, seconds=12)
    assert "too few frames" in str(answer(box, music[: 4 * RATE])[1])
    low = resample(resample(music[None], RATE, 3_000), 3_000, RATE)[0]
    for quiet in (np.zeros_like(music), low):
        assert "nothing to analyse" in str(answer(box, quiet)[1])
    narrow = resample(resample(music[None], RATE, 8_000), 8_000, RATE)[0]
    logit, reason, _ = answer(box, narrow)
    assert logit < 0
    assert reason is None


def test_a_fold_finds_teeth_at_their_period_alone() -> None:
    residual = np.random.default_rng(0).normal(0, 0.5, 11_888).astype(np.float32)
    bin_hz = RATE / comb.N_FFT
    residual[np.rint(np.arange(10, 159) * 100 / bin_hz).astype(int)] += 3
    features = fold(residual)
    periods = periods_hz()
    assert features.shape == (len(periods), len(FEATURES))
    usable = ~np.isnan(features[:, 0])
    assert usable[np.argmin(np.abs(periods - 100))]
    at, other = (np.argmin(np.abs(periods - hz)) for hz in (100, 86.1328))
    z, half = (features[:, FEATURES.index(name)] for name in ("z", "half"))
    assert z[at] > 10
    assert half[at] < 3
    assert z[other] < 4


def test_the_period_grid_has_the_rates_of_published_decoders() -> None:
    periods = set(np.round(periods_hz(), 3))
    for family in comb.FAMILIES.values():
        assert {round(p, 3) for p in family if 12 <= p <= 6_000} <= periods


def test_the_shipped_box_is_small_complete_and_never_saw_generated_music() -> None:
    listing = look_up("box")
    assert listing.is_here
    card = listing.card
    assert card is not None
    assert card.weights_sha256 == read_card(SHIPPED).weights_sha256
    assert card.weights_sha256 == sha256_of(SHIPPED / WEIGHTS_FILE)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 2_000_000
    assert card.one_sided
    assert card.trained_on
    assert all(name.startswith("threshold: ") for name in card.selected_on or ("",))
    n_tracks, n_flagged = (
        float(card.details[name]) for name in ("n_threshold_tracks", "threshold_false_positives")
    )
    assert n_flagged <= 0.01 * n_tracks
    assert card.training_items is not None
    assert card.training_items.n_items == card.details["n_training_tracks"]


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    write_box(tmp_path)
    path = tmp_path / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match=r"SHA-256 .*, the card says"):
        open_detector("box", weights={"box": tmp_path})
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        open_detector("box", weights={"box": tmp_path})
