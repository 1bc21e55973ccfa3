"""Checks of the sets themselves: unreadable files, class balance, sample rates."""

from __future__ import annotations

from collections import Counter

import polars as pl
from pydantic import JsonValue

from earwitness.audit.checks import (
    CLASSES,
    AuditContext,
    CheckSpec,
    Outcome,
    make_result,
    not_checked,
)
from earwitness.core.cards import DetectorCard
from earwitness.splits.grouping import UNKNOWN

NO_DETECTOR = "no detector was named (--detector)"


def check_readable(context: AuditContext) -> list[Outcome]:
    """Flag every audited row whose file is missing, broken or empty."""
    spec = CheckSpec(
        "readable",
        "files that cannot be decoded",
        "rows",
        "restore the files or drop these rows: every metric would be of fewer items",
    )
    rows = context.audited_rows
    if rows.height == 0:
        return [not_checked(spec, "there is no row")]
    findings = [
        context.make_finding(spec.name, row, "unreadable", error)
        for row in rows.iter_rows(named=True)
        if (error := context.features[row["file"]].error) is not None
    ]
    reasons = Counter(finding.detail for finding in findings)
    parts = [f"{reason} ({n})" for reason, n in reasons.most_common(3)]
    if n_more := reasons.total() - sum(n for _, n in reasons.most_common(3)):
        parts.append(f"other reasons ({n_more})")
    others = context.rows["file"].to_list()[rows.height :]
    n_lost = sum(context.features[path].error is not None for path in others)
    lost = f"{n_lost} rows of other sets as well" if n_lost else ""
    detail = "; ".join(filter(None, (", ".join(parts), lost)))
    return [make_result(spec, findings, n_checked=rows.height, detail=detail)]


def check_balance(context: AuditContext) -> list[Outcome]:
    """Compare the numbers of reals and fakes of every audited set that has both."""
    spec = CheckSpec(
        "balance",
        "sets out of balance",
        "shortcuts",
        "draw as many of each class, or read metrics that do not depend on the balance: AUROC, "
        "EER, balanced accuracy",
    )
    counts = {
        manifest.name: [int((manifest.frame["target"] == label).sum()) for label in (0, 1)]
        for manifest in context.manifests[: context.n_audited]
    }
    mixed = {name: both for name, both in counts.items() if min(both)}
    n_rows, limit = context.audited_rows.height, 0.75
    if not mixed:
        return [not_checked(spec, _why_one_class(context), n_unchecked=n_rows)]
    skewed = {name: n for name, n in mixed.items() if max(n) > limit * sum(n)}
    shown = (skewed or mixed).items()
    sets: dict[str, JsonValue] = {
        name: {"real": real, "fake": fake} for name, (real, fake) in counts.items()
    }
    n_checked = sum(map(sum, mixed.values()))
    return [
        make_result(
            spec,
            verdict="finding" if skewed else "pass",
            detail="; ".join(f"{name}: {real} real, {fake} fake" for name, (real, fake) in shown),
            n_checked=n_checked,
            n_unchecked=n_rows - n_checked,
            figures={"sets": sets, "limit": limit},
        )
    ]


def check_one_class(context: AuditContext) -> list[Outcome]:
    """Flag the rows of corpora of one class, where the audited sets have both."""
    spec = CheckSpec(
        "one_class",
        "corpora of one class in a set of both",
        "shortcuts",
        "compare reals and fakes within a corpus too: across corpora a detector may separate the "
        "corpora and nothing else",
    )
    corpus = pl.col("source_dataset").fill_null(UNKNOWN).alias("corpus")
    rows = context.audited_rows.with_columns(corpus)
    if rows["target"].n_unique() < 2:
        return [not_checked(spec, _why_one_class(context), n_unchecked=rows.height)]
    counts = rows.group_by("corpus", maintain_order=True).agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    only = {
        corpus: f"{corpus} has only {'fakes' if fake else 'reals'}"
        for corpus, real, fake in counts.rows()
        if not real * fake
    }
    findings = [
        context.make_finding(spec.name, row, "shortcut", only[row["corpus"]], drop=False)
        for row in rows.iter_rows(named=True)
        if row["corpus"] in only
    ]
    corpora: dict[str, JsonValue] = {
        corpus: {"real": real, "fake": fake} for corpus, real, fake in counts.rows()
    }
    return [
        make_result(
            spec,
            findings,
            n_checked=rows.height,
            detail="; ".join(only.values()),
            figures={"corpora": corpora},
        )
    ]


def _why_one_class(context: AuditContext) -> str:
    targets = context.audited_rows["target"].unique().to_list()
    if len(targets) > 1:
        return "every set has only one class"
    return f"only {'fakes' if targets == [1] else 'reals'} are audited"


def check_band(context: AuditContext) -> list[Outcome]:
    """Flag rows whose own sample rate does not cover the band of a detector."""
    if not context.cards:
        spec = _band_spec("band", "a detector")
        return [not_checked(spec, NO_DETECTOR, n_unchecked=context.audited_rows.height)]
    return [_check_card(context, card) for card in context.cards]


def _band_spec(name: str, whose: str) -> CheckSpec:
    advice = (
        "report these rows separately or drop them: part of the detector's band is missing, and "
        "where it is missing in one class, that alone separates the classes"
    )
    return CheckSpec(name, f"rates below the band of {whose}", "shortcuts", advice)


def _check_card(context: AuditContext, card: DetectorCard) -> Outcome:
    spec = _band_spec(f"band_{card.name}", card.name)
    rows = [
        (row, rate)
        for row in context.audited_rows.iter_rows(named=True)
        if (rate := context.features[row["file"]].sample_rate_hz) is not None
    ]
    n_unchecked = context.audited_rows.height - len(rows)
    if not rows:
        return not_checked(spec, "no file could be decoded", n_unchecked=n_unchecked)
    if card.band_hz is None:
        return not_checked(spec, "its band is unknown", n_unchecked=context.audited_rows.height)
    top_hz = card.band_hz[1]
    findings = []
    for row, rate in rows:
        if rate < 2 * top_hz:
            text = f"{rate} Hz ends at {rate / 2:g} Hz, the band of {card.name} at {top_hz:g} Hz"
            findings.append(context.make_finding(spec.name, row, "shortcut", text, drop=False))
    n_below = Counter(CLASSES[finding.target] for finding in findings)
    n_all = Counter(CLASSES[row["target"]] for row, _ in rows)
    shares = ", ".join(
        f"{n_below[name]} of {n_all[name]} {name}" for name in CLASSES if n_all[name]
    )
    return make_result(
        spec,
        findings,
        n_checked=len(rows),
        n_unchecked=n_unchecked,
        detail=shares if findings else "",
        figures={"top_hz": top_hz, **{f"n_{name}": n_below[name] for name in CLASSES}},
    )
