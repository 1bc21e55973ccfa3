"""The headline of the page: the main result, and how far it can be trusted.

It names the first and the last detector and the slice where the first is lowest. Statements
follow from intervals: detectors with overlapping intervals are tied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from earwitness.audit.schema import CheckResult
from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Metrics
from earwitness.report import formatting
from earwitness.report.ranking import (
    Place,
    Ranking,
    find_weakest,
    headline_estimate,
    headline_metric,
    intervals_disjoint,
    is_comparable,
    leaders,
    rank_detectors,
    slices_of,
)
from earwitness.splits.grouping import ALL

WITH_CHANCE = ("auroc", "balanced_accuracy")
"""Metrics that are 0.5 by chance."""

_ABILITIES = {
    "auroc": "separates real from fake",
    "balanced_accuracy": "classifies",
    "recall": "finds fakes",
    "specificity": "passes reals",
}
_MIN_ROBUST = 0.8
"""Smallest lower end of the interval of a robust detector's lowest slice."""
_MAX_NAMED = 3
"""Number of detectors named as tied with the first."""


class Headline(NamedTuple):
    """The main result in a few sentences, and its limitations."""

    lead: str
    caveats: list[str]


def write_headline(metrics: Metrics) -> Headline:
    """Return the main result."""
    ranking = rank_detectors(metrics)
    defined = [place for place in ranking.places if place.estimate.is_defined]
    if not defined:
        reasons = {place.estimate.reason or "" for place in ranking.places}
        lead = f"No detector can be ranked: {'; '.join(sorted(reasons))}."
        return Headline(lead, _caveats(metrics, ranking, []))
    sentences = (
        _order(metrics, ranking, defined),
        _weakness(metrics, defined[0], ranking),
        _audit_sentence(metrics, [place.detector for place in ranking.places]),
    )
    lead = " ".join(sentence for sentence in sentences if sentence)
    return Headline(lead, _caveats(metrics, ranking, defined))


def _order(metrics: Metrics, ranking: Ranking, defined: list[Place]) -> str:
    best, last = defined[0], defined[-1]
    is_open = ranking.metric in WITH_CHANCE and not any(
        _beats_chance(place.estimate, ranking) for place in defined
    )
    value = _value(best.estimate, ranking)
    if len(defined) == 1:
        if not is_open:
            return f"{best.detector} {_ABILITIES[ranking.metric]} with {value}."
        verdict = "is not shown to do better than chance"
        if best.estimate.high is not None and best.estimate.high < 0.5:
            verdict = "does worse than chance"
        return f"{best.detector} {verdict}, with {value}{_decisions(metrics, best.detector)}."
    end = f"{last.detector} ranks last, with {formatting.brief_estimate(last.estimate)}"
    if is_open:
        return (
            f"Of {len(defined)} detectors, none is shown to do better than chance: "
            f"{best.detector} ranks first, with {value}; {end}."
        )
    tied = [place.detector for place in leaders(defined)[1:]]
    first = f"Of {len(defined)} detectors, {best.detector} ranks first, with {value}"
    if not tied:
        ability = _ABILITIES[ranking.metric]
        return f"Of {len(defined)} detectors, {best.detector} {ability} best, with {value}; {end}."
    if best.estimate.low is None:
        return f"{first}; {end}."
    n_more = len(tied) - _MAX_NAMED
    others = ", ".join(tied[:_MAX_NAMED]) + (f" and {n_more} more" if n_more > 0 else "")
    verb = "is" if len(tied) == 1 else "are"
    last_words = "" if last.detector in tied else f"; {end}"
    return f"{first}; {others} {verb} not shown to differ from it{last_words}."


def _beats_chance(estimate: Estimate, ranking: Ranking) -> bool:
    low = estimate.number if ranking.is_mean else estimate.low
    return low is not None and low > 0.5


def _decisions(metrics: Metrics, detector: str) -> str:
    """Return whether the decisions are better than chance although the AUROC is not shown to be."""
    for part in metrics.where(kind="overall", detector=detector):
        for name, chance in (("balanced_accuracy", 0.5), ("mcc", 0.0)):
            found = part.estimates.get(name)
            if found is not None and found.low is not None and found.low > chance:
                value = formatting.brief_estimate(found)
                return f"; its decisions are better than chance, {_name(name)} {value}"
    return ""


