"""What perturbations do to a detector, against its clean rows of the same items.

Conventions: changes are perturbed minus clean; decisions are those of the prediction files, or at
thresholds fitted on the clean rows. Rates of flips are shares of what was decided right on the
clean row. An abstention is a state of its own, never a decision. P-values are Holm-corrected over
the whole matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.estimate import Estimate
from earwitness.core.io import write_json
from earwitness.core.predictions import Predictions
from earwitness.core.remote import shown_name
from earwitness.evaluation.estimates import estimate_mean, estimate_rate, estimate_some
from earwitness.evaluation.identity import Aggregate, deduplicate
from earwitness.evaluation.rows import Inputs, items_of, load_rows, open_sources
from earwitness.evaluation.schema import Settings
from earwitness.evaluation.slices import Part
from earwitness.evaluation.thresholds import Rule, apply_threshold, fit_threshold, scale_of
from earwitness.metrics.resampling import Difference, compare_by_swaps, holm
from earwitness.metrics.sample import Items
from earwitness.scoring.perturbed import CLEAN

STRESS_JSON = "stress.json"

SENSITIVITY = {
    "decoder_ffmpeg": ("decoder", CLEAN),
    "resample_sinc_16000": ("resampler", "resample_16000"),
    "resample_swresample_16000": ("resampler", "resample_16000"),
    "offset_ms_+10": ("crop offset", CLEAN),
    "offset_ms_-10": ("crop offset", CLEAN),
    "offset_window_+0.5": ("crop offset", CLEAN),
    "offset_window_-0.5": ("crop offset", CLEAN),
    "mono_left": ("mono mix", "mono_mean"),
}
"""Perturbations that should change no decision: what differs, and the dataset to compare with."""

FPR_RULES = (Rule("fpr", 0.01), Rule("fpr", 0.05))


class Rates(Part):
    """True and false positive rate of the perturbed rows at one threshold."""

    rule: str
    threshold: float | None = None
    tpr: Estimate
    fpr: Estimate


class Test(Part):
    """A paired test over groups; a missing p-value has a reason."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    reason: str | None = None


class WorstCase(Part):
    """A decision that flipped, with the logits that were the cause."""

    filepath: str
    target: int
    clean_logit: float | None
    logit: float | None


class StressRow(Part):
    """One perturbation of one detector.

    Attributes:
        detector: Name of the detector.
        perturbation: Name of the perturbation.
        one_sided: A score below the threshold is "not found", never "real".
        n_items: Items of the clean dataset.
        n_paired: Items scored both clean and perturbed, to which all but the shares refer.
        auroc_clean: AUROC of the clean rows.
        auroc: AUROC of the perturbed rows.
        auroc_change: Its change.
        accuracy_change: Change of the accuracy; its test is McNemar's by group, by swaps.
        rates: At the threshold of the files, then at those fitted on clean rows.
        fake_to_real: Fakes called fake on the clean row that no longer are.
        real_to_fake: Reals not called fake on the clean row that are.
        changed: Items with another decision.
        logit_shift: Mean change of the logit.
        largest_shift: Largest absolute change of a logit.
        abstained: Share of all items that the detector abstains from.
        n_to_abstention: Items scored clean and abstained from here.
        n_from_abstention: Items abstained from clean and scored here.
        n_failed: Items with an error here.
        worst: Flipped decisions, largest change of the logit first.
    """

    detector: str
    perturbation: str
    one_sided: bool = False
    n_items: int
    n_paired: int
    auroc_clean: Estimate
    auroc: Estimate
    auroc_change: Test
    accuracy_change: Test
    rates: list[Rates]
    fake_to_real: Estimate
    real_to_fake: Estimate
    changed: Estimate
    logit_shift: Estimate
    largest_shift: float | None
    abstained: Estimate
    n_to_abstention: int
    n_from_abstention: int
    n_failed: int
    worst: list[WorstCase]


class SensitivityRow(Part):
    """What an implementation detail changes: decoder, resampler, crop offset or mono mix.

    Attributes:
        detector: Name of the detector.
        aspect: What differs.
        perturbation: One way of it.
        against: The other way, a perturbation or ``clean``.
        n_paired: Items scored both ways.
        n_changed: Items with another decision.
        changed: Their share.
        largest_shift: Largest absolute change of a logit.
    """

    detector: str
    aspect: str
    perturbation: str
    against: str
    n_paired: int
    n_changed: int
    changed: Estimate
    largest_shift: float | None


