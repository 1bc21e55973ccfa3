"""Golden values: ASVspoof 5's own package and scikit-learn, to 1e-9, rows shuffled too.

Intervals and p-values are compared with earlier ones: ``python tests/metrics/test_golden.py``
writes the file again after an intended change.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.evaluation.estimates import estimate_all
from earwitness.evaluation.schema import Settings
from earwitness.metrics.compute import count_decisions
from earwitness.metrics.measures import measure, measure_counts
from earwitness.metrics.resampling import compare_by_swaps
from earwitness.metrics.sample import Items

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "metrics"
ENDS = ("value", "low", "high")
ALL_COMPARED = ("auroc", "eer", "f1", "min_dcf", "act_dcf", "cllr", "brier", "ece")
EXPECTED = {row["case"]: row for row in pl.read_csv(GOLDEN / "expected.csv").to_dicts()}


def ours(target: np.ndarray, logit: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    counts = count_decisions(target, prob >= 0.5)
    return {
        "n": len(target),
        "eer": measure("eer", target, logit),
        "eer_threshold_llr": -measure("eer_threshold", target, logit),
        "min_dcf": measure("min_dcf", target, logit),
        "act_dcf": measure("act_dcf", target, logit),
        "cllr_bits": measure("cllr", target, logit),
        "roc_auc": measure("auroc", target, logit),
        "average_precision": measure("average_precision", target, logit),
        "brier": measure("brier", target, prob),
        "log_loss": measure("log_loss", target, prob),
        "TP": counts.tp,
        "TN": counts.tn,
        "FP": counts.fp,
        "FN": counts.fn,
        "accuracy": measure_counts("accuracy", counts),
        "balanced_accuracy": measure_counts("balanced_accuracy", counts),
        "f1_fake": measure_counts("f1", counts),
        "mcc": measure_counts("mcc", counts),
    }


@pytest.mark.parametrize("shuffle", [None, 1, 2])
@pytest.mark.parametrize("case", EXPECTED)
def test_golden_values(case: str, shuffle: int | None) -> None:
    rows = pl.read_csv(GOLDEN / "scores.csv").filter(pl.col("case") == case)
    if shuffle is not None:
        rows = rows.sample(fraction=1, shuffle=True, seed=shuffle)
    found = ours(
        rows["target"].to_numpy(), -rows["llr_real"].to_numpy(), rows["prob_fake"].to_numpy()
    )
    expected = {name: value for name, value in EXPECTED[case].items() if name != "case"}
    assert found == pytest.approx(expected, rel=0, abs=1e-9)


def make_pair(
    n_groups: int, n_each: int, shift: float, *, both: bool, scale: float = 1.0
) -> tuple[Items, Items]:
    """Two detectors on the same items, with ties; groups hold one class, or both."""
    rng = np.random.default_rng(n_groups)
    group = np.repeat(np.arange(n_groups), n_each)
    target = rng.integers(0, 2, len(group)) if both else group % 2

    def detector(shift: float) -> Items:
        noise = rng.normal(size=n_groups)[group] + rng.normal(size=len(group))
        logit = np.round(scale * (noise + shift * (target - 0.4)), 1)
        prob = 1 / (1 + np.exp(-logit))
        call = (prob >= 0.5).astype(int)
        return Items(target, group, call, logit, logit, prob, logit, call)

    return detector(shift), detector(shift / 2)


CASES = {
    "small": make_pair(30, 2, 1.5, both=False),
    "good": make_pair(40, 3, 6.0, both=False),
    "mixed": make_pair(60, 4, 1.0, both=True),
    "overconfident": make_pair(80, 2, 1.0, both=False, scale=4.0),
    "large": make_pair(900, 1, 2.0, both=False),
}


def computed() -> pl.DataFrame:
    """Intervals of every metric, and differences of two detectors, with few resamples."""
    rows: list[tuple[str, str, float, float, float]] = []
    settings = Settings(n_resamples=50, c_miss=2.0, p_fake=0.2, confidence=0.9)
    for case, (first, second) in CASES.items():
        for name, one in estimate_all(first, settings).items():
            low, high = (math.nan if end is None else end for end in (one.low, one.high))
            rows.append((case, name, one.number, low, high))
        compared = compare_by_swaps(first, second, ALL_COMPARED, seed=3, n_swaps=40)
        for name, found in compared.items():
            rows.append((case, f"difference of {name}", found.value, found.p, found.low))
    columns = ("case", "metric", "value", "low", "high")
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_intervals_and_p_values_are_as_before() -> None:
    expected = pl.read_csv(
        GOLDEN / "intervals.csv", schema_overrides=dict.fromkeys(ENDS, pl.Float64)
    )
    found = computed()
    assert found["metric"].to_list() == expected["metric"].to_list()
    for row, known in zip(found.rows(), expected.rows(), strict=True):
        assert row[2:] == pytest.approx(known[2:], abs=1e-9, nan_ok=True), row[:2]


if __name__ == "__main__":
    computed().write_csv(GOLDEN / "intervals.csv")
