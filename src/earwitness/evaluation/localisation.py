"""Score windows against labelled segments: points, ranges, tolerances and stems.

Conventions: a time is scored by the mean logit of the windows over it; time without a window is
left out and counted. Metrics of ranges weigh time by its length, those of points count windows,
which have the label of most of their time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from earwitness.core.estimate import Estimate
from earwitness.core.remote import shown_name
from earwitness.core.segments import SEGMENTS, Segment, parse_segments
from earwitness.evaluation import windows
from earwitness.evaluation.estimates import estimate_some
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Opened
from earwitness.evaluation.schema import Settings
from earwitness.evaluation.timeline import (
    MIX,
    Localisation,
    ScorePart,
    Timeline,
    Tolerance,
    TruthPart,
)
from earwitness.metrics.sample import Floats, Ints, Items, logits, numbered
from earwitness.scoring.prediction_files import read_windows
from earwitness.splits.grouping import UNKNOWN

TOLERANCES_S = (0.0, 0.25, 0.5, 1.0)
N_WORST = 5
_UNITS = 1_000_000_000
"""Largest sum of weights of time, so that products of two sums are exact."""


@dataclass(frozen=True)
class LabelledFile:
    """Truth and scores of one file.

    Attributes:
        row: Its row, as of ``load_rows``.
        scored: Windows with a score.
        edges: ``(n_pieces + 1,)`` times between which label and score are constant.
        label: ``(n_pieces,)`` labels.
        logit: ``(n_pieces,)`` mean logits; NaN without a window.
        distance_s: ``(n_pieces,)`` distance of the middle from the nearest change of the label.
    """

    row: Mapping[str, str]
    scored: Sequence[windows.Segment]
    edges: Floats
    label: Ints
    logit: Floats
    distance_s: Floats

    @property
    def length_s(self) -> Floats:
        """``(n_pieces,)`` lengths."""
        return np.diff(self.edges)

    def wrong(self, threshold: float) -> float:
        """Return the share of the scored time with a wrong decision."""
        known = np.isfinite(self.logit)
        is_wrong = (self.logit >= threshold) != (self.label == 1)
        return float(self.length_s[known & is_wrong].sum() / self.length_s[known].sum())


def has_segments(opened: Sequence[Opened]) -> bool:
    """Return whether any predictions have the column ``segments``."""
    return any(SEGMENTS in one.predictions.frame.columns for one in opened)


def localise(
    opened: Sequence[Opened], frame: pl.DataFrame, settings: Settings, threshold: float | None
) -> tuple[list[Localisation], list[str]]:
    """Return the localisation of each detector and stem, and notes.

    Without segments there is none, and a note if they are malformed.

    Args:
        opened: Predictions, whose windows are in memory or beside the file.
        frame: Their rows; without ``by:segments`` there is nothing to localise.
        settings: Settings.
        threshold: Least probability called fake; ``None`` is 0.5.

    Raises:
        PredictionsError: Window scores are malformed.
    """
    if f"by:{SEGMENTS}" not in frame.columns:
        return [], []
    least = 0.0 if threshold is None else float(logits([threshold])[0])
    try:
        labelled = {text: _parse(text) for text in frame[f"by:{SEGMENTS}"].unique()}
    except ValueError as error:
        return [], [f"Not localised: {error}"]
    found, notes = [], []
    for name in frame["detector"].unique(maintain_order=True):
        scores = _read_scores([o for o in opened if o.predictions.detector == name])
        rows = deduplicate(frame.filter(detector=name)).filter(pl.col("state") != "missing")
        held = [
            (row, labelled[row[f"by:{SEGMENTS}"]])
            for row in rows.iter_rows(named=True)
            if (row["dataset"], row["filepath"]) in scores
        ]
        if len(held) < rows.height:
            notes.append(
                f"{name}: {rows.height - len(held)} of {rows.height} items have no window "
                "scores to localise with; predict --keep-windows keeps them."
            )
        for part in (MIX, *_stems(held)):
            files = [
                file
                for row, segments in held
                if (file := _label(row, segments, scores, part)) is not None
            ]
            if files:
                found.append(_measure(name, part, files, settings, least))
    return found, notes


def _read_scores(
    opened: Sequence[Opened],
) -> dict[tuple[str, str], list[tuple[float, float | None, float]]]:
    """Return start, duration and logit of scored windows by data set and path."""
    scores: dict[tuple[str, str], list[tuple[float, float | None, float]]] = {}
    for one in opened:
        kept = one.predictions.windows
        if kept is None and one.path is not None:
            kept = read_windows(one.path)
        if kept is not None:
            columns = ("filepath", "start_s", "duration_s", "logit")
            for path, *window in kept.select(columns).drop_nulls("logit").iter_rows():
                scores.setdefault((one.predictions.dataset, path), []).append(tuple(window))
    return scores


def _parse(text: str) -> tuple[Segment, ...]:
    try:
        return () if text == UNKNOWN else parse_segments(text)
    except ValueError as error:
        raise ValueError(f"{SEGMENTS} {text[:40]!r}, {error}") from None


def _stems(labelled: Sequence[tuple[Mapping[str, str], tuple[Segment, ...]]]) -> list[str]:
    return sorted({s.part for _, segments in labelled for s in segments if s.part is not None})


def _label(
    row: Mapping[str, str],
    segments: Sequence[Segment],
    scores: Mapping[tuple[str, str], Sequence[tuple[float, float | None, float]]],
    part: str,
) -> LabelledFile | None:
    """Return a file with the labels of a stem, or of the mix: fake where any stem is."""
    chosen = [s for s in segments if s.part == (None if part == MIX else part)]
    if part != MIX and not chosen:
        return None
    chosen = chosen or list(segments)
    given = scores[row["dataset"], row["filepath"]]
    known = [start + duration for start, duration, _ in given if duration is not None]
    end_s = max([*known, *(segment.end_s for segment in segments)], default=None)
    if end_s is None:
        return None
    scored = [
        windows.Segment(start, end_s if d is None else start + d, logit, 0.0)
        for start, d, logit in given
    ]
    return cut(row, int(row["target"]), chosen, scored, end_s)


def cut(
    row: Mapping[str, str],
    target: int,
    segments: Sequence[Segment],
    scored: Sequence[windows.Segment],
    end_s: float,
) -> LabelledFile:
    """Cut a file where its label or score changes, and at the tolerances around changes.

    Args:
        row: Its row.
        target: Label of what no segment covers.
        segments: Labelled segments; where they overlap, fake wins.
        scored: Scored windows; may overlap.
        end_s: Length of the file.
    """
    merged = windows.merge_windows(scored)
    borders = {0.0, end_s, *(t for s in segments for t in (s.start_s, s.end_s))}
    coarse = np.array(sorted(border for border in borders if border <= end_s))
    labels = _label_at(_middles(coarse), segments, target)
    changes = coarse[1:-1][np.diff(labels) != 0]
    around = [t + sign * by for t in changes for by in TOLERANCES_S for sign in (-1, 1)]
    inner = [*around, *(t for s in merged for t in (s.start_s, s.end_s))]
    edges = np.unique([*coarse, *(t for t in inner if 0 < t < end_s)])
    middles = _middles(edges)
    distance_s = np.full(len(middles), np.inf)
    if len(changes):
        distance_s = np.abs(middles[:, None] - changes).min(axis=1)
    return LabelledFile(
        row,
        scored,
        edges,
        _label_at(middles, segments, target),
        _logit_at(middles, merged),
        distance_s,
    )


def _middles(edges: Floats) -> Floats:
    return (edges[1:] + edges[:-1]) / 2


def _label_at(times_s: Floats, segments: Sequence[Segment], target: int) -> Ints:
    labels = np.full(len(times_s), -1, dtype=np.int64)
    for segment in segments:
        inside = (times_s >= segment.start_s) & (times_s < segment.end_s)
        labels[inside] = np.maximum(labels[inside], segment.label)
    return np.where(labels < 0, target, labels)


def _logit_at(times_s: Floats, merged: Sequence[windows.Segment]) -> Floats:
    found = np.full(len(times_s), np.nan)
    if merged:
        at = np.searchsorted([s.start_s for s in merged], times_s, side="right") - 1
        inside = (at >= 0) & (times_s < np.array([s.end_s for s in merged])[at])
        found[inside] = np.array([s.logit for s in merged])[at[inside]]
    return found


def _measure(
    detector: str, part: str, files: Sequence[LabelledFile], settings: Settings, threshold: float
) -> Localisation:
    points, ranges, distance_s = _points(files), *_ranges(files, threshold)
    of_points, of_ranges = (
        _of_files(estimate_some(("auroc", "eer"), items, settings), len(files))
        for items in (points, ranges)
    )
    tolerances = []
    for tolerance_s in TOLERANCES_S:
        kept = ranges.where(distance_s >= tolerance_s)
        f1 = _of_files(estimate_some(("f1",), kept, settings), len(files))["f1"]
        tolerances.append(Tolerance(tolerance_s=tolerance_s, f1=f1, iou=_iou(f1)))
    wrong = sorted(
        ((file.wrong(threshold), file) for file in files if file.scored),
        key=lambda one: (-one[0], one[1].row["filepath"]),
    )
    return Localisation(
        detector=detector,
        part=part,
        threshold=threshold,
        n_items=len(files),
        labelled_s=sum(float(file.edges[-1]) for file in files),
        scored_s=sum(float(file.length_s[np.isfinite(file.logit)].sum()) for file in files),
        point_auroc=of_points["auroc"],
        point_eer=of_points["eer"],
        range_auroc=of_ranges["auroc"],
        range_eer=of_ranges["eer"],
        tolerances=tolerances,
        worst=[_timeline(file, share) for share, file in wrong[:N_WORST] if share > 0],
    )


def _points(files: Sequence[LabelledFile]) -> Items:
    """Return the windows as items, with the label of most of their time; fake if it is half."""
    labels, scores, groups = [], [], []
    for file in files:
        fake_s = np.append(0, np.cumsum(file.length_s * file.label))
        for window in file.scored:
            at = np.interp([window.start_s, window.end_s], file.edges, fake_s)
            labels.append(int(2 * (at[1] - at[0]) >= window.end_s - window.start_s - 1e-9))
            scores.append(window.logit)
            groups.append(file.row["group"])
    return Items(np.array(labels), numbered(groups), score=np.array(scores))


def _ranges(files: Sequence[LabelledFile], threshold: float) -> tuple[Items, Floats]:
    """Return pieces of scored time as items weighted by length, and their ``distance_s``."""
    label, logit, length_s, distance_s = (
        np.concatenate([getattr(file, name) for file in files])
        for name in ("label", "logit", "length_s", "distance_s")
    )
    group = np.repeat([file.row["group"] for file in files], [len(file.label) for file in files])
    unit_s = max(0.001, float(length_s.sum()) / _UNITS)
    weight = np.round(length_s / unit_s).astype(np.int64)
    known = np.isfinite(logit) & (weight > 0)
    items = Items(
        target=label[known],
        group=numbered(group[known]),
        decision=(logit[known] >= threshold).astype(np.int64),
        score=logit[known],
        weight=weight[known],
    )
    return items, distance_s[known]


def _of_files(found: Mapping[str, Estimate], n_files: int) -> dict[str, Estimate]:
    """Return estimates whose items are files."""
    return {name: one.model_copy(update={"n_items": n_files}) for name, one in found.items()}


def _iou(f1: Estimate) -> Estimate:
    """Return the intersection over union, F1 / (2 - F1), which rises with F1."""
    ends = {
        name: None if end is None else end / (2 - end)
        for name, end in (("value", f1.value), ("low", f1.low), ("high", f1.high))
    }
    return f1.model_copy(update=ends)


def _timeline(file: LabelledFile, wrong: float) -> Timeline:
    return Timeline(
        filepath=shown_name(file.row["filepath"]),
        dataset=file.row["dataset"],
        wrong=wrong,
        truth=list(_truth(file)),
        scores=[
            ScorePart(start_s=s.start_s, end_s=s.end_s, logit=s.logit)
            for s in windows.merge_windows(file.scored)
        ],
    )


def _truth(file: LabelledFile) -> Iterator[TruthPart]:
    pieces = zip(file.label.tolist(), itertools.pairwise(file.edges.tolist()), strict=True)
    for label, run in itertools.groupby(pieces, key=lambda piece: piece[0]):
        times = [time for _, pair in run for time in pair]
        yield TruthPart(start_s=times[0], end_s=times[-1], label=label)
