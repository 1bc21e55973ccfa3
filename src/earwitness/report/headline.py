"""The sentence on top of the page: what was found, and how far it can be believed.

Conventions: it names the first and the last detector, where the first is lowest, and whether there
are intervals at all. Every sentence follows from intervals and names how many items it is about;
detectors whose intervals overlap are tied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from earwitness.audit.schema import CheckResult
from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Metrics, Slice
from earwitness.report import formatting
from earwitness.report.ranking import (
    Standing,
    Standings,
    find_weakest,
    headline_metric,
    intervals_disjoint,
    is_telling,
    leaders,
    rank_detectors,
    slices_of,
    speaking_figure,
)
from earwitness.splits.grouping import ALL

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
    return f"{formatting.figure(estimate.number)}{_brackets(estimate)}"


def _size(estimate: Estimate) -> str:
    return f" on {formatting.tell_size(estimate)}" if estimate.n_items else ""


def _figure(estimate: Estimate, standings: Standings) -> str:
    name = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}.get(standings.metric)
    name = name or standings.metric
    mean = (
        f"a mean {name} over data sets of" if standings.is_mean else f"{_article(name)} {name} of"
    )
    return f"{mean} {formatting.figure(estimate.number)}{_brackets(estimate)}"


def _article(name: str) -> str:
    return "an" if name[0] in "AEIOU" else "a"


def _brackets(estimate: Estimate) -> str:
    told = formatting.interval(estimate)
    return f" {told}" if told else ""


def _weakness(metrics: Metrics, best: Standing, standings: Standings) -> str:
    part = find_weakest(metrics, best.detector, standings.metric)
    untold = _untold(metrics, best.detector, standings.metric)
    if part is None:
        return f"{untold.removeprefix('; ').capitalize()}." if untold else ""
    name = headline_metric(part, standings.metric)
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
    return told + (f"; {formatting.count(n_lost)} items have no score" if n_lost else "")


def _classes(part: Slice) -> str:
    """Return how many items of either class a slice has."""
    covered = part.coverage
    counts = [(covered.n_real, "reals"), (covered.n_fake, "fakes")]
    return " and ".join(f"{formatting.count(n)} {name}" for n, name in counts if n)


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
    elif (
        len(defined) > 1 and intervals_disjoint(defined[0].estimate, defined[-1].estimate) is False
    ):
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


_UNHEARD = {
    "container": "length, rate, codec, tag and level",
    "channel": "container, bandwidth, silence and stereo",
}
_TELLING = 0.6
"""AUROC that a baseline has to lie above, by its interval, to be spoken of."""

_LENGTH = "alone_duration_s"
_EXPOSURE = "exposure_"


def why_unbound(metrics: Metrics) -> list[str]:
    """Return why an audit may not be of just what was judged; nothing where it is."""
    return [c.detail for c in metrics.checks if c.name == "audit_bound" and c.verdict != "ok"]


def audit_sentence(metrics: Metrics, order: Sequence[str]) -> str:
    """Say what takes the ground from under the figures; empty where nothing was found to.

    Args:
        metrics: What an evaluation found.
        order: Detectors, best first.
    """
    found = _findings(metrics)
    counted = [*_met(found, order), *_shared(found)]
    parts = [*counted, *_length(found)]
    said = f"Read that with care: {'; '.join(parts)}." if parts else ""
    return said + (_rows_and_items(metrics) if counted else "")


def _rows_and_items(metrics: Metrics) -> str:
    """Say how many rows the items have, where manifests share items: checks count rows."""
    if metrics.audit is None:
        return ""
    audited = [one for one in metrics.audit.manifests if one.role == "audited"]
    n_rows = sum(one.n_rows for one in audited)
    n_items = max((s.coverage.n_items for s in metrics.slices if s.kind == "overall"), default=0)
    if n_rows <= n_items or len(audited) < 2:
        return ""
    return (
        f" These are rows of {len(audited)} manifests: the {formatting.count(n_items)} items have "
        f"{formatting.count(n_rows)} in them."
    )


def audit_caveats(metrics: Metrics, best: Estimate | None) -> list[str]:
    """Say how far fakes can be told unheard, and how much the audit found.

    Args:
        metrics: What an evaluation found.
        best: AUROC of the best detector over all items, where detectors are ordered by that.
    """
    if metrics.audit is not None and why_unbound(metrics):
        return ["The audit may not be of just these rows, and nothing is taken from it: see Audit."]
    found = _findings(metrics)
    told = list(_unheard(metrics, best))
    if found:
        verb = "check" if len(found) == 1 else "checks"
        told.append(f"The audit found something in {len(found)} {verb}: see Audit.")
    return told


def _findings(metrics: Metrics) -> list[CheckResult]:
    if metrics.audit is None or why_unbound(metrics):
        return []
    return [check for check in metrics.audit.checks if check.verdict == "finding"]


def _met(found: Sequence[CheckResult], order: Sequence[str]) -> Iterator[str]:
    """Name the best detector that met rows when it was made, and count the others."""
    named = {c.name.removeprefix(_EXPOSURE): c for c in found if c.scope == "exposure"}
    ordered = [name for name in order if name in named]
    if not ordered:
        return
    first = named[ordered[0]]
    more = len(ordered) - 1
    others = f", as were {more} more detectors on theirs" if more > 1 else ""
    others = f", as was {ordered[1]} on its own" if more == 1 else others
    yield f"{ordered[0]} was trained or selected on {_rows(first)}{others}"


def _shared(found: Sequence[CheckResult]) -> Iterator[str]:
    """Say how many rows the check counts that sees most rows in sets they must not touch."""
    across = [check for check in found if check.scope == "across"]
    if across:
        most = max(across, key=lambda check: check.n_rows)
        verb = "touches" if most.n_rows == 1 else "touch"
        yield f"{_rows(most)} {verb} a set that they must not"


def _rows(check: CheckResult) -> str:
    return f"{formatting.count(check.n_rows)} of {formatting.count(check.n_checked)} rows"


def _length(found: Sequence[CheckResult]) -> Iterator[str]:
    """Say where length alone tells fakes from reals: over all items, else where it does best."""
    for check in found:
        if check.name != _LENGTH:
            continue
        telling = [one for one in check.slices if one.finding and one.auroc is not None]
        overall = [one for one in telling if one.generator == ALL]
        if telling:
            most = max(overall or telling, key=lambda one: abs(one.estimate.number - 0.5))
            where = "" if overall else f" on {most.generator}"
            yield f"length alone tells fakes{where} from reals, AUROC {_sliced(most.estimate)}"


def _unheard(metrics: Metrics, best: Estimate | None) -> Iterator[str]:
    overall = [one for one in metrics.baselines if one.kind == "overall" and one.auroc.is_defined]
    most = max(overall, key=lambda one: one.auroc.number, default=None)
    if most is None:
        return
    if (most.auroc.number if most.auroc.low is None else most.auroc.low) <= _TELLING:
        return
    is_beaten = best is None or (
        intervals_disjoint(best, most.auroc) and best.number > most.auroc.number
    )
    yield (
        f"Files give fakes away unheard: {_UNHEARD[most.baseline]} reach an AUROC of "
        f"{formatting.brief(most.auroc)} on {formatting.tell_size(most.auroc)}"
        f"{'' if is_beaten else ', which no detector is shown to beat'}."
    )


def _sliced(auroc: Estimate) -> str:
    """Write the AUROC of an audit's slice with its interval and its number of items."""
    n = auroc.n_items
    return formatting.brief(auroc) + (f" on {formatting.count(n)} items" if n else "")
