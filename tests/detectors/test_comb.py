from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import signal

from earwitness.audio.clips import Clip
from earwitness.audio.encode import write_coded
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import DETAIL_COLUMNS
from earwitness.detectors import comb
from earwitness.detectors.loading import look_up, open_detector
from earwitness.listen.listen import listen
from earwitness.listen.spectrum import plot_comb
from earwitness.listen.text import describe_in_full
from earwitness.perturb.coding import Lossless
from earwitness.perturb.level import Polarity
from earwitness.scoring.predict import predict

RATE = 44_100
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "audio"

Signal = NDArray[np.float32]


def pink(seconds: float = 12, seed: int = 0) -> Signal:
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(int(seconds * RATE)))
    shaped = np.fft.irfft(white / np.sqrt(np.arange(len(white)) + 1.0), int(seconds * RATE))
    return (0.1 * shaped / shaped.std()).astype(np.float32)


def decode(strides: tuple[int, ...], latent_hz: float, *, seconds: float = 12) -> Signal:
    """Return noise behind transposed convolutions with random weights, from a latent rate up."""
    rng = np.random.default_rng(1)
    values = 1 + rng.standard_normal(int(seconds * latent_hz) + 2)
    for stride in strides:
        stuffed = np.zeros(len(values) * stride)
        stuffed[::stride] = values
        values = signal.fftconvolve(stuffed, rng.standard_normal(2 * stride), mode="same")
        values = np.maximum(values, 0.2 * values) / values.std()
        values += 0.5 * rng.standard_normal(len(values))
    return (0.05 * values / np.abs(values).max()).astype(np.float32)


def answer(
    samples: Signal, codec: str | None = None
) -> tuple[float, str | None, dict[str, object]]:
    clip = Clip(np.atleast_2d(samples), RATE, codec=codec)
    scores = open_detector("comb").score([clip])
    reason = scores.abstained[0] if scores.abstained else None
    return float(scores.logits[0]), reason, dict(scores.details[0])


@pytest.mark.parametrize(
    ("strides", "latent_hz", "rate", "guess"),
    [
        ((8, 5, 4, 2), 75, 24_000, "EnCodec 24 kHz"),
        ((8, 5, 4, 2), 75 * 44.1 / 24, RATE, "EnCodec 24 kHz, played at 44.1 kHz"),
        ((8, 5, 4, 4), 50, 32_000, "EnCodec 32 kHz"),
        ((8, 8, 4, 2), RATE / 512, RATE, "DAC"),
        ((12, 8, 4, 2), RATE / 768, RATE, "LAC"),
        ((2, 2, 1_024), RATE / 4_096, RATE, "Musika"),
    ],
)
def test_the_decoder_is_named_by_its_strides(
    strides: tuple[int, ...], latent_hz: float, rate: int, guess: str
) -> None:
    decoded = decode(strides, latent_hz)
    if rate != RATE:
        decoded = soxr.resample(decoded, rate, RATE)
    logit, reason, details = answer(decoded + 0.01 * pink()[: len(decoded)].mean())
    assert logit > 0
    assert reason is None
    assert guess in str(details["decoder_guess"])
    period_hz = details["decoder_period_hz"]
    assert isinstance(period_hz, float)
    ratio = max(period_hz / latent_hz, latent_hz / period_hz)
    assert abs(ratio - round(ratio)) < 1e-3
    assert details["n_teeth"]


