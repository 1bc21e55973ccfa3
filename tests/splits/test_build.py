from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builders import touch, write_split_file
from earwitness.core.errors import DatasetError, UsageError
from earwitness.splits.build import (
    SplitOptions,
    SplitSet,
    build_folder_splits,
    build_splits,
    write_splits,
)
from earwitness.splits.manifests import read_manifest

ENCODERS = ("encodec3", "griffin256", "musika")
GENERATORS = ("MusicGen_medium", "mustango")


def make_root(root: Path) -> Path:
    """The published tree with empty files: 30 tracks, 24 + 24 songs, 2 × 15 clips."""
    data = root / "deepfake-detector"
    tracks = [f"{n:06d}" for n in range(30)]
    for track in tracks:
        touch(data / "fma_real_medium" / "resampled" / track[:3] / f"{track}.mp3")
        for encoder in ENCODERS:
            if (encoder, track) != ("musika", "000012"):
                touch(data / "fma_rebuilt_medium" / encoder / track[:3] / f"{track}.mp3")
    names = [f"{track}.mp3" for track in tracks]
    write_split_file(
        data / "data" / "dataset_medium_split_filtered.npy",
        train=names[:10],
        validation=names[9:25],
        test=names[25:],
    )
    rows = []
    for n in range(24):
        rows += [
            (f"real_songs/real_{n:05d}.mp3", 0, 0.5),
            (f"fake_songs/fake_{n:05d}_suno_0.mp3", 1, 0),
        ]
    for path, _, _ in rows:
        touch(root / "SONICS" / path)
    for name, part in (("train", rows[:12]), ("valid", rows[10:40]), ("test", rows[40:])):
        with (root / "SONICS" / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("filepath", "target", "skip_time"), *part])
    for generator in GENERATORS:
        for n in range(15):
            touch(root / "FakeMusicCaps" / generator / f"caption{n}.wav")
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("mit Leerzeichen ü"))


OPTIONS = SplitOptions(
    fma_encoders=ENCODERS,
    n_fma_real=10,
    n_fma_fake=20,
    n_sonics_real=8,
    n_sonics_fake=12,
    n_fakemusiccaps_fake=9,
)


def draw(root: Path, **changes: Any) -> SplitSet:
    return build_splits(OPTIONS.model_copy(update={"root": root, **changes}))


def paths_of(root: Path) -> dict[str, Path]:
    return {
        "deezer_split_npy": root / "deepfake-detector/data/dataset_medium_split_filtered.npy",
        "fma_real_root": root / "deepfake-detector/fma_real_medium/resampled",
        "fakemusiccaps_root": root / "FakeMusicCaps",
    }


def keys(splits: SplitSet) -> dict[str, list[str]]:
    return {name: frame["key"].to_list() for name, frame in splits.frames.items()}


def test_all_ten_manifests_with_the_published_names(root: Path) -> None:
    assert list(draw(root).frames) == [
        "fma_real_valid_10",
        "fma_fake_valid_20",
        "sonics_real_valid_8",
        "sonics_fake_valid_12",
        "fakemusiccaps_fake_9",
        "ood_requested_combined",
        "ood_requested_combined_balanced",
        "ood_sonics_test_balanced",
        "ood_fma_real_vs_fakemusiccaps_fake_balanced",
        "ood_three_source_balanced",
    ]


def test_names_follow_the_splits_chosen(root: Path) -> None:
    chosen = draw(
        root, deezer_split_name="test", sonics_eval_csv=root / "SONICS" / "test.csv", n_fma_real=5
    )
    assert {"fma_real_test_5", "fma_fake_test_15", "sonics_real_test_4"} <= set(chosen.frames)


def test_every_balanced_file_has_equal_classes(root: Path) -> None:
    for name, frame in draw(root).frames.items():
        if name.endswith("balanced"):
            assert frame["target"].mean() == 0.5, name
    assert draw(root).frames["ood_requested_combined"].height == 10 + 20 + 8 + 12 + 9