class Matrix(Part):
    """The rows of ``stress.json``: detectors, then perturbations."""

    earwitness_stress: int = 1
    settings: Settings
    rows: list[StressRow]
    sensitivity: tuple[SensitivityRow, ...] = ()


def measure_stress(
    predictions: Sequence[str | Path | Predictions],
    *,
    settings: Settings | None = None,
    one_sided: Sequence[str] = (),
    aggregate: Aggregate | None = None,
) -> Matrix:
    """Measure every perturbation of every detector.

    Args:
        predictions: Predictions whose dataset is the perturbation's name, one of them ``clean``.
        settings: Confidence level, seed and number of resamples.
        one_sided: Names of detectors that only find traces.
        aggregate: How several rows of one file become one item; ``None`` refuses them.

    Raises:
        UsageError: A detector has no clean predictions.
        PredictionsError: A file is malformed.
    """
    settings = settings or Settings()
    by_detector: dict[str, dict[str, Inputs]] = {}
    for one in open_sources(predictions, aggregate=aggregate):
        name = one.predictions.detector
        by_detector.setdefault(name, {})[one.predictions.dataset] = Inputs([one])
    rows: list[StressRow] = []
    sensitivity: list[SensitivityRow] = []
    for detector, inputs in by_detector.items():
        if CLEAN not in inputs:
            raise UsageError(f"{detector}: no predictions of {CLEAN!r}, expected them")
        frames = dict(zip(inputs, map(deduplicate, load_rows(*inputs.values())), strict=True))
        sensitivity += _sensitivity(frames, settings)
        clean = frames.pop(CLEAN)
        for name, frame in frames.items():
            row = _measure(name, clean, frame, settings, is_one_sided=detector in one_sided)
            rows.append(row)
    return Matrix(settings=settings, rows=_corrected(rows), sensitivity=tuple(sensitivity))


def write_matrix(matrix: Matrix, path: Path) -> None:
    """Write ``stress.json``, atomically."""
    write_json(path, matrix.model_dump(mode="json"))


def read_matrix(path: Path) -> Matrix:
    """Read ``stress.json``; ``PredictionsError`` if it is none."""
    try:
        return Matrix.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise PredictionsError(f"{path}: {first}; expected the matrix of stress") from None


def _measure(
    name: str, clean: pl.DataFrame, changed: pl.DataFrame, settings: Settings, *, is_one_sided: bool
) -> StressRow:
    both = _join(clean, changed)
    paired = both.filter(state="scored", state_2="scored")
    before, after = paired.select(clean.columns), _second(paired, clean.columns)
    one, two = items_of(before), items_of(after)
    estimates = [estimate_some(["auroc"], items, settings)["auroc"] for items in (one, two)]
    tests = _tests(two, one, settings) if paired.height else {}
    shift = _shift(paired)
    rows = paired.filter((pl.col("logit_2") - pl.col("logit")).is_not_null())
    return StressRow(
        detector=clean["detector"][0],
        perturbation=name,
        one_sided=is_one_sided,
        n_items=clean.height,
        n_paired=paired.height,
        auroc_clean=estimates[0],
        auroc=estimates[1],
        auroc_change=_test(tests.get("auroc")),
        accuracy_change=_test(tests.get("accuracy")),
        rates=[*_rates(clean.filter(state="scored"), after, settings)],
        fake_to_real=_flips(paired, 1, settings, "fakes were called fake"),
        real_to_fake=_flips(
            paired, 0, settings, f"reals were {'not flagged' if is_one_sided else 'called real'}"
        ),
        changed=_share(paired, _CHANGED, settings),
        logit_shift=estimate_mean(
            shift,
            items_of(rows).group,
            confidence=settings.confidence,
            reason="no logits in both",
        ),
        largest_shift=_largest(shift),
        abstained=_share(both, pl.col("state_2") == "abstained", settings),
        n_to_abstention=both.filter(state="scored", state_2="abstained").height,
        n_from_abstention=both.filter(state="abstained", state_2="scored").height,
        n_failed=both.filter(state_2="failed").height,
        worst=_worst(paired),
    )


_CHANGED = pl.col("pred_label") != pl.col("pred_label_2")


def _sensitivity(
    frames: Mapping[str, pl.DataFrame], settings: Settings
) -> Iterator[SensitivityRow]:
    for name, (aspect, against) in SENSITIVITY.items():
        if name in frames and against in frames:
            both = _join(frames[against], frames[name])
            paired = both.filter(state="scored", state_2="scored")
            yield SensitivityRow(
                detector=frames[name]["detector"][0],
                aspect=aspect,
                perturbation=name,
                against=against,
                n_paired=paired.height,
                n_changed=paired.filter(_CHANGED).height,
                changed=_share(paired, _CHANGED, settings),
                largest_shift=_largest(_shift(paired)),
            )


