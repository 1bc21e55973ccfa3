"""What is fitted on shares no file and no group with what is reported on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Inputs, Opened, load_rows, open_sources
from earwitness.evaluation.thresholds import in_calibration_half
from frames import predictions

N = 200


def plain(dataset: str = "a", prefix: str = "", **columns: object) -> Predictions:
    """Rows of independent items: reals and fakes by turns, without groups."""
    frame = predictions(n_tracks=N, generators=[]).frame.with_columns(
        pl.Series("filepath", [f"{prefix}f{n}" for n in range(N)]),
        pl.Series("target", [n % 2 for n in range(N)], dtype=pl.Int8),
        source_dataset=pl.lit("own"),
        group_id=pl.lit(None, dtype=pl.String),
    )
    return Predictions(dataset, "cnn", frame.with_columns(**columns))


def halves(*sources: Predictions | Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame = load_rows(Inputs(open_sources(list(sources))))[0]
    chosen = in_calibration_half(frame, 0)
    return frame.filter(chosen), frame.filter(~chosen)


def shared(*sources: Predictions | Path, name: str = "item") -> int:
    one, two = halves(*sources)
    assert one.height
    assert two.height
    return len(set(one[name]) & set(two[name]))


@pytest.mark.parametrize("prefix", ["", "./", "x/../", ".//"])
def test_an_item_of_two_data_sets_is_in_one_half(prefix: str) -> None:
    grouped = plain("b", prefix, group_id=pl.format("g{}", pl.int_range(pl.len()) // 2))
    assert shared(plain("a"), grouped) == 0
    frame = load_rows(Inputs(open_sources([plain("a"), grouped])))[0]
    assert (frame["item"].n_unique(), frame["group"].n_unique()) == (N, N // 2)
    assert frame["has_group"].all()


def test_two_group_ids_of_one_item_are_one_group() -> None:
    one = plain("a", group_id=pl.format("one{}", pl.int_range(pl.len()) // 2))
    two = plain("b", group_id=pl.format("two{}", (pl.int_range(pl.len()) + 1) // 2))
    assert load_rows(Inputs(open_sources([one, two])))[0]["group"].n_unique() == 1


def test_both_normal_forms_of_a_name_are_one_item_and_one_group() -> None:
    one = plain("a", "caf\u00e9/", group_id=pl.lit("caf\u00e9"))
    two = plain("b", "cafe\u0301/", group_id=pl.lit("cafe\u0301"))
    frame = load_rows(Inputs(open_sources([one, two])))[0]
    assert (frame["item"].n_unique(), frame["group"].n_unique()) == (N, 1)


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_linked_file_is_the_file_it_leads_to(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    for n in range(N):
        (tmp_path / "there" / f"f{n}").touch()
        link(tmp_path / "there" / f"f{n}", tmp_path / "here" / f"other{n}")
    one = plain("a", f"{tmp_path}/there/")
    two = plain("b", filepath=pl.format(f"{tmp_path}/here/other{{}}", pl.int_range(pl.len())))
    frame = load_rows(Inputs(open_sources([one, two])))[0]
    assert (frame["item"].n_unique(), shared(one, two)) == (N, 0)


def test_relative_paths_start_from_the_roots_of_their_run(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        music, run = tmp_path / name / "music", tmp_path / name / "run"
        for n in range(4):
            (music / f"f{n}").parent.mkdir(parents=True, exist_ok=True)
            (music / f"f{n}").touch()
        run.mkdir()
        recorded = {
            "options": {},
            "manifests": {name: {"digest": "0", "roots": [str(music)]}},
            "detectors": [],
        }
        (run / "run.json").write_text(json.dumps(recorded))
        few = Predictions(name, "cnn", plain().frame.head(4))
        found.append(Opened(few, name, run / "preds" / name / "cnn.csv"))
    assert deduplicate(load_rows(Inputs(found))[0]).height == 8
    beside = [*open_sources([plain("three")]), found[0]]
    assert load_rows(Inputs(beside))[0]["item"].n_unique() == N


def test_the_same_bytes_are_of_one_group() -> None:
    same = plain("b", "copies/", sha256=pl.format("{}", pl.int_range(pl.len())))
    one = plain("a", sha256=pl.format("{}", pl.int_range(pl.len())))
    frame = load_rows(Inputs(open_sources([one, same])))[0]
    assert (frame["item"].n_unique(), frame["group"].n_unique()) == (2 * N, N)
    assert shared(one, same, name="group") == 0


def published(n_tracks: int = 40) -> Predictions:
    """A published manifest: five columns, tracks known by file names alone."""
    rows = []
    for n in range(n_tracks):
        rows.append((f"/d/fma_real/{n:06}.mp3", 0, "FMA"))
        rows += [(f"/d/fma_rebuilt/{kind}/{n:06}.mp3", 1, "FMA") for kind in ("lac14", "dac14")]
        rows.append((f"/d/SONICS/fake_songs/fake_{n:05}_suno_{n % 2}.mp3", 1, "SONICS"))
        rows.append((f"/d/SONICS/fake_songs/fake_{n:05}_suno_{1 - n % 2}.mp3", 1, "SONICS"))
        rows.append((f"/d/FakeMusicCaps/{n % 5}/caption{n // 5}.wav", 1, "FakeMusicCaps"))
    frame = pl.DataFrame(
        [(*row, 0.5, 1, None) for row in rows],
        schema=["filepath", "target", "source_dataset", "pred_prob", "pred_label", "error"],
        orient="row",
        schema_overrides={"error": pl.String},
    )
    return Predictions("ood_requested_combined", "cnn", frame)


def test_tracks_of_a_published_manifest_are_groups() -> None:
    one, two = halves(published())
    frame = pl.concat([one, two])
    assert frame["group"].n_unique() == 40 + 40 + 8
    assert not set(one["group"]) & set(two["group"])
    tracks = [{p.rsplit("/", 1)[1] for p in half["filepath"] if "fma" in p} for half in (one, two)]
    assert tracks[0]
    assert not tracks[0] & tracks[1]


def test_a_reconstruction_without_a_group_is_of_its_tracks_group() -> None:
    whole = published()
    named = Predictions(
        "named",
        "cnn",
        whole.frame.filter(target=0).with_columns(
            group_id=pl.format("mine{}", pl.int_range(pl.len()))
        ),
    )
    frame = load_rows(Inputs(open_sources([whole, named])))[0]
    of_track = frame.filter(pl.col("filepath").str.ends_with("000003.mp3"))
    assert of_track["group"].unique().to_list() == ["group:mine3"]


@pytest.mark.parametrize("prefix", ["", "./", "x/../"])
def test_calibration_on_the_files_reported_on_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="no scored row on the calibration files"):
        ew.evaluate([plain()], threshold="eer", calibration=[plain("c", prefix)], n_resamples=20)


def test_calibration_shares_no_group_that_only_a_third_item_joins() -> None:
    fitted = plain("c", "other/", group_id=pl.format("g{}", pl.int_range(pl.len())))
    bridge = fitted.frame.head(50).with_columns(
        filepath=pl.format("f{}", pl.int_range(pl.len())),
    )
    fitted = Predictions("c", "cnn", pl.concat([fitted.frame, bridge]))
    report, calibration = load_rows(Inputs(open_sources([plain()])), Inputs(open_sources([fitted])))
    assert len(set(report["group"]) & set(calibration["group"])) == 50
    found = ew.evaluate([plain()], threshold="eer", calibration=[fitted], n_resamples=20)
    assert found.operating_points[0].n_fitted == N - 50
