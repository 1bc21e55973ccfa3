"""How often intervals hold the truth and tests cry wolf, on clustered data: ``make simulate``.

Conventions: scores are normal with variance 1, half of it shared within a group; fakes are shifted
so that the AUROC is what the row says. "Apart": groups hold 4 reals or 4 fakes. "Both": each group
holds 1 real and 4 fakes that share their part, as a track does with its reconstructions. Coverage
should be 95 %, errors of the first kind 5 %; each figure carries the error of its own simulation.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import binomtest, norm

from earwitness.metrics.bootstrap import bootstrap_intervals
from earwitness.metrics.comparisons import compare_auroc, compare_by_swaps
from earwitness.metrics.intervals import (
    Interval,
    auroc_interval,
    mixed_interval,
    rate_interval,
)
from earwitness.metrics.items import Items

AUROCS = (0.75, 0.95, 0.99)
N_GROUPS = (20, 50, 200)
SHARED = 0.5


def layout(n_groups: int, both: bool) -> tuple[np.ndarray, np.ndarray]:
    """Target and group of every item, with ``n_groups`` groups a class."""
    groups = np.arange(n_groups)
    if both:
        group = np.concatenate([groups, np.repeat(groups, 4)])
        return np.repeat([0, 1], [n_groups, 4 * n_groups]), group
    group = np.repeat(np.arange(2 * n_groups), 4)
    return (group >= n_groups).astype(int), group


def detect(rng: np.random.Generator, target: np.ndarray, group: np.ndarray, auroc: float) -> Items:
    """What a detector of this AUROC says; its threshold lies halfway between the classes."""
    shift = shift_of(auroc)
    common = rng.normal(size=group.max() + 1)[group] * math.sqrt(SHARED)
    logit = common + rng.normal(size=len(group)) * math.sqrt(1 - SHARED) + shift * (target - 0.5)
    prob = 1 / (1 + np.exp(-logit))
    return Items(target, group, (logit >= 0).astype(int), logit, logit, prob)


def shift_of(auroc: float) -> float:
    return float(math.sqrt(2) * norm.ppf(auroc))


def intervals(items: Items, seed: int) -> dict[str, Interval]:
    """Every kind of interval there is, one figure each."""
    hit, fake = (items.decision == items.target).astype(int), items.target == 1
    return {
        "AUROC": auroc_interval(items.target, items.score, items.group),
        "recall": rate_interval(hit[fake], items.group[fake]),
        "balanced": mixed_interval(hit, items.target, items.group, 0.5),
        "EER": bootstrap_intervals(items, ["eer"], seed=seed, n_resamples=400)["eer"],
    }


def truths(auroc: float) -> dict[str, float]:
    right = float(norm.cdf(shift_of(auroc) / 2))
    return {"AUROC": auroc, "recall": right, "balanced": right, "EER": 1 - right}


def coverage(n_rounds: int) -> Iterator[tuple[str, ...]]:
    yield ("groups", "AUROC", "a class", *(f"{name} %" for name in truths(0.9)), "no interval")
    for both in (False, True):
        for auroc in AUROCS:
            for n_groups in N_GROUPS:
                yield covered(n_rounds, both, auroc, n_groups)


def covered(n_rounds: int, both: bool, auroc: float, n_groups: int) -> tuple[str, ...]:
    target, group = layout(n_groups, both)
    held = dict.fromkeys(truths(auroc), 0)
    given = dict.fromkeys(truths(auroc), 0)
    for seed in range(n_rounds):
        items = detect(np.random.default_rng([seed, n_groups]), target, group, auroc)
        for name, found in intervals(items, seed).items():
            given[name] += found.reason is None
            held[name] += found.low <= truths(auroc)[name] <= found.high
    shares = [f"{100 * held[name] / max(given[name], 1):.1f}" for name in held]
    without = ", ".join(f"{name} {n_rounds - n}" for name, n in given.items() if n < n_rounds)
    return ("both" if both else "apart", f"{auroc:g}", str(n_groups), *shares, without or "–")


def errors(n_rounds: int) -> Iterator[tuple[str, ...]]:
    yield ("groups", "a class", *(f"{name} %" for name in TESTS))
    for both in (False, True):
        for n_groups in N_GROUPS:
            target, group = layout(n_groups, both)
            rejected = dict.fromkeys(TESTS, 0)
            for seed in range(n_rounds):
                rng = np.random.default_rng([seed, n_groups])
                first, second = (detect(rng, target, group, 0.85) for _ in range(2))
                for name, test in TESTS.items():
                    rejected[name] += test(first, second, seed) < 0.05
            shares = [f"{100 * n / n_rounds:.1f}" for n in rejected.values()]
            yield ("both" if both else "apart", str(n_groups), *shares)


def swap(name: str) -> Callable[[Items, Items, int], float]:
    return lambda one, two, seed: compare_by_swaps(one, two, [name], seed=seed, n_swaps=399)[name].p


def plain_delong(first: Items, second: Items, _: int) -> float:
    """DeLong's test as if all items were independent."""
    loose = np.arange(len(first))
    sides = (Items(s.target, loose, s.decision, s.score, s.logit, s.prob) for s in (first, second))
    return compare_auroc(*sides).p


def mcnemar(first: Items, second: Items, _: int) -> float:
    """McNemar's exact test, which takes items for independent."""
    right = [items.decision == items.target for items in (first, second)]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0


TESTS: dict[str, Callable[[Items, Items, int], float]] = {
    "DeLong": lambda one, two, _: compare_auroc(one, two).p,
    "accuracy": swap("accuracy"),
    "EER": swap("eer"),
    "Brier": swap("brier"),
    "plain DeLong": plain_delong,
    "McNemar": mcnemar,
}


def show(title: str, rows: Iterator[tuple[str, ...]], n_rounds: int) -> None:
    print(f"{title}, {n_rounds} rounds")
    for number, row in enumerate(rows):
        print("| " + " | ".join(row) + " |", flush=True)
        if number == 0:
            print("|" + " --- |" * len(row))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    n_rounds = parser.parse_args().rounds
    show("Coverage of 95 % intervals", coverage(n_rounds), n_rounds)
    show("Equal detectors told apart at p < 0.05", errors(n_rounds), n_rounds)


if __name__ == "__main__":
    main()
