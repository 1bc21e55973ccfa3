"""The sentence on top of the page: what was found, and how far it can be believed.

Conventions: it names the first and the last detector, where the first is lowest, and whether there
are intervals at all. Every sentence follows from intervals and names how many items it is about;
detectors whose intervals overlap are tied.
"""

from __future__ import annotations

from typing import NamedTuple

from earwitness.core.estimates import Estimate
from earwitness.core.metrics import Metrics, Slice
from earwitness.evaluation.standings import (
    Standing,
    Standings,
    are_apart,
    find_weakest,
    is_telling,
    leaders,
    rank_detectors,
    slices_of,
    speaking_figure,
    speaking_metric,
)
from earwitness.reporting import words
from earwitness.reporting.audited import audit_caveats, audit_sentence

_DOES = {
    "auroc": "tells real from fake",
    "balanced_accuracy": "decides",
    "recall": "finds fakes",
    "specificity": "lets reals pass",
}


_HOLDS = 0.8
"""Lower end of an interval from which on a detector is said to hold in a slice."""

_NAMED = 3
"""Detectors that are named as tied with the first."""

OF_CHANCE = ("auroc", "balanced_accuracy")
"""Figures that are a half by chance."""


class Headline(NamedTuple):
    """What was found.

    Attributes:
        lead: In a sentence or two.
        caveats: What to keep in mind.
    """

    lead: str
    caveats: list[str]


def write_headline(metrics: Metrics) -> Headline:
    """Say what was found."""
    standings = rank_detectors(metrics)
    defined = [place for place in standings.places if place.estimate.is_defined]
    if not defined:
        reasons = {place.estimate.reason or "" for place in standings.places}
        lead = f"No detector has a figure to be judged by: {'; '.join(sorted(reasons))}."
        return Headline(lead, _caveats(metrics, standings, []))
    best = defined[0]
    sentences = [
        _ranking(metrics, standings, defined),
        _weakness(metrics, best, standings),
        audit_sentence(metrics, [place.detector for place in standings.places]),
    ]
    lead = " ".join(sentence for sentence in sentences if sentence)
    return Headline(lead, _caveats(metrics, standings, defined))


def _ranking(metrics: Metrics, standings: Standings, defined: list[Standing]) -> str:
    best, last = defined[0], defined[-1]
    is_open = standings.metric in OF_CHANCE and not any(
        _beats_chance(place.estimate, standings) for place in defined
    )
    figure = f"{_figure(best.estimate, standings)}{_size(best.estimate)}"
    if len(defined) == 1:
        if not is_open:
            return f"{best.detector} {_DOES[standings.metric]} with {figure}."
        verdict = _against_chance(best.estimate)
        return f"{best.detector} {verdict}, with {figure}{_decisions(metrics, best.detector)}."
    end = f"{last.detector} comes last, with {_bare(last.estimate)}"
    if is_open:
        return (
            f"Of {len(defined)} detectors none is shown to do better than chance: "
            f"{best.detector} comes first, with {figure}; {end}."
        )
    tied = [place.detector for place in leaders(defined)[1:]]
    if not tied:
        does = _DOES[standings.metric]
        return f"Of {len(defined)} detectors, {best.detector} {does} best, with {figure}; {end}."
    if best.estimate.low is None:
        return f"Of {len(defined)} detectors, {best.detector} comes first, with {figure}; {end}."
    others = ", ".join(tied[:_NAMED]) + (f" and {len(tied) - _NAMED} more" if tied[_NAMED:] else "")
    verb = "is" if len(tied) == 1 else "are"
    first = f"Of {len(defined)} detectors, {best.detector} comes first, with {figure}"
    last_words = "" if last.detector in tied else f"; {end}"
    return f"{first}; {others} {verb} not shown to differ from it{last_words}."


def _beats_chance(estimate: Estimate, standings: Standings) -> bool:
    low = estimate.number if standings.is_mean else estimate.low
    return low is not None and low > 0.5


def _against_chance(estimate: Estimate) -> str:
    """Say how a figure is to a half; without an interval nothing is said to be shown."""
    if estimate.high is not None and estimate.high < 0.5:
        return "does worse than chance"
    return "is not shown to do better than chance"


def _decisions(metrics: Metrics, detector: str) -> str:
    """Say what decisions show where the order of scores does not."""
    for part in metrics.where(kind="overall", detector=detector):
        for name, chance in (("balanced_accuracy", 0.5), ("mcc", 0.0)):
            found = part.estimates.get(name)
            if found is not None and found.low is not None and found.low > chance:
                return f"; its decisions are better than chance, {_name(name)} {_bare(found)}"
    return ""


