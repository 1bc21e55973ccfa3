from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from builders import write_tone
from earwitness.audio.spectrogram import draw_levels
from earwitness.cli.images import make_contract
from earwitness.core.errors import ManifestError, RunError, StoppedError
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.images.png import read_image
from earwitness.images.render import render
from earwitness.splits.manifests import read_manifest

SMALL = SpectrogramContract(height=24, width=32, hop=500)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("audio")
    names = ["real/1.wav", "real/deep/1.wav", "fake/a/1.wav", "fake/b/1.wav", "fake/b/2.wav"]
    for at, name in enumerate(names):
        write_tone(root / name, seconds=1 + at, hz=300 * (at + 1), rate=16_000)
    (root / "broken.wav").write_text("nothing")
    frame = pl.DataFrame(
        {
            "filepath": [*names, "broken.wav"],
            "target": pl.Series([0, 0, 1, 1, 1, 1], dtype=pl.Int8),
            "generator": [None, None, "a", "b", "b", "b"],
            "group_id": ["t1", "t1", "t1", "t1", "t2", None],
        }
    )
    return Manifest("mine", frame, (root,))


def stamps(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.png")}


def test_a_folder_as_the_published_pipeline_has_it(manifest: Manifest, tmp_path: Path) -> None:
    done = render([manifest], tmp_path, contract=SMALL, n_workers=0)
    assert sorted(stamps(tmp_path)) == [
        "deepfake/combined/1__a.png",
        "deepfake/combined/1__b.png",
        "deepfake/combined/2__b.png",
        "original/combined/1.png",
        "original/combined/1__2.png",
    ]
    assert done.n_images == 5
    assert [Path(path).name for path in done.failures] == ["broken.wav"]
    assert (tmp_path / "errors.csv").read_text().splitlines()[1].startswith('broken.wav,"a text')
    test = pl.read_csv(tmp_path / "test.csv")
    assert test.columns == ["img_path", "actual_output"]
    assert test["actual_output"].to_list() == ["Original"] * 2 + ["Deepfake"] * 3
    images = read_manifest(tmp_path / "manifest.csv")
    assert all(path.is_file() for path in images.locate_all())
    assert images.frame["group_id"].to_list() == ["t1", "t1", "t1", "t1", "t2"]
    assert images.frame["source"].to_list() == manifest.frame["filepath"].to_list()[:5]
    written = SpectrogramContract.model_validate_json((tmp_path / "spectrogram.json").read_text())
    assert written == SMALL
    assert read_image(tmp_path / "original/combined/1.png").contract == SMALL


def test_workers_draw_the_same_pixels(manifest: Manifest, tmp_path: Path) -> None:
    for name, n_workers in (("one", 0), ("two", 2)):
        render([manifest], tmp_path / name, contract=SMALL, windows=3, n_workers=n_workers)
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.png")}
        for name in ("one", "two")
    )
    assert len(one) == 15
    assert one == two


def test_a_stopped_run_resumes(manifest: Manifest, tmp_path: Path) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(StoppedError, match="the same command resumes"):
        render(
            [manifest],
            tmp_path,
            contract=SMALL,
            windows="all",
            n_workers=0,
            should_stop=should_stop,
        )
    before = stamps(tmp_path)
    assert before
    advanced: list[bool] = []
    done = render(
        [manifest], tmp_path, contract=SMALL, windows="all", n_workers=0, advance=advanced.append
    )
    after = stamps(tmp_path)
    assert {name: after[name] for name in before} == before
    assert done.n_kept == 2
    assert sorted(advanced) == [False] + [True] * 5
    whole = tmp_path / "again"
    render([manifest], whole, contract=SMALL, windows="all", n_workers=0)
    for name in ("manifest.csv", "test.csv", "errors.csv"):
        assert (whole / name).read_bytes() == (tmp_path / name).read_bytes()


def test_images_that_are_not_as_they_should_be_are_drawn_again(
    manifest: Manifest, tmp_path: Path
) -> None:
    render([manifest], tmp_path, contract=SMALL, n_workers=0)
    good = (tmp_path / "original/combined/1.png").read_bytes()
    (tmp_path / "original/combined/1.png").write_bytes(good[:100])
    done = render([manifest], tmp_path, contract=SMALL, n_workers=0)
    assert done.n_kept == 4
    assert (tmp_path / "original/combined/1.png").read_bytes() == good


def test_a_folder_is_drawn_by_one_contract(manifest: Manifest, tmp_path: Path) -> None:
    render([manifest], tmp_path, contract=SMALL, n_workers=0)
    other = SMALL.model_copy(update={"height": 48})
    with pytest.raises(RunError, match=r"other rendering parameters .*height 48 and not 24"):
        render([manifest], tmp_path, contract=other, n_workers=0)
    render([manifest], tmp_path, contract=other, overwrite=True, n_workers=0)
    assert read_image(tmp_path / "original/combined/1.png").size == (48, 32)


def test_a_file_has_one_label(manifest: Manifest, tmp_path: Path) -> None:
    flipped = manifest.frame.with_columns((1 - pl.col("target")).alias("target"))
    with pytest.raises(ManifestError, match=r"1.wav: real in one manifest and fake in another"):
        render([manifest, Manifest("f", flipped, manifest.roots)], tmp_path, contract=SMALL)


@pytest.mark.parametrize("rate_hz", [44_100, 32_000])
def test_the_published_style_draws_each_file_at_its_own_rate(rate_hz: int, tmp_path: Path) -> None:
    contract = make_contract(style="published", size="64x48", clip_s=1.0)
    assert (contract.n_fft, contract.hop, contract.scale) == (1024, 512, "log")
    assert (contract.colours, contract.native_rate, contract.n_frames) == ("magma", True, 87)
    # a tone at an eighth of the file's rate is at a quarter of what is drawn, whatever that rate
    write_tone(tmp_path / "a.wav", hz=rate_hz / 8, rate=rate_hz, seconds=3)
    frame = pl.DataFrame({"filepath": ["a.wav"], "target": [0]})
    done = render(
        [Manifest("m", frame, (tmp_path,))], tmp_path / "out", contract=contract, n_workers=0
    )
    assert done.n_images == 1
    picture = read_image(tmp_path / "out/original/combined/a.png")
    assert picture.size == (64, 48)
    assert picture.contract == contract
    low, high = contract.band_hz
    share = np.log2(contract.sample_rate_hz / 8 / low) / np.log2(high / low)
    brightest = picture.pixels.sum(axis=(1, 2)).argmax()
    assert abs(brightest - (1 - share) * 64) <= 1.5


def test_frames_are_averaged_to_columns() -> None:
    plain = SpectrogramContract(width=100, height=32, hop=64, n_fft=256)
    pooled = SpectrogramContract(width=50, n_frames=100, height=32, hop=64, n_fft=256)
    assert pooled.clip_samples == plain.clip_samples
    samples = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, plain.clip_samples)))
    wide, narrow = (draw_levels(samples, c)[0].double().numpy() for c in (plain, pooled))
    pairs = wide.reshape(32, 50, 2).mean(axis=2)
    assert np.corrcoef(pairs.ravel(), narrow.ravel())[0, 1] > 0.99
