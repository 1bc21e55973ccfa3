"""Predictions that tests evaluate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from earwitness.audit.schema import AuditedManifest, AuditReport, CheckResult, Role, Verdict
from earwitness.core.predictions import Predictions

TYPES = {
    "filepath": pl.String,
    "target": pl.Int8,
    "source_dataset": pl.String,
    "generator": pl.String,
    "group_id": pl.String,
    "logit": pl.Float64,
    "pred_prob": pl.Float64,
    "pred_label": pl.Int8,
    "error": pl.String,
}

HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=2>\"'&.wav"
"""A file name that would be markup if a page let it."""


def predictions(
    *,
    n_tracks: int = 60,
    corpora: Sequence[str] = ("FMA", "SONICS"),
    generators: Sequence[str] = ("encodec", "suno"),
    shift: float = 2.0,
    seed: int = 0,
    detector: str = "cnn",
    dataset: str = "mixed",
) -> Predictions:
    """Each track is a real and one fake a generator; they share a group and half their variance."""
    rng = np.random.default_rng(seed)
    rows = []
    for track in range(n_tracks):
        corpus, own = corpora[track % len(corpora)], rng.normal()
        for target, made in [(0, None), *((1, generator) for generator in generators)]:
            logit = own + rng.normal() + shift * (target - 0.5)
            prob = 1 / (1 + np.exp(-logit))
            path = f"{corpus}/{made or 'real'}/{track}.wav"
            group = f"{corpus}:{track}"
            rows.append((path, target, corpus, made, group, logit, prob, int(prob >= 0.5), None))
    return Predictions(dataset, detector, pl.DataFrame(rows, schema=TYPES, orient="row"))


def audited(
    *digests: str, role: Role = "audited", checks: Sequence[CheckResult] = ()
) -> AuditReport:
    """An audit of manifests by these digests."""
    return AuditReport(
        earwitness="0",
        manifests=[
            AuditedManifest(name=f"m{d}", digest=d, role=role, n_rows=2, n_real=1, n_fake=1)
            for d in digests
        ],
        checks=list(checks),
    )


def baseline(name: str, *slices: tuple[str, str, str, float], detail: str = "–") -> CheckResult:
    """A baseline's check: real corpus, generator and corpus of its fakes, and AUROC, a slice."""
    told = [
        {"real_corpus": real, "generator": made, "fake_corpus": corpus, "baseline": name}
        | {"auroc": auroc, "low": auroc - 0.05, "high": auroc + 0.02, "reason": None}
        | {"n_items": 60, "n_groups": 20, "method": "m", "conditional_on": "folds"}
        for real, made, corpus, auroc in slices
    ]
    verdict: Verdict = "pass" if slices else "not checked"
    return CheckResult(
        name=f"baseline_{name}",
        title=f"{name} alone, all together",
        scope="shortcuts",
        verdict=verdict,
        detail=detail,
        n_checked=len(slices),
        figures={"slices": told} if slices else {},
    )


def fail(whole: Predictions, rows: pl.Expr, error: str = "broken") -> Predictions:
    """The same predictions with an error in place of the score of some rows."""
    said = pl.col("logit", "pred_prob", "pred_label")
    frame = whole.frame.with_columns(
        pl.when(~rows).then(said),
        pl.when(rows).then(pl.lit(error)).otherwise("error").alias("error"),
    )
    return Predictions(whole.dataset, whole.detector, frame)


def keep(whole: Predictions, rows: pl.Expr, dataset: str | None = None) -> Predictions:
    """Some of the rows."""
    return Predictions(dataset or whole.dataset, whole.detector, whole.frame.filter(rows))