@pytest.mark.parametrize("period_hz", [12.5, 25, 50, 100, 400])
def test_the_period_is_that_of_the_lines_not_a_part_or_a_multiple_of_it(period_hz: float) -> None:
    lines = np.arange(1, 15_000 // period_hz) * period_hz * comb.N_FFT / RATE
    residual = np.random.default_rng(0).normal(0, 1, round(lines[-1]) + 50).astype(np.float32)
    residual[np.rint(lines).astype(int)] += 3
    (trace,) = comb.find_traces(residual, [name for name in comb.FAMILIES if "YuE" in name])
    assert trace.period_hz == period_hz
    assert trace.n_teeth > 0.9 * 14_000 / period_hz - 3


def tones() -> Signal:
    time_s = np.arange(12 * RATE) / RATE
    chord = sum(
        np.sin(2 * np.pi * hz * k * time_s) / k for hz in (196, 247, 294) for k in range(1, 9)
    )
    return (0.05 * np.asarray(chord) + 0.01 * pink()).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_comb(seed: int) -> None:
    white = 0.1 * np.random.default_rng(seed).standard_normal((2, 12 * RATE))
    for samples in (white.astype(np.float32), pink(seed=seed)):
        logit, reason, details = answer(samples)
        assert logit < 0
        assert reason is None
        assert details == dict.fromkeys(DETAIL_COLUMNS)


def test_a_comb_in_a_quarter_of_the_music_is_no_decoder() -> None:
    music = pink(48)
    trace = decode((8, 8, 4, 2), RATE / 512, seconds=48)[: len(music)]
    everywhere = music + np.float32(0.4 * music.std() / trace.std()) * trace
    quarter = len(music) // 4
    in_one = np.concatenate([everywhere[:quarter], music[quarter:]])
    residual = comb.flatten(comb.comb_spectrum_db(in_one[None]))
    assert residual is not None
    assert max(comb.find_traces(residual)).strength > 8  # over the whole it is as strong
    assert answer(everywhere)[0] > 5
    assert answer(in_one)[0] < 0
    for n_missing in (0, 441):  # 10 ms less do not make one part of two
        assert answer(in_one[: 20 * RATE - n_missing])[0] < 0


def test_sustained_tones_are_no_comb() -> None:
    assert answer(tones())[0] < 0


def test_too_short_or_empty_audio_is_not_decidable() -> None:
    assert "too few frames" in str(answer(pink(4))[1])
    low = soxr.resample(soxr.resample(pink(), RATE, 3_000), 3_000, RATE)
    for quiet in (np.zeros(12 * RATE, dtype=np.float32), low):
        assert "nothing to analyse" in str(answer(quiet)[1])


def test_audio_at_8_khz_is_scored_below_4_khz() -> None:
    logit, reason, _ = answer(soxr.resample(soxr.resample(pink(), RATE, 8_000), 8_000, RATE))
    assert logit < 0
    assert reason is None


@pytest.mark.parametrize(
    ("suffix", "codec", "kbps"),
    [
        *((".mp3", "libmp3lame", kbps) for kbps in (64, 128)),
        *((".m4a", "aac", kbps) for kbps in (64, 128)),
        *((".opus", "libopus", kbps) for kbps in (32, 96)),
    ],
)
def test_codecs_alone_are_not_flagged(suffix: str, codec: str, kbps: int, tmp_path: Path) -> None:
    path = write_coded(tmp_path / f"x{suffix}", pink()[None], RATE, codec=codec, kbps=kbps)
    frame = pl.DataFrame({"filepath": [str(path)], "target": [0]})
    (found,) = predict(Manifest("m", frame), ["comb"], n_workers=0)
    assert found.frame["pred_label"].to_list() in ([0], [None])
    assert found.frame["error"].to_list() == [None]


def test_a_comb_that_the_codec_explains_is_not_decidable() -> None:
    decoded = decode((8, 8, 4, 2), RATE / 512)
    logit, reason, details = answer(decoded, "aac")
    assert "coding may leave, too" in str(reason)
    assert "aac coding" in str(reason)
    assert answer(decoded, "flac")[1:] == (None, details)
    assert logit > 0


def test_details_follow_all_other_columns(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fake.wav", decode((8, 8, 4, 2), RATE / 512), RATE)
    soundfile.write(tmp_path / "real.wav", pink(), RATE)
    frame = pl.DataFrame({"filepath": ["fake.wav", "real.wav"], "target": [1, 0]})
    (found,) = predict(Manifest("m", frame, (tmp_path,)), ["comb"], n_workers=0)
    assert found.frame["pred_label"].to_list() == [1, 0]
    assert tuple(found.frame.columns[-3:]) == tuple(DETAIL_COLUMNS)
    assert found.frame["decoder_guess"].to_list() == ["DAC or LAC 44.1 kHz", None]
    assert found.frame.schema["n_teeth"] == pl.Int64


def test_listen_names_the_decoder_and_draws_its_comb(tmp_path: Path) -> None:
    path = tmp_path / "fake.wav"
    soundfile.write(path, decode((8, 8, 4, 2), RATE / 512), RATE)
    (song,) = listen([path], [open_detector("comb")])
    text = " ".join(str(line) for line in describe_in_full(song, width=100))
    assert "Trace of a decoder: lines in the spectrum every" in text
    assert plot_comb(song, tmp_path / "x.svg") == tmp_path / "x-comb.svg"
    drawn = (tmp_path / "x-comb.svg").read_text(encoding="utf-8")
    assert "distance from a line (Hz)" in drawn
    assert "frequency (Hz)" in drawn
    soundfile.write(path, pink(), RATE)
    (song,) = listen([path], [open_detector("comb")])
    assert plot_comb(song, tmp_path / "y.svg") is None


def test_it_needs_no_weights() -> None:
    listing = look_up("comb")
    assert listing.is_here
    assert listing.card is not None
    assert listing.card.trained_on == ()


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared audio")
def test_published_reconstructions_are_named_and_their_originals_are_not_flagged() -> None:
    folders = {"real": None, "encodec3": "EnCodec", "lac2": "LAC", "musika": "Musika"}
    root = SHARED / "fma_examples"
    paths = [p for name in folders for p in sorted((root / name).glob("*.mp3"))[:2]]
    if not paths:
        pytest.skip("no examples of FMA")
    frame = pl.DataFrame({"filepath": list(map(str, paths)), "target": [0] * len(paths)})
    (found,) = predict(Manifest("m", frame), ["comb"], n_workers=0)
    for path, guess in zip(paths, found.frame["decoder_guess"], strict=True):
        wanted = folders[path.parent.name]
        assert guess is None if wanted is None else wanted in (guess or "")


def test_the_residual_of_a_clip_is_computed_once_and_goes_with_it() -> None:
    samples = pink()[None]
    with ThreadPoolExecutor(4) as pool:
        residuals = list(pool.map(comb.shared_residual, [samples] * 8))
    assert all(each is residuals[0] for each in residuals)
    other = comb.shared_residual(samples.copy())
    assert other is not residuals[0]
    np.testing.assert_array_equal(np.asarray(other), np.asarray(residuals[0]))
    key = id(samples)
    assert key in comb._shared
    del samples
    assert key not in comb._shared


def marked_music() -> Signal:
    music = pink()
    return music + 0.1 * decode((12, 8, 4, 2), RATE / 768)[: len(music)]


def with_gain(samples: Signal, gain_db: float) -> Signal:
    return samples * np.float32(10 ** (gain_db / 20))


@pytest.mark.parametrize("name", ["comb", "box"])
def test_polarity_gain_and_lossless_copies_change_logits_as_the_card_says(name: str) -> None:
    detector = open_detector(name)
    seen = detector.card.invariances or {}
    music = marked_music()
    of_16_bits = (np.rint(music[None] * 2**15) / 2**15).astype(np.float32)

    def logit(samples: Signal) -> float:
        return float(detector.score([Clip(samples, RATE)]).logits[0])

    clean = logit(of_16_bits)
    assert logit(Polarity().apply(of_16_bits, RATE)[0]) - clean == seen["polarity"] == 0
    for container in ("flac", "wav"):
        copy = Lossless(container).apply(of_16_bits, RATE)[0]
        assert logit(copy) - clean == seen["16-bit audio as FLAC or WAV of 24 bits"] == 0
    for gain_db in (-12, -6, -1, 1, 6, 12):
        change = abs(logit(with_gain(of_16_bits, gain_db)) - clean)
        assert change <= seen["gain up to 12 dB, not clipped"]


@pytest.mark.parametrize("name", ["comb", "box"])
def test_decoded_mp3_is_kept_by_a_wav_of_floats_and_rounded_by_24_bits(
    name: str, tmp_path: Path
) -> None:
    music = marked_music()
    source = write_coded(tmp_path / "a.mp3", music[None], RATE, codec="libmp3lame", kbps=128)
    decoded, _ = soundfile.read(source, dtype="float32")
    paths = [source, tmp_path / "floats.wav", tmp_path / "24.flac"]
    soundfile.write(paths[1], decoded, RATE, subtype="FLOAT")
    rounded = Lossless("flac").apply(decoded[None], RATE)[0]
    soundfile.write(paths[2], rounded[0], RATE, subtype="PCM_24")
    frame = pl.DataFrame({"filepath": list(map(str, paths)), "target": [1] * 3})
    detector = open_detector(name)
    (found,) = predict([Manifest("copies", frame)], [detector], n_workers=0)
    mp3, floats, of_24_bits = found.frame["logit"]
    assert floats == mp3
    limit = (detector.card.invariances or {})["rounding decoded MP3 to 24 bits"]
    assert 0 < abs(of_24_bits - mp3) <= limit
