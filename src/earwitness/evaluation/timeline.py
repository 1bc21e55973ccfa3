"""Schema of localisation: how well scores over time find the fake parts of files.

Conventions: times are seconds from the start of the file; time is weighed by its length.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from earwitness.core.estimate import Count, Estimate
from earwitness.evaluation.slices import Part

MIX = "mix"
"""Name of the whole sound, beside stems such as ``vocals``."""


class TimelinePart(Part):
    """A part of a file: its label, or a score."""

    start_s: float
    end_s: float


class TruthPart(TimelinePart):
    """A part of a file with one label."""

    label: Literal[0, 1]


class ScorePart(TimelinePart):
    """A part of a file with one score."""

    logit: float


class Timeline(Part):
    """Truth and scores of one file.

    Attributes:
        filepath: Path in the predictions.
        dataset: Name of the manifest.
        wrong: Share of the scored time with a wrong decision.
        truth: Labels in time order.
        scores: Mean logits of windows in time order, without overlaps.
    """

    filepath: str
    dataset: str
    wrong: float
    truth: list[TruthPart]
    scores: list[ScorePart]


class Tolerance(Part):
    """F1 and intersection over union of the fake time, in seconds of all files together.

    Attributes:
        tolerance_s: Time up to this far from a change of the label is left out.
        f1: 2 TP / (2 TP + FP + FN).
        iou: TP / (TP + FP + FN).
    """

    tolerance_s: float
    f1: Estimate
    iou: Estimate


class Localisation(Part):
    """How well a detector's scores over time find the fake parts.

    Attributes:
        detector: Name of the detector.
        part: ``mix``, or the stem that the labels are about.
        threshold: Least logit called fake.
        n_items: Files.
        labelled_s: Labelled time.
        scored_s: Labelled time with a score; metrics are of this time.
        point_auroc: AUROC of windows, each with the label of most of its time.
        point_eer: EER of windows.
        range_auroc: AUROC of time.
        range_eer: EER of time (Zhang et al., 2023).
        tolerances: Metrics of decisions by tolerance.
        worst: Files with the largest shares of wrong decisions.
    """

    detector: str
    part: str = MIX
    threshold: float
    n_items: Count
    labelled_s: float
    scored_s: float
    point_auroc: Estimate
    point_eer: Estimate
    range_auroc: Estimate
    range_eer: Estimate
    tolerances: list[Tolerance]
    worst: list[Timeline] = Field(default_factory=list)
