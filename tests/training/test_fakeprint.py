from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from builders import write_comb
from earwitness.core.errors import ManifestError, UsageError
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.detectors.loading import open_detector
from earwitness.scoring.predict import predict
from earwitness.training.fakeprint import list_sources, train_fakeprint


def write_noise(path: Path, seed: int, *, comb: bool) -> None:
    write_comb(path, seed, seconds=2, level=0.01 if comb else 0)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("train")
    for n in range(12):
        write_noise(root / f"{n}.wav", n, comb=n % 2 == 1)
    (root / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(root / "silent.wav", np.full(44_100, 0.1), 44_100)
    names = [*(f"{n}.wav" for n in range(12)), "broken.wav", "silent.wav"]
    frame = pl.DataFrame(
        {
            "filepath": names,
            "target": pl.Series([n % 2 for n in range(14)], dtype=pl.Int8),
            "source_dataset": ["Noise"] * 14,
            "split_tag": ["train"] * 14,
            "group_id": [f"g{n // 2}" for n in range(14)],
        }
    )
    return Manifest("train", frame, (root,))


def test_learns_to_separate_the_classes(manifest: Manifest, tmp_path: Path) -> None:
    fitted = train_fakeprint([manifest], tmp_path / "mine", n_workers=0)
    assert (fitted.n_real, fitted.n_fake) == (6, 6)
    failures = {Path(path).name: reason for path, reason in fitted.failures}
    assert list(failures) == ["broken.wav", "silent.wav"]
    assert failures["silent.wav"] == "nothing to analyse (a constant level)"
    write_noise(tmp_path / "real.wav", 100, comb=False)
    write_noise(tmp_path / "fake.wav", 101, comb=True)
    frame = pl.DataFrame({"filepath": ["real.wav", "fake.wav"], "target": [0, 1]})
    opened = open_detector(str(tmp_path / "mine"))
    (prediction,) = predict([Manifest("new", frame, (tmp_path,))], [opened], n_workers=0)
    assert prediction.frame["pred_label"].to_list() == [0, 1]


def test_sources_are_datasets_and_splits_or_names_of_manifests() -> None:
    frame = pl.DataFrame({"filepath": ["a.wav"], "target": [1]})
    manifests = [
        Manifest("plain", frame),
        Manifest("whole", frame.with_columns(source_dataset=pl.lit("FMA"))),
        Manifest(
            "part", frame.with_columns(source_dataset=pl.lit("FMA"), split_tag=pl.lit("test"))
        ),
    ]
    assert list_sources(manifests) == ("FMA", "FMA test", "plain")


def test_the_card_records_the_training_items(manifest: Manifest, tmp_path: Path) -> None:
    card = train_fakeprint([manifest], tmp_path / "mine", n_workers=0).detector.card
    assert card.name == "mine"
    assert card.trained_on == ("Noise train",)
    assert card.training_items is not None
    assert card.training_items.n_items == 12
    assert sha256_of(manifest.locate("3.wav")) in card.training_items.item_sha256
    assert hashlib.sha256(b"g3").hexdigest() in card.training_items.group_sha256


def test_the_order_of_items_does_not_matter(manifest: Manifest, tmp_path: Path) -> None:
    reverse = Manifest("train", manifest.frame.reverse(), manifest.roots)
    first, second = (
        train_fakeprint([m], tmp_path / str(n), n_workers=2).detector.card.weights_sha256
        for n, m in enumerate((manifest, reverse))
    )
    assert first == second


def test_both_classes_are_needed(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no usable fake item"):
        train_fakeprint([manifest.where(pl.col("target") == 0)], tmp_path / "x", n_workers=0)
    assert not (tmp_path / "x").exists()


def test_a_file_has_one_label(manifest: Manifest, tmp_path: Path) -> None:
    flipped = manifest.frame.with_columns((1 - pl.col("target")).alias("target"))
    with pytest.raises(ManifestError, match=r"0.wav: real in one manifest and fake in another"):
        train_fakeprint([manifest, Manifest("f", flipped, manifest.roots)], tmp_path / "x")


def test_a_trained_detector_is_not_overwritten(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "card.json").touch()
    with pytest.raises(UsageError, match="contains a detector already"):
        train_fakeprint([manifest], tmp_path)
