"""Perturbations measured by formulas, and by FFmpeg and sox where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from benchmarks.perturbations import (
    RATE_HZ,
    Check,
    change,
    list_checks,
    noise,
    response_db,
    tone,
)

from earwitness.core.errors import AudioError
from earwitness.perturb.base import DecodePerturbation, Samples
from earwitness.perturb.catalog import draw_for
from earwitness.perturb.coding import Coding

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def lag(samples: Samples, changed: Samples) -> int:
    size = 1 << 19
    product = np.fft.rfft(samples[0], size).conj() * np.fft.rfft(changed[0], size)
    at = int(np.fft.irfft(product).argmax())
    return at - size if at > size // 2 else at


@pytest.mark.parametrize(
    "check", list(list_checks()), ids=lambda check: f"{check.name}-{check.what}-{check.by}"
)
def test_a_perturbation_does_what_its_name_says(check: Check) -> None:
    if not check.can_run:
        pytest.skip(f"needs {check.by}")
    assert check.measure() == pytest.approx(check.expected, abs=check.tolerance)


@pytest.mark.parametrize(
    ("name", "hz"),
    [
        ("lowpass_8000", 16_000),
        ("lowpass_4000", 8000),
        ("highpass_200", 100),
        ("highpass_2000", 1000),
    ],
)
def test_a_filter_is_steep(name: str, hz: int) -> None:
    assert response_db(name, hz) < -45


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("tempo_0.95", 0.95), ("tempo_1.05", 1.05), ("pitch_semitones_+2", 1), ("speed_1.06", 1.06)],
)
def test_a_burst_keeps_its_place_in_the_music(name: str, ratio: float) -> None:
    burst = np.zeros((1, 3 * RATE_HZ), np.float32)
    burst[0, RATE_HZ : RATE_HZ + 2205] = noise()[0, :2205]
    energy = np.square(change(name, burst)[0].astype(np.float64))
    center_s = float((np.arange(len(energy)) * energy).sum() / energy.sum() / RATE_HZ)
    assert center_s == pytest.approx(1.025 / ratio, abs=0.005)


@pytest.mark.parametrize("name", ["resample_16000", "resample_8000", "resample_sinc_16000"])
def test_a_resampling_removes_what_is_above_its_band(name: str) -> None:
    band_hz = int(name.rpartition("_")[2]) / 2
    kept, removed = tone(0.5 * band_hz), tone(1.3 * band_hz)
    error = change(name, kept)[0, 4410:-4410] - kept[0, 4410:-4410]
    ripple_db = -45 if "sinc" in name else -50  # of a Hann window
    assert 20 * np.log10(np.std(error) / np.std(kept)) < ripple_db
    assert 20 * np.log10(np.std(change(name, removed)[0, 4410:-4410]) / np.std(removed)) < -40


@pytest.mark.parametrize("name", ["mp3_320", "mp3_64", "aac_128", "opus_96", "vorbis_q5"])
def test_a_coded_copy_is_in_time(name: str) -> None:
    assert lag(noise(), change(name, noise())) == 0


@pytest.mark.parametrize(
    ("codec", "kbps"),
    [("mp3", 320), ("mp3", 128), ("mp3", 64), ("aac", 128), ("aac", 64), ("opus", 96)],
)
def test_a_coded_file_has_its_bit_rate(codec: str, kbps: int) -> None:
    content, _ = Coding(codec, kbps).encode(noise(20), RATE_HZ)
    assert 8 * len(content) / 20 / 1000 == pytest.approx(kbps, rel=0.12)


@pytest.mark.parametrize("name", ["flac_24", "wav_24"])
def test_a_lossless_round_trip_rounds_to_24_bits(name: str) -> None:
    assert np.abs(change(name, noise()) - noise()).max() <= 2.0**-24
    integers = np.round(noise() * 2**15) / np.float32(2**15)
    assert np.array_equal(change(name, integers), integers)


@pytest.mark.parametrize("name", ["flac_24", "wav_24"])
def test_a_lossless_round_trip_does_not_clip_samples_over_full_scale(name: str) -> None:
    loud = noise() * np.float32(1.5 / np.abs(noise()).max())
    assert np.abs(change(name, loud) - loud).max() <= 2.0**-23


def test_the_other_decoder_reads_the_same_integers(tmp_path: Path) -> None:
    path = tmp_path / "ä b.flac"
    soundfile.write(path, noise().T, RATE_HZ, subtype="PCM_16")
    decoder = draw_for("decoder_ffmpeg", seed=0, item="a")
    assert isinstance(decoder, DecodePerturbation)
    samples, rate_hz = decoder.read(path)
    assert rate_hz == RATE_HZ
    assert np.array_equal(samples, soundfile.read(path, dtype="float32")[0].T)


@needs_ffmpeg
def test_ffmpeg_decodes_a_coded_file_as_we_do() -> None:
    samples = noise()
    content, _ = Coding("mp3", 128).encode(samples, RATE_HZ)
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", "wav", "-c:a", "pcm_f32le", "-"]
    wav = subprocess.run(command, input=content, capture_output=True, check=True).stdout
    other = np.frombuffer(wav[wav.index(b"data") + 8 :], np.float32).reshape(-1, 2).T
    ours = change("mp3_128", samples)
    n = min(ours.shape[1], other.shape[1]) - 2304
    assert np.abs(ours[:, :n] - other[:, :n]).max() < 1e-4


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    ],
)
def test_the_other_decoder_opens_no_file_that_another_names(text: str, tmp_path: Path) -> None:
    music = tmp_path / "music.wav"
    soundfile.write(music, np.zeros((16_000, 1)), 16_000)
    decoder = draw_for("decoder_ffmpeg", seed=0, item="a")
    assert isinstance(decoder, DecodePerturbation)
    assert decoder.read(music)[0].shape == (1, 16_000)
    playlist = tmp_path / "list.mp3"
    playlist.write_text(text.format(music.name))
    with pytest.raises(AudioError, match="cannot be decoded"):
        decoder.read(playlist)


def test_the_other_decoder_reads_twelve_channels(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    soundfile.write(path, np.zeros((4_000, 12)), 16_000)
    decoder = draw_for("decoder_ffmpeg", seed=0, item="a")
    assert isinstance(decoder, DecodePerturbation)
    assert decoder.read(path)[0].shape == (12, 4_000)  # planar frames would crash PyAV
