"""Shards, merged, are the bytes of one run; what does not fit is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from builders import write_tone
from earwitness.core.errors import RunError
from earwitness.core.manifest import Manifest
from earwitness.detectors.answers import Answer, AnswerFile, read_answers
from earwitness.detectors.base import Detector
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.scoring import merge, predict, run
from earwitness.scoring.merge import merge_shards
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.run import score_into_run
from earwitness.scoring.shards import Shard, shard_numbers
from earwitness.splits.manifests import read_manifest

HERE = ScoringOptions(num_workers=0, windows=2, keep_windows=True)
N_SHARDS = 64

Make = Callable[..., Path]


def make_detector(folder: Path, *, seed: int = 0, name: str = "mine") -> Detector:
    card = fakeprint_card(name=name, trained_on=None, training_items=None)
    weights = np.random.default_rng(seed).standard_normal(4_087)
    return save_fakeprint(card, weights, 0.5, folder / f"{name}{seed}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two manifests that share files, one by absolute path; one file is broken, one missing."""
    folder = tmp_path_factory.mktemp("data")
    for n in range(20):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=0.5)
    (folder / "sound" / "4.wav").write_text("no sound")
    rows = [f"{n}.wav,{n % 2},g{n % 3}" for n in (*range(20), 99)]
    (folder / "one.csv").write_text("\n".join(["filepath,target,generator", *rows, rows[2]]) + "\n")
    rows = [f"{folder}/sound/{n}.wav,{n % 2}" for n in range(12, 20)]
    (folder / "two.csv").write_text("\n".join(["filepath,target", *rows, "x.wav,1"]) + "\n")
    return folder


@pytest.fixture(scope="module")
def manifests(data: Path) -> list[Manifest]:
    return [read_manifest(data / f"{name}.csv", root=data / "sound") for name in ("one", "two")]


@pytest.fixture(scope="module")
def detectors(data: Path) -> list[Detector]:
    return [make_detector(data), make_detector(data, seed=1, name="other")]


@pytest.fixture(scope="module")
def make(manifests: list[Manifest], detectors: list[Detector]) -> Make:
    """Score one shard into its folder."""

    def score(at: Path, number: int, of: int, options: ScoringOptions = HERE) -> Path:
        shard = Shard(number, of)
        command = ["predict", "--shard", "{shard}"]
        out = at / shard.folder
        score_into_run(manifests, detectors, out, options=options, shard=shard, command=command)
        return out

    return score


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    at = tmp_path_factory.mktemp("four")
    for number in range(1, 5):
        make(at, number, 4)
    return at


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, manifests: list[Manifest], detectors: list[Detector]
) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    score_into_run(manifests, detectors, out, options=HERE)
    return out


def content(run: Path) -> dict[str, bytes]:
    """Every file by path, the store's rows sorted; the root from here depends on where that is."""
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in (".lock", "splits.json")
    }
    return {
        name: b"".join(sorted(text.splitlines(keepends=True))) if "store/" in name else text
        for name, text in files.items()
    }


def n_rows(manifests: list[Manifest], number: int, of: int) -> int:
    return sum(shard_numbers(manifest, of).count(number) for manifest in manifests)


def test_64_shards_merged_are_one_run_byte_for_byte(
    tmp_path: Path, make: Make, manifests: list[Manifest], whole: Path
) -> None:
    for number in range(1, N_SHARDS + 1):
        make(tmp_path / "shards", number, N_SHARDS)
    assert any(n_rows(manifests, number, N_SHARDS) == 0 for number in range(1, N_SHARDS + 1))
    merged = merge_shards(tmp_path / "out", [tmp_path / "shards"])
    assert not merged.lacks
    assert content(tmp_path / "out") == content(whole)
    assert "preds/one/other_windows.csv" in content(whole)
    assert "errors.csv" in content(whole)


