"""Shortcuts planted in files are found, and only they."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.auditing import alone, band, baselines, classes, separation
from earwitness.auditing.audit import audit, find_cards
from earwitness.auditing.hearing import SoundStore, hear_files
from earwitness.auditing.scene import Outcome, Scene, set_scene
from earwitness.auditing.separation import separate
from earwitness.auditing.slices import Classed
from earwitness.core.manifest import Manifest
from earwitness.reporting.audits import write_tables
from earwitness.workflows.audit import write_fixed

RATE = 32_000
Plant = Callable[[np.ndarray], np.ndarray]


def music(seed: int) -> np.ndarray:
    """Return a second or so of noise of its own level, width, tilt, offset and length."""
    rng = np.random.default_rng(seed)
    n = round(RATE * rng.uniform(1.0, 1.2))
    both = rng.standard_normal((2, n)) + rng.uniform(0.5, 2) * rng.standard_normal(n)
    tilt = np.exp(-np.fft.rfftfreq(n, 1 / RATE) / rng.uniform(1_500, 6_000))
    samples = np.fft.irfft(np.fft.rfft(both) * tilt, n)
    samples *= rng.uniform(0.05, 0.15) / samples.std()
    return samples + rng.normal(0, 1e-4)


def corpus(
    folder: Path,
    plant: Plant = lambda samples: samples,
    *,
    n: int = 14,
    rate: int = RATE,
    suffix: str = ".wav",
) -> Manifest:
    """Write as many reals as fakes; what is planted is in the fakes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(2 * n):
        fake = seed % 2
        path = folder / f"{seed}{suffix if fake else '.wav'}"
        samples = music(seed)
        soundfile.write(path, (plant(samples) if fake else samples).T, rate if fake else RATE)
        made: dict[str, Any] = {"generator": "maker"} if fake else {"generator": None}
        rows.append({"filepath": path.name, "target": fake, "source_dataset": "own", **made})
    return Manifest("eval", pl.DataFrame(rows), (folder,))


def heard(*manifests: Manifest, detectors: tuple[str, ...] = ()) -> Scene:
    scene = set_scene(manifests, (), find_cards(detectors))
    with SoundStore(None) as store:
        files = scene.rows["file"].unique(maintain_order=True).to_list()
        return Scene(
            scene.manifests,
            scene.n_audited,
            scene.rows,
            scene.cards,
            hear_files(files, store, n_workers=0),
        )


def found(outcomes: list[Outcome]) -> set[str]:
    return {
        outcome.result.name.removeprefix("alone_")
        for outcome in outcomes
        if outcome.result.verdict == "finding"
    }


def result(outcomes: list[Outcome], name: str) -> Any:
    (one,) = [outcome.result for outcome in outcomes if outcome.result.name == name]
    return one