def _bare(estimate: Estimate) -> str:
    return f"{words.figure(estimate.number)}{_brackets(estimate)}"


def _size(estimate: Estimate) -> str:
    return f" on {words.tell_size(estimate)}" if estimate.n_items else ""


def _figure(estimate: Estimate, standings: Standings) -> str:
    name = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}.get(standings.metric)
    name = name or standings.metric
    mean = (
        f"a mean {name} over data sets of" if standings.is_mean else f"{_article(name)} {name} of"
    )
    return f"{mean} {words.figure(estimate.number)}{_brackets(estimate)}"


def _article(name: str) -> str:
    return "an" if name[0] in "AEIOU" else "a"


def _brackets(estimate: Estimate) -> str:
    told = words.interval(estimate)
    return f" {told}" if told else ""


def _weakness(metrics: Metrics, best: Standing, standings: Standings) -> str:
    part = find_weakest(metrics, best.detector, standings.metric)
    untold = _untold(metrics, best.detector, standings.metric)
    if part is None:
        return f"{untold.removeprefix('; ').capitalize()}." if untold else ""
    name = speaking_metric(part, standings.metric)
    found = speaking_figure(part, standings.metric)
    is_alone = len(standings.places) == 1
    size = _classes(part)
    told = f"{_name(name)} {_bare(found)} on {size}"
    where = _place(part)
    if found.high is not None and found.high < 0.5:
        return f"{'It' if is_alone else 'Even the first'} fails {where}: {told}."
    who = "It" if is_alone else "The first"
    if found.low is not None and found.low >= _HOLDS and not untold:
        lowest = f"its lowest {_name(name)} is {_bare(found)}"
        return f"{who} holds everywhere: {lowest}, {where} ({size})."
    return f"{who} is lowest {where}: {told}{untold}."


def _untold(metrics: Metrics, detector: str, metric: str) -> str:
    """Say how many slices nothing can be said of, and how many files have no score."""
    parts = slices_of(metrics, detector)
    n_small = sum(not is_telling(part, metric) for part in parts)
    covered = [part.coverage for part in metrics.where(kind="overall", detector=detector)]
    n_lost = sum(one.n_items - one.n_scored for one in covered)
    told = f"; nothing can be said of {n_small} of {len(parts)} slices" if n_small else ""
    return told + (f"; {words.count(n_lost)} items have no score" if n_lost else "")


def _classes(part: Slice) -> str:
    """Return how many items of either class a slice has."""
    covered = part.coverage
    counts = [(covered.n_real, "reals"), (covered.n_fake, "fakes")]
    return " and ".join(f"{words.count(n)} {name}" for n, name in counts if n)


def _name(metric: str) -> str:
    return {"auroc": "AUROC"}.get(metric, metric.replace("_", " "))


def _place(part: Slice) -> str:
    if part.kind == "grid":
        fakes, reals = part.keys["generator"], part.keys["real_corpus"]
        return f"on {fakes} against the reals of {reals}"
    return f"on {part.name}"


def _caveats(metrics: Metrics, standings: Standings, defined: list[Standing]) -> list[str]:
    told = []
    if metrics.basis == "counts":
        told.append(
            "No intervals are possible: a table of counts does not say which files share a track."
        )
    elif defined and all(place.estimate.low is None for place in defined):
        reasons = sorted({place.estimate.reason or "" for place in defined})
        told.append(f"No interval is possible: {'; '.join(reasons)}.")
    elif len(defined) > 1 and are_apart(defined[0].estimate, defined[-1].estimate) is False:
        told.append(
            "The intervals of the first and the last overlap: their order may be chance, and "
            "earwitness compare tests it."
        )
    told += _one_class(metrics)
    is_auroc = bool(standings.metric == "auroc" and defined and not standings.is_mean)
    told += audit_caveats(metrics, defined[0].estimate if is_auroc else None)
    n_warnings = sum(check.verdict == "warning" for check in metrics.checks)
    if n_warnings:
        verb = "check warns" if n_warnings == 1 else "checks warn"
        told.append(f"{n_warnings} {verb} that figures may mislead: see Checks.")
    return told


def _one_class(metrics: Metrics) -> list[str]:
    n_real = sum(m.n_real for m in metrics.manifests)
    n_fake = sum(m.n_fake for m in metrics.manifests)
    if n_fake and not n_real:
        return ["Only fakes were judged: how often reals are flagged cannot be said."]
    if n_real and not n_fake:
        return ["Only reals were judged: how many fakes would be found cannot be said."]
    return []
