from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from boxes import synthetic_music
from earwitness.core.errors import ManifestError, UsageError
from earwitness.core.manifest import Manifest
from earwitness.detectors.box import BoxDetector
from earwitness.detectors.box_features import FEATURES
from earwitness.detectors.loading import open_detector
from earwitness.training import box
from earwitness.training.box import TrainedBox, choose_limit, split_tracks, train_box
from earwitness.training.random_decoders import SHAPES, DecoderPlan, draw_decoder, run_decoder
from earwitness.training.traces import draw_chain, draw_excerpt, make_pair, process

RATE = 44_100


@pytest.fixture(scope="module")
def reals(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("reals")
    names = [f"{source}{n}.wav" for source in "ab" for n in range(8)]
    for seed, name in enumerate(names):
        soundfile.write(root / name, synthetic_music(seed, seconds=7), RATE)
    frame = pl.DataFrame(
        {"filepath": names, "target": 0, "source_dataset": [name[0] for name in names]}
    )
    return Manifest("reals", frame, (root,))


SMALL = {"n_pairs": 2, "n_chains": 1, "n_networks": 1}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A file of another folder that cannot be read."""
    root = tmp_path_factory.mktemp("broken")
    (root / "broken.wav").write_bytes(b"RIFF")
    row = {"filepath": ["broken.wav"], "target": 0, "source_dataset": "a"}
    return Manifest("broken", pl.DataFrame(row), (root,))


@pytest.fixture(scope="module")
def trained(
    reals: Manifest, broken: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainedBox]:
    out = tmp_path_factory.mktemp("models") / "mine"
    return out, train_box([reals, broken], out, **SMALL)


def test_it_is_trained_from_real_music_alone_without_what_is_unreadable(
    trained: tuple[Path, TrainedBox],
) -> None:
    out, result = trained
    assert (result.n_real, result.n_marked, result.n_threshold) == (24, 16, 8)
    assert [Path(path).name for path, _ in result.failures] == ["broken.wav"]
    assert result.false_positives == 0
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "weights.safetensors"]
    opened = open_detector(str(out))
    assert isinstance(opened, BoxDetector)
    card = opened.card
    assert {card.trained_on, card.selected_on} in (
        {("a",), ("threshold: b",)},
        {("b",), ("threshold: a",)},
    )
    assert card.training_items is not None
    assert card.training_items.n_items == 8
    assert card.details["limit"] == round(opened.networks.limit, 4)
    features = np.random.default_rng(0).normal(size=(50, len(FEATURES))).astype(np.float32)
    scores = [d.networks.score_periods(features) for d in (opened, result.detector)]
    np.testing.assert_array_equal(*scores)


def test_a_resumed_training_ends_with_the_same_weights(
    reals: Manifest, broken: Manifest, trained: tuple[Path, TrainedBox], tmp_path: Path
) -> None:
    n_done = 0

    def stop(went_well: bool) -> None:
        nonlocal n_done
        n_done += went_well
        if n_done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_box([reals, broken], tmp_path / "mine", advance=stop, **SMALL)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "mine").rglob("*.npz")}
    assert len(kept) == 9
    reverse = Manifest("reals", reals.frame.reverse(), reals.roots)
    resumed = train_box([broken, reverse], tmp_path / "mine", **SMALL)
    _, once = trained
    assert resumed.detector.card.weights_sha256 == once.detector.card.weights_sha256


def test_fakes_one_source_and_few_tracks_are_refused(reals: Manifest, tmp_path: Path) -> None:
    of_a = reals.where(pl.col("source_dataset") == "a")
    with pytest.raises(ManifestError, match=r"one source \(a\), expected two or more, or --valid"):
        train_box([of_a], tmp_path / "x")
    fakes = Manifest("m", reals.frame.with_columns(target=1), reals.roots)
    with pytest.raises(ManifestError, match="a fake, expected real music alone"):
        train_box([fakes], tmp_path / "x")
    few = Manifest("m", of_a.frame.head(3), reals.roots)
    with pytest.raises(ManifestError, match="3 tracks to choose the threshold on, expected 8"):
        train_box([reals.where(pl.col("source_dataset") == "b")], tmp_path / "x", valid=[few])
    assert not (tmp_path / "x").exists()


def test_a_finished_folder_is_refused(reals: Manifest, trained: tuple[Path, TrainedBox]) -> None:
    with pytest.raises(UsageError, match="contains a detector already"):
        train_box([reals], trained[0])


def test_tracks_of_the_threshold_are_not_trained_on(reals: Manifest) -> None:
    of_a = reals.where(pl.col("source_dataset") == "a")
    ours, held = split_tracks([reals], [of_a], 0.5, 0)
    assert {track.source for track in ours} == {"b"}
    assert len(held) == 8


def test_the_limit_is_reached_by_at_most_one_percent() -> None:
    rng = np.random.default_rng(0)
    processed = np.repeat([False, True], 400)
    found = np.concatenate([rng.exponential(1, 400), rng.exponential(2, 400)])
    unused = np.zeros((800, 1, 1), dtype=np.float32)
    corpus = box.Corpus(unused, unused[..., 0] > 0, unused[:, 0, 0], processed)
    limit, tail = choose_limit(corpus, found)
    assert (found[processed] >= limit).mean() <= 0.01
    assert (found[~processed] >= limit).mean() <= 0.01
    assert limit == pytest.approx(2 * np.log(1 / 0.005), rel=0.25)
    assert tail == pytest.approx(1, rel=0.25)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_decoders_leave_lines_at_their_layers_rates(shape: str) -> None:
    strides = (200,) if SHAPES[shape].one_layer else (10, 5, 4)
    plan = DecoderPlan(shape, 22_050, strides, 2, 16, bias=0.5, seed=3)
    music = synthetic_music(0, seconds=8)[::2]
    decoded = run_decoder(plan, music)
    assert decoded.shape == music.shape
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, run_decoder(plan, music))
    power = np.abs(np.fft.rfft(decoded[: 22_050 * 7])) ** 2  # bins of 1/7 Hz
    at = np.rint(np.arange(10, 90) * 22_050 / 200 * 7).astype(int)
    around = np.median([power[at + shift] for shift in range(50, 300, 10)])
    assert power[at].max() > 20 * around


def test_drawn_decoders_and_chains_are_varied_and_repeatable() -> None:
    plans = [draw_decoder(np.random.default_rng(seed)) for seed in range(300)]
    assert {plan.shape for plan in plans} == set(SHAPES)
    assert all(64 <= plan.hop <= 2_560 for plan in plans)
    assert plans[7] == draw_decoder(np.random.default_rng(7))
    chains = [draw_chain(np.random.default_rng(seed)) for seed in range(100)]
    assert {chain.codec for chain in chains} == {None, "mp3", "aac", "opus"}


def test_a_pair_differs_in_the_trace_alone(reals: Manifest) -> None:
    path = reals.locate("a0.wav")
    excerpt = draw_excerpt(np.random.default_rng(1))
    real, marked = make_pair(path, excerpt)
    assert real.codec == marked.codec == excerpt.chain.codec
    assert real.spectrum_db.shape == marked.spectrum_db.shape
    silent = excerpt._replace(mix=excerpt.mix._replace(level_db=-200.0))
    np.testing.assert_allclose(*(each.spectrum_db for each in make_pair(path, silent)), atol=0.2)


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus", None])
def test_chains_keep_the_music(codec: str | None) -> None:
    chain = draw_chain(np.random.default_rng(0))._replace(
        equaliser_db=(0.0,), sample_rate_hz=RATE, codec=codec, kbps=96, peak=0.5
    )
    music = synthetic_music(0, seconds=6)
    plain = process(music, chain._replace(codec=None)).spectrum_db
    coded = process(music, chain)
    assert coded.codec == codec
    low = slice(100, 1_500)
    assert np.corrcoef(plain[low], coded.spectrum_db[low])[0, 1] > 0.95
