"""Read what a run folder records without its detectors and audio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from earwitness.audio.clips import Clip
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError, RunError
from earwitness.core.io import first_problem
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import AnyDetector, Scores
from earwitness.scoring.options import ScoringOptions, deciding
from earwitness.scoring.perturbed import Recipe
from earwitness.scoring.predict import Plan, plan_scoring
from earwitness.scoring.run_folder import RUN_JSON
from earwitness.scoring.stored_scores import StoredScores


class Recorded:
    """A detector that is known by its card only: all of its scores are recorded."""

    device, backend, batch_size = "", "", 1
    remarks: tuple[str, ...] = ()

    def __init__(self, card: DetectorCard) -> None:
        self.card = card

    def score(self, clips: Sequence[Clip]) -> Scores:  # noqa: ARG002 - as Detector has it
        """Raise ``DetectorError``."""
        raise DetectorError(f"{self.card.name}: a row without a score, expected recorded ones")


class _RecordedFiles(Recorded):
    """The same, of a detector that reads files itself."""

    n_parallel = 1

    def keep_records(self, folder: Path) -> None:
        """Keep nothing."""

    def score_files(self, paths: Sequence[str]) -> Sequence[float | str]:  # noqa: ARG002
        raise DetectorError(f"{self.card.name}: a row without a score, expected recorded ones")


def recorded_detector(place: Path, card: Mapping[str, Any]) -> AnyDetector:
    """Return a stand-in for a detector, by its card in ``run.json`` of a folder."""
    try:
        read = DetectorCard.model_validate_json(json.dumps(card))
    except ValidationError as error:
        raise RunError(f"{place / RUN_JSON}: detectors: {first_problem(error)}") from None
    kind = _RecordedFiles if read.contract.reads_files else Recorded
    return cast(AnyDetector, kind(read))


def recorded_options(place: Path, run: Mapping[str, Any]) -> ScoringOptions:
    """Return the recorded options that decide what is written."""
    wanted = {n: run["options"][n] for n in deciding("scores", "files") if n in run["options"]}
    try:
        return ScoringOptions(**wanted, num_workers=0)
    except ValidationError as error:
        raise RunError(f"{place / RUN_JSON}: options: {first_problem(error)}") from None


def recorded_recipes(run: Mapping[str, Any], manifests: Iterable[Manifest]) -> list[Recipe]:
    """Return what perturbs the rows of manifests; nothing if they are not perturbed."""
    recipes = (run["manifests"][manifest.name].get("recipe") for manifest in manifests)
    return [Recipe(**recipe) for recipe in recipes if recipe]


def recorded_plan(
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    options: ScoringOptions,
    stores: Sequence[StoredScores],
    recipes: Sequence[Recipe] = (),
) -> Plan:
    """Return the plan of a recorded run, with the scores there are of each detector."""
    return plan_scoring(
        *(manifests, detectors),
        windows=options.windows,
        use_skip_time=options.use_skip_time,
        stores=stores,
        recipes=recipes,
    )