def test_fakes_are_shared_out_over_encoders_and_generators(root: Path) -> None:
    frames = draw(root, n_fma_fake=44).frames
    assert Counter(frames["fma_fake_valid_44"]["generator"]) == {
        "encodec3": 15,
        "griffin256": 15,
        "musika": 14,  # one of its files is missing; the others give for it
    }
    assert Counter(frames["fakemusiccaps_fake_9"]["generator"]) == {
        "MusicGen_medium": 5,
        "mustango": 4,
    }


def test_an_eval_row_never_touches_the_train_split(root: Path) -> None:
    frame = draw(root).frames["ood_requested_combined"]
    groups = set(frame["group_id"])
    assert not groups & {f"fma:{n:06d}" for n in range(10)}
    assert "sonics:real_00005" not in groups
    unchecked = draw(root, train_check=False, n_fma_real=16, n_sonics_real=15)
    assert "fma:000009" in set(unchecked.frames["fma_real_valid_16"]["group_id"])
    assert any("--no-train-check" in warning for warning in unchecked.warnings)


def test_the_order_of_the_file_system_does_not_matter(root: Path, tmp_path: Path) -> None:
    for path in sorted((p for p in root.rglob("*") if p.is_file()), reverse=True):
        target = tmp_path / "copy" / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert keys(draw(tmp_path / "copy")) == keys(draw(root))


def test_another_seed_gives_another_draw(root: Path) -> None:
    assert keys(draw(root, seed=1)) != keys(draw(root))
    assert keys(draw(root, seed=42)) == keys(draw(root))


def test_more_of_one_source_changes_nothing_of_another(root: Path, tmp_path: Path) -> None:
    copy = make_root(tmp_path)
    for n in range(50):
        touch(copy / "FakeMusicCaps" / "another" / f"more{n}.wav")
    before, after = keys(draw(root)), keys(draw(copy))
    changed = {name for name in before if after.get(name) != before[name]}
    assert "fakemusiccaps_fake_9" in changed
    assert not [name for name in changed if name.startswith(("fma", "sonics", "ood_sonics"))]
    reals = [
        k for k in after["ood_fma_real_vs_fakemusiccaps_fake_balanced"] if k.startswith("real")
    ]
    assert set(reals) <= set(before["fma_real_valid_10"])


def test_the_folder_of_a_given_csv_is_its_root(root: Path, tmp_path: Path) -> None:
    given = draw(tmp_path / "nowhere", **paths_of(root), sonics_eval_csv=root / "SONICS/valid.csv")
    assert keys(given) == keys(draw(root))


def test_a_count_that_cannot_be_met_warns_and_is_recorded(root: Path, tmp_path: Path) -> None:
    splits = draw(root, n_sonics_real=2000)
    assert splits.warnings == ("sonics_real: 2000 requested, 14 available; all taken",)
    write_splits(splits, tmp_path)
    recorded = json.loads((tmp_path / "splits.json").read_text())
    assert recorded["sources"]["sonics_real"] == {
        "asked": 2000,
        "found": 14,
        "missing": 0,
        "not_drawn": 0,
        "dropped": {"path also in the train split": 1},
        "taken": 14,
        "stratified_over_generators": False,
        "per_generator": {"": 14},
        "n_groups": 14,
    }
    assert recorded["sources"]["fma_fake"]["missing"] == 1
    assert recorded["warnings"] == list(splits.warnings)


def test_zero_rows_say_which_folder_was_looked_at(root: Path, tmp_path: Path) -> None:
    touch(tmp_path / "caps" / "readme.txt")
    with pytest.raises(DatasetError, match=r"fakemusiccaps_fake: no usable files; found .*caps: 0"):
        draw(root, fakemusiccaps_root=tmp_path / "caps")
    with pytest.raises(DatasetError, match=r"no usable files.*path also in the train split"):
        draw(root, sonics_eval_csv=root / "SONICS" / "train.csv")


