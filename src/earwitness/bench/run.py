"""Run a benchmark into one folder, whose files ``docs/bench.md`` lists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness import __version__
from earwitness.bench import steps
from earwitness.bench.config import (
    BENCH_YAML,
    BenchConfig,
    DataSection,
    write_resolved,
)
from earwitness.bench.inputs import (
    MANIFESTS,
    audio_roots,
    detector_inputs,
    list_manifests,
    manifest_inputs,
    name_sections,
    open_sections,
)
from earwitness.bench.sections import EvaluateSection
from earwitness.bench.steps import PipelineState, Stage, single
from earwitness.bench.stress import STRESS, stress_sections, stress_stage
from earwitness.core.errors import PredictionsError
from earwitness.core.io import sha256_of
from earwitness.core.registry import list_plugins
from earwitness.core.text_table import read_text_table
from earwitness.scoring import run as scores
from earwitness.scoring import run_folder
from earwitness.scoring.options import ScoringOptions, deciding
from earwitness.scoring.prediction_files import read_predictions, windows_path
from earwitness.scoring.run_folder import ERRORS_CSV, RUN_JSON, read_run
from earwitness.scoring.store import locked
from earwitness.splits import build
from earwitness.splits.manifests import SPLITS_JSON, expand_manifests, read_manifest

if TYPE_CHECKING:
    from earwitness.evaluation.schema import Metrics

_SCORE, _SUMMARIZE, _AUDIT, _EVALUATE = "score", "summarize", "audit", "evaluate"
_CONFUSION, _ASVSPOOF = "confusion", "asvspoof"
_COMPARISON_CSV, _COMPARISON_TEX = "final_ood_comparison.csv", "final_ood_comparison.tex"
_METRICS_JSON, _METRICS_CSV, _REPORT_HTML = "metrics.json", "metrics.csv", "report.html"


@dataclass(frozen=True)
class BenchmarkRun:
    """A finished benchmark: its run folder, and the stages that ran in this call."""

    out: Path
    done: tuple[str, ...]

    @property
    def comparison(self) -> Path:
        """The comparison table."""
        return self.out / _COMPARISON_CSV

    @property
    def predictions(self) -> list[Path]:
        """Prediction files, manifests outermost."""
        return _list_predictions(steps.read_state(self.out))

    def count_abstained(self) -> int:
        """Return the number of rows that detectors abstained from."""
        tables = (read_text_table(path, error=PredictionsError) for path in self.predictions)
        return sum(table["abstained"].count() for table in tables if "abstained" in table.columns)

    def places(self) -> dict[str, Path]:
        """Return the paths of the outputs by description."""
        places = {
            "report": _REPORT_HTML,
            "comparison table": _COMPARISON_CSV,
            "for LaTeX": _COMPARISON_TEX,
            "confusion matrices": _CONFUSION,
            "metrics": _METRICS_JSON,
            "audit": _AUDIT,
            "stress tests": STRESS,
            "scores": scores.PREDS,
            "ASVspoof 5 files": _ASVSPOOF,
            "errors": ERRORS_CSV,
        }
        return {what: self.out / n for what, n in places.items() if (self.out / n).exists()}


def run_benchmark(
    config: BenchConfig,
    *,
    watcher: steps.Watcher,
    on_start: scores.OnStart | None = None,
    retry_errors: bool = False,
) -> BenchmarkRun:
    """Run a benchmark, or the rest of it.

    Args:
        config: The configuration.
        watcher: Progress callbacks.
        on_start: Called with the numbers of files to score or decode and of those already done.
        retry_errors: Score rows with an error again, and repeat the audit if there are any.

    Raises:
        EarwitnessError: A stage failed; the stages before it are kept.
        StoppedError: Ctrl-C was pressed; finished work is kept.
    """
    with locked(config.out):
        write_resolved(config, config.out / BENCH_YAML)
        if retry_errors and (failed := set(read_errors(config.out))):
            state = steps.read_state(config.out)
            state.forget(_SCORE, failed)
            state.forget(_AUDIT, {""})
            state.forget(STRESS, set(state.stages.get(STRESS, {})))
        stages = list(_list_stages(config, on_start, retry_errors=retry_errors))
        done = steps.run_stages(stages, config.out, watcher)
    return BenchmarkRun(config.out, tuple(done))


def read_errors(out: Path) -> list[str]:
    """Return the detector of every row of a run folder that could not be scored."""
    path = out / ERRORS_CSV
    if not path.is_file():
        return []
    return list(read_text_table(path, error=PredictionsError, needed=("detector",))["detector"])


def _list_stages(
    config: BenchConfig, on_start: scores.OnStart | None, *, retry_errors: bool
) -> Iterator[Stage]:
    outputs, section = config.outputs, config.evaluate
    aggregate = {} if section.aggregate is None else {"aggregate": section.aggregate}
    normalized = {"normalized": str(outputs.normalized)}
    yield _manifest_stage(config.data)
    yield _score_stage(config, on_start, retry_errors=retry_errors)
    yield single(
        _SUMMARIZE, lambda state: _inputs(state, _SCORE) | aggregate, partial(_summarize, section)
    )
    if config.audit.enabled:
        yield _audit_stage(config, on_start)
    yield single(_EVALUATE, partial(_evaluate_inputs, section), partial(_evaluate, section))
    if outputs.confusion:
        yield single(
            _CONFUSION,
            lambda state: _inputs(state, _SUMMARIZE) | normalized,
            partial(_plot_confusions, normalized=outputs.normalized),
        )
    if outputs.latex:
        yield single("latex", lambda state: _inputs(state, _SUMMARIZE), _write_latex)
    if outputs.asvspoof:
        yield single(_ASVSPOOF, lambda state: _inputs(state, _SCORE), _export_asvspoof)
    if config.stress is not None:
        yield stress_stage(config, config.stress, on_start, retry_errors=retry_errors)
    if outputs.report:
        yield single("report", lambda state: _inputs(state, _EVALUATE, STRESS), _write_report)


def _inputs(state: PipelineState, *stages: str) -> dict[str, str]:
    """Return the files of earlier stages, with their digests, and the version of earwitness."""
    files = {file: sha256 for stage in stages for file, sha256 in state.files(stage).items()}
    return files | {"earwitness": __version__}


def _manifest_stage(data: DataSection) -> Stage:
    given = data.manifests
    if given is None:
        draw = cache(partial(_draw, data))
        absolute_paths = any(s is not None and s.absolute_paths for s in (data.splits, data.folder))

        def write(state: PipelineState) -> list[Path]:
            folder = state.out / MANIFESTS
            written = build.write_splits(draw(), folder, absolute_paths=absolute_paths)
            beside = [folder / name for name in (SPLITS_JSON, build.OMITTED_CSV)]
            return [*written, *(path for path in beside if path.is_file())]

        return single(
            MANIFESTS,
            lambda _: {"what is drawn": draw().digest, "absolute paths": str(absolute_paths)},
            write,
        )

    paths, root = expand_manifests(given.files), given.root

    def inputs(_: PipelineState) -> dict[str, str]:
        beside = dict.fromkeys(path.parent / SPLITS_JSON for path in paths)
        files = [*paths, *(path for path in beside if path.is_file())]
        return {str(path): sha256_of(path) for path in files} | {"root": str(root)}

    def copy(state: PipelineState) -> list[Path]:
        manifests = [read_manifest(path, root=root) for path in paths]
        run_folder.check_unique_names(manifests)
        return run_folder.copy_manifests(manifests, state.out / MANIFESTS)

    return single(MANIFESTS, inputs, copy)


def _draw(data: DataSection) -> build.SplitSet:
    if data.folder is None:
        return build.build_splits(data.splits or build.SplitOptions())
    options = dict(data.folder)
    return build.build_folder_splits(options.pop("path"), **options)


def _score_stage(
    config: BenchConfig, on_start: scores.OnStart | None, *, retry_errors: bool
) -> Stage:
    """Return the stage that writes ``preds/``: one part per detector, all decoded together."""
    scoring = config.scoring
    options = ScoringOptions(**dict(scoring), retry_errors=retry_errors)
    sections = name_sections(config.detectors)

    def inputs(state: PipelineState) -> dict[str, Mapping[str, str]]:
        deciders = deciding("scores", "files")
        shared = manifest_inputs(state) | {n: str(v) for n, v in scoring if n in deciders}
        return {name: shared | detector_inputs(section) for name, section in sections.items()}

    def run(state: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        out = state.out
        manifests = [read_manifest(path) for path in list_manifests(state)]
        detectors = open_sections([sections[part] for part in parts], scoring)
        run_folder.drop_changed(out, manifests, detectors, options)
        run_folder.begin_run(out, manifests, detectors, options)
        scores.score_into_locked(manifests, detectors, out, options=options, on_start=on_start)
        written = {p: [scores.predictions_path(out, m.name, p) for m in manifests] for p in parts}
        return {
            part: [*paths, *filter(Path.is_file, map(windows_path, paths))]
            for part, paths in written.items()
        }

    return Stage(_SCORE, inputs, run)


def _list_predictions(state: PipelineState) -> list[Path]:
    return [
        scores.predictions_path(state.out, manifest.stem, detector)
        for manifest in list_manifests(state)
        for detector in state.stages.get(_SCORE, {})
    ]


def _summarize(section: EvaluateSection, state: PipelineState) -> list[Path]:
    from earwitness.evaluation.summarize import summarize
    from earwitness.report.comparison import write_comparison

    path, errors = state.out / _COMPARISON_CSV, state.out / ERRORS_CSV
    predictions = [found for file in _list_predictions(state) for found in read_predictions(file)]
    rows = [summary.row for summary in summarize(predictions, aggregate=section.aggregate)]
    write_comparison(rows, path)
    errors.unlink(missing_ok=True)
    run_folder.write_errors(predictions, errors)
    return [path, errors] if errors.is_file() else [path]


def _audit_stage(config: BenchConfig, on_start: scores.OnStart | None) -> Stage:
    others = expand_manifests(config.audit.against)

    def inputs(state: PipelineState) -> dict[str, str]:
        against = {f"against {path}": sha256_of(path) for path in others}
        cards = {"cards": _sha256(_described(state, "detectors")), "earwitness": __version__}
        return manifest_inputs(state) | against | cards | list_plugins("earwitness.checks")

    def run(state: PipelineState) -> list[Path]:
        from earwitness.audit.audit import audit_into
        from earwitness.core.cards import DetectorCard

        folder = state.out / _AUDIT
        audit_into(
            [read_manifest(path) for path in list_manifests(state)],
            folder,
            against=[read_manifest(path) for path in others],
            detectors=[DetectorCard(**card) for card in _described(state, "detectors") or ()],
            n_workers=config.scoring.num_workers,
            on_start=None if on_start is None else lambda n_files: on_start(n_files, 0),
        )
        return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".csv"))

    return single(_AUDIT, inputs, run)


def _described(state: PipelineState, part: str) -> Any:
    """Return a part of ``run.json``, or ``None``."""
    return (read_run(state.out / RUN_JSON) or {}).get(part)


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _evaluate_inputs(section: EvaluateSection, state: PipelineState) -> dict[str, str]:
    options = {name: str(value) for name, value in section}
    described = [_described(state, part) for part in ("detectors", "manifests")]
    origins = {"cards and roots": _sha256(described)}
    return _inputs(state, _SCORE, _AUDIT) | options | origins | list_plugins("earwitness.metrics")


def _evaluate(section: EvaluateSection, state: PipelineState) -> list[Path]:
    from earwitness.audit.schema import AUDIT_JSON, read_audit
    from earwitness.evaluation.evaluate import evaluate
    from earwitness.evaluation.schema import write_metrics
    from earwitness.evaluation.thresholds import parse_costs
    from earwitness.report.metric_tables import write_estimates

    options = dict(section)
    costs = parse_costs(*(options.pop(name) for name in ("p_fake", "c_miss", "c_false_alarm")))
    metrics = evaluate(
        _list_predictions(state),
        audit=read_audit(state.out / _AUDIT / AUDIT_JSON) if _AUDIT in state.stages else None,
        costs=costs,
        n_resamples=options.pop("resamples"),
        **options,
    )
    paths = [state.out / _METRICS_JSON, state.out / _METRICS_CSV]
    write_metrics(_with_relative_paths(metrics, state.out), paths[0])
    write_estimates(metrics, paths[1])
    return paths


def _with_relative_paths(metrics: Metrics, out: Path) -> Metrics:
    """Return metrics whose sources are relative to the run folder, so that it can be moved."""
    sources = [
        source.model_copy(update={"path": Path(source.path).relative_to(out).as_posix()})
        for source in metrics.provenance.sources
    ]
    provenance = metrics.provenance.model_copy(update={"sources": sources})
    return metrics.model_copy(update={"provenance": provenance})


def _plot_confusions(state: PipelineState, *, normalized: bool) -> list[Path]:
    from earwitness.report.comparison import plot_confusions, read_comparison

    rows = read_comparison(state.out / _COMPARISON_CSV)
    return plot_confusions(rows, state.out / _CONFUSION, normalized=normalized)


def _write_latex(state: PipelineState) -> list[Path]:
    from earwitness.report.comparison import read_comparison, write_latex

    path = state.out / _COMPARISON_TEX
    write_latex(read_comparison(state.out / _COMPARISON_CSV), path)
    return [path]


def _export_asvspoof(state: PipelineState) -> list[Path]:
    from earwitness.evaluation.rows import export_asvspoof

    return list(export_asvspoof(_list_predictions(state), state.out / _ASVSPOOF))


def _write_report(state: PipelineState) -> list[Path]:
    from earwitness.evaluation.schema import read_metrics
    from earwitness.report.page import write_report

    path = state.out / _REPORT_HTML
    write_report(
        read_metrics(state.out / _METRICS_JSON),
        path,
        audio_roots=audio_roots(state),
        more=stress_sections(state),
    )
    return [path]
