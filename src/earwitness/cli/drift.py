"""``earwitness drift``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import Weights, option, weights_by_name
from earwitness.core.errors import UsageError


def drift(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder with recorded answers.")],
    *,
    detector: Annotated[str, option("NAME", "The service, as for predict.")],
    weights: Weights = None,
    share: Annotated[
        float, option("SHARE", "Share of the recorded files to request again.", min=1e-9, max=1)
    ] = 0.1,
    seed: Annotated[int, option("N", "Random seed of the choice.")] = 0,
    tolerance: Annotated[
        float, option("LOGIT", "Differences of logits up to this are no change.", min=0)
    ] = 1e-6,
    max_requests: Annotated[
        int | None, option("N", "Maximum number of requests, tries included.", min=0)
    ] = None,
) -> None:
    """Find a silent change of a service by asking again about files of a run.

    New answers are compared with the recorded ones and not recorded. The exit status is 1 if a
    score has changed, and 2 if the service gave no answer at all.
    """
    from earwitness.core.errors import DetectorError
    from earwitness.detectors.loading import open_detector
    from earwitness.detectors.service import ServiceDetector
    from earwitness.scoring.recheck import recheck

    places = weights_by_name(weights, [detector])
    opened = open_detector(detector, weights=places, max_requests=max_requests)
    if not isinstance(opened, ServiceDetector):
        raise UsageError(f"--detector {detector}: found a {opened.card.kind}, expected a service")
    found = recheck(run, opened, share=share, seed=seed)
    changed = [each for each in found if each.differs(tolerance)]
    failed = [each for each in found if each.problem is not None]
    console.remark(*console.frequent((each.problem, each.path) for each in failed if each.problem))
    if len(failed) == len(found):
        raise DetectorError(f"{opened.card.name}: no answer for any of {len(found)} files")
    for each in sorted(changed, key=lambda e: -abs((e.now or 0.0) - e.before))[:10]:
        console.echo(f"{each.path}: logit was {each.before:.4f}, is {each.now:.4f}")
    n_asked = len(found) - len(failed)
    console.echo(
        f"{opened.card.name}: {len(changed)} of {n_asked} scores changed by more than "
        f"{tolerance:g}, {len(failed)} without an answer"
    )
    if changed:
        raise typer.Exit(1)
