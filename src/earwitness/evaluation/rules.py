"""How a decision threshold is chosen: ``0.5``, ``eer``, ``fpr=0.01``, ``cost`` or ``cost=10``.

Conventions: a number from 0 to 1 is a threshold of ``pred_prob``; all other rules are fitted, on
rows that no figure is made of. ``cost`` takes the prior and costs of the evaluation, ``cost=10``
its prior and a miss that costs ten times what a false alarm does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from earwitness.core.errors import UsageError
from earwitness.evaluation.summarize import check_threshold
from earwitness.metrics import ranking, thresholds
from earwitness.metrics.costs import Costs
from earwitness.metrics.items import Floats, Ints
from earwitness.metrics.scaling import Method

METHODS: dict[str, Method] = {"temperature": "temperature", "platt": "platt"}
EXPECTED = "a number from 0 to 1, eer, fpr=0.01, cost or cost=10"


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        kind: ``file`` takes the decisions as they stand in the predictions.
        value: The threshold, the rate of false flags, or what a miss costs; ``None`` where the
            rule has none.
    """

    kind: Literal["file", "score", "eer", "fpr", "cost"]
    value: float | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it takes rows to fit a threshold on."""
        return self.kind in ("eer", "fpr", "cost")

    @property
    def score(self) -> float | None:
        """The threshold, where the rule is a number."""
        return self.value if self.kind == "score" else None

    def __str__(self) -> str:
        if self.kind == "score":
            return f"{self.value:g}"
        return self.kind if self.value is None else f"{self.kind}={self.value:g}"


def parse_rule(given: float | str | None) -> Rule:
    """Read a rule as it stands on the command line; ``None`` is ``file``.

    Raises:
        UsageError: It is none.
    """
    if given is None or given == "file":
        return Rule("file")
    name, _, number = str(given).partition("=")
    if name == "eer" and not number:
        return Rule("eer")
    if name == "cost" and str(given) == "cost":
        return Rule("cost")
    value = _number(number or name)
    if name == "fpr" and 0 < value < 1:
        return Rule("fpr", value)
    if name == "cost" and 0 < value < math.inf:
        return Rule("cost", value)
    if number or math.isnan(value):
        raise UsageError(f"threshold {given!r}, expected {EXPECTED}")
    check_threshold(value)
    return Rule("score", value)


def fit_threshold(
    rule: Rule, target: Ints, score: Floats, group: Ints, costs: Costs
) -> float | str:
    """Return the threshold that a rule gives on a sample, or why there is none.

    A rate of false flags takes as many groups of reals: items of one group are not independent.

    Args:
        rule: One that is fitted.
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        group: ``(n_items,)`` group of each.
        costs: Prior and costs of the evaluation.
    """
    n_groups = len(np.unique(group[target == 0]))
    needed = ranking.reals_needed(rule.value) if rule.kind == "fpr" and rule.value else 0
    if n_groups < needed:
        return f"takes {needed} groups of reals to fit on, {n_groups} there"
    found = _fit(rule, target, score, costs)
    if math.isnan(found):
        return _lacking(target)
    if math.isinf(found):
        if rule.kind == "fpr":
            return f"no threshold flags fakes and at most {rule.value:g} of the reals"
        return "it costs least to call nothing fake"
    return found


def _fit(rule: Rule, target: Ints, score: Floats, costs: Costs) -> float:
    if rule.kind == "fpr" and rule.value is not None:
        return thresholds.threshold_at_fpr(target, score, rule.value)
    if rule.kind == "eer":
        return ranking.eer_threshold(target, score)
    if rule.value is not None:
        costs = Costs(costs.p_fake, 1.0, rule.value)
    return thresholds.threshold_at_cost(target, score, costs)


def _lacking(target: Ints) -> str:
    if not len(target):
        return "nothing to fit on"
    return f"only {'fakes' if target.all() else 'reals'} to fit on"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_method(given: str | None) -> Method | None:
    """Read how to calibrate.

    Raises:
        UsageError: It is neither ``temperature`` nor ``platt``.
    """
    if given is not None and given not in METHODS:
        raise UsageError(f"calibrate {given!r}, expected temperature or platt")
    return None if given is None else METHODS[given]


def parse_costs(p_fake: float, c_miss: float, c_false_alarm: float) -> Costs:
    """Read a prior and costs.

    Raises:
        UsageError: One is out of bounds.
    """
    try:
        return Costs(p_fake, c_false_alarm, c_miss)
    except ValueError as error:
        raise UsageError(str(error)) from None
