"""The whole benchmark: splits, scores, comparison table, metrics, pictures, report.

A run folder holds what ``scoring`` writes, and::

    bench.yaml                 the configuration, every default filled in
    stages.json                what is done, and what it was done with
    manifests/                 what was judged
    final_ood_comparison.csv   the comparison table; .tex for LaTeX
    metrics.json, metrics.csv  figures with intervals
    audit/                     what the manifests give away
    confusion/                 a matrix for each detector and manifest
    asvspoof/                  score and key files, where asked for
    report.html                one page of all that
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness import __version__
from earwitness.bench.config import BenchConfig, EvaluateSection
from earwitness.bench.config_file import BENCH_YAML, write_resolved
from earwitness.bench.stages import (
    AUDIT,
    SCORE,
    audit_stage,
    judged_roots,
    manifest_stage,
    score_stage,
    scored,
)
from earwitness.bench.steps import PipelineState, Stage, Watcher, read_ledger, run_stages
from earwitness.core.errors import PredictionsError
from earwitness.core.text_table import read_text_table
from earwitness.scoring.run import PREDS, OnStart
from earwitness.scoring.run_folder import ERRORS_CSV, RUN_JSON, read_run, write_errors
from earwitness.scoring.store import locked

if TYPE_CHECKING:
    from earwitness.evaluation.schema import Metrics

COMPARISON_CSV = "final_ood_comparison.csv"
COMPARISON_TEX = "final_ood_comparison.tex"
METRICS_JSON = "metrics.json"
METRICS_CSV = "metrics.csv"
CONFUSION = "confusion"
ASVSPOOF = "asvspoof"
REPORT_HTML = "report.html"

_SUMMARIZE, _EVALUATE, _LATEX, _REPORT = "summarize", "evaluate", "latex", "report"


@dataclass(frozen=True)
class BenchmarkRun:
    """What a benchmark left behind.

    Attributes:
        out: The run folder.
        done: Stages that were done by this call; none where nothing had changed.
    """

    out: Path
    done: tuple[str, ...]

    @property
    def comparison(self) -> Path:
        """The comparison table."""
        return self.out / COMPARISON_CSV

    @property
    def predictions(self) -> list[Path]:
        """Prediction files, manifests outermost."""
        return scored(read_ledger(self.out))

    def count_abstained(self) -> int:
        """Return how many rows hold nothing to analyse."""
        tables = (read_text_table(path, error=PredictionsError) for path in self.predictions)
        return sum(table["abstained"].count() for table in tables if "abstained" in table.columns)

    def places(self) -> dict[str, Path]:
        """Return what there is to look at: what it is → where it lies."""
        places = {
            "report": REPORT_HTML,
            "comparison table": COMPARISON_CSV,
            "for LaTeX": COMPARISON_TEX,
            "confusion matrices": CONFUSION,
            "metrics": METRICS_JSON,
            "audit": AUDIT,
            "scores": PREDS,
            "ASVspoof 5 files": ASVSPOOF,
            "errors": ERRORS_CSV,
        }
        paths = {what: self.out / name for what, name in places.items()}
        return {what: path for what, path in paths.items() if path.exists()}


def run_benchmark(
    config: BenchConfig,
    *,
    watcher: Watcher,
    starting: OnStart | None = None,
    retry_errors: bool = False,
) -> BenchmarkRun:
    """Run the whole benchmark, or what is left to do of it, into one folder.

    Args:
        config: What there is to do.
        watcher: Told of how stages go.
        starting: Called with the number of files to score or decode, and of those already done.
        retry_errors: Try rows again that could not be scored, and look at the files anew.

    Raises:
        EarwitnessError: A stage cannot be done; those before it are, and stay.
        StoppedError: Ctrl-C was pressed; what is finished is kept.
    """
    with locked(config.out):
        write_resolved(config, config.out / BENCH_YAML)
        if retry_errors:
            _forget_failed(config.out)
        stages = _stages(config, starting, retry_errors=retry_errors)
        done = run_stages(stages, config.out, watcher)
    return BenchmarkRun(config.out, tuple(done))


def _forget_failed(out: Path) -> None:
    """Take detectors with rows that failed for not done, and the audit, which hears files too."""
    failed, ledger = set(read_errors(out)), read_ledger(out)
    ledger.forget(SCORE, failed)
    if failed and AUDIT in ledger.stages:
        ledger.forget(AUDIT, {""})


def read_errors(out: Path) -> list[str]:
    """Return the detector of every row of a run folder that could not be scored."""
    path = out / ERRORS_CSV
    if not path.is_file():
        return []
    rows = read_text_table(path, error=PredictionsError, needed=("detector",))
    return [str(name) for name in rows["detector"]]


def _stages(config: BenchConfig, starting: OnStart | None, *, retry_errors: bool) -> list[Stage]:
    out, outputs = config.out, config.outputs
    stages = [
        manifest_stage(config.data, out),
        score_stage(config, starting, retry_errors=retry_errors),
        _after(_SUMMARIZE, (SCORE,), _summarize(config.evaluate), _aggregated(config.evaluate)),
    ]
    if config.audit.enabled:
        stages.append(audit_stage(config, starting))
    stages.append(_evaluate_stage(config.evaluate))
    if outputs.confusion:
        normalized = {"normalized": str(outputs.normalized)}
        stages.append(
            _after(CONFUSION, (_SUMMARIZE,), _draw(normalized=outputs.normalized), normalized)
        )
    if outputs.latex:
        stages.append(_after(_LATEX, (_SUMMARIZE,), _write_latex))
    if outputs.asvspoof:
        stages.append(_after(ASVSPOOF, (SCORE,), _export_asvspoof))
    if outputs.report:
        stages.append(_after(_REPORT, (_EVALUATE,), _write_report))
    return stages


def _after(
    name: str,
    before: Sequence[str],
    run: Callable[[PipelineState], Sequence[Path]],
    options: Mapping[str, str] | None = None,
) -> Stage:
    """Return a stage of one part, known by the files of those before it and by options."""

    def inputs(ledger: PipelineState) -> dict[str, Mapping[str, str]]:
        files = {file: sha256 for stage in before for file, sha256 in ledger.files(stage).items()}
        return {"": files | dict(options or {}) | {"earwitness": __version__}}

    return Stage(name, inputs, lambda ledger, _: {"": run(ledger)})


def _evaluate_stage(section: EvaluateSection) -> Stage:
    """Return the stage of metrics, which tell of cards and roots as well."""
    options = {name: str(value) for name, value in section}
    stage = _after(_EVALUATE, (SCORE, AUDIT), _evaluate(section), options)

    def inputs(ledger: PipelineState) -> dict[str, Mapping[str, str]]:
        described = read_run(ledger.out / RUN_JSON) or {}
        content = json.dumps([described.get(part) for part in ("detectors", "manifests")])
        origins = {"cards and roots": hashlib.sha256(content.encode()).hexdigest()}
        return {part: {**known, **origins} for part, known in stage.inputs(ledger).items()}

    return replace(stage, inputs=inputs)


def _aggregated(section: EvaluateSection) -> dict[str, str]:
    return {} if section.aggregate is None else {"aggregate": section.aggregate}


def _summarize(section: EvaluateSection) -> Callable[[PipelineState], list[Path]]:
    def run(ledger: PipelineState) -> list[Path]:
        from earwitness.evaluation.summarize import summarize
        from earwitness.report.comparison import write_comparison
        from earwitness.scoring.prediction_files import read_predictions

        path, errors = ledger.out / COMPARISON_CSV, ledger.out / ERRORS_CSV
        predictions = [found for file in scored(ledger) for found in read_predictions(file)]
        rows = [summary.row for summary in summarize(predictions, aggregate=section.aggregate)]
        write_comparison(rows, path)
        errors.unlink(missing_ok=True)
        write_errors(predictions, errors)
        return [path, errors] if errors.is_file() else [path]

    return run


def _evaluate(section: EvaluateSection) -> Callable[[PipelineState], list[Path]]:
    def run(ledger: PipelineState) -> list[Path]:
        from earwitness.audit.schema import AUDIT_JSON, read_audit
        from earwitness.evaluation.evaluate import evaluate
        from earwitness.evaluation.schema import write_metrics
        from earwitness.evaluation.thresholds import parse_costs
        from earwitness.report.metric_tables import write_estimates

        audited = ledger.out / AUDIT / AUDIT_JSON
        metrics = evaluate(
            scored(ledger),
            audit=read_audit(audited) if AUDIT in ledger.stages else None,
            seed=section.seed,
            by=section.by,
            aggregate=section.aggregate,
            threshold=section.threshold,
            calibrate=section.calibrate,
            confidence=section.confidence,
            costs=parse_costs(section.p_fake, section.c_miss, section.c_false_alarm),
            n_resamples=section.resamples,
        )
        paths = [ledger.out / METRICS_JSON, ledger.out / METRICS_CSV]
        write_metrics(_with_paths_below(metrics, ledger.out), paths[0])
        write_estimates(metrics, paths[1])
        return paths

    return run


def _with_paths_below(metrics: Metrics, out: Path) -> Metrics:
    """Return metrics that name their sources from the run folder, wherever it lies."""
    sources = [
        source.model_copy(update={"path": Path(source.path).relative_to(out).as_posix()})
        for source in metrics.provenance.sources
    ]
    provenance = metrics.provenance.model_copy(update={"sources": sources})
    return metrics.model_copy(update={"provenance": provenance})


def _draw(*, normalized: bool) -> Callable[[PipelineState], list[Path]]:
    def run(ledger: PipelineState) -> list[Path]:
        from earwitness.report.comparison import plot_confusions, read_comparison

        rows = read_comparison(ledger.out / COMPARISON_CSV)
        return plot_confusions(rows, ledger.out / CONFUSION, normalized=normalized)

    return run


def _write_latex(ledger: PipelineState) -> list[Path]:
    from earwitness.report.comparison import read_comparison, write_latex

    path = ledger.out / COMPARISON_TEX
    write_latex(read_comparison(ledger.out / COMPARISON_CSV), path)
    return [path]


def _export_asvspoof(ledger: PipelineState) -> list[Path]:
    from earwitness.evaluation.rows import export_asvspoof

    return list(export_asvspoof(scored(ledger), ledger.out / ASVSPOOF))


def _write_report(ledger: PipelineState) -> list[Path]:
    from earwitness.evaluation.schema import read_metrics
    from earwitness.report.page import write_report

    path = ledger.out / REPORT_HTML
    roots = judged_roots(ledger)
    write_report(read_metrics(ledger.out / METRICS_JSON), path, audio_roots=roots)
    return [path]
