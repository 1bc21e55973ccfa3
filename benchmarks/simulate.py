"""How often intervals and thresholds hold what they promise, and tests err: ``make simulate``.

Conventions: groups hold 1 to 9 items, in turn. "Apart": groups hold reals or fakes alone. "Both":
each group holds 1 real and 1 to 9 fakes. A score is a part of the group plus a part of the item, of
equal variance where they are normal; the group's part is normal, or heavy-tailed (Student's t on
2.5 degrees of freedom). Fakes are shifted so that AUROC is what the row says. Logits are the
log-likelihood ratio of normal scores ("calibrated") or three times that ("overconfident"). The
truth is the metric of 300 000 items drawn in the same way. Coverage should be 95 %, errors of the
first kind 5 %.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binomtest

from earwitness.core.predictions import Predictions
from earwitness.evaluation.drift import find_drift
from earwitness.evaluation.estimates import estimate_some
from earwitness.evaluation.schema import Settings
from earwitness.metrics.measures import METRICS, point_values
from earwitness.metrics.resampling import auroc_difference, compare_by_swaps
from earwitness.metrics.sample import Items
from earwitness.metrics.sweep import conformal_threshold

AUROCS = (0.7, 0.9, 0.95, 0.99)
N_GROUPS = (12, 20, 50, 200)
TAILS = ("normal", "heavy")
LAYOUTS = ("apart", "both")
SCALES = {"calibrated": 1, "overconfident": 3}
OF_SCALES = ("act_dcf", "cllr", "brier", "log_loss", "ece")
"""Metrics of probabilities, which the scale of logits changes."""
N_TRUTH = 300_000
N_RESAMPLES = 300
FREEDOM = 2.5
PARTS = ("coverage", "errors", "conformal", "drift")


def layout(n_groups: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Target and group of every item, with ``n_groups`` groups a class."""
    groups = np.arange(n_groups)
    many = np.repeat(groups, groups % 9 + 1)
    first = groups if kind == "both" else many
    group = np.concatenate([first, many + (0 if kind == "both" else n_groups)])
    return np.repeat([0, 1], [len(first), len(many)]), group


def noise(rng: np.random.Generator, group: np.ndarray, tails: str) -> np.ndarray:
    size = int(group.max()) + 1
    common = rng.normal(size=size) if tails == "normal" else rng.standard_t(FREEDOM, size)
    return np.asarray((common[group] + rng.normal(size=len(group))) / math.sqrt(2))


@lru_cache
def shift_of(auroc: float, tails: str) -> float:
    """How far fakes are shifted for this AUROC."""
    rng, groups = np.random.default_rng(9), np.arange(N_TRUTH)
    reals, fakes = np.sort(noise(rng, groups, tails)), noise(rng, groups, tails)
    low, high = 0.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        is_low = np.searchsorted(reals, fakes + middle).mean() < auroc * N_TRUTH
        low, high = (middle, high) if is_low else (low, middle)
    return low


def detect(
    rng: np.random.Generator,
    target: np.ndarray,
    group: np.ndarray,
    *,
    auroc: float,
    tails: str = "normal",
    scale: float = 1,
    shared: np.ndarray | None = None,
) -> Items:
    """What a detector of this AUROC says; half of its noise may be shared with another one."""
    own = noise(rng, group, tails)
    own = own if shared is None else (own + shared) / math.sqrt(2)
    score = own + shift_of(auroc, tails) * (target - 0.5)
    logit = scale * shift_of(auroc, "normal") * score
    prob = 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
    return Items(target, group, (logit >= 0).astype(int), score, logit, prob)


def truth(n_groups: int, kind: str, **detector: Any) -> dict[str, float]:
    target, group = layout(n_groups, kind)
    n_copies, size = N_TRUTH // len(target), int(group.max()) + 1
    groups = (np.arange(n_copies)[:, None] * size + group).reshape(-1)
    rng = np.random.default_rng(77)
    whole = detect(rng, np.tile(target, n_copies), groups, **detector)
    return point_values(whole)


def coverage(n_rounds: int, aurocs: Sequence[float], *, each: bool) -> Iterator[tuple[str, ...]]:
    """One row a metric and kind of groups: coverage, from the least to the greatest AUROC's."""
    yield ("metric", "groups' part", "layout", *(f"{n} groups" for n in N_GROUPS))
    found: dict[tuple[str, str, str], dict[int, list[tuple[float, float]]]] = {}
    for scale, tails, kind, auroc in itertools.product(SCALES, TAILS, LAYOUTS, aurocs):
        if scale == "overconfident" and (tails, kind) != ("normal", "apart"):
            continue
        for n_groups in N_GROUPS:
            shares = covered(
                n_rounds, n_groups, kind, auroc=auroc, tails=tails, scale=SCALES[scale]
            )
            for metric, share in shares.items():
                if scale == "calibrated" or metric in OF_SCALES:
                    name = f"{metric}, overconfident" if scale == "overconfident" else metric
                    rows = found.setdefault((name, tails, kind), {})
                    rows.setdefault(n_groups, []).append((share, auroc))
                    if each:
                        print(auroc, name, tails, kind, n_groups, share, flush=True)
    order = {name: place for place, name in enumerate(METRICS)}
    for row in sorted(found, key=lambda row: order[row[0].split(",")[0]]):
        yield (*row, *(_range(found[row][n]) for n in N_GROUPS))


