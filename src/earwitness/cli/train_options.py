"""What ``earwitness train`` does between its options and the trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earwitness.cli import console
from earwitness.cli.options import (
    choose_device,
    open_manifests,
    parse_option,
    remark_on_manifests,
)
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.cards import ClipContract
    from earwitness.core.manifest import Manifest
    from earwitness.scoring.options import Resume
    from earwitness.training.curves import Row
    from earwitness.training.examples import Example, SplitConfig
    from earwitness.training.run import TrainedDetector
    from earwitness.training.task import Hardware, TrainConfig, TrainingTask

FAKEPRINT, CLASSIFIER, SPECNN = "fakeprint", "resnet18", "specnn_amplitude"


def read_all(manifests: list[str] | None, root: Path | None) -> list[Manifest]:
    """Read the manifests that options name."""
    read = open_manifests(manifests, root) if manifests else []
    remark_on_manifests(read)
    return read


class AudioTraining(NamedTuple):
    """How a detector is trained on audio.

    Attributes:
        contract: The clips it takes.
        recipe: Default hyperparameters that differ from the image classifier's.
        make_task: Makes its task from both sides of the split.
    """

    contract: ClipContract
    recipe: Mapping[str, Any]
    make_task: Callable[..., TrainingTask]


def audio_training(kind: str, init: str | None, seed: int) -> AudioTraining:
    """Return how a detector is trained on audio.

    Raises:
        UsageError: It cannot be trained, or ``--init`` does not fit.
        WeightsError: The initial weights cannot be had, or are not this detector's.
    """
    from earwitness.detectors.loading import HUB_NAMES, published_name

    if kind == SPECNN:
        from earwitness.detectors.specnn import CONTRACT
        from earwitness.training.specnn import PUBLISHED, SpecnnTask

        if init not in (None, "none"):
            raise UsageError(f"--init {init}: {SPECNN} starts from random weights, expected none")
        return AudioTraining(CONTRACT, PUBLISHED, partial(SpecnnTask, seed=seed))
    if published_name(kind) not in HUB_NAMES:
        known = f"{CLASSIFIER}, {SPECNN}, {FAKEPRINT} or a SpecTTTra (sonics-spectttra-…)"
        raise UsageError(f"--detector {kind}: cannot be trained, expected {known}")
    from earwitness.training.spectttra import RECIPE, SpectttraTask, find_start

    start = find_start(kind, init)
    return AudioTraining(start.card.contract, RECIPE, partial(SpectttraTask, start))


def make_hardware(device: str, gpu: int | None, n_devices: int, precision: str) -> Hardware:
    """Return device and precision; an unavailable device falls back to the CPU with a note."""
    from earwitness.detectors.network import native_precision
    from earwitness.training.task import Hardware

    chosen = choose_device(device, gpu, console.remark)
    taken = (
        native_precision(chosen) if precision == "auto" else parse_option("precision", precision)
    )
    return Hardware(chosen, n_devices, taken)


def check_folder(out: Path, resume: str) -> Resume:
    """Read ``--resume``; refuse what is finished, and with ``never`` what holds anything."""
    from earwitness.scoring.run_folder import refuse_contents
    from earwitness.training.run import refuse_finished

    how: Resume = parse_option("resume", resume)
    if how == "never":
        refuse_contents(out)
    refuse_finished(out, resume=how)
    return how


def fetch_init(init: str) -> None:
    """Fetch the weights to begin with where need be, and show how far that is."""
    from earwitness.training.resnet import find_init

    with console.download_bar("fetching weights") as on_progress:
        find_init(init, on_progress)


def report_failures(failures: Sequence[tuple[Example, str]], n_shown: int = 5) -> None:
    """Print which examples could not be read."""
    for example, reason in failures[:n_shown]:
        console.remark(f"not used: {example.path}: {reason}")
    if len(failures) > n_shown:
        console.remark(f"{len(failures) - n_shown} more could not be read")


def train(task: TrainingTask, config: TrainConfig, out: Path, **options: Any) -> None:
    """Train with a progress bar and a line per epoch, and print the result; Ctrl-C stops it.

    Args:
        task: What is learned.
        config: Hyperparameters.
        out: Output folder.
        **options: ``resume`` and ``hardware`` of ``training.run.train``.
    """
    from earwitness.scoring.workers import held_interrupts
    from earwitness.training import run
    from earwitness.training.trainer import Callbacks

    n_examples = config.epochs * len(task.train)
    with (
        console.progress_bar("training", n_examples, "examples", may_end_early=True) as advance,
        held_interrupts() as should_stop,
    ):
        callbacks = Callbacks(partial(_print_epoch, config=config), advance, should_stop)
        done = run.train(task, config, out, callbacks=callbacks, on_note=console.remark, **options)
    _print_result(done, out)


def _print_epoch(row: Row, config: TrainConfig) -> None:
    console.err.print(
        f"epoch {row['epoch']:.0f} of {config.epochs}: train loss {row['train_loss']:.4f}, "
        f"valid loss {row['valid_loss']:.4f}, AUROC {row['valid_auroc']:.4f}, "
        f"balanced accuracy {row['valid_balanced_accuracy']:.4f}",
        markup=False,
    )


def _print_result(done: TrainedDetector, out: Path) -> None:
    """Print the metrics of the best epoch, and of the held-out test where there is one."""
    from earwitness.images.class_reports import format_estimate

    trained, test = done.trained, done.test
    for line in trained.remarks:
        console.remark(line)
    row = trained.best_row
    console.out.print(
        f"best epoch {trained.best_epoch} of {len(trained.rows)}: valid loss "
        f"{row['valid_loss']:.4f}, AUROC {row['valid_auroc']:.4f}, balanced accuracy "
        f"{row['valid_balanced_accuracy']:.4f}",
        markup=False,
    )
    if test:
        shown = ", ".join(
            f"{word} {format_estimate(test.estimates[name])}"
            for name, word in (("auroc", "AUROC"), ("balanced_accuracy", "balanced accuracy"))
        )
        console.out.print(
            f"held-out test ({test.n_images} images of {test.n_groups} groups): {shown} "
            f"(see {out / 'test.json'})",
            markup=False,
        )
    console.out.print(f"written to {out}; use it with --detector {_as_folder(out)}", markup=False)


def read_sides(
    train: list[Manifest], valid: list[Manifest], contract: ClipContract, config: SplitConfig
) -> tuple[list[Example], list[Example]]:
    """Return the readable files of both sides of the split, and report the others."""
    from earwitness.training.examples import list_sides
    from earwitness.training.sampling import split_readable

    (ours, failed), (theirs, failed_too) = (
        split_readable(side, contract) for side in list_sides(train, valid, config)[:2]
    )
    report_failures([*failed, *failed_too])
    return ours, theirs


def fit_fakeprint(
    manifests: list[Manifest],
    out: Path | None,
    *,
    sample_rate_hz: int,
    band_hz: tuple[float, float],
    num_workers: int | None,
) -> None:
    """Train a fakeprint detector and print its accuracy.

    Raises:
        UsageError: No manifest or no folder was given.
    """
    from earwitness.training.fakeprint import train_fakeprint

    if out is None or not manifests:
        raise UsageError("fakeprint: expected --manifest FILES and --out DIR")
    n_files = len({path for m in manifests for path in m.locate_all()})
    with console.progress_bar("training", n_files) as advance:
        fitted = train_fakeprint(
            manifests,
            out,
            sample_rate_hz=sample_rate_hz,
            band_hz=band_hz,
            n_workers=num_workers,
            advance=advance,
        )
    for path, reason in fitted.failures:
        console.remark(f"not used: {path}: {reason}")
    console.out.print(
        f"fitted on {fitted.n_real} real and {fitted.n_fake} fake items, "
        f"{len(fitted.failures)} left out; "
        f"accuracy on these same items {fitted.training_accuracy:.3f}",
        markup=False,
    )
    console.out.print(f"written to {out}; use it with --detector {_as_folder(out)}", markup=False)


def _as_folder(out: Path) -> str:
    """Return what stands for a folder where a detector of that name is registered, too."""
    from earwitness.detectors.loading import DETECTORS

    return f"./{out}" if str(out) in DETECTORS else str(out)
