"""Score a manifest under perturbations, into one run folder.

Conventions: every perturbation is a dataset of the run, named after it; ``clean`` is the first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import AnyDetector, FileDetector
from earwitness.perturb.suites import Entry, Suite
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.perturbed import CLEAN, Recipe
from earwitness.scoring.run import OnStart, score_into_run


def score_perturbed(
    manifest: Manifest,
    detectors: Sequence[AnyDetector],
    suite: Suite,
    out: Path,
    *,
    options: ScoringOptions,
    on_start: OnStart | None = None,
) -> dict[Path, Predictions]:
    """Score the clean and the perturbed items of a manifest; see ``score_into_run``.

    Args:
        manifest: The items.
        detectors: Detectors of clips.
        suite: The perturbations; ``clean`` is added. Draws also depend on its seed and the item.
        out: The run folder.
        options: Scoring options.
        on_start: See ``score_into_run``.

    Raises:
        UsageError: A detector reads files itself.
        RunError: See ``score_into_run``.
    """
    for detector in detectors:
        if isinstance(detector, FileDetector):
            name = detector.card.name
            raise UsageError(f"{name}: reads whole files itself, expected a detector of clips")
    entries = [Entry(name=CLEAN), *(e for e in suite.perturbations if e.name != CLEAN)]
    items = manifest.frame["filepath"].to_list()
    recipes = [[_recipe(entry, suite.seed, item) for item in items] for entry in entries]
    manifests = [_perturbed(manifest, own) for own in recipes]
    return score_into_run(
        manifests, detectors, out, options=options, on_start=on_start, recipes=recipes
    )


def _perturbed(manifest: Manifest, recipes: Sequence[Recipe]) -> Manifest:
    """Return the manifest of a perturbation, with its name, seed and drawn parameters by row."""
    frame = manifest.frame.with_columns(
        pl.Series("perturbation", [recipe.name for recipe in recipes], pl.String),
        pl.Series("perturbation_seed", [recipe.seed for recipe in recipes], pl.Int64),
        pl.Series("perturbation_parameters", list(map(_parameters, recipes)), pl.String),
    )
    return replace(manifest, name=recipes[0].name, frame=frame)


def _recipe(entry: Entry, seed: int, item: str) -> Recipe:
    options = json.dumps(entry.options, sort_keys=True)
    return Recipe(entry.name, seed, item, entry.kind, options)


def _parameters(recipe: Recipe) -> str:
    """Return the drawn parameters as JSON."""
    drawn = recipe.draw()
    return json.dumps(dict(drawn.parameters) if drawn else {}, sort_keys=True)