def covered(n_rounds: int, n_groups: int, kind: str, **detector: Any) -> dict[str, float]:
    """Share of samples, in %, in which an interval contains the truth; NaN if half have none."""
    target, group = layout(n_groups, kind)
    true = truth(n_groups, kind, **detector)
    held: dict[str, list[bool]] = {name: [] for name in METRICS if name != "eer_threshold"}
    for seed in range(n_rounds):
        items = detect(np.random.default_rng([seed, n_groups]), target, group, **detector)
        found = estimate_some(tuple(held), items, Settings(seed=seed, n_resamples=N_RESAMPLES))
        for name, one in found.items():
            if one.low is not None and one.high is not None:
                held[name].append(one.low - 1e-9 <= true[name] <= one.high + 1e-9)
    return {
        name: 100 * float(np.mean(one)) if len(one) > n_rounds / 2 else math.nan
        for name, one in held.items()
    }


def _range(shares: list[tuple[float, float]]) -> str:
    given = sorted(one for one in shares if not math.isnan(one[0]))
    if not given:
        return "no interval"
    (least, auroc), (greatest, _) = given[0], given[-1]
    return f"{least:.0f} to {greatest:.0f}" + (f" ({auroc:g})" if least < 92 else "")


def errors(n_rounds: int) -> Iterator[tuple[str, ...]]:
    yield ("AUROC", "tails", "layout", "groups", *(f"{name} %" for name in TESTS))
    for auroc, tails, kind in itertools.product((0.85, 0.95, 0.99), TAILS, LAYOUTS):
        for n_groups in N_GROUPS[:3]:
            target, group = layout(n_groups, kind)
            rejected = dict.fromkeys(TESTS, 0)
            for seed in range(n_rounds):
                rng = np.random.default_rng([seed, n_groups])
                shared = noise(rng, group, tails)
                first, second = (
                    detect(rng, target, group, auroc=auroc, tails=tails, shared=shared)
                    for _ in range(2)
                )
                for name, test in TESTS.items():
                    rejected[name] += test(first, second, seed)
            shares = [f"{100 * n / n_rounds:.1f}" for n in rejected.values()]
            yield (f"{auroc:g}", tails, kind, str(n_groups), *shares)


def swap(name: str) -> Callable[[Items, Items, int], bool]:
    return lambda one, two, seed: (
        compare_by_swaps(one, two, [name], seed=seed, n_swaps=399)[name].p < 0.05
    )


def interval_excludes_0(first: Items, second: Items, _: int = 0) -> bool:
    found = auroc_difference(first, second)
    return found.low > 0 or found.high < 0


def plain_delong(first: Items, second: Items, _: int) -> bool:
    """DeLong's interval as if all items were independent."""
    loose = np.arange(len(first))
    one, two = (
        Items(s.target, loose, s.decision, s.score, s.logit, s.prob) for s in (first, second)
    )
    return interval_excludes_0(one, two)


def mcnemar(first: Items, second: Items, _: int) -> bool:
    """McNemar's exact test, which takes items for independent."""
    right = [np.asarray(items.decision == items.target) for items in (first, second)]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return bool(sum(only)) and float(binomtest(only[0], sum(only)).pvalue) < 0.05


TESTS: dict[str, Callable[[Items, Items, int], bool]] = {
    "AUROC": swap("auroc"),
    "AUROC interval without 0": interval_excludes_0,
    "accuracy": swap("accuracy"),
    "EER": swap("eer"),
    "Brier": swap("brier"),
    "plain DeLong": plain_delong,
    "McNemar": mcnemar,
}


