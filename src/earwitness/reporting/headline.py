"""The sentence on top of the page: what was found, and how far it can be believed.

Conventions: it names the best and the worst detector, where the best fails, and whether there are
intervals at all; nothing is said that the figures, or the audit of these rows, do not say.
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
    rank_detectors,
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
        _ranking(standings, defined),
        _weakness(metrics, best, standings),
        audit_sentence(metrics, [place.detector for place in standings.places]),
    ]
    lead = " ".join(sentence for sentence in sentences if sentence)
    return Headline(lead, _caveats(metrics, standings, defined))


def _ranking(standings: Standings, defined: list[Standing]) -> str:
    best, worst = defined[0], defined[-1]
    does, figure = _DOES[standings.metric], _figure(best.estimate, standings)
    is_chance = standings.metric in OF_CHANCE and _reaches_chance(best.estimate)
    if len(defined) == 1:
        does = "does not do better than chance," if is_chance else does
        return f"{best.detector} {does} with {figure}."
    last = f"with {words.figure(worst.estimate.number)}{_brackets(worst.estimate)}"
    if is_chance:
        return (
            f"Of {len(defined)} detectors none does better than chance: {best.detector} comes "
            f"first, with {figure}; {worst.detector} last, {last}."
        )
    return (
        f"Of {len(defined)} detectors, {best.detector} {does} best, with {figure}; "
        f"{worst.detector} does worst, {last}."
    )


def _reaches_chance(estimate: Estimate) -> bool:
    """Whether a coin does as well, as far as can be told."""
    return (estimate.number if estimate.low is None else estimate.low) <= 0.5


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
    if part is None:
        return ""
    name = speaking_metric(part, standings.metric)
    found = speaking_figure(part, standings.metric)
    where, told = _place(part), f"{words.figure(found.number)}{_brackets(found)}"
    is_alone = len(standings.places) == 1
    if found.number >= 0.9:
        who = "It" if is_alone else "The best"
        return f"{who} holds everywhere: its lowest {_name(name)} is {told}, {where}."
    if found.number >= 0.6:
        who = "It" if is_alone else "The best"
        return f"{who} is weakest {where}: {_name(name)} {told}."
    return f"{'It' if is_alone else 'Even the best'} fails {where}: {_name(name)} {told}."


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
    if len(defined) > 1 and are_apart(defined[0].estimate, defined[-1].estimate) is False:
        told.append(
            "The intervals of the best and the worst overlap: their order may be chance, and "
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