def _value(estimate: Estimate, ranking: Ranking) -> str:
    name = _name(ranking.metric)
    article = "an" if name[0] in "AEIOU" else "a"
    mean = f"a mean {name} over data sets of" if ranking.is_mean else f"{article} {name} of"
    size = f" on {formatting.sample_size(estimate)}" if estimate.n_items else ""
    return f"{mean} {formatting.brief_estimate(estimate)}{size}"


def _name(metric: str) -> str:
    return {"auroc": "AUROC"}.get(metric, metric.replace("_", " "))


def _weakness(metrics: Metrics, best: Place, ranking: Ranking) -> str:
    part = find_weakest(metrics, best.detector, ranking.metric)
    gaps = _gaps(metrics, best.detector, ranking.metric)
    if part is None:
        return f"{gaps.removeprefix('; ').capitalize()}." if gaps else ""
    found = headline_estimate(part, ranking.metric)
    name, value = _name(headline_metric(part, ranking.metric)), formatting.brief_estimate(found)
    classes = ((part.coverage.n_real, "reals"), (part.coverage.n_fake, "fakes"))
    size = " and ".join(f"{formatting.count(n)} {noun}" for n, noun in classes if n)
    where = f"on {part.name}"
    if part.kind == "grid":
        where = f"on {part.keys['generator']} against the reals of {part.keys['real_corpus']}"
    is_only = len(ranking.places) == 1
    if found.high is not None and found.high < 0.5:
        who = "It" if is_only else f"Even {best.detector}"
        return f"{who} fails {where}: {name} {value} on {size}{gaps}."
    who = "It" if is_only else best.detector
    if found.low is not None and found.low >= _MIN_ROBUST and not gaps:
        return f"{who} is robust across slices: its lowest {name} is {value}, {where} ({size})."
    return f"{who} is lowest {where}: {name} {value} on {size}{gaps}."


def _gaps(metrics: Metrics, detector: str, metric: str) -> str:
    """Return the numbers of slices too small to compare and of items without a score."""
    parts = slices_of(metrics, detector)
    n_small = sum(not is_comparable(part, metric) for part in parts)
    n_lost = sum(p.coverage.n_lost for p in metrics.where(kind="overall", detector=detector))
    gaps = f"; {n_small} of {len(parts)} slices are too small to compare" if n_small else ""
    return gaps + (f"; {formatting.count(n_lost)} items have no score" if n_lost else "")


def _caveats(metrics: Metrics, ranking: Ranking, defined: list[Place]) -> list[str]:
    caveats = []
    if metrics.basis == "counts":
        caveats.append(
            "No intervals are possible: a table of counts does not say which files share a track."
        )
    elif defined and all(place.estimate.low is None for place in defined):
        reasons = sorted({place.estimate.reason or "" for place in defined})
        caveats.append(f"No interval is possible: {'; '.join(reasons)}.")
    elif (
        len(defined) > 1 and intervals_disjoint(defined[0].estimate, defined[-1].estimate) is False
    ):
        caveats.append(
            "The intervals of the first and the last overlap: their order may be chance. Test it "
            "with earwitness compare."
        )
    caveats += _one_class(metrics)
    is_auroc = bool(ranking.metric == "auroc" and defined and not ranking.is_mean)
    caveats += _audit_caveats(metrics, defined[0].estimate if is_auroc else None)
    n_warnings = sum(check.verdict == "warning" for check in metrics.checks)
    if n_warnings:
        verb = "check warns" if n_warnings == 1 else "checks warn"
        caveats.append(f"{n_warnings} {verb} that metrics may mislead: see Checks.")
    return caveats


def _one_class(metrics: Metrics) -> list[str]:
    n_real = sum(one.n_real for one in metrics.manifests)
    n_fake = sum(one.n_fake for one in metrics.manifests)
    if n_fake and not n_real:
        return ["The data has fakes only: the false positive rate is unknown."]
    if n_real and not n_fake:
        return ["The data has reals only: the recall on fakes is unknown."]
    return []


def audit_mismatch(metrics: Metrics) -> list[str]:
    """Return why the audit may cover other rows than those evaluated; empty if it does not."""
    return [c.detail for c in metrics.checks if c.name == "audit_bound" and c.verdict != "ok"]


def _findings(metrics: Metrics) -> list[CheckResult]:
    if metrics.audit is None or audit_mismatch(metrics):
        return []
    return [check for check in metrics.audit.checks if check.verdict == "finding"]


