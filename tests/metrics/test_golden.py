"""Golden values: ASVspoof 5's own package and scikit-learn, to 1e-9, rows shuffled too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.metrics.compute import count_decisions
from earwitness.metrics.measures import measure, measure_counts

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "metrics"
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
