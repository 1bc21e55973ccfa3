"""What an audit has to say on top of the page, beside what was found.

Conventions: contact with what a detector or a training set was made of, and length that gives fakes
away, belong into the sentence itself; an audit that is not known to be of just these manifests says
nothing of them there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from earwitness.core.audits import CheckResult
from earwitness.core.estimates import Estimate
from earwitness.core.metrics import Metrics
from earwitness.evaluation.standings import are_apart
from earwitness.manifests.cells import ALL
from earwitness.reporting import words

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
        f" These are rows of {len(audited)} manifests: the {words.count(n_items)} items have "
        f"{words.count(n_rows)} in them."
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
    return f"{words.count(check.n_rows)} of {words.count(check.n_checked)} rows"


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
    is_beaten = best is None or (are_apart(best, most.auroc) and best.number > most.auroc.number)
    yield (
        f"Files give fakes away unheard: {_UNHEARD[most.baseline]} reach an AUROC of "
        f"{words.brief(most.auroc)} on {words.tell_size(most.auroc)}"
        f"{'' if is_beaten else ', which no detector is shown to beat'}."
    )


def _sliced(auroc: Estimate) -> str:
    """Write the AUROC of an audit's slice with its interval and its number of items."""
    n = auroc.n_items
    return words.brief(auroc) + (f" on {words.count(n)} items" if n else "")
