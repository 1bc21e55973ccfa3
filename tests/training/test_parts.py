"""Parts of training without a network: sampling, augmentation, groups, data checks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from earwitness.core.errors import DatasetError, ManifestError, UsageError
from earwitness.core.manifest import Manifest
from earwitness.training.examples import (
    Example,
    SplitConfig,
    check_examples,
    check_splits,
    fingerprint,
    hold_out_test,
    join_groups,
    list_audio,
    list_splits,
    split_groups,
)
from earwitness.training.image_dataset import ImageDataset, PixelFile, read_images
from earwitness.training.image_sources import find_images
from earwitness.training.resnet import check_images
from earwitness.training.sampling import Augmentation, EpochSampler, epoch_order, rng_for
from earwitness.training.trainer import cosine_share
from imagefolders import TINY, write_images


def examples(n_groups: int, kinds: tuple[str, ...] = ("", "a", "b")) -> list[Example]:
    return [
        Example(f"{kind}/{n}.png", Path(f"{kind}/{n}.png"), int(bool(kind)), f"t{n}", kind or None)
        for n in range(n_groups)
        for kind in kinds
    ]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 5), st.booleans())
def test_an_epoch_has_as_many_items_as_there_are(
    n_real: int, n_fake: int, epoch: int, balanced: bool
) -> None:
    targets = [0] * n_real + [1] * n_fake
    order = epoch_order(targets, seed=1, epoch=epoch, balanced=balanced)
    again = epoch_order(targets, seed=1, epoch=epoch, balanced=balanced)
    np.testing.assert_array_equal(order, again)
    assert len(order) == len(targets)
    counts = np.bincount(order, minlength=len(targets))
    if not balanced:
        assert (counts == 1).all()
        return
    of_class = np.bincount(np.array(targets)[order], minlength=2)
    assert abs(of_class[0] - of_class[1]) <= 1
    for target in (0, 1):
        of_items = counts[np.array(targets) == target]
        assert of_items.max() - of_items.min() <= 1


def test_draws_depend_on_seed_epoch_and_item_alone() -> None:
    first = rng_for(0, 3, 5).random(4)
    np.testing.assert_array_equal(first, rng_for(0, 3, 5).random(4))
    others = [rng_for(*place).random(4) for place in ((1, 3, 5), (0, 4, 5), (0, 3, 6))]
    assert all(not np.array_equal(first, other) for other in others)
    sampler = EpochSampler([0, 1, 0, 1], seed=0, balanced=True)
    sampler.set_epoch(2)
    taken = list(sampler)
    assert {epoch for epoch, _ in taken} == {2}
    assert sorted(item for _, item in taken) == [0, 1, 2, 3]


@given(st.integers(0, 1000), st.sampled_from([(20, 30), (8, 9), (64, 40)]), st.booleans())
def test_a_change_is_pure_and_keeps_what_it_does_not_mask(
    seed: int, size: tuple[int, int], coloured: bool
) -> None:
    shape = (*size, 3) if coloured else size
    image = np.random.default_rng(0).integers(60, 180, shape, dtype=np.uint8)
    before = image.copy()
    change = Augmentation.draw(np.random.default_rng(seed), size)
    changed = change.apply(image)
    np.testing.assert_array_equal(image, before)
    assert changed.shape == image.shape
    np.testing.assert_array_equal(changed, change.apply(image))
    back = np.roll(changed.astype(int) - change.gain, -change.shift, axis=1)
    assert (back == image).mean() > 0.7
    masked = np.roll(changed, -change.shift, axis=1)[back != image]
    assert len(np.unique(masked)) <= 1


def test_black_stays_black_when_it_gets_louder() -> None:
    change = Augmentation(shift=0, gain=9, columns=(0, 0), rows=(0, 0))
    image = np.array([[0, 250, 100]], dtype=np.uint8)
    assert change.apply(image).tolist() == [[0, 255, 109]]


@given(st.integers(4, 60), st.integers(0, 9), st.floats(0.05, 0.5))
def test_a_group_is_in_one_split(n_groups: int, seed: int, share: float) -> None:
    everyone = examples(n_groups)
    train, valid = split_groups(everyone, SplitConfig(share, seed=seed))
    assert {e.group for e in train}.isdisjoint(e.group for e in valid)
    assert len(train) + len(valid) == len(everyone)
    assert abs(len({e.group for e in valid}) - share * n_groups) <= 1
    assert split_groups(everyone[::-1], SplitConfig(share, seed=seed))[1][::-1] == valid


def test_kinds_of_groups_are_shared_out_alike() -> None:
    everyone = [*examples(20, ("",)), *examples(10, ("a",)), *examples(30, ("b",))]
    renamed = [
        Example(e.name, e.path, e.target, f"{e.generator}{e.group}", e.generator) for e in everyone
    ]
    _, valid = split_groups(renamed, SplitConfig(0.2))
    assert [sum(e.generator == kind for e in valid) for kind in (None, "a", "b")] == [4, 2, 6]


def manifest_of(folder: Path, names: list[str], **columns: object) -> Manifest:
    frame = pl.DataFrame({"filepath": names, "target": [n % 2 for n in range(len(names))]})
    return Manifest("m", frame.with_columns(source_dataset=pl.lit("FMA"), **columns), (folder,))


def test_a_track_that_manifests_name_differently_is_in_one_split(tmp_path: Path) -> None:
    names = [f"{side}/{n:06}.mp3" for n in range(20) for side in ("real", "made")]
    named = manifest_of(tmp_path, names, group_id=pl.format("mine{}", pl.int_range(pl.len()) // 2))
    bare = manifest_of(tmp_path, [f"other/../also/{n:06}.mp3" for n in range(20)])
    train, valid, _ = list_splits([named, bare], [], SplitConfig())
    assert {e.path.stem for e in train}.isdisjoint(e.path.stem for e in valid)
    assert len(valid) == 4 * 3
    with pytest.raises(DatasetError, match="20 groups are in train and in valid"):
        list_splits([named], [bare], SplitConfig())


def test_links_and_spellings_of_one_file_are_of_one_group(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").symlink_to(tmp_path / "a.wav")
    paths = [tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "x" / ".." / "a.wav"]
    found = join_groups([Example(p.name, p, 0, f"g{n}") for n, p in enumerate(paths)])
    assert {e.group for e in found} == {"g0"}


def test_images_are_found_at_any_depth_with_the_metadata_of_their_manifest(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    deep = tmp_path / "deepfake" / "more" / "deep"
    deep.mkdir(parents=True)
    Image.new("L", (32, 32)).save(deep / "song.v2__musika.JPG")
    (deep / "notes.txt").write_text("no image")
    found = {e.name: e for e in find_images(tmp_path).examples}
    assert len(found) == 5
    assert found["deepfake/more/deep/song.v2__musika.JPG"].group == "song.v2"
    assert found["original/combined/t000__1.png"].group == "t000"
    (tmp_path / "manifest.csv").write_text(
        "filepath,target,source_dataset,split_tag,generator,group_id\n"
        "deepfake/combined/t000__0.png,1,FMA,train,lyra,track7\n"
    )
    one = {e.name: e for e in find_images(tmp_path).examples}["deepfake/combined/t000__0.png"]
    assert (one.group, one.generator, one.origin) == ("track7", "lyra", "FMA train")
    by_digit = find_images(tmp_path, group_by=r"(\d)\.\w+$|v2").examples
    assert {e.group for e in by_digit} >= {"track7", "1"}
    with pytest.raises(UsageError, match="finds nothing in 'original"):
        find_images(tmp_path, group_by="xyz")
    with pytest.raises(UsageError, match=r"--group-by '\('"):
        find_images(tmp_path, group_by="(")


def test_unusable_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"--images .*data: no such file"):
        find_images(tmp_path / "data")
    (tmp_path / "original").mkdir()
    with pytest.raises(DatasetError, match=r"folders original, expected one whose name says deepf"):
        find_images(tmp_path)
    (tmp_path / "deepfake").mkdir()
    with pytest.raises(DatasetError, match="contains no image, expected original images"):
        find_images(tmp_path)
    with pytest.raises(DatasetError, match="no deepfake among the 2 examples of valid"):
        check_splits(examples(2), examples(2, ("",)))
    with pytest.raises(DatasetError, match=r"2 groups are in train and in valid \(as t0\)"):
        check_splits(examples(3), examples(2))
    frame = pl.DataFrame({"filepath": ["a.wav", "a.wav"], "target": [0, 1]})
    with pytest.raises(ManifestError, match="real in one manifest and fake in another"):
        list_audio([Manifest("m", frame, (tmp_path,))])


@given(st.integers(8, 60), st.integers(0, 9))
def test_a_test_is_held_out_before_anything_else(n_groups: int, seed: int) -> None:
    everyone = examples(n_groups)
    sharing = SplitConfig(0.15, seed=seed, test_share=0.15)
    rest, test, how = hold_out_test(everyone, sharing)
    train, valid = split_groups(rest, how)
    groups = [{e.group for e in side} for side in (train, valid, test)]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert sum(map(len, (train, valid, test))) == len(everyone)
    assert all(
        abs(len(g) - s * n_groups) <= 1.5 for g, s in zip(groups, (0.7, 0.15, 0.15), strict=True)
    )
    other = hold_out_test(everyone, SplitConfig(0.4, seed=seed, test_share=0.15))[1]
    assert other == test


def test_a_fingerprint_changes_with_what_is_trained_on(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    found = find_images(tmp_path).examples
    before, rest = fingerprint(found), fingerprint(found[1:])
    assert before == fingerprint(find_images(tmp_path).examples) != rest
    with found[0].path.open("ab") as file:
        file.write(b"more")
    assert fingerprint(found) != before
    assert fingerprint(found[1:]) == rest


def dataset(pixels: np.ndarray, targets: list[int], **more: object) -> ImageDataset:  # type: ignore[type-arg]
    rows = tuple(Example(f"{n}.png", Path(f"{n}.png"), t, f"g{n}") for n, t in enumerate(targets))
    traits = more.get("traits") or tuple(("same",) for _ in rows)
    places = tuple(range(len(rows)))
    return ImageDataset(rows, pixels, places, traits, TINY)  # type: ignore[arg-type]


def noise(n: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(1, 255, (n, 8, 8), dtype=np.uint8)


def test_problems_of_the_data_are_found() -> None:
    targets = [0, 1] * 10
    good = dataset(noise(20), targets)
    assert not list(check_images(good, dataset(noise(4, 1), [0, 1, 0, 1])))
    constant = noise(20)
    constant[3] = 7
    copies = noise(20)
    copies[1] = copies[0]
    bright = noise(20)
    bright[1::2] //= 4
    low = noise(20)
    low[::2, :4] = 0
    leak = tuple((f"{t} × 4 pixels",) for t in targets)
    cases = {
        "1 of 20 images are of one colour throughout (as 3.png)": dataset(constant, targets),
        "1 images are the same in both classes": dataset(copies, targets),
        "shortcut: brightness alone separates": dataset(bright, targets),
        "shortcut: the highest frequency with sound alone": dataset(low, targets),
        "label leak: properties of the files separate": dataset(noise(20), targets, traits=leak),
    }
    for message, train in cases.items():
        assert any(t.startswith(message) for t in check_images(train, good)), message
    assert "20 images of valid are the same" in next(iter(check_images(good, good)))
    lopsided = [*examples(5, ("",)), *examples(20, ("a",))]
    findings = list(check_examples(lopsided, examples(20, ("", "a"))))
    assert [t.partition(" ")[0] for t in findings] == ["classes", "fewer"]


def test_images_that_cannot_be_read_are_left_out_and_reported(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    (tmp_path / "original/combined/t000__0.png").write_text("no image")
    advanced: list[bool] = []
    got = read_images(find_images(tmp_path).examples, advance=advanced.append)
    assert got.pixels.shape == (5, 32, 32)
    assert got.contract == TINY
    assert [(e.name, r) for e, r in got.failures] == [
        (
            "original/combined/t000__0.png",
            "a text/HTML file, not an image, expected PNG, JPEG, BMP, TIFF, WEBP",
        )
    ]
    assert advanced.count(False) == 1
    (tmp_path / "deepfake/combined/t001__0.png").unlink()
    Image.new("RGB", (10, 10), "red").save(tmp_path / "deepfake/combined/red.png")
    mixed = read_images(find_images(tmp_path).examples)
    assert mixed.pixels.shape == (5, 32, 32, 3)
    assert mixed.contract is None
    Image.fromarray(np.full((32, 32), 200, np.uint16)).save(tmp_path / "deepfake/combined/wide.png")
    Image.fromarray(noise(1)[0].astype(np.uint16)).save(tmp_path / "deepfake/combined/wide2.png")
    wide = read_images(find_images(tmp_path).examples)
    assert [note.partition(" (as")[0] for note in wide.notes] == [
        "2 of 7 images resized to 32 × 32, the most frequent size",
        "2 images: whole-number pixels up to 255, read as 8-bit values",
    ]
    assert wide.notes[0] in list(check_images(wide, wide))


def test_the_learning_rate_rises_and_falls() -> None:
    shares = [cosine_share(step, 100, 0.1) for step in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1
    assert (np.diff(shares[10:]) < 0).all()
    assert shares[100] == pytest.approx(0)


def test_pixels_that_cannot_be_kept_name_their_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError) as caught:
        PixelFile(tmp_path / "file" / "mine", (2, 2))
    assert str(caught.value) == (
        f"{tmp_path}/file/mine: images cannot be kept on disk after 0 of them (Not a directory)"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_pixels_on_a_full_disk_are_one_line(tmp_path: Path) -> None:
    with PixelFile(tmp_path, (2, 2)) as file:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, file._file.fileno())
        os.close(full)
        file.add(np.zeros((2, 2), np.uint8))
        with pytest.raises(DatasetError, match=r"after 1 of them \(No space left on device"):
            file.pixels()
