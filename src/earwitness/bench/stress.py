"""A stress test in one call, and as a stage of a benchmark: a folder for each manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from earwitness import __version__
from earwitness.bench.config import BenchConfig, DetectorSection
from earwitness.bench.inputs import (
    detector_inputs,
    list_manifests,
    manifest_inputs,
    name_sections,
    open_sections,
)
from earwitness.bench.sections import StressSection
from earwitness.bench.steps import PipelineState, Stage
from earwitness.core.errors import UsageError
from earwitness.core.registry import nearest
from earwitness.scoring import run_folder
from earwitness.scoring.options import ScoringOptions, deciding
from earwitness.scoring.prediction_files import windows_path
from earwitness.splits.manifests import read_manifest

if TYPE_CHECKING:
    from earwitness.core.manifest import Manifest
    from earwitness.core.predictions import Predictions
    from earwitness.detectors.base import AnyDetector
    from earwitness.evaluation.identity import Aggregate
    from earwitness.evaluation.schema import Settings
    from earwitness.evaluation.stress import Matrix
    from earwitness.perturb.suites import Suite
    from earwitness.report.blocks import Section
    from earwitness.scoring.run import OnStart

STRESS = "stress"
"""The stage, and its folder in a run folder."""


class StressTest(NamedTuple):
    """A finished stress test: predictions by path, the matrix, and the files that it is in."""

    predictions: dict[Path, Predictions]
    matrix: Matrix
    tables: list[Path]


def run_stress(
    manifest: Manifest,
    detectors: Sequence[AnyDetector],
    suite: Suite,
    out: Path,
    *,
    options: ScoringOptions,
    settings: Settings,
    aggregate: Aggregate | None = None,
    keep_audio: bool = False,
    on_start: OnStart | None = None,
    on_copies: OnStart | None = None,
    **more: Any,
) -> StressTest:
    """Score a manifest clean and perturbed, measure the changes, and write tables and page.

    Args:
        manifest: The items.
        detectors: The detectors.
        suite: The perturbations.
        out: The run folder; the same call resumes what was stopped there.
        options: Scoring options.
        settings: Confidence level, seed and number of resamples.
        aggregate: How several rows of one file become one item; ``None`` refuses them.
        keep_audio: Also write perturbed copies of whole files.
        on_start: See ``score_into_run``.
        on_copies: The same of copies.
        more: Further options of ``score_into_run``.

    Raises:
        UsageError: A detector reads files itself.
        RunError: See ``score_into_run``.
    """
    from earwitness.evaluation.stress import measure_stress
    from earwitness.perturb.copies import write_copies
    from earwitness.report.stress_page import write_stress_files
    from earwitness.scoring.stress import score_perturbed

    written = score_perturbed(
        manifest, detectors, suite, out, options=options, on_start=on_start, **more
    )
    if keep_audio:
        advance = on_copies(len(manifest) * len(suite.perturbations), 0) if on_copies else None
        for row in write_copies(manifest, suite, out / "audio", kind="wav"):
            if advance:
                advance(row["error"] is None)
    matrix = measure_stress(
        list(written.values()),
        settings=settings,
        one_sided=[d.card.name for d in detectors if d.card.one_sided],
        aggregate=aggregate,
    )
    return StressTest(written, matrix, write_stress_files(matrix, out))


def stress_stage(
    config: BenchConfig, section: StressSection, on_start: OnStart | None, *, retry_errors: bool
) -> Stage:
    """Return the stage that writes ``stress/``: one part per manifest.

    Raises:
        UsageError: A detector of the section is not one of the benchmark's.
        PerturbationError: The suite is missing or invalid.
    """
    from earwitness.evaluation.schema import Settings
    from earwitness.perturb.suites import load_suite

    chosen = _choose(name_sections(config.detectors), section.detectors)
    suite = load_suite(section.suite, seed=section.seed)
    scoring, evaluate = config.scoring, config.evaluate
    options = ScoringOptions(**dict(scoring), retry_errors=retry_errors)
    settings = Settings(
        seed=section.seed, confidence=evaluate.confidence, n_resamples=evaluate.resamples
    )

    def inputs(state: PipelineState) -> dict[str, Mapping[str, str]]:
        shared = {n: str(v) for n, v in scoring if n in deciding("scores", "files")}
        for name, detector in chosen.items():
            shared |= {f"{name} {what}": v for what, v in detector_inputs(detector).items()}
        shared |= {
            "suite": suite.model_dump_json(),
            "settings": settings.model_dump_json(),
            "aggregate": str(evaluate.aggregate),
            "keep_audio": str(section.keep_audio),
            "earwitness": __version__,
        }
        digests = manifest_inputs(state)
        return {
            path.stem: shared | {name: digests[name] for name in (f"manifest {path.stem}", "root")}
            for path in list_manifests(state)
        }

    def run(state: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        detectors = open_sections(list(chosen.values()), scoring)
        written: dict[str, Sequence[Path]] = {}
        for path in list_manifests(state):
            if path.stem in parts:
                manifest, folder = read_manifest(path), state.out / STRESS / path.stem
                run_folder.drop_changed(folder, [manifest], detectors, options)
                found = run_stress(
                    *(manifest, detectors, suite, folder),
                    options=options,
                    settings=settings,
                    aggregate=evaluate.aggregate,
                    keep_audio=section.keep_audio,
                    on_start=on_start,
                    on_copies=on_start,
                )
                more = [*map(windows_path, found.predictions), folder / run_folder.ERRORS_CSV]
                kept = [*found.predictions, *filter(Path.is_file, more)]
                written[path.stem] = [*kept, *found.tables]
        return written

    return Stage(STRESS, inputs, run)


def stress_sections(state: PipelineState) -> list[Section]:
    """Return a section for the report that links the pages of the stress tests, if any."""
    from earwitness.evaluation.stress import STRESS_JSON, read_matrix
    from earwitness.report.stress_page import stress_links

    names = list(state.stages.get(STRESS, {}))
    matrices = {name: read_matrix(state.out / STRESS / name / STRESS_JSON) for name in names}
    pages = {name: f"./{STRESS}/{quote(name)}/report.html" for name in names}
    return [stress_links(matrices, pages)] if names else []


def _choose(
    sections: Mapping[str, DetectorSection], names: Sequence[str] | None
) -> dict[str, DetectorSection]:
    """Return the sections of the detectors to test, by name."""
    chosen = {}
    for name in sections if names is None else names:
        if name not in sections:
            hint = nearest(name, list(sections)) or f"; known: {', '.join(sections)}"
            raise UsageError(f"stress.detectors: no {name!r} in detectors{hint}")
        chosen[name] = sections[name]
    return chosen