def conformal(n_rounds: int) -> Iterator[tuple[str, ...]]:
    """Reals flagged at thresholds fitted on one draw, among 2 000 groups of another.

    Strata hold a third and two thirds of the groups; scores of the second are 2 higher.
    """
    yield (
        "threshold",
        "tails",
        "groups of reals",
        "asked %",
        "flagged % (all)",
        "(in each stratum)",
    )
    for name, tails, (n_groups, fpr) in itertools.product(
        ("one", "by stratum"), TAILS, ((60, 0.05), (300, 0.05), (300, 0.01))
    ):
        shares = []
        for seed in range(n_rounds):
            rng = np.random.default_rng([seed, n_groups])
            (fitted, strata), (new, of_new) = (_reals(rng, n, tails) for n in (n_groups, 2000))
            parts = [fitted, fitted] if name == "one" else [fitted[strata == k] for k in (0, 1)]
            thresholds = np.array(
                [
                    conformal_threshold(np.zeros(len(part)), part, np.arange(len(part)), fpr)
                    for part in parts
                ]
            )
            flagged = new >= thresholds[of_new]
            shares.append((flagged.mean(), *(flagged[of_new == one].mean() for one in (0, 1))))
        means = 100 * np.nanmean(shares, axis=0)
        texts = [f"{mean:.2f}" for mean in means]
        yield (name, tails, str(n_groups), f"{100 * fpr:g}", texts[0], ", ".join(texts[1:]))


def _reals(rng: np.random.Generator, n: int, tails: str) -> tuple[np.ndarray, np.ndarray]:
    strata = (np.arange(n) % 3 > 0).astype(int)
    return noise(rng, np.arange(n), tails) + 2 * strata, strata


def drift(n_rounds: int) -> Iterator[tuple[str, ...]]:
    """Comparisons of runs of one detector in which anything is called moved.

    "Same": the same items, each score changed at random; "other": other items of the same kind.
    """
    yield ("items", "tails", "groups a class", "anything moved %", "scores 0.5 higher: found %")
    for kind, tails, n_groups in itertools.product(("same", "other"), TAILS, (12, 50)):
        false, found = 0, 0
        for seed in range(n_rounds):
            rng = np.random.default_rng([seed, n_groups])
            before = _run(rng, n_groups, tails, "a")
            if kind == "same":
                group = layout(n_groups, "apart")[1]
                jitter = pl.Series(noise(rng, group, tails) / 2)
                after = replace(before, frame=before.frame.with_columns(pl.col("logit") + jitter))
            else:
                after = _run(rng, n_groups, tails, "b")
            false += any(line.has_moved() for line in find_drift(before, after).lines)
            raised = replace(after, frame=after.frame.with_columns(pl.col("logit") + 0.5))
            found += any(line.has_moved() for line in find_drift(before, raised).lines)
        shares = (f"{100 * n / n_rounds:.1f}" for n in (false, found))
        yield (kind, tails, str(n_groups), *shares)


def _run(rng: np.random.Generator, n_groups: int, tails: str, name: str) -> Predictions:
    """Predictions with abstentions and durations; ``name`` is that of their files and groups."""
    target, group = layout(n_groups, "apart")
    items = detect(rng, target, group, auroc=0.9, tails=tails)
    frame = pl.DataFrame(
        {
            "filepath": [f"{name}/{n}.wav" for n in range(len(target))],
            "target": target,
            "group_id": [f"{name}{n}" for n in group],
            "duration_s": rng.gamma(4, 30, int(group.max()) + 1)[group],
            "logit": items.logit,
            "pred_label": items.decision,
            "abstained": [
                ("silent" if silent else None) for silent in rng.random(len(target)) < 0.05
            ],
        }
    )
    outputs = [
        pl.when(pl.col("abstained").is_null()).then(n).alias(n) for n in ("logit", "pred_label")
    ]
    return Predictions(
        "simulated", "detector", frame.with_columns(*outputs, error=pl.lit(None, pl.String))
    )


def show(title: str, rows: Iterator[tuple[str, ...]], n_rounds: int) -> None:
    print(f"{title}, {n_rounds} rounds")
    for number, row in enumerate(rows):
        print("| " + " | ".join(row) + " |", flush=True)
        if number == 0:
            print("|" + " --- |" * len(row))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="of each row")
    parser.add_argument("--part", choices=PARTS, help="one table alone")
    parser.add_argument("--auroc", type=float, nargs="*", default=AUROCS)
    parser.add_argument("--each", action="store_true", help="print every AUROC's share as well")
    asked = parser.parse_args()
    n_rounds = asked.rounds
    tables = {
        "coverage": (
            "Coverage of 95 % intervals in %, over AUROCs",
            coverage(n_rounds, asked.auroc, each=asked.each),
        ),
        "errors": ("Equal detectors told apart at p < 0.05", errors(n_rounds)),
        "conformal": ("Reals flagged at conformal thresholds", conformal(n_rounds)),
        "drift": ("Drift found", drift(n_rounds)),
    }
    for part in PARTS if asked.part is None else (asked.part,):
        show(*tables[part], n_rounds)


if __name__ == "__main__":
    main()
