"""Shortcuts planted in files are found, and only they."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image
from scipy.stats import mannwhitneyu, rankdata

from earwitness.audit import balance, separability, shortcuts
from earwitness.audit.audit import audit, find_cards, write_fixed
from earwitness.audit.checks import AuditContext, Outcome, make_context
from earwitness.audit.features import FeatureCache, extract_features
from earwitness.audit.separability import (
    LIMIT,
    Comparison,
    Labels,
    decide,
    measure_categories,
    measure_number,
)
from earwitness.audit.shortcuts import list_nuisances
from earwitness.audit.tables import write_tables
from earwitness.core.estimate import Estimate
from earwitness.core.manifest import Manifest

RATE = 32_000
CACHE = FeatureCache(None)
"""Most tests write the same reals."""

Plant = Callable[[np.ndarray], np.ndarray]


@cache
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


def with_features(*manifests: Manifest, detectors: tuple[str, ...] = ()) -> AuditContext:
    context = make_context(manifests, (), find_cards(detectors))
    files = context.rows["file"].unique(maintain_order=True).to_list()
    return replace(context, features=extract_features(files, CACHE, n_workers=0))


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


def narrowed(samples: np.ndarray) -> np.ndarray:
    middle, side = samples.sum(axis=0) / 2, (samples[0] - samples[1]) / 2
    return np.stack([middle + side / 4, middle - side / 4])


def high_passed(samples: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    spectrum[:, np.fft.rfftfreq(samples.shape[1], 1 / RATE) < 80] = 0
    return np.fft.irfft(spectrum, samples.shape[1])


SILENT_START = {"lead_zeros_s", "zero_share", "lead_silence_s", "silence_share"}
SILENT_END = {"trail_silence_s", "zero_share", "silence_share", "quiet_db", "crest_db"}


def test_a_clean_set_has_no_finding(tmp_path: Path) -> None:
    context = with_features(corpus(tmp_path))
    outcomes = shortcuts.check_alone(context)
    assert found(outcomes) == set()
    assert all(o.result.verdict == "pass" and not o.findings for o in outcomes)
    assert found(shortcuts.check_baselines(context)) == set()
    assert found([*balance.check_balance(context), *balance.check_one_class(context)]) == set()


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (silent_start, {"lead_silence_s", "silence_share", "quiet_db", "crest_db"}),
        (low_passed, {"bandwidth_hz", "band_edge_hz", "floor_db", "above_8k_db"}),
        (lambda s: s[:, : round(0.8 * RATE)], {"duration_s"}),
        (lambda s: s * 0.1, {"peak_dbfs", "loudness_lufs"}),
        (lambda s: s + 0.02, {"dc_offset"}),
        (lambda s: np.stack([s[0], s[0]]), {"stereo_correlation", "stereo_width_db"}),
        (lambda s: np.stack([s[0], -s[0]]), {"stereo_correlation", "stereo_width_db"}),
        (narrowed, {"stereo_correlation", "stereo_width_db"}),
        (high_passed, {"below_40_db", "dc_offset"}),
        (lambda s: np.rint(s * 128) / 128, {"bit_depth"}),
        (lambda s: np.pad(s[:, :-700], ((0, 0), (700, 0))), SILENT_START),
        (lambda s: np.pad(s[:, : -RATE // 4], ((0, 0), (0, RATE // 4))), SILENT_END),
    ],
    ids=[
        *("silence", "bandwidth", "duration", "level", "offset", "one channel", "inverted"),
        *("width", "high-pass", "bit depth", "zeros", "trailing"),
    ],
)
def test_a_planted_shortcut_is_found_and_only_that(
    tmp_path: Path, plant: Plant, expected: set[str]
) -> None:
    assert found(shortcuts.check_alone(with_features(corpus(tmp_path, plant)))) == expected


def test_a_rate_of_its_own_is_found_with_what_follows_from_it(tmp_path: Path) -> None:
    context = with_features(corpus(tmp_path, lambda s: s[:, ::2], rate=RATE // 2))
    names = found(shortcuts.check_alone(context))
    assert {"sample_rate_hz", "bit_rate_kbps", "bandwidth_hz"} <= names
    assert not names & {"duration_s", "codec", "encoder", "loudness_lufs", "stereo_correlation"}
    figure = result(shortcuts.check_alone(context), "alone_sample_rate_hz").figures["slices"][0]
    assert (figure["usual_real"], figure["usual_fake"]) == (str(RATE), str(RATE // 2))
    assert (figure["auroc"], figure["finding"]) == (1.0, True)


def test_a_codec_of_its_own_is_found(tmp_path: Path) -> None:
    names = found(shortcuts.check_alone(with_features(corpus(tmp_path, suffix=".flac"))))
    assert {"codec", "container", "bit_rate_kbps"} <= names
    assert not names & {"duration_s", "sample_rate_hz", "loudness_lufs", "bandwidth_hz"}


def with_comment(path: Path) -> None:
    samples, rate = soundfile.read(path)
    with soundfile.SoundFile(path, "w", rate, 2) as file:
        file.comment = "made by a machine"
        file.write(samples)


def with_cover(path: Path) -> None:
    """Put a picture block behind the first block of a FLAC file."""
    pixels = io.BytesIO()
    Image.new("RGB", (8, 8)).save(pixels, "PNG")
    kind = b"image/png"
    lengths = [struct.pack(">II", 3, len(kind)), kind, struct.pack(">I", 0)]
    picture = b"".join(
        [*lengths, struct.pack(">5I", 8, 8, 24, 0, len(pixels.getvalue())), pixels.getvalue()]
    )
    block = b"\x06" + len(picture).to_bytes(3, "big") + picture
    whole = path.read_bytes()
    path.write_bytes(whole[:42] + block + whole[42:])


@pytest.mark.parametrize(
    ("mark", "suffix", "expected"),
    [(with_comment, ".flac", {"tag_fields"}), (with_cover, ".flac", {"cover_art", "tag_fields"})],
)
def test_a_tag_of_one_class_is_found(
    tmp_path: Path, mark: Callable[[Path], None], suffix: str, expected: set[str]
) -> None:
    manifest = corpus(tmp_path, suffix=suffix)
    real = pl.col("target") == 0
    for path in manifest.where(real).frame["filepath"]:
        samples, rate = soundfile.read(tmp_path / path)
        soundfile.write((tmp_path / path).with_suffix(".flac"), samples, rate)
    frame = manifest.frame.with_columns(pl.col("filepath").str.replace(".wav", ".flac"))
    for path in frame.filter(~real)["filepath"]:
        mark(tmp_path / path)
    names = found(shortcuts.check_alone(with_features(Manifest("eval", frame, (tmp_path,)))))
    assert names - {"bit_rate_kbps"} <= expected
    assert min(expected) in names
    nuisances = list_nuisances(with_features(Manifest("eval", frame, (tmp_path,))))
    assert {one.measures["cover_art"] for one in nuisances} == (
        {"yes", "no"} if mark is with_cover else {"no"}
    )


def test_findings_list_the_fakes_and_drop_none(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, lambda s: s[:, :20_000])
    outcomes = shortcuts.check_alone(with_features(manifest))
    (one,) = [outcome for outcome in outcomes if outcome.findings]
    assert one.result.name == "alone_duration_s"
    assert one.result.n_rows == 14
    assert "own × maker: AUROC 0.00 [0.00, " in one.result.detail
    assert "fakes 0.625 s, reals 1." in one.result.detail
    assert one.result.advice == "cut reals and fakes to one length"
    assert {(f.target, f.relation, f.drop) for f in one.findings} == {(1, "shortcut", False)}
    report = audit(manifest, n_workers=0)
    n_dropped, _ = write_fixed(report, manifest, tmp_path / "fixed.csv")
    assert n_dropped == 0


def test_few_groups_are_decided_only_where_classes_do_not_overlap(
    tmp_path: Path,
) -> None:
    outcomes = shortcuts.check_alone(with_features(corpus(tmp_path, lambda s: s[:, :20_000], n=4)))
    duration = result(outcomes, "alone_duration_s")
    assert duration.verdict == "finding"
    assert "AUROC 0.00 (too few groups)" in duration.detail
    others = {o.result.verdict for o in outcomes if o.result.name != "alone_duration_s"}
    assert others == {"not checked"}
    assert result(outcomes, "alone_peak_dbfs").detail.startswith(
        "every slice has fewer than 10 groups of a class"
    )


def test_fewer_than_three_groups_are_not_checked(tmp_path: Path) -> None:
    outcomes = shortcuts.check_alone(with_features(corpus(tmp_path, lambda s: s[:, :20_000], n=2)))
    assert {o.result.verdict for o in outcomes} == {"not checked"}


def test_baselines_find_a_shortcut(tmp_path: Path) -> None:
    context = with_features(corpus(tmp_path / "a", lambda s: s[:, :20_000]))
    container, channel = (o.result for o in shortcuts.check_baselines(context))
    for check, name in ((container, "container"), (channel, "channel")):
        (one,) = check.figures["slices"]
        assert (check.verdict, one["baseline"], one["finding"]) == ("finding", name, True)
        assert (one["real_corpus"], one["generator"], one["fake_corpus"]) == ("own", "maker", "own")
        assert one["auroc"] > 0.95
        assert one["low"] > 0.6
        assert (one["n_items"], one["n_groups"]) == (28, 28)
        assert "fitted on the other groups" in one["conditional_on"]
    narrow = with_features(corpus(tmp_path / "b", lambda s: np.stack([s[0], s[0]])))
    verdicts = [o.result.verdict for o in shortcuts.check_baselines(narrow)]
    assert verdicts == ["pass", "finding"]


def test_baselines_take_ten_groups_of_a_class(tmp_path: Path) -> None:
    outcomes = shortcuts.check_baselines(with_features(corpus(tmp_path, n=4)))
    assert {o.result.verdict for o in outcomes} == {"not checked"}
    assert "fewer than 10 groups of a class" in outcomes[0].result.detail


def test_one_class_and_no_sound_are_not_called_clean(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, n=3)
    fakes = manifest.where(pl.col("target") == 1)
    for outcome in (
        *shortcuts.check_alone(with_features(fakes)),
        *shortcuts.check_baselines(with_features(fakes)),
    ):
        assert outcome.result.verdict == "not checked"
        assert outcome.result.detail == "only fakes: nothing to compare with"
    gone = Manifest("gone", manifest.frame, (tmp_path / "elsewhere",))
    details = {o.result.detail for o in shortcuts.check_alone(with_features(gone))}
    assert details == {"no file could be decoded"}


def test_balance_and_corpora_of_one_class(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, n=6)
    frame = manifest.frame.with_columns(
        source_dataset=pl.when(pl.col("target") == 1).then(pl.lit("B")).otherwise(pl.lit("A"))
    )
    context = make_context([Manifest("eval", frame.slice(0, 3), (tmp_path,))], (), ())
    (one_class,) = balance.check_one_class(context)
    assert one_class.result.detail == "3 of 3 rows affected; A has only reals; B has only fakes"
    (found,) = balance.check_balance(context)
    assert found.result.verdict == "pass"
    skewed = pl.concat([frame.filter(target=1), frame.slice(0, 1)])
    (found,) = balance.check_balance(make_context([Manifest("eval", skewed)], (), ()))
    assert found.result.verdict == "finding"
    assert found.result.detail == "eval: 1 real, 6 fake"
    (found,) = balance.check_balance(make_context([Manifest("e", frame.filter(target=1))], (), ()))
    assert (found.result.verdict, found.result.detail) == (
        "not checked",
        "only fakes are audited",
    )


def test_rates_below_a_detectors_band(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, lambda s: s[:, ::4], n=2, rate=RATE // 4)
    context = with_features(manifest, detectors=("specnn_amplitude", "sonics-spectttra-alpha-5s"))
    outcomes = balance.check_band(context)
    wide = result(outcomes, "band_specnn_amplitude")
    assert (wide.verdict, wide.n_rows) == ("finding", 2)
    assert wide.detail == "2 of 4 rows affected; 0 of 2 real, 2 of 2 fake"
    assert wide.figures["n_fake"] == 2
    (silent,) = balance.check_band(with_features(manifest))
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


def test_a_second_audit_has_the_same_result(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "sound", n=2)
    first = audit(manifest, store=tmp_path / "store", n_workers=0)
    again = audit(manifest, store=tmp_path / "store", n_workers=0)
    assert again.nuisances == first.nuisances
    assert json.loads(again.model_dump_json()) == json.loads(first.model_dump_json())


def items_of(n: int = 24) -> Labels:
    return Labels(np.repeat([0, 1], n), np.arange(2 * n))


def others(n: int) -> list[Comparison]:
    return [Comparison(Estimate(value=0.5, reason="none needed"), 1.0)] * n


def test_what_may_be_one_of_many_comparisons_is_left_open() -> None:
    values = np.r_[np.arange(12), np.arange(12) + 5.5]
    one = measure_number(items_of(12), values, 1)
    (single,) = decide([one])
    among = decide([one, *others(9_999)])[0]
    assert single.auroc == among.auroc
    assert (single.is_finding, single.is_open) == (True, False)
    assert (among.is_finding, among.is_open) == (False, True)


@pytest.mark.parametrize("side", [-1, 1])
def test_the_strongest_shortcut_is_significant(side: int) -> None:
    values = side * np.r_[np.arange(24) + 17.5, np.arange(24)]
    one = measure_number(items_of(), values, 441)
    assert one.auroc.number == pytest.approx(0.5 + side * -0.46, abs=0.01)
    assert decide([one, *others(440)])[0].is_finding


def test_p_values_are_those_of_mann_whitney_for_independent_items() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.8, 1.2, 1.8):
        values = rng.normal(size=48) + np.repeat([0, shift], 24)
        found = measure_number(items_of(), values, 2_000)
        exact = mannwhitneyu(values[:24], values[24:], method="exact").pvalue
        assert found.p == pytest.approx(exact, rel=0.2, abs=2e-4) or found.auroc.number < LIMIT


def test_groups_are_permuted_as_a_whole() -> None:
    """Forty items that are four recordings are no forty items."""
    values = np.repeat([0.0, 1.0, 0.2, 0.9, 2.0, 3.0, 1.5, 2.5], 10)
    crowded = Labels(np.repeat([0, 1], 40), np.repeat(np.arange(8), 10))
    loose = Labels(np.repeat([0, 1], 40), np.arange(80))
    assert measure_number(crowded, values, 1).p == pytest.approx(2 / 70, rel=0.2)
    assert measure_number(loose, values, 1).p <= 1e-3


def test_labels_are_permuted_inside_groups_of_both_classes() -> None:
    """A fake that is a little above its own track, whatever the track, is no chance."""
    rng = np.random.default_rng(0)
    track = np.repeat(rng.normal(size=24), 2)
    target, group = np.tile([0, 1], 24), np.repeat(np.arange(24), 2)
    values = 3 * track + 2.6 * target
    paired = measure_number(Labels(target, group), values, 441)
    loose = measure_number(Labels(target, np.arange(48)), values, 441)
    assert paired.auroc.number > LIMIT
    assert paired.p < loose.p
    assert paired.p <= 1e-3


def test_one_large_group_does_not_make_a_finding() -> None:
    """A group of a thousand items is one draw: that it is a fake one happens three times in 33."""
    sizes = np.r_[1000, np.ones(32, dtype=int)]
    group = np.repeat(np.arange(33), sizes)
    target = np.isin(group, [0, 1, 2]).astype(int)
    values = np.r_[np.full(1000, 5.0), np.random.default_rng(0).normal(size=32)]
    assert measure_number(Labels(target, group), values, 441).p > 0.02


def test_a_category_of_one_class_is_found_and_a_rare_one_is_not() -> None:
    plain = ["none"] * 24
    found_ = measure_categories(items_of(), plain + ["Suno"] * 18 + ["none"] * 6, 441)
    assert found_.auroc.number > LIMIT
    assert decide([found_, *others(440)])[0].is_finding
    rare = measure_categories(items_of(), plain + ["Suno"] * 2 + ["none"] * 22, 441)
    assert not decide([rare, *others(440)])[0].is_finding


def test_at_most_one_clean_set_in_twenty_has_a_finding() -> None:
    """Of 400 clean sets, each of 21 independent measures, at most 5 % have a finding."""
    rng = np.random.default_rng(0)
    n_alarms = 0
    group = np.r_[np.repeat(np.arange(12), 2), np.arange(12, 36)]
    items = Labels(np.r_[np.tile([0, 1], 12), np.repeat([0, 1], 12)], group)
    for _ in range(400):
        values = rng.standard_t(2, size=(21, 36))[:, group] + rng.normal(size=(21, 48))
        fakes = rankdata(values, axis=1)[:, items.target == 1].sum(axis=1)
        areas = (fakes - 24 * 25 / 2) / 24**2
        is_near = np.abs(areas - 0.5) < LIMIT - 0.5  # no finding, and slow to give an interval
        tested = [measure_number(items, own, 21) for own in values[~is_near]]
        n_alarms += any(one.is_finding for one in decide([*tested, *others(int(is_near.sum()))]))
    assert n_alarms <= 400 * 0.05


def test_a_measure_that_is_left_open_is_not_called_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        separability, "decide", lambda all_: decide([*all_, *others(100_000)])[: len(all_)]
    )
    context = with_features(corpus(tmp_path, lambda samples: samples * 0.6))
    level = result(shortcuts.check_alone(context), "alone_loudness_lufs")
    assert (level.verdict, level.n_checked, level.advice) == ("not checked", 0, "")
    assert level.detail.startswith("undecided, significant only without the correction")
    assert ": own × maker: AUROC 0." in level.detail