def test_shards_of_parquet_merge_in_small_parts(
    tmp_path: Path,
    make: Make,
    manifests: list[Manifest],
    detectors: list[Detector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (merge, predict, run):
        monkeypatch.setattr(module, "PART_ROWS", 5)
    options = HERE.model_copy(update={"format": "parquet"})
    for number in (1, 2):
        make(tmp_path / "shards", number, 2, options)
    merge_shards(tmp_path / "out", [tmp_path / "shards"])
    score_into_run(manifests, detectors, tmp_path / "whole", options=options)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert "preds/one/mine.parquet/part-00004.parquet" in content(tmp_path / "whole")


def test_a_file_of_two_manifests_is_decoded_once(four: Path) -> None:
    stores = [path.read_text().splitlines()[1:] for path in four.glob("*/store/mine.jsonl")]
    files = [json.loads(row)["path"] for rows in stores for row in rows]
    assert len(files) == len(set(files)) == 22


def test_merges_are_merged(tmp_path: Path, four: Path, whole: Path) -> None:
    one, two, three, last = sorted(four.iterdir())
    merge_shards(tmp_path / "a", [last, two], partial=True)
    merge_shards(tmp_path / "b", [one, three], partial=True)
    merge_shards(tmp_path / "out", [tmp_path / "a", tmp_path / "b"])
    assert content(tmp_path / "out") == content(whole)


def test_a_shard_left_out_is_named_with_its_command(
    tmp_path: Path, four: Path, manifests: list[Manifest]
) -> None:
    kept = [path for path in four.iterdir() if path.name != "shard-3-of-4"]
    n = n_rows(manifests, 3, 4)
    lack = rf"shard 3/4 lacks {n} of {n} rows: earwitness predict --shard 3/4"
    with pytest.raises(RunError, match=lack):
        merge_shards(tmp_path / "out", kept)
    assert [*tmp_path.iterdir()] == []
    merged = merge_shards(tmp_path / "out", kept, partial=True)
    assert [(lack.shard, lack.n_missing) for lack in merged.lacks] == [(Shard(3, 4), n)]
    assert sum(p.frame.height for p in merged.written.values()) == 2 * (31 - n)


def test_an_unfinished_shard_lacks_the_rows_that_some_detector_has_not_scored(
    tmp_path: Path, four: Path, make: Make, whole: Path, manifests: list[Manifest]
) -> None:
    shutil.copytree(four, tmp_path / "shards")
    store = tmp_path / "shards" / "shard-2-of-4" / "store" / "other.jsonl"
    rows = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join(rows[:-1]) + rows[-1][:20])  # killed while it wrote the last row
    lost = json.loads(rows[-1])["path"]
    n = sum(str(path) == lost for manifest in manifests for path in manifest.locate_all())
    with pytest.raises(RunError, match=rf"shard 2/4 lacks {n} of "):
        merge_shards(tmp_path / "out", [tmp_path / "shards"])
    merged = merge_shards(tmp_path / "partial", [tmp_path / "shards"], partial=True)
    assert sum(p.frame.height for p in merged.written.values()) == 2 * (31 - n)
    assert store.read_bytes().endswith(rows[-1][:20])  # a shard may still be running
    make(tmp_path / "shards", 2, 4)
    merge_shards(tmp_path / "out", [tmp_path / "shards"])
    assert content(tmp_path / "out") == content(whole)


def test_a_shard_killed_as_it_began_lacks_all_rows(
    tmp_path: Path, four: Path, manifests: list[Manifest]
) -> None:
    shutil.copytree(four, tmp_path / "shards")
    for folder in ("shard", "store"):
        shutil.rmtree(tmp_path / "shards" / "shard-2-of-4" / folder)
    n = n_rows(manifests, 2, 4)
    with pytest.raises(RunError, match=rf"shard 2/4 lacks {n} of {n} rows: earwitness predict"):
        merge_shards(tmp_path / "out", [tmp_path / "shards"])
    with pytest.raises(RunError, match="cannot be read as rows of a shard"):
        merge_shards(tmp_path / "out", [tmp_path / "shards" / "shard-2-of-4"])


def refuse(tmp_path: Path, four: Path, other: Path, match: str) -> None:
    kept = [path for path in sorted(four.iterdir()) if path.name != other.name]
    with pytest.raises(RunError, match=match) as caught:
        merge_shards(tmp_path / "out", [*kept, other])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_weights_are_refused(
    tmp_path: Path, four: Path, manifests: list[Manifest], detectors: list[Detector]
) -> None:
    changed = [make_detector(tmp_path, seed=7), detectors[1]]
    out = tmp_path / "shard-2-of-4"
    score_into_run(manifests, changed, out, options=HERE, shard=Shard(2, 4))
    refuse(tmp_path, four, out, r"shard-2-of-4: of another run than .*detector mine weights_sha256")


def test_fewer_detectors_are_refused(
    tmp_path: Path, four: Path, manifests: list[Manifest], detectors: list[Detector]
) -> None:
    out = tmp_path / "shard-2-of-4"
    score_into_run(manifests, detectors[:1], out, options=HERE, shard=Shard(2, 4))
    refuse(tmp_path, four, out, r"another run than .*detectors were mine, other, are mine")


@pytest.mark.parametrize("changes", [{"windows": 3}, {"keep_windows": False}, {"threshold": 0.4}])
def test_other_options_are_refused(
    tmp_path: Path, four: Path, make: Make, changes: dict[str, object]
) -> None:
    out = make(tmp_path, 2, 4, HERE.model_copy(update=changes))
    refuse(tmp_path, four, out, rf"another run than .*option {next(iter(changes))} was")


def test_options_that_change_no_score_may_differ(
    tmp_path: Path, four: Path, make: Make, whole: Path
) -> None:
    out = make(tmp_path, 2, 4, HERE.model_copy(update={"batch_size": 1}))
    kept = [path for path in sorted(four.iterdir()) if path.name != out.name]
    merge_shards(tmp_path / "out", [*kept, out])
    assert content(tmp_path / "out") == content(whole)


def test_another_manifest_is_refused(
    tmp_path: Path, four: Path, manifests: list[Manifest], detectors: list[Detector]
) -> None:
    shorter = [manifests[0].where(pl.col("filepath") != "99.wav"), manifests[1]]
    out = tmp_path / "shard-2-of-4"
    score_into_run(shorter, detectors, out, options=HERE, shard=Shard(2, 4))
    refuse(tmp_path, four, out, r"another run than .*manifest one digest was")


def test_another_number_of_shards_is_refused(tmp_path: Path, four: Path, make: Make) -> None:
    refuse(tmp_path, four, make(tmp_path, 2, 5), r"another run than .*shard count was 4, is 5")


def test_overlapping_shards_are_refused(tmp_path: Path, four: Path) -> None:
    pair = [four / "shard-1-of-4", four / "shard-2-of-4"]
    merge_shards(tmp_path / "pair", pair, partial=True)
    with pytest.raises(RunError, match=r"overlaps .*: both have row .* expected each row once"):
        merge_shards(tmp_path / "out", [four, tmp_path / "pair"])
    with pytest.raises(RunError, match="given twice"):
        merge_shards(tmp_path / "out", [four, pair[0]])


def test_what_is_no_shard_is_refused(tmp_path: Path, four: Path, whole: Path) -> None:
    with pytest.raises(RunError, match="a whole run, expected the run folder of a shard"):
        merge_shards(tmp_path / "out", [four, whole])
    with pytest.raises(RunError, match=r"no run\.json, expected a run folder that has begun"):
        merge_shards(tmp_path / "out", [tmp_path])


def test_a_shard_folder_resumes_its_own_shard_only(
    tmp_path: Path, four: Path, manifests: list[Manifest], detectors: list[Detector]
) -> None:
    shutil.copytree(four / "shard-2-of-4", tmp_path / "shard")
    before = content(tmp_path / "shard")
    again = {"options": HERE, "command": ["predict", "--shard", "{shard}"]}
    score_into_run(manifests, detectors, tmp_path / "shard", shard=Shard(2, 4), **again)  # type: ignore[arg-type]
    assert content(tmp_path / "shard") == before
    with pytest.raises(RunError, match="the run there is another one: shard numbers was"):
        score_into_run(manifests, detectors, tmp_path / "shard", options=HERE, shard=Shard(3, 4))
    with pytest.raises(RunError, match="the run there is another one: shard count was 4, is null"):
        score_into_run(manifests, detectors, tmp_path / "shard", options=HERE)


def test_a_changed_file_of_a_shard_is_noticed(tmp_path: Path, four: Path) -> None:
    shutil.copytree(four, tmp_path / "shards")
    path = tmp_path / "shards" / "shard-2-of-4" / "shard" / "one.parquet"
    table = pl.read_parquet(path)
    table.with_columns(pl.lit(0, pl.Int8).alias("column:target")).write_parquet(path)
    with pytest.raises(RunError, match="rows of one have another digest than the manifest"):
        merge_shards(tmp_path / "out", [tmp_path / "shards"])


def test_answers_of_services_are_merged_each_once(tmp_path: Path, four: Path) -> None:
    shutil.copytree(four, tmp_path / "shards")
    answers = [Answer(f"key{n}", f"/{n}.wav", "ü") for n in range(3)]
    for number, own in ((1, answers[:2]), (2, answers[1:])):
        kept = AnswerFile()
        kept.open(tmp_path / "shards" / f"shard-{number}-of-4" / "answers" / "service.jsonl")
        for answer in own:
            kept.add(answer)
    torn = tmp_path / "shards" / "shard-2-of-4" / "answers" / "service.jsonl"
    torn.write_bytes(torn.read_bytes() + b'{"key": "cut')
    merge_shards(tmp_path / "out", [tmp_path / "shards"])
    assert read_answers(tmp_path / "out" / "answers" / "service.jsonl") == answers
    assert torn.read_bytes().endswith(b"cut")


def test_what_a_killed_merge_left_is_swept(tmp_path: Path, four: Path, whole: Path) -> None:
    left = tmp_path / ".out.merging"
    (left / "store").mkdir(parents=True)
    (left / "store" / "mine.jsonl").write_text("torn")
    (left / "preds").mkdir()
    (left / "preds" / "old.csv").write_text("old")
    merge_shards(tmp_path / "out", [four])
    assert content(tmp_path / "out") == content(whole)
    assert not left.exists()


def test_a_folder_with_content_is_not_merged_into(tmp_path: Path, four: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="expected an empty or a new folder"):
        merge_shards(tmp_path, [four])
    with pytest.raises(RunError, match=r"notes.txt: found a file, expected an empty or a new"):
        merge_shards(tmp_path / "notes.txt", [four])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
