"""Reals and fakes by number: sets out of balance, corpora of one class.

Conventions: figures are cut by set and corpus as they are in ``evaluate``.
"""

from __future__ import annotations

import polars as pl
from pydantic import JsonValue

from earwitness.auditing.outcomes import Subject, conclude, conclude_slices, not_checked
from earwitness.auditing.scene import Outcome, Scene
from earwitness.core.audits import Finding
from earwitness.manifests.cells import UNKNOWN

MOST_OF_ONE_CLASS = 0.75
"""A set with a larger share of one class is out of balance."""

_BALANCE = Subject(
    "balance",
    "sets out of balance",
    "shortcuts",
    "draw as many of each class, or read figures that do not depend on the balance: AUROC, EER, "
    "balanced accuracy",
)
_ONE_CLASS = Subject(
    "one_class",
    "corpora of one class in a set of both",
    "shortcuts",
    "compare reals and fakes within a corpus too: across corpora a detector may tell the corpora "
    "apart, and nothing else",
)
_CLASSES = ("real", "fake")


def check_balance(scene: Scene) -> list[Outcome]:
    """Compare the numbers of reals and fakes of every audited set that has both."""
    counted = {
        manifest.name: [int((manifest.frame["target"] == label).sum()) for label in (0, 1)]
        for manifest in scene.manifests[: scene.n_audited]
    }
    mixed = {name: counts for name, counts in counted.items() if min(counts)}
    n_rows = scene.audited_rows.height
    figures: dict[str, JsonValue] = {
        name: dict(zip(_CLASSES, counts, strict=True)) for name, counts in counted.items()
    }
    if not mixed:
        return [not_checked(_BALANCE, _only(scene), n_unchecked=n_rows)]
    skewed = {n: c for n, c in mixed.items() if max(c) > MOST_OF_ONE_CLASS * sum(c)}
    detail = "; ".join(
        f"{name}: {real} real, {fake} fake" for name, (real, fake) in (skewed or mixed).items()
    )
    n_checked = sum(sum(counts) for counts in mixed.values())
    return [
        conclude_slices(
            _BALANCE,
            is_finding=bool(skewed),
            detail=detail,
            n_checked=n_checked,
            n_unchecked=n_rows - n_checked,
            figures={"sets": figures, "limit": MOST_OF_ONE_CLASS},
        )
    ]


def check_one_class(scene: Scene) -> list[Outcome]:
    """Find corpora whose rows are all real or all fake, where the audited sets have both."""
    corpus = pl.col("source_dataset").fill_null(UNKNOWN).alias("corpus")
    rows = scene.audited_rows.with_columns(corpus)
    if rows["target"].n_unique() < 2:
        return [not_checked(_ONE_CLASS, _only(scene), n_unchecked=rows.height)]
    counted = rows.group_by("corpus", maintain_order=True).agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    lone = {c: "fakes" if fake else "reals" for c, real, fake in counted.rows() if not real * fake}
    findings = [
        Finding(
            check=_ONE_CLASS.name,
            manifest=scene.manifests[row["set"]].name,
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation="shortcut",
            detail=f"{row['corpus']} has only {lone[row['corpus']]}",
            drop=False,
        )
        for row in rows.iter_rows(named=True)
        if row["corpus"] in lone
    ]
    detail = "; ".join(f"{corpus} has only {which}" for corpus, which in lone.items())
    figures: dict[str, JsonValue] = {
        "corpora": {corpus: {"real": real, "fake": fake} for corpus, real, fake in counted.rows()}
    }
    return [conclude(_ONE_CLASS, findings, n_checked=rows.height, detail=detail, figures=figures)]


def _only(scene: Scene) -> str:
    targets = scene.audited_rows["target"].unique().to_list()
    if len(targets) > 1:
        return "every set has one class alone"
    return f"only {'fakes' if targets == [1] else 'reals'} are audited"