def silent_start(samples: np.ndarray) -> np.ndarray:
    faint = np.random.default_rng(0).choice([-5e-4, 5e-4], (2, RATE // 4))
    return np.concatenate([faint, samples[:, : -RATE // 4]], axis=1)


def low_passed(samples: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    spectrum[:, np.fft.rfftfreq(samples.shape[1], 1 / RATE) > 7_000] = 0
    return np.fft.irfft(spectrum, samples.shape[1])


def test_a_clean_set_gives_nothing_away(tmp_path: Path) -> None:
    scene = heard(corpus(tmp_path))
    outcomes = alone.check_alone(scene)
    assert found(outcomes) == set()
    assert all(o.result.verdict == "pass" and not o.findings for o in outcomes)
    assert found(baselines.check_baselines(scene)) == set()
    assert found([*classes.check_balance(scene), *classes.check_one_class(scene)]) == set()


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (silent_start, {"lead_silence_s", "silence_share"}),
        (low_passed, {"bandwidth_hz", "floor_db", "above_8k_db"}),
        (lambda s: s[:, : round(0.8 * RATE)], {"duration_s"}),
        (lambda s: s * 0.1, {"peak_dbfs", "loudness_lufs"}),
        (lambda s: s + 0.02, {"dc_offset"}),
        (lambda s: np.stack([s[0], s[0]]), {"stereo_correlation"}),
    ],
    ids=["silence", "bandwidth", "duration", "level", "offset", "width"],
)
def test_a_planted_shortcut_is_found_and_only_that(
    tmp_path: Path, plant: Plant, expected: set[str]
) -> None:
    assert found(alone.check_alone(heard(corpus(tmp_path, plant)))) == expected


def test_a_rate_of_its_own_is_found_with_what_follows_from_it(tmp_path: Path) -> None:
    scene = heard(corpus(tmp_path, lambda s: s[:, ::2], rate=RATE // 2))
    names = found(alone.check_alone(scene))
    assert {"sample_rate_hz", "bit_rate_kbps", "bandwidth_hz"} <= names
    assert not names & {"duration_s", "codec", "encoder", "loudness_lufs", "stereo_correlation"}
    figure = result(alone.check_alone(scene), "alone_sample_rate_hz").figures["slices"][0]
    assert (figure["usual_real"], figure["usual_fake"]) == (str(RATE), str(RATE // 2))
    assert (figure["auroc"], figure["finding"]) == (1.0, True)


def test_a_codec_of_its_own_is_found(tmp_path: Path) -> None:
    names = found(alone.check_alone(heard(corpus(tmp_path, suffix=".flac"))))
    assert {"codec", "container", "bit_rate_kbps"} <= names
    assert not names & {"duration_s", "sample_rate_hz", "loudness_lufs", "bandwidth_hz"}


def test_findings_tell_the_fakes_and_drop_none(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, lambda s: s[:, :20_000])
    outcomes = alone.check_alone(heard(manifest))
    (one,) = [outcome for outcome in outcomes if outcome.findings]
    assert one.result.name == "alone_duration_s"
    assert one.result.n_rows == 14
    assert "own × maker: AUROC 0.00 [0.00, " in one.result.detail
    assert "fakes 0.625 s, reals 1." in one.result.detail
    assert one.result.advice == "cut reals and fakes to one length"
    assert {(f.target, f.relation, f.drop) for f in one.findings} == {(1, "shortcut", False)}
    report = audit(manifest, n_workers=0)
    dropped = write_fixed(report, manifest, tmp_path / "fixed.csv")
    assert dropped.height == 0


def test_few_groups_are_judged_where_classes_lie_apart_and_else_not_called_clean(
    tmp_path: Path,
) -> None:
    outcomes = alone.check_alone(heard(corpus(tmp_path, lambda s: s[:, :20_000], n=4)))
    duration = result(outcomes, "alone_duration_s")
    assert duration.verdict == "finding"
    assert "AUROC 0.00 (too few groups)" in duration.detail
    others = {o.result.verdict for o in outcomes if o.result.name != "alone_duration_s"}
    assert others == {"not checked"}
    assert result(outcomes, "alone_peak_dbfs").detail.startswith(
        "every slice has fewer than 10 groups of a class"
    )


def test_fewer_than_three_groups_say_nothing(tmp_path: Path) -> None:
    outcomes = alone.check_alone(heard(corpus(tmp_path, lambda s: s[:, :20_000], n=2)))
    assert {o.result.verdict for o in outcomes} == {"not checked"}


def test_baselines_say_what_the_file_gives_away(tmp_path: Path) -> None:
    scene = heard(corpus(tmp_path / "a", lambda s: s[:, :20_000]))
    container, channel = (o.result for o in baselines.check_baselines(scene))
    for check, name in ((container, "container"), (channel, "channel")):
        (one,) = check.figures["slices"]
        assert (check.verdict, one["baseline"], one["finding"]) == ("finding", name, True)
        assert (one["real_corpus"], one["generator"], one["fake_corpus"]) == ("own", "maker", "own")
        assert one["auroc"] > 0.95
        assert one["low"] > 0.6
        assert (one["n_items"], one["n_groups"]) == (28, 28)
        assert "fitted on the other groups" in one["conditional_on"]
    narrow = heard(corpus(tmp_path / "b", lambda s: np.stack([s[0], s[0]])))
    verdicts = [o.result.verdict for o in baselines.check_baselines(narrow)]
    assert verdicts == ["pass", "finding"]


def test_baselines_take_ten_groups_of_a_class(tmp_path: Path) -> None:
    outcomes = baselines.check_baselines(heard(corpus(tmp_path, n=4)))
    assert {o.result.verdict for o in outcomes} == {"not checked"}
    assert "fewer than 10 of a class" in outcomes[0].result.detail


def test_one_class_and_no_sound_are_not_called_clean(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, n=3)
    fakes = manifest.where(pl.col("target") == 1)
    for outcome in (*alone.check_alone(heard(fakes)), *baselines.check_baselines(heard(fakes))):
        assert outcome.result.verdict == "not checked"
        assert outcome.result.detail == "only fakes: nothing to tell apart"
    gone = Manifest("gone", manifest.frame, (tmp_path / "elsewhere",))
    details = {o.result.detail for o in alone.check_alone(heard(gone))}
    assert details == {"no file could be heard"}


def test_balance_and_corpora_of_one_class(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, n=6)
    frame = manifest.frame.with_columns(
        source_dataset=pl.when(pl.col("target") == 1).then(pl.lit("B")).otherwise(pl.lit("A"))
    )
    scene = set_scene([Manifest("eval", frame.slice(0, 3), (tmp_path,))], (), ())
    (one_class,) = classes.check_one_class(scene)
    assert one_class.result.detail == "3 of 3 rows given away; A has only reals; B has only fakes"
    (balance,) = classes.check_balance(scene)
    assert balance.result.verdict == "pass"
    skewed = pl.concat([frame.filter(target=1), frame.slice(0, 1)])
    (balance,) = classes.check_balance(set_scene([Manifest("eval", skewed)], (), ()))
    assert balance.result.verdict == "finding"
    assert balance.result.detail == "eval: 1 real, 6 fake"
    (balance,) = classes.check_balance(set_scene([Manifest("e", frame.filter(target=1))], (), ()))
    assert (balance.result.verdict, balance.result.detail) == (
        "not checked",
        "only fakes are audited",
    )


def test_rates_below_a_detectors_band(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, lambda s: s[:, ::4], n=2, rate=RATE // 4)
    scene = heard(manifest, detectors=("specnn_amplitude", "sonics-spectttra-alpha-5s"))
    outcomes = band.check_band(scene)
    wide = result(outcomes, "band_specnn_amplitude")
    assert (wide.verdict, wide.n_rows) == ("finding", 2)
    assert wide.detail == "2 of 4 rows given away; 0 of 2 real, 2 of 2 fake"
    assert wide.figures["n_fake"] == 2
    (silent,) = band.check_band(heard(manifest))
    assert silent.result.verdict == "not checked"


def test_every_row_has_its_measures_in_the_table(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "sound", n=2)
    (tmp_path / "sound" / "0.wav").write_bytes(b"no sound")
    report = audit(manifest, n_workers=0)
    write_tables(report, tmp_path)
    table = pl.read_csv(tmp_path / "nuisances.csv")
    assert table["filepath"].to_list() == manifest.frame["filepath"].to_list()
    assert table["error"].is_null().to_list() == [False, True, True, True]
    assert table["sample_rate_hz"].to_list() == [None, RATE, RATE, RATE]
    assert table["codec"].to_list() == [None, *["pcm_s16le"] * 3]
    assert table["bit_rate_kbps"].to_list() == [None, *[2 * 16 * RATE // 1000] * 3]
    assert table["bandwidth_hz"].null_count() == 1


def test_a_second_hearing_says_the_same(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "sound", n=2)
    first = audit(manifest, store=tmp_path / "store", n_workers=0)
    again = audit(manifest, store=tmp_path / "store", n_workers=0)
    assert again.nuisances == first.nuisances
    assert json.loads(again.model_dump_json()) == json.loads(first.model_dump_json())


def test_what_may_be_one_of_many_comparisons_is_left_open() -> None:
    items = Classed(np.repeat([0, 1], 12), np.arange(24))
    values = np.r_[np.arange(12), np.arange(12) + 6.5]
    alone_in_the_world, of_many = separate(items, values, 1), separate(items, values, 10_000)
    assert alone_in_the_world.auroc == of_many.auroc
    assert (alone_in_the_world.is_finding, alone_in_the_world.is_open) == (True, False)
    assert (of_many.is_finding, of_many.is_open) == (False, True)


def test_a_measure_that_is_left_open_is_not_called_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separation, "ERROR_RATE", 1e-9)
    scene = heard(corpus(tmp_path, lambda samples: samples * 0.6))
    level = result(alone.check_alone(scene), "alone_loudness_lufs")
    assert (level.verdict, level.n_checked, level.advice) == ("not checked", 0, "")
    assert level.detail.startswith("not decidable among 21 comparisons: own × maker: AUROC 0.")
