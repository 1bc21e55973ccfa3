"""What calibration did: log loss, Brier score and ECE before and after.

Convention: figures are of the rows reported on, every item once, none of which was fitted on.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from earwitness.core.estimates import Estimate
from earwitness.core.metrics import Calibration, Settings
from earwitness.evaluation.figures import OF_PROBS, estimate_some
from earwitness.evaluation.fitting import Fitting
from earwitness.evaluation.rows import items_of, once


def calibrations(fitting: Fitting, settings: Settings) -> Iterator[Calibration]:
    """Yield a line for each detector that was calibrated."""
    for name, found in fitting.found.items():
        if found.scaling is None or settings.calibrate is None or fitting.where is None:
            continue
        given = f"{settings.calibrate} scaling, fitted on {fitting.where}"
        yield Calibration(
            detector=name,
            method=settings.calibrate,
            scale=found.scaling.scale,
            offset=found.scaling.offset,
            fitted_on=fitting.where,
            n_fitted=found.scaling.n_items,
            prevalence_fitted=found.scaling.prevalence,
            before=_figures(fitting.before.filter(detector=name), settings, None),
            after=_figures(fitting.report.filter(detector=name), settings, given),
        )


def _figures(rows: pl.DataFrame, settings: Settings, given: str | None) -> dict[str, Estimate]:
    told = {} if given is None else dict.fromkeys(OF_PROBS, given)
    return estimate_some(OF_PROBS, items_of(once(rows)), settings, told)
