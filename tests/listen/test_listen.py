"""Results for songs long and short, and for files that are not audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from builders import touch, write_comb, write_tone
from earwitness.audio.clips import Clip
from earwitness.audio.files import AudioInfo, Reader
from earwitness.core.cards import ClipContract, DetectorCard, TrainingItems
from earwitness.core.io import sha256_of
from earwitness.detectors.base import Detector, Scores
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.listen.listen import (
    Song,
    choose_windows,
    find_detectors,
    find_songs,
    listen,
)
from earwitness.listen.results import SongResult
from earwitness.listen.text import describe_in_full, song_record


class Loudness:
    """A detector for which loud is fake: its logit is the level over -20 dB."""

    device, batch_size, remarks = "cpu", 4, ()

    def __init__(self, *, name: str = "loudness", seconds: float | None = 0.5, **card: object):
        samples = None if seconds is None else int(seconds * 16_000)
        shortest = 0 if samples else 1_600
        contract = ClipContract(sample_rate_hz=16_000, clip_samples=samples, min_samples=shortest)
        known: dict[str, object] = {"trained_on": ("tones",), "band_hz": (0, 8_000)}
        self.card = DetectorCard(
            name=name,
            kind="loudness",
            contract=contract,
            licence="none",
            source="here",
            limits="Hears loudness alone.",
            **(known | card),  # type: ignore[arg-type]
        )

    def score(self, clips: Sequence[Clip]) -> Scores:
        levels = [10 * np.log10(np.mean(clip.samples**2) + 1e-10) for clip in clips]
        return Scores(np.array(levels) / 5 + 4)


def hear(*songs: Path | Song, detectors: Sequence[Detector] = (), **options: object) -> SongResult:
    (hearing,) = listen(songs, detectors or [Loudness()], **options)  # type: ignore[arg-type]
    return hearing


@pytest.fixture
def half_loud(tmp_path: Path) -> Path:
    """Two quiet seconds, then two loud ones."""
    import soundfile

    path = tmp_path / "halb [bold]laut ü.wav"
    noise = np.random.default_rng(0).standard_normal(4 * 16_000)
    soundfile.write(path, noise * np.repeat([0.001, 0.3], 2 * 16_000), 16_000)
    return path


def test_a_song_is_analysed_whole_and_in_order(half_loud: Path) -> None:
    hearing = hear(half_loud)
    (opinion,) = hearing.opinions
    assert (hearing.duration_s, hearing.sample_rate_hz, hearing.error) == (4, 16_000, None)
    assert [w.start_s for w in opinion.windows] == [n / 2 for n in range(8)]
    assert [w.prob >= 0.5 for w in opinion.windows] == [False] * 4 + [True] * 4
    assert opinion.logit == pytest.approx(np.mean([w.logit for w in opinion.windows]))
    assert opinion.verdict is not None
    assert opinion.remarks == ()


@pytest.mark.parametrize(("windows", "n"), [("published", 1), (3, 3), ("all", 8)])
def test_windows_can_be_chosen(half_loud: Path, windows: object, n: int) -> None:
    assert len(hear(half_loud, windows=windows).opinions[0].windows) == n


def test_detectors_with_other_clips_hear_the_same_song(half_loud: Path) -> None:
    short, whole = Loudness(), Loudness(name="whole", seconds=None)
    first, second = hear(half_loud, detectors=[whole, short]).opinions
    assert (first.card.name, second.card.name) == ("whole", "loudness")
    assert [w[:2] for w in first.windows] == [(0, 4)]
    assert len(second.windows) == 8


def test_what_to_know_of_a_song_and_a_detector_is_remarked(half_loud: Path) -> None:
    items = TrainingItems(
        manifest_digest="d", n_items=1, item_sha256=(sha256_of(half_loud),), group_sha256=()
    )
    loud_and_quiet = [
        Loudness(name="long", seconds=5),
        Loudness(name="high", band_hz=(0, 8_001)),
        Loudness(name="unknown", trained_on=None),
        Loudness(name="trained", training_items=items),
    ]
    opinions = hear(half_loud, detectors=loud_and_quiet).opinions
    (remarks,) = zip(*(opinion.remarks for opinion in opinions), strict=True)
    for remark, told in zip(
        remarks,
        ("input of 5 s", "no content above 8000 Hz", "is unknown", "in its training data"),
        strict=True,
    ):
        assert told in remark


def test_a_detector_that_cannot_judge_says_so_beside_those_that_can(tmp_path: Path) -> None:
    song = write_tone(tmp_path / "short.wav", seconds=0.05)
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    mine = save_fakeprint(card, np.zeros(4_087), 1.0, tmp_path / "mine")
    hearing = hear(song, detectors=[mine, Loudness(seconds=None), Loudness(name="padded")])
    assert [opinion.verdict is None for opinion in hearing.opinions] == [True, True, False]
    assert "needs at least" in (hearing.opinions[0].error or "")
    assert hearing.has_verdict


def test_files_that_are_no_audio_are_hearings_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("<html>not found</html>")
    touch(tmp_path / "void.wav")
    (tmp_path / "folder").mkdir()
    songs = [
        tmp_path / "text.mp3",
        tmp_path / "void.wav",
        tmp_path / "gone.mp3",
        tmp_path / "folder",
    ]
    hearings = list(listen(find_songs(songs), [Loudness()]))
    reasons = ["text/HTML", "empty", "no such file", "the folder contains no audio files"]
    assert [hearing.path for hearing in hearings] == songs
    for hearing, reason in zip(hearings, reasons, strict=True):
        assert reason in (hearing.error or "")
        assert not hearing.has_verdict


def test_a_folder_gives_its_audio_files_and_no_song_comes_twice(tmp_path: Path) -> None:
    names = ["b.wav", "a.mp3", "deep/c.flac", "notes.txt"]
    paths = [touch(tmp_path / "songs" / name) for name in names]
    found = [song.path for song in find_songs([paths[0], tmp_path / "songs"])]
    assert found == [paths[0], paths[1], paths[2]]


def test_a_name_that_is_no_unicode_is_an_error(tmp_path: Path) -> None:
    (song,) = find_songs([tmp_path / "a\udcff.wav"])
    assert song.error == "its name is not valid Unicode"
    assert hear(song).error == song.error


def test_progress_is_reported_per_song(half_loud: Path, tmp_path: Path) -> None:
    told: list[str] = []
    other = write_comb(tmp_path / "other.wav", 1)
    list(listen([half_loud, other], [Loudness()], working=told.append))
    assert told == ["analysing song 1 of 2", "analysing song 2 of 2"]


@pytest.mark.parametrize(
    ("seconds", "duration_s", "reader", "expected"),
    [
        (0.78, 600, "seek", "all"),
        (0.78, 601, "seek", 400),
        (5, 1_800, "seek", 120),
        (120, 1_800, "seek", 5),
        (0.78, 10_800, "seek", 92),
        (0.78, 3_600, "ffmpeg", 16),
        (0.78, 86_400, "stream", 3),
        (None, 86_400, "seek", "all"),
    ],
)
def test_time_and_memory_are_bounded_however_long_the_song(
    seconds: float | None, duration_s: int, reader: Reader, expected: object
) -> None:
    info = AudioInfo("x", 44_100, 2, duration_s * 44_100, "mp3", "mp3", reader=reader)
    assert choose_windows(Loudness(seconds=seconds).card.contract, info) == expected


def test_found_detectors_have_local_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(find_detectors()[0]) == ["comb", "box"]
    monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path / "shelf"))
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 1.0, tmp_path / "shelf" / "mine")
    (tmp_path / "shelf" / "fakeprint").mkdir()
    found, problems = find_detectors()
    assert found.pop("comb").is_file()
    assert found.pop("box").is_dir()
    assert found == {str(tmp_path / "shelf" / "mine"): tmp_path / "shelf" / "mine"}
    (problem,) = problems
    assert problem.startswith("skipped fakeprint: ")


def test_a_song_without_content_gets_no_verdict(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(32_000), 16_000)
    hearing = hear(path)
    (opinion,) = hearing.opinions
    assert (opinion.verdict, opinion.prob, opinion.error) == (None, None, None)
    assert opinion.abstained == "nothing to analyse (digital silence)"
    assert not hearing.has_verdict
    told = "\n".join(str(line) for line in describe_in_full(hearing, width=100))
    assert "loudness abstained: nothing to analyse (digital silence)." in told
    assert "fake" not in told
    record = song_record(hearing)["opinions"][0]
    assert (record["abstained"], record["verdict"]) == (opinion.abstained, None)
    assert len(record["silences"]) == 4


def test_silent_segments_are_left_out_of_a_verdict(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "pause.wav"
    noise = 0.3 * np.random.default_rng(0).standard_normal(4 * 16_000)
    noise[16_000:32_000] = 0
    noise[48_000:56_000] = 0.2
    soundfile.write(path, noise, 16_000)
    (opinion,) = (hearing := hear(path)).opinions
    assert [w.start_s for w in opinion.windows] == [0, 0.5, 2, 2.5, 3.5]
    assert [s.start_s for s in opinion.silences] == [1, 1.5, 3]
    assert opinion.verdict == "leans fake"
    told = " ".join(str(line).strip() for line in describe_in_full(hearing, width=100))
    assert "Abstained on 0:01–0:02, 0:03–0:03: nothing to analyse (digital silence)." in told
