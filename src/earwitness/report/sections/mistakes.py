"""The worst mistakes, by name, and to listen to where the page can reach them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from earwitness.evaluation.schema import DetectorInfo, Metrics, Mistake
from earwitness.report import formatting
from earwitness.report.tables import Block, Chapter, Folded, Wrong, Wrongs

Finder = Callable[[Mistake], str | None]
"""Returns where the page finds a file, ``None`` where it cannot."""

_LEAD = "What each detector was surest of and wrong about. Names are as the predictions have them."


def mistakes(metrics: Metrics, find: Finder) -> Chapter | None:
    """Return a list a detector; ``None`` where the file tells of no rows."""
    if metrics.basis == "counts":
        return None
    blocks: list[Block] = [
        Folded(
            _summary(detector),
            [
                _list(
                    "Reals called fake", detector.worst_false_alarms, find, "No real was flagged."
                ),
                _list("Fakes called real", detector.worst_misses, find, "No fake was missed."),
            ],
            detector=detector.name,
            is_open=at == 0,
        )
        for at, detector in enumerate(metrics.detectors)
    ]
    return Chapter("mistakes", "Worst mistakes", _LEAD, blocks)


def _summary(detector: DetectorInfo) -> str:
    n_shown = len(detector.worst_false_alarms) + len(detector.worst_misses)
    return f"{detector.name} ({n_shown} shown)"


def _list(title: str, found: Sequence[Mistake], find: Finder, none: str) -> Wrongs:
    return Wrongs(title, [_wrong(one, find) for one in found], none)


def _wrong(one: Mistake, find: Finder) -> Wrong:
    made = " · ".join(part for part in (one.corpus, one.generator, one.dataset) if part)
    return Wrong(one.filepath or "no file name", made, _score(one), find(one))


def _score(one: Mistake) -> str:
    if one.pred_prob is not None:
        return f"score {formatting.figure(one.pred_prob)}"
    return formatting.UNDEFINED if one.logit is None else f"logit {one.logit:.2f}"
