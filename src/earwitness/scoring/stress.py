"""Score a manifest under perturbations, into one run folder.

Conventions: every perturbation is a dataset of the run, named after it; ``clean`` is the first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.core.remote import shown_name
from earwitness.detectors.base import AnyDetector
from earwitness.perturb.suites import Entry, Suite
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.perturbed import CLEAN, Recipe
from earwitness.scoring.run import score_into_run


def score_perturbed(
    manifest: Manifest,
    detectors: Sequence[AnyDetector],
    suite: Suite,
    out: Path,
    *,
    options: ScoringOptions,
    **more: Any,
) -> dict[Path, Predictions]:
    """Score the clean and the perturbed items of a manifest; see ``score_into_run``.

    Args:
        manifest: The items.
        detectors: The detectors. One that reads files itself gets temporary copies of all items.
        suite: The perturbations; ``clean`` is added. Draws also depend on its seed and the item.
        out: The run folder.
        options: Scoring options.
        more: Further options of ``score_into_run``.

    Raises:
        RunError: See ``score_into_run``.
    """
    entries = [Entry(name=CLEAN), *(e for e in suite.perturbations if e.name != CLEAN)]
    recipes = [_recipe(entry, suite.seed) for entry in entries]
    manifests = [_perturbed(manifest, recipe) for recipe in recipes]
    return score_into_run(manifests, detectors, out, options=options, recipes=recipes, **more)


def _perturbed(manifest: Manifest, recipe: Recipe) -> Manifest:
    """Return the manifest of a perturbation, with its name, seed and drawn parameters by row."""
    items = [shown_name(filepath) for filepath in manifest.frame["filepath"]]
    drawn = [_parameters(recipe._replace(item=item)) for item in items]
    frame = manifest.frame.with_columns(
        pl.lit(recipe.name, pl.String).alias("perturbation"),
        pl.lit(recipe.seed, pl.Int64).alias("perturbation_seed"),
        pl.Series("perturbation_parameters", drawn, pl.String),
    )
    return replace(manifest, name=recipe.name, frame=frame)


def _recipe(entry: Entry, seed: int) -> Recipe:
    options = json.dumps(entry.options, sort_keys=True)
    return Recipe(entry.name, seed, kind=entry.kind, options=options)


def _parameters(recipe: Recipe) -> str:
    """Return the drawn parameters as JSON."""
    drawn = recipe.draw()
    return json.dumps(dict(drawn.parameters) if drawn else {}, sort_keys=True)