def _join(one: pl.DataFrame, two: pl.DataFrame) -> pl.DataFrame:
    return one.join(two, on=["item", "target"], suffix="_2", maintain_order="left")


def _shift(paired: pl.DataFrame) -> pl.Series:
    return (paired["logit_2"] - paired["logit"]).drop_nulls()


def _largest(shift: pl.Series) -> float | None:
    return None if shift.is_empty() else float(shift.abs().max())  # type: ignore[arg-type]


def _second(paired: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return the columns of the perturbed rows under their own names; groups are the clean ones."""
    kept = ("item", "target", "group")
    return paired.select(pl.col(c if c in kept else f"{c}_2").alias(c) for c in columns)


def _tests(after: Items, before: Items, settings: Settings) -> dict[str, Difference]:
    names = [name for name in ("auroc", "accuracy") if name == "accuracy" or before.has_both]
    return compare_by_swaps(after, before, names, seed=settings.seed)


def _test(found: Difference | None) -> Test:
    if found is None:
        return Test(reason="undefined on these items")
    finite = {
        name: None if math.isnan(value) else value
        for name in ("value", "low", "high", "p")
        if (value := getattr(found, name)) is not None
    }
    return Test(**finite, reason=found.reason)


def _rates(clean: pl.DataFrame, after: pl.DataFrame, settings: Settings) -> list[Rates]:
    found = [_rates_at("file", after, None, "no decisions", settings)]
    column = scale_of(clean, after)
    for rule in FPR_RULES:
        fitted = fit_threshold(clean, column, rule, settings)
        called = apply_threshold(after, column, fitted.value)
        found.append(_rates_at(str(rule), called, fitted.value, fitted.reason, settings))
    return found


def _rates_at(
    rule: str, rows: pl.DataFrame, threshold: float | None, reason: str | None, settings: Settings
) -> Rates:
    called = rows.drop_nulls("pred_label")
    given = None if threshold is None else f"threshold {threshold:.4g}, fitted on clean rows"
    fpr, tpr = (
        estimate_rate(
            *called.filter(target=target).select("pred_label", _codes()),
            confidence=settings.confidence,
            reason=reason if reason and called.is_empty() else f"no {word}",
            conditional_on=given,
        )
        for target, word in ((0, "reals"), (1, "fakes"))
    )
    return Rates(rule=rule, threshold=threshold, tpr=tpr, fpr=fpr)


def _codes() -> pl.Expr:
    return pl.col("group").rank("dense").cast(pl.Int64)


def _flips(paired: pl.DataFrame, target: int, settings: Settings, right_words: str) -> Estimate:
    """Return the share of right decisions on a class that the perturbation turns."""
    right = paired.filter(target=target, pred_label=target)
    return _share(
        right, pl.col("pred_label_2") != target, settings, reason=f"no {right_words} on clean"
    )


def _share(
    rows: pl.DataFrame, hit: pl.Expr, settings: Settings, *, reason: str = "no items"
) -> Estimate:
    hits = rows.select(hit.fill_null(value=False).cast(pl.Int64).alias("hit"), _codes())
    return estimate_rate(*hits, confidence=settings.confidence, reason=reason)


def _worst(paired: pl.DataFrame, n_shown: int = 5) -> list[WorstCase]:
    size = (pl.col("logit_2") - pl.col("logit")).abs()
    flipped = paired.filter(_CHANGED)
    ordered = flipped.with_columns(size.alias("_size")).sort(
        "_size", "item", descending=[True, False], nulls_last=True
    )
    return [
        WorstCase(
            filepath=shown_name(row["filepath"] or row["item"]),
            target=row["target"],
            clean_logit=row["logit"],
            logit=row["logit_2"],
        )
        for row in ordered.head(n_shown).iter_rows(named=True)
    ]


def _corrected(rows: Sequence[StressRow]) -> list[StressRow]:
    """Correct all tests of the matrix together."""
    tests = [test for row in rows for test in (row.auroc_change, row.accuracy_change)]
    corrected = holm([math.nan if test.p is None else test.p for test in tests])
    values = iter(None if math.isnan(p) else p for p in corrected)
    return [
        row.model_copy(
            update={
                name: getattr(row, name).model_copy(update={"p_holm": next(values)})
                for name in ("auroc_change", "accuracy_change")
            }
        )
        for row in rows
    ]