def test_a_source_of_which_nothing_is_asked_is_not_looked_for(root: Path, tmp_path: Path) -> None:
    only = draw(
        root, n_fma_real=0, n_fma_fake=0, n_sonics_real=0, n_sonics_fake=0, sonics_root=tmp_path
    )
    assert list(only.frames) == ["fakemusiccaps_fake_9", "ood_requested_combined"]
    with pytest.raises(UsageError, match="every --n-… is 0"):
        draw(root, **{name: 0 for name in vars(OPTIONS) if name.startswith("n_")})


def test_one_per_group(root: Path) -> None:
    splits = draw(root, one_per_group=True, n_fma_real=7, n_fma_fake=8)
    frames = splits.frames
    fma_real = splits.sources[0]
    beside = [o for o in fma_real.omitted if o.reason == "another of its group is kept"]
    assert fma_real.found == 15
    assert len(beside) + fma_real.taken.height == 15
    both = pl.concat([frames["fma_real_valid_7"], frames["fma_fake_valid_8"]], how="diagonal")
    assert both["group_id"].is_unique().all()
    caps = frames["fakemusiccaps_fake_9"]
    assert caps["group_id"].is_unique().all()


def test_written_paths_are_posix_and_relative_and_found_again(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "tree"
    shutil.copytree(root, moved)
    for path in write_splits(draw(moved), moved / "ood_eval" / "manifests"):
        manifest = read_manifest(path)
        assert all(p.is_file() for p in manifest.locate_all())
        assert not any(Path(p).is_absolute() for p in manifest.frame["filepath"])
    again = tmp_path / "moved again"
    moved.rename(again)
    manifest = read_manifest(again / "ood_eval" / "manifests" / "ood_requested_combined.csv")
    assert all(p.is_file() for p in manifest.locate_all())


def test_absolute_paths_and_published_columns(root: Path, tmp_path: Path) -> None:
    write_splits(draw(root), tmp_path, absolute_paths=True)
    with (tmp_path / "fma_fake_valid_20.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["filepath", "target", "skip_time", "source_dataset", "split_tag"]
    assert all(Path(row["filepath"]).is_file() for row in rows)
    assert {row["split_tag"] for row in rows} == {"deezer_validation_fake"}


def test_what_is_left_out_is_listed(root: Path, tmp_path: Path) -> None:
    write_splits(draw(root), tmp_path)
    with (tmp_path / "omitted.csv").open(encoding="utf-8") as file:
        omitted = {(row["source"], row["name"]): row["reason"] for row in csv.DictReader(file)}
    assert omitted["fma_fake", "musika/000012"] == "no such file"
    assert omitted["fma_real", "000009"] == "also in the train split"


def test_the_root_is_what_all_files_share(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "caps"
    shutil.copytree(root / "FakeMusicCaps", elsewhere)
    given = paths_of(root) | {"fakemusiccaps_root": elsewhere, "sonics_root": root / "SONICS"}
    splits = build_splits(OPTIONS.model_copy(update=given))
    for frame in splits.frames.values():
        assert all(Path(p).is_relative_to(splits.root) for p in frame["filepath"])


def test_own_folders(tmp_path: Path) -> None:
    for name in ("real/a.wav", "real/b.wav", "real/c.wav", "fake/suno/a.mp3"):
        touch(tmp_path / "mine" / name)
    splits = build_folder_splits(tmp_path / "mine")
    sizes = {name: frame.height for name, frame in splits.frames.items()}
    assert sizes == {"mine_real_3": 3, "mine_fake_1": 1, "mine_combined": 4, "mine_balanced": 2}
    touch(tmp_path / "empty" / "real" / "x.txt")
    with pytest.raises(DatasetError, match="empty: no usable files; found"):
        build_folder_splits(tmp_path / "empty")
