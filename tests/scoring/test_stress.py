from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pytest
import soundfile

from builders import write_tone
from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import RunError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Scores
from earwitness.perturb.base import Samples
from earwitness.perturb.catalog import PERTURBATIONS
from earwitness.perturb.suites import Entry, Suite
from earwitness.scoring import perturbed
from earwitness.scoring.clips import ClipRequest, Job, cut_file
from earwitness.scoring.merge import merge_shards
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.predict import predict
from earwitness.scoring.shards import Shard
from earwitness.scoring.status import read_progress
from earwitness.scoring.stress import score_perturbed


class Level:
    """A detector whose logit is the level in decibels; it keeps the codecs of its clips."""

    def __init__(self) -> None:
        self.card = DetectorCard(
            name="level",
            kind="level",
            contract=ClipContract(sample_rate_hz=8_000, clip_samples=4_000),
            band_hz=(0, 4_000),
            licence="none",
            source="this test",
            limits="It is a test.",
        )
        self.device, self.batch_size, self.remarks, self.backend = "cpu", 4, (), "numpy"
        self.codecs: set[str | None] = set()

    def score(self, clips: Sequence[Clip]) -> Scores:
        self.codecs |= {clip.codec for clip in clips}
        power = np.array([np.square(c.samples.astype(np.float64)).mean() for c in clips])
        return Scores(10 * np.log10(power))


@dataclass(frozen=True)
class Coded:
    """Leaves the samples as they are and names a codec; fails on loud audio if asked to."""

    parameters = {"codec": "aac", "bit_rate_kbps": 64}  # noqa: RUF012

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:  # noqa: ARG003
        return cls()

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        return samples, sample_rate_hz


@dataclass(frozen=True)
class Failing(Coded):
    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        if samples.shape[0] == 1:
            raise ZeroDivisionError("mono")
        samples[0, 0] = 1  # what is shared with other perturbations is read-only
        return samples, sample_rate_hz


PERTURBATIONS.add("test_coded", Coded.draw)
PERTURBATIONS.add("test_failing", Failing.draw)


@pytest.fixture
def items(tmp_path: Path) -> Manifest:
    paths = [tmp_path / f"{n}.wav" for n in range(3)]
    for n, path in enumerate(paths):
        write_tone(path, hz=300 + 100 * n, seconds=1.0, channels=1 + n % 2)
    frame = pl.DataFrame({"filepath": [str(path) for path in paths], "target": [0, 1, 0]})
    return Manifest("m", frame)


def run(
    items: Manifest,
    out: Path,
    *names: str,
    detector: Level | None = None,
    seed: int = 0,
    shard: Shard | None = None,
) -> dict[str, Predictions]:
    suite = Suite(perturbations=tuple(Entry(name=name) for name in names), seed=seed)
    options = ScoringOptions(num_workers=0)
    more = {"options": options, "shard": shard}
    written = score_perturbed(items, [detector or Level()], suite, out, **more)
    return {one.dataset: one for one in written.values()}


def test_shards_merged_are_one_run_that_has_nothing_left_to_score(
    items: Manifest, tmp_path: Path
) -> None:
    run(items, tmp_path / "whole", "gain_db_-12", "noise_white_snr_20")
    for shard in (Shard(1, 2), Shard(2, 2)):
        out = tmp_path / "shards" / shard.folder
        run(items, out, "gain_db_-12", "noise_white_snr_20", shard=shard)
    counted = read_progress(tmp_path / "shards")
    assert sum(part.n_done for part in counted) == sum(part.n_rows for part in counted) == 9
    merge_shards(tmp_path / "merged", [tmp_path / "shards"])
    assert read_progress(tmp_path / "merged")[0].n_done == 9
    fresh = Level()
    run(items, tmp_path / "merged", "gain_db_-12", "noise_white_snr_20", detector=fresh)
    assert fresh.codecs == set()
    for path in (tmp_path / "whole").glob("[pr]*/**/*.csv"):
        there = tmp_path / "merged" / path.relative_to(tmp_path / "whole")
        assert there.read_bytes() == path.read_bytes()
    described = (tmp_path / folder / "run.json" for folder in ("whole", "merged"))
    assert len({path.read_bytes() for path in described}) == 1


def test_clean_rows_are_those_of_predict_and_gain_moves_the_level_by_its_decibels(
    items: Manifest, tmp_path: Path
) -> None:
    found = run(items, tmp_path / "out", "gain_db_-12")
    (plain,) = predict(items, [Level()], n_workers=0)
    clean, quiet = found["clean"].frame, found["gain_db_-12"].frame
    assert clean["logit"].to_list() == plain.frame["logit"].to_list()
    assert (quiet["logit"] - clean["logit"]).to_list() == pytest.approx([-12] * 3, abs=1e-4)
    assert quiet["perturbation"].to_list() == ["gain_db_-12"] * 3
    assert [json.loads(text) for text in quiet["perturbation_parameters"]] == [
        {"gain_db": -12.0}
    ] * 3


