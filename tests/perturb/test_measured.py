"""Perturbations measured by formulas, and by FFmpeg and sox where they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import AudioError
from earwitness.perturb.base import DecodePerturbation, Perturbation, Samples
from earwitness.perturb.catalog import draw_for
from earwitness.perturb.coding import Coding
from earwitness.perturb.room import Reverb

RATE_HZ = 44_100
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
needs_sox = pytest.mark.skipif(not shutil.which("sox"), reason="needs sox")


def tone(hz: float = 1000, seconds: float = 3) -> Samples:
    time_s = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    return (0.2 * np.sin(2 * np.pi * hz * time_s))[None].astype(np.float32)


def noise(seconds: float = 3, n_channels: int = 2) -> Samples:
    shape = (n_channels, int(RATE_HZ * seconds))
    return (0.1 * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def change(name: str, samples: Samples) -> Samples:
    perturbation = draw_for(name, seed=0, item="a")
    assert isinstance(perturbation, Perturbation)
    return perturbation.apply(samples, RATE_HZ)[0]


def peak_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1]), n=1 << 20))
    return float(spectrum.argmax() * RATE_HZ / (1 << 20))


def lag(samples: Samples, changed: Samples) -> int:
    size = 1 << 19
    product = np.fft.rfft(samples[0], size).conj() * np.fft.rfft(changed[0], size)
    at = int(np.fft.irfft(product).argmax())
    return at - size if at > size // 2 else at


def response_db(name: str, hz: float) -> float:
    click = np.zeros((1, RATE_HZ), np.float32)
    click[0, RATE_HZ // 2] = 1
    spectrum = np.abs(np.fft.rfft(change(name, click).astype(np.float64), axis=1))[0]
    return float(20 * np.log10(spectrum[round(hz)]))


@pytest.mark.parametrize("semitones", [-2, -1, 1, 2])
def test_pitch_moves_a_tone_and_keeps_the_length(semitones: int) -> None:
    changed = change(f"pitch_semitones_{semitones:+d}", tone())
    assert 12 * np.log2(peak_hz(changed) / 1000) == pytest.approx(semitones, abs=0.05)
    assert changed.shape == tone().shape


@pytest.mark.parametrize("ratio", [0.95, 1.05])
def test_tempo_keeps_a_tone_and_divides_the_length(ratio: float) -> None:
    changed = change(f"tempo_{ratio}", tone())
    assert peak_hz(changed) == pytest.approx(1000, abs=2)
    assert changed.shape[1] == pytest.approx(tone().shape[1] / ratio, abs=1)


@pytest.mark.parametrize("ratio", [0.94, 1.06])
def test_speed_moves_a_tone_and_divides_the_length(ratio: float) -> None:
    changed = change(f"speed_{ratio}", tone())
    assert peak_hz(changed) == pytest.approx(1000 * ratio, abs=0.2)
    assert changed.shape[1] == pytest.approx(tone().shape[1] / ratio, abs=1)


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


@pytest.mark.parametrize("name", ["lowpass_8000", "lowpass_4000", "highpass_200", "highpass_2000"])
def test_a_filter_has_its_cut_off_and_slope(name: str) -> None:
    cutoff_hz = int(name.partition("_")[2])
    octave = 2 if name.startswith("low") else 0.5
    assert response_db(name, cutoff_hz) == pytest.approx(-3.01, abs=0.1)
    assert response_db(name, cutoff_hz * octave) < -45
    assert response_db(name, cutoff_hz / octave) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("slope", [-3, 3])
def test_a_tilt_is_a_line_over_octaves(slope: int) -> None:
    gains = [response_db(f"tilt_db_per_octave_{slope:+d}", hz) for hz in (500, 1000, 2000, 8000)]
    assert gains == pytest.approx([-slope, 0, slope, 3 * slope], abs=0.2)


@pytest.mark.parametrize("name", ["resample_16000", "resample_8000", "resample_sinc_16000"])
def test_a_resampling_removes_what_is_above_its_band(name: str) -> None:
    band_hz = int(name.rpartition("_")[2]) / 2
    kept, removed = tone(0.5 * band_hz), tone(1.3 * band_hz)
    error = change(name, kept)[0, 4410:-4410] - kept[0, 4410:-4410]
    ripple_db = -45 if "sinc" in name else -50  # of a Hann window
    assert 20 * np.log10(np.std(error) / np.std(kept)) < ripple_db
    assert 20 * np.log10(np.std(change(name, removed)[0, 4410:-4410]) / np.std(removed)) < -40


@pytest.mark.parametrize("rt60_s", [0.3, 1.0])
def test_a_room_has_its_reverberation_time(rt60_s: float) -> None:
    decay = Reverb(rt60_s, -3.0, 5).impulse_response(RATE_HZ)[1:]
    energy = np.cumsum(np.square(decay)[::-1])[::-1]
    level_db = 10 * np.log10(energy / energy[0])
    t20_s = (np.argmax(level_db < -25) - np.argmax(level_db < -5)) / RATE_HZ
    assert 3 * t20_s == pytest.approx(rt60_s, rel=0.05)


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
def test_ffmpeg_measures_the_normalized_loudness(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = noise(10) * np.float32(0.3)
    soundfile.write(path, change("loudness_lufs_-14", samples).T, RATE_HZ, subtype="FLOAT")
    command = ["ffmpeg", "-nostats", "-i", str(path), "-af", "ebur128", "-f", "null", "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert float(re.findall(r"I:\s+(-?[\d.]+) LUFS", text)[-1]) == pytest.approx(-14, abs=0.2)


@needs_sox
def test_sox_changes_speed_as_we_do(tmp_path: Path) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, tone().T, RATE_HZ, subtype="FLOAT")
    subprocess.run(["sox", str(source), str(target), "speed", "1.06"], check=True)
    other = soundfile.read(target, dtype="float32", always_2d=True)[0].T
    ours = change("speed_1.06", tone())
    assert ours.shape[1] == pytest.approx(other.shape[1], abs=2)
    assert peak_hz(ours) == pytest.approx(peak_hz(other), abs=0.2)


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