def _audit_sentence(metrics: Metrics, order: Sequence[str]) -> str:
    """Return the findings that undermine the metrics of the detectors, best first."""
    found = _findings(metrics)
    counted = [*_exposed(found, order), *_leaked(found)]
    parts = [*counted, *_length(found)]
    sentence = f"Interpret with care: {'; '.join(parts)}." if parts else ""
    return sentence + (_rows_and_items(metrics) if counted else "")


def _rows_and_items(metrics: Metrics) -> str:
    """Return the numbers of rows and items if manifests share items."""
    if metrics.audit is None:
        return ""
    audited = [one for one in metrics.audit.manifests if one.role == "audited"]
    n_rows = sum(one.n_rows for one in audited)
    n_items = max((s.coverage.n_items for s in metrics.where(kind="overall")), default=0)
    if n_rows <= n_items or len(audited) < 2:
        return ""
    return (
        f" Rows are counted in {len(audited)} manifests: {formatting.count(n_items)} items have "
        f"{formatting.count(n_rows)} rows."
    )


def _audit_caveats(metrics: Metrics, best: Estimate | None) -> list[str]:
    """Return how well metadata alone does against the best AUROC, and the number of findings."""
    if metrics.audit is not None and audit_mismatch(metrics):
        return ["The audit may cover other rows than these and is not used here: see Audit."]
    found = _findings(metrics)
    caveats = list(_baseline(metrics, best))
    if found:
        verb = "check has" if len(found) == 1 else "checks have"
        caveats.append(f"{len(found)} audit {verb} findings: see Audit.")
    return caveats


def _exposed(found: Sequence[CheckResult], order: Sequence[str]) -> Iterator[str]:
    """Yield the best detector trained or selected on evaluated rows, and count the others."""
    named = {c.name.removeprefix("exposure_"): c for c in found if c.scope == "exposure"}
    ordered = [name for name in order if name in named]
    if not ordered:
        return
    n_more = len(ordered) - 1
    others = f", as were {n_more} more detectors on theirs" if n_more > 1 else ""
    others = f", as was {ordered[1]} on its own" if n_more == 1 else others
    yield f"{ordered[0]} was trained or selected on {_rows(named[ordered[0]])}{others}"


def _leaked(found: Sequence[CheckResult]) -> Iterator[str]:
    """Yield the largest overlap between sets that must be disjoint."""
    across = [check for check in found if check.scope == "across"]
    if across:
        most = max(across, key=lambda check: check.n_rows)
        verb = "overlaps" if most.n_rows == 1 else "overlap"
        yield f"{_rows(most)} {verb} with a set that must be disjoint"


def _rows(check: CheckResult) -> str:
    return f"{formatting.count(check.n_rows)} of {formatting.count(check.n_checked)} rows"


def _length(found: Sequence[CheckResult]) -> Iterator[str]:
    """Yield the AUROC of length alone, over all items or for the worst generator."""
    for check in found:
        flagged = [one for one in check.slices if one.finding and one.auroc is not None]
        if check.name != "alone_duration_s" or not flagged:
            continue
        overall = [one for one in flagged if one.generator == ALL]
        most = max(overall or flagged, key=lambda one: abs(one.estimate.number - 0.5))
        where = "" if overall else f" on {most.generator}"
        n = most.estimate.n_items
        size = f" on {formatting.count(n)} items" if n else ""
        auroc = formatting.brief_estimate(most.estimate)
        yield f"length alone separates fakes{where} from reals, AUROC {auroc}{size}"


def _baseline(metrics: Metrics, best: Estimate | None) -> Iterator[str]:
    """Yield the best metadata baseline over all items, if it is well above chance."""
    overall = [one for one in metrics.baselines if one.kind == "overall" and one.auroc.is_defined]
    most = max(overall, key=lambda one: one.auroc.number, default=None)
    if most is None:
        return
    if (most.auroc.number if most.auroc.low is None else most.auroc.low) <= 0.6:
        return
    is_beaten = best is None or (
        intervals_disjoint(best, most.auroc) and best.number > most.auroc.number
    )
    properties = {
        "container": "length, rate, codec, tags and level",
        "channel": "container, bandwidth, silence and stereo",
    }
    yield (
        f"File properties alone separate the classes: {properties[most.baseline]} reach an AUROC "
        f"of {formatting.brief_estimate(most.auroc)} on {formatting.sample_size(most.auroc)}"
        f"{'' if is_beaten else ', which no detector is shown to beat'}."
    )
