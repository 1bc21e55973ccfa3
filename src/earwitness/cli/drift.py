"""``earwitness drift``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import Key, Weights, comma_list, option, switch, weights_by_name
from earwitness.core.errors import DetectorError, UsageError

if TYPE_CHECKING:
    from earwitness.detectors.service import ServiceDetector


def drift(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder, or prediction file or folder.")
    ],
    later: Annotated[
        Path | None,
        typer.Argument(metavar="LATER", help="The same of a later run to compare with."),
    ] = None,
    *,
    by: Annotated[
        list[str] | None,
        option("COLUMNS", "Also compare these columns of the manifests (comma-separated)."),
    ] = None,
    nuisances: Annotated[
        list[Path] | None,
        option("FILE", "nuisances.csv of the audits of both runs' manifests; give it twice."),
    ] = None,
    by_class: Annotated[
        bool, switch("--by-class/--unlabelled", "Test the logits of reals and fakes apart, too.")
    ] = True,
    level: Annotated[
        float, option("P", "Significance level after Holm's correction.", min=1e-9, max=0.5)
    ] = 0.05,
    least: Annotated[
        float, option("SHIFT", "Shifts below this are no drift, however significant.", min=0)
    ] = 0.0,
    key: Key = None,
    detector: Annotated[
        str | None, option("NAME", "With RUN alone: the service to ask again, as for predict.")
    ] = None,
    weights: Weights = None,
    share: Annotated[
        float, option("SHARE", "Share of the recorded files to request again.", min=1e-9, max=1)
    ] = 0.1,
    seed: Annotated[int, option("N", "Random seed of the choice or the permutations.")] = 0,
    tolerance: Annotated[
        float, option("LOGIT", "Differences of a service's logits up to this are no change.", min=0)
    ] = 1e-6,
    max_requests: Annotated[
        int | None, option("N", "Maximum number of requests, tries included.", min=0)
    ] = None,
) -> None:
    """Find what has moved between two runs, or a silent change of a service.

    Of two runs, scores, decisions, abstentions, errors and properties of the files are tested by
    permutations of groups, with Holm's correction: item by item where the runs share their items,
    else as independent samples. With RUN alone, a service is asked again about files of the run;
    new answers are compared with the recorded ones and not recorded.

    The exit status is 1 if something has moved, and 2 after an error.
    """
    if later is None:
        from earwitness.detectors.loading import open_detector
        from earwitness.detectors.service import ServiceDetector

        if detector is None:
            raise UsageError(f"drift {run}: expected a second run, or --detector with a service")
        places = weights_by_name(weights, [detector])
        opened = open_detector(detector, weights=places, max_requests=max_requests)
        if not isinstance(opened, ServiceDetector):
            raise UsageError(
                f"--detector {detector}: found a {opened.card.kind}, expected a service"
            )
        has_moved = _ask_again(run, opened, share, seed, tolerance)
    else:
        from earwitness.evaluation.drift import find_drift
        from earwitness.report.metric_tables import drift_table

        if detector is not None:
            raise UsageError("--detector is for a single run, expected it or a later run")
        if nuisances is not None and len(nuisances) != 2:
            raise UsageError(f"--nuisances: found {len(nuisances)}, expected one file for each run")
        found = find_drift(
            *(run, later),
            by=comma_list(by),
            nuisances=None if nuisances is None else (nuisances[0], nuisances[1]),
            by_class=by_class,
            key=key,
            seed=seed,
        )
        if level < found.least_p_holm:
            raise UsageError(
                f"--level {level:g}: the smallest corrected p-value of these tests is "
                f"{found.least_p_holm:.2g}, expected at least that or fewer columns to compare"
            )
        moved = [line for line in found.lines if line.has_moved(level, least)]
        console.out.print(drift_table(found, level=level, least=least), "")
        console.remark(*found.notes)
        names = ", ".join(f"{line.detector} {line.tested}".strip() for line in moved)
        console.echo(f"moved: {names}" if moved else "nothing moved")
        has_moved = bool(moved)
    if has_moved:
        raise typer.Exit(1)


def _ask_again(
    run: Path, service: ServiceDetector, share: float, seed: int, tolerance: float
) -> bool:
    """Compare new answers of a service with the recorded ones; return whether any differs."""
    from earwitness.scoring.recheck import recheck

    found = recheck(run, service, share=share, seed=seed)
    changed = [each for each in found if each.differs(tolerance)]
    failed = [each for each in found if each.problem is not None]
    console.remark(*console.frequent((each.problem, each.path) for each in failed if each.problem))
    if len(failed) == len(found):
        raise DetectorError(f"{service.card.name}: no answer for any of {len(found)} files")
    for each in sorted(changed, key=lambda e: -abs((e.now or 0.0) - e.before))[:10]:
        console.echo(f"{each.path}: logit was {each.before:.4f}, is {each.now:.4f}")
    console.echo(
        f"{service.card.name}: {len(changed)} of {len(found) - len(failed)} scores changed by more "
        f"than {tolerance:g}, {len(failed)} without an answer"
    )
    return bool(changed)
