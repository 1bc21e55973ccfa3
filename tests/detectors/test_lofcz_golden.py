"""The lofcz detectors against the published code: 84 files, two resamplers, every stage.

Conventions: golden values, weights and songs are in ``../shared``; the tests skip where it is
absent. ``EARWITNESS_LOFCZ=all`` scores all 84 files, otherwise every sixth one is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from earwitness.audio.decode import read_audio
from earwitness.core.cards import Preprocessing
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors import lofcz_features as features
from earwitness.detectors.loading import look_up, open_detector
from earwitness.detectors.lofcz_weights import load_lr, open_network
from earwitness.scoring.predict import predict

FILES = {
    "stereo44k1_20s": "golden/audio/stereo44k1_20s.flac",
    "udio_3": "audio/songs/udio/udio_3.mp3",
    "yue_1": "audio/songs/yue/yue_1.mp3",
}
RESAMPLERS: tuple[features.Resampler, ...] = ("torchaudio_sinc", "soxr_hq")
KERNELS: tuple[features.Kernel, ...] = ("float64", "float32")
STEP = 1 if os.environ.get("EARWITNESS_LOFCZ") == "all" else 6


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    folder = shared / "golden" / "lofcz"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with golden values")
    return folder


class Stages:
    """The values of the published code at every stage of one file, and ours."""

    def __init__(self, golden: Path, name: str, resampler: features.Resampler) -> None:
        self._folder = golden / "intermediates" / name / resampler
        self.samples, info = read_audio(golden.parents[1] / FILES[name])
        self.rate, self.resampler = info.sample_rate_hz, resampler
        self.is_sinc = resampler == "torchaudio_sinc"

    def expected(self, stage: str) -> NDArray[Any]:
        values: NDArray[Any] = np.load(self._folder / f"{stage}.npy", allow_pickle=False)
        return values

    def mono(self, kernel: features.Kernel) -> NDArray[np.float32]:
        return features.to_mono_16k(self.samples, self.rate, self.resampler, kernel=kernel)


@pytest.fixture(scope="module", params=[(n, r) for n in FILES for r in RESAMPLERS], ids="-".join)
def stages(golden: Path, request: pytest.FixtureRequest) -> Stages:
    return Stages(golden, *request.param)


def largest_gap(found: NDArray[Any], expected: NDArray[Any]) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def test_the_resampled_signal(stages: Stages) -> None:
    expected = stages.expected("resampled_head")
    for kernel in KERNELS:
        assert largest_gap(stages.mono(kernel)[: len(expected)], expected) <= 1e-5


def test_the_stages_of_the_fakeprint(stages: Stages) -> None:
    found = features.lofcz_fakeprint(stages.mono("float64"))
    expected = stages.expected("lr_mean_spectrum_db")
    counted = expected > -45
    assert largest_gap(found.spectrum_db[counted], expected[counted]) <= 0.1
    assert largest_gap(found.hull_db, stages.expected("lr_hull_db")) <= 0.1
    vector = stages.expected("lr_fakeprint")
    assert largest_gap(found.vector, vector) <= 0.02
    assert np.abs(found.vector - vector).mean() <= 3e-4


def test_the_stages_of_the_cnn(golden: Path, stages: Stages) -> None:
    segments = features.cut_segments(stages.mono("float32"))
    magnitude = features.cqt_magnitude(segments[:1])[0]
    if not stages.is_sinc:
        assert largest_gap(magnitude, stages.expected("cnn_cqt_magnitude_segment0")) <= 1e-5
    expected = stages.expected("cnn_input").reshape(5, 24, 313)
    found = features.cepstrum(segments)
    assert largest_gap(found, expected) <= (0.3 if stages.is_sinc else 1e-3)
    assert np.abs(found - expected).mean() <= (0.005 if stages.is_sinc else 1e-5)
    network, logits = (
        open_network(golden / "cnn_detector.onnx"),
        stages.expected("cnn_segment_logits"),
    )
    assert largest_gap(network(expected), logits.ravel()) <= 1e-4
    assert largest_gap(network(found), logits.ravel()) <= (0.1 if stages.is_sinc else 1e-3)


def test_both_files_of_the_logistic_regression_hold_the_published_weights(golden: Path) -> None:
    models = [load_lr(golden / name) for name in ("weights.npz", "hub_layout/model.safetensors")]
    assert all(model.is_published for model in models)
    assert float(models[0].bias[0]) == pytest.approx(4.9826694)
    for weights in (golden, golden / "hub_layout"):
        card = look_up("lofcz-lr", weights={"lofcz-lr": weights}).card
        assert card is not None
        assert card.trained_on is not None
    assert open_detector(str(golden / "hub_layout")).card.kind == "lofcz-lr"


def read_rows(golden: Path, name: str, resampler: str) -> pl.DataFrame:
    rows = pl.read_csv(golden / f"expected_{name}.csv").filter(pl.col("resampler") == resampler)
    return rows.sort("file").gather_every(STEP)


def score(golden: Path, name: str, files: pl.Series, how: Preprocessing) -> Predictions:
    weights = {"lofcz-lr": golden / "weights.npz", "lofcz-cnn": golden / "cnn_detector.onnx"}
    detector = open_detector(name, weights=weights, preprocessing=how)
    frame = pl.DataFrame({"filepath": files, "target": [0] * len(files)})
    (found,) = predict(Manifest("m", frame, (golden.parents[1],)), [detector], n_workers=0)
    return found


@pytest.mark.parametrize("how", ["published", "correct"])
@pytest.mark.parametrize("name", ["lr", "cnn"])
def test_the_scores_of_files(golden: Path, name: str, how: Preprocessing) -> None:
    resampler = "torchaudio_sinc" if how == "published" else "soxr_hq"
    rows = read_rows(golden, name, resampler)
    frame = score(golden, f"lofcz-{name}", rows["file"], how).frame
    assert frame["error"].null_count() == len(rows)
    joined = rows.with_columns(
        frame["logit"].alias("found"), frame["pred_prob"], frame["pred_label"], frame["abstained"]
    )
    is_sinc = (pl.col("native_rate_hz") != 16_000) & (pl.col("resampler") == "torchaudio_sinc")
    loose, tight = {"lr": (0.05, 0.01), "cnn": (0.05, 1e-3)}[name]
    limit = pl.when(is_sinc).then(loose).otherwise(tight)
    scored = joined.filter(pl.col("abstained").is_null())
    assert scored.filter((pl.col("found") - pl.col("logit")).abs() > limit).is_empty()
    flagged = pl.col("probability") >= 0.5 if name == "lr" else pl.col("probability") > 0.5
    assert scored.filter(pl.col("pred_label").cast(pl.Boolean) != flagged).is_empty()
    exact = scored.filter(pl.col("logit").abs() < 16)  # beyond, the published sigmoid is 0
    assert exact.filter((pl.col("pred_prob") - pl.col("probability")).abs() > limit / 4).is_empty()
    abstained = joined.filter(pl.col("abstained").is_not_null())["file"].to_list()
    assert abstained == [
        file
        for file in rows["file"]
        if file.endswith("yue_2.mp3") and (name, how) == ("lr", "correct")
    ]


def test_verdicts_on_udio_depend_on_the_resampler(golden: Path) -> None:
    files = pl.Series([f"audio/songs/udio/udio_{n}.mp3" for n in range(1, 6)])
    found = {how: score(golden, "lofcz-lr", files, how) for how in ("published", "correct")}
    flagged = {how: int(one.frame["pred_label"].sum()) for how, one in found.items()}
    assert flagged == {"published": 2, "correct": 4}
    (note,) = (n for n in found["correct"].notes if "resampler" in n)
    verdicts = "fake with soxr_hq, real with torchaudio_sinc"
    assert note == f"2 files: the verdict depends on the resampler: {verdicts}"


def test_a_song_flagged_only_for_its_silence_is_abstained_from(golden: Path) -> None:
    files = pl.Series(["audio/songs/yue/yue_2.mp3"])
    (row,) = score(golden, "lofcz-lr", files, "correct").frame.iter_rows(named=True)
    assert row["logit"] is None
    assert "51 of 3585 bins from 1000 to 8000 Hz are not empty" in row["abstained"]
    (row,) = score(golden, "lofcz-lr", files, "published").frame.iter_rows(named=True)
    assert row["pred_label"] == 1