def test_clips_have_the_codec_that_a_file_would_have(items: Manifest, tmp_path: Path) -> None:
    changed = {"test_coded": "aac", "polarity": "pcm_f32le"}
    for name, codec in changed.items():
        detector = Level()
        run(items, tmp_path / name, name, detector=detector)
        assert detector.codecs == {"pcm_s16le", codec}


def test_a_perturbation_that_fails_is_the_error_of_its_rows_alone(
    items: Manifest, tmp_path: Path
) -> None:
    found = run(items, tmp_path / "out", "test_failing", "polarity")
    errors = found["test_failing"].frame["error"].to_list()
    assert errors[0] == errors[2] == "test_failing: ZeroDivisionError: mono"
    assert errors[1] == "test_failing: ValueError: assignment destination is read-only"
    assert found["polarity"].n_failed == found["clean"].n_failed == 0


def test_another_seed_or_other_options_under_one_name_are_refused(
    items: Manifest, tmp_path: Path
) -> None:
    run(items, tmp_path / "out", "noise_white_snr_20")
    with pytest.raises(RunError, match="the run there is another one: manifest"):
        run(items, tmp_path / "out", "noise_white_snr_20", seed=1)


def test_perturbations_can_be_added_and_finished_rows_are_not_scored_again(
    items: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(items, out, "polarity")
    before = (out / "store" / "level.jsonl").read_text()
    again = Level()
    found = run(items, out, "polarity", "gain_db_-12", detector=again)
    after = (out / "store" / "level.jsonl").read_text()
    assert after.startswith(before)
    assert after.count("\n") == before.count("\n") + 3
    assert list(found) == ["clean", "polarity", "gain_db_-12"]


def test_a_long_file_is_its_middle_clean_and_perturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturbed, "MAX_S", 0.75)
    path = write_tone(tmp_path / "long.wav", seconds=2.0)
    for name, n_samples in (("clean", 33_075), ("polarity", 33_075)):
        samples, info, start_s, _ = perturbed.perturbed_audio(
            str(path), perturbed.Recipe(name, 0, "i")
        )
        assert samples.shape == (2, n_samples)
        assert info.n_samples == n_samples
        assert start_s == pytest.approx(0.625, abs=1e-4)


def test_skip_time_counts_from_the_start_of_a_long_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturbed, "MAX_S", 1.0)
    path = write_tone(tmp_path / "long.wav", seconds=3.0)  # 1 s to 2 s are used
    contract = ClipContract(sample_rate_hz=8_000, clip_samples=2_000)
    request = ClipRequest(contract, "all", skips=True)
    n_clips = {}
    for name in ("clean", "polarity", "decoder_ffmpeg"):
        recipe = perturbed.Recipe(name, 0, "i")
        for skip_s in (0.5, 1.5, 2.5):
            cut = cut_file(Job(str(path), skip_s, recipe), [request]).cuts[request]
            n_clips[name, skip_s] = cut if isinstance(cut, str) else cut.n_clips
    gone = "1.00 s long, a skip_time of 2.5 s leaves nothing of it"
    assert [*n_clips.values()] == [4, 2, gone] * 3


def test_windows_move_by_half_their_length_where_the_file_has_room(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, 8_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, 8_000, subtype="FLOAT")
    centred = ClipRequest(ClipContract(sample_rate_hz=8_000, clip_samples=2_000))
    wide = ClipRequest(ClipContract(sample_rate_hz=8_000, clip_samples=6_000))
    whole = ClipRequest(ClipContract(sample_rate_hz=8_000))
    every = ClipRequest(centred.contract, "all")
    for name, start, starts in (
        ("offset_window_+0.5", 4_000, [1_000, 3_000, 5_000]),
        ("offset_window_-0.5", 2_000, [1_000, 3_000, 5_000]),
    ):
        job = Job(str(tmp_path / "noise.wav"), recipe=perturbed.Recipe(name, 0, "i"))
        cuts = cut_file(job, [centred, wide, whole, every]).cuts
        (clip,) = cuts[centred].clips  # type: ignore[union-attr]
        assert clip.samples[0].tolist() == samples[start : start + 2_000].tolist()
        assert [one.window.start for one in cuts[every].clips] == starts  # type: ignore[union-attr]
        assert cuts[wide] == cuts[whole] == "1 s long, its windows have no room to move"
