"""Every kind of file that is read: where its seed lies, how it is damaged, and its reader.

Readers go on to what uses the file: an audit is drawn, predictions are evaluated, a manifest is
planned, a folder of weights is opened.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fuzz import mutants
from fuzz.mutants import Mutate

Read = Callable[[Path], object]


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        file: Its seed, below the folder that ``seeds.write_seeds`` fills.
        read: The reader under test.
        mutate: What damages it.
        every: It takes part in every so many rounds, where reading it takes long.
    """

    file: str
    read: Read
    mutate: Mutate = mutants.damage
    every: int = 1


def all_formats() -> list[Format]:
    """Return every format; packages are imported here, before memory is limited."""
    return [*_texts(), *_results(), *_tables(), *_weights(), *_images(), *_audio()]


def _texts() -> list[Format]:
    from earwitness.bench.config import read_config, write_resolved
    from earwitness.bench.steps import read_state
    from earwitness.images.png import read_contract
    from earwitness.scoring.run_folder import read_run
    from earwitness.splits.manifests import list_manifests
    from earwitness.training.run import begin

    def bench(path: Path) -> None:
        write_resolved(read_config(path), path.with_name("resolved.yaml"))

    def training(path: Path) -> None:
        begin(path.parent, [], [], {"epochs": 3}, resume="missing")

    def record(file: str, read: Read) -> Format:
        return Format(file, read, mutants.damage_json)

    return [
        Format("bench/bench.yaml", bench),
        record("bench/run/run.json", read_run),
        record("bench/run/stages.json", lambda path: read_state(path.parent)),
        record("bench/run/manifests/splits.json", lambda path: list_manifests(path.parent)),
        record("training/training.json", training),
        record("spectrogram.json", read_contract),
    ]


def _results() -> list[Format]:
    from rich.console import Console

    from earwitness.audit.schema import read_audit
    from earwitness.audit.tables import audit_table
    from earwitness.evaluation.checks import list_baselines
    from earwitness.evaluation.evaluate import evaluate
    from earwitness.evaluation.schema import Metrics, read_metrics
    from earwitness.evaluation.summarize import evaluate_counts
    from earwitness.report.comparison import comparison_table, read_comparison
    from earwitness.report.metric_tables import (
        estimates_tables,
        operating_table,
        transfer_table,
        write_estimates,
    )
    from earwitness.report.page import write_report

    def show(*parts: object) -> None:
        Console(file=io.StringIO(), width=100).print(*parts)

    def page(metrics: Metrics, path: Path) -> None:
        with _without_drawing():
            write_report(metrics, path.with_name("fuzzed.html"))

    def audit(path: Path) -> None:
        report = read_audit(path)
        show(audit_table(report))
        metrics = read_metrics(path.parents[1] / "metrics.json")
        baselines = list_baselines(report, metrics.slices)
        page(metrics.model_copy(update={"audit": report, "baselines": baselines}), path)

    def metrics(path: Path) -> None:
        made = read_metrics(path)
        show(*estimates_tables(made.slices, made.baselines))
        show(operating_table(made), transfer_table(made.transfers))
        write_estimates(made, path.with_name("fuzzed.csv"))
        page(made, path)

    def predictions(path: Path) -> None:
        evaluate([path], n_resamples=100)

    def comparison(path: Path) -> None:
        rows = read_comparison(path)
        show(comparison_table(rows))
        page(evaluate_counts(rows, source=path), path)

    return [
        Format("bench/run/audit/audit.json", audit, mutants.damage_json, every=4),
        Format("results/metrics.json", metrics, mutants.damage_json, every=8),
        Format("bench/run/preds/set/one.csv", predictions, every=16),
        Format("bench/run/final_ood_comparison.csv", comparison, every=8),
    ]


@contextlib.contextmanager
def _without_drawing() -> Iterator[None]:
    """Make specifications of charts without drawing them, which takes a second a chart."""
    from earwitness.report.charts.renderer import _RENDERER

    empty = b"<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>"
    _RENDERER.draw = lambda request: empty  # type: ignore[method-assign]  # noqa: ARG005
    try:
        yield
    finally:
        del _RENDERER.draw  # the method of the class shows again


def _tables() -> list[Format]:
    from earwitness.core.errors import ManifestError
    from earwitness.core.text_table import read_columns, read_table
    from earwitness.datasets.fma import read_split_file
    from earwitness.detectors.base import OpenOptions
    from earwitness.detectors.fakeprint import open_fakeprint
    from earwitness.scoring.predict import plan_scoring
    from earwitness.splits.manifests import read_manifest

    def plan(path: Path) -> None:
        weights = path.parent / "weights" / "two"
        detector = open_fakeprint(weights, OpenOptions("two"))
        plan_scoring([read_manifest(path)], [detector], windows=3, use_skip_time=True)

    def table(path: Path) -> None:
        read_columns(path)
        read_table(path, error=ManifestError)

    return [
        Format("bench/set.csv", plan),
        Format("t.csv", table),
        Format("t.parquet", table, mutants.damage_end),
        Format("s.npy", read_split_file),
    ]


def _weights() -> list[Format]:
    from earwitness.detectors.base import OpenOptions
    from earwitness.detectors.fakeprint import open_fakeprint
    from earwitness.detectors.nets.resnet18 import open_resnet
    from earwitness.detectors.nets.spectttra import open_spectttra
    from earwitness.detectors.tensorflow_checkpoint import list_tensors, read_tensors
    from earwitness.detectors.torch_file import read_state

    def folder(open_it: Callable[[Path, OpenOptions], object]) -> Read:
        return lambda path: open_it(path.parent, OpenOptions(path.parent.name))

    def bundle(path: Path) -> None:
        prefix = path.with_name("x")
        read_tensors(prefix, list_tensors(prefix))

    fakeprint, resnet, sonics = map(folder, (open_fakeprint, open_resnet, open_spectttra))
    vit = "sonics-spectttra-gamma-5s"
    return [
        Format("w.pth", read_state),
        Format("old.pth", read_state),
        Format("w.safetensors", read_state, mutants.damage_safetensors),
        Format("bundle/x.index", bundle, mutants.damage_bundle),
        Format("bundle/x.data-00000-of-00001", bundle),
        Format("bench/weights/one/card.json", fakeprint, mutants.damage_json),
        Format("bench/weights/one/weights.safetensors", fakeprint, mutants.damage_safetensors),
        Format("resnet/card.json", resnet, mutants.damage_json, every=64),
        Format("resnet/weights.safetensors", resnet, mutants.damage_safetensors, every=128),
        Format(f"{vit}/config.json", sonics, mutants.damage_json, every=8),
        Format(f"{vit}/model.safetensors", sonics, mutants.damage_safetensors, every=16),
    ]


def _images() -> list[Format]:
    from earwitness.images.png import read_image, read_shown

    def image(path: Path) -> None:
        read_shown(path)
        read_image(path)

    return [
        Format("i.png", image, mutants.damage_png),
        *(Format(f"i.{kind}", image) for kind in ("jpeg", "tiff", "bmp", "webp")),
    ]


def _audio() -> list[Format]:
    from earwitness.audio.decode import read_audio, scan_packets

    def sound(path: Path) -> None:
        scan_packets(path)
        read_audio(path)

    kinds = ("wav", "w64", "rf64", "aiff", "au", "caf", "flac", "mp3", "m4a")
    return [
        *(Format(f"a.{kind}", sound) for kind in kinds),
        *(Format(f"a.{kind}", sound, mutants.damage_ogg) for kind in ("ogg", "opus")),
    ]
