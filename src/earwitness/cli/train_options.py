"""What ``earwitness train`` does between its options and the trainers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from earwitness.cli import console
from earwitness.cli.options import (
    choose_device,
    open_manifests,
    parse_option,
    remark_on_manifests,
)
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.cards import ClipContract, DetectorCard
    from earwitness.core.estimate import Estimate
    from earwitness.core.manifest import Manifest
    from earwitness.scoring.options import Resume
    from earwitness.training.curves import Row
    from earwitness.training.examples import Example, SplitConfig
    from earwitness.training.resnet import HeldOut
    from earwitness.training.task import Monitor, TrainConfig
    from earwitness.training.trainer import Callbacks, Hardware, Trained

FAKEPRINT, CLASSIFIER, SPECNN = "fakeprint", "resnet18", "specnn_amplitude"
_MONITORS = ("valid_loss", "valid_auroc")


def read_all(manifests: list[str] | None, root: Path | None) -> list[Manifest]:
    """Read the manifests that options name."""
    read = open_manifests(manifests, root) if manifests else []
    remark_on_manifests(read)
    return read


class Recipe(NamedTuple):
    """How a detector is fitted on audio.

    Attributes:
        name: The detector's.
        contract: The audio it hears.
        recipe: What its plan says otherwise than the classifier's.
        learn: What fits it.
    """

    name: str
    contract: ClipContract
    recipe: Mapping[str, Any]
    learn: Callable[..., tuple[DetectorCard, Trained]]


def course_of(kind: str, init: str | None) -> Recipe:
    """Return how a detector that hears audio is fitted.

    Raises:
        DetectorError: No detector of that name can be.
        UsageError: There is nothing to begin with there.
        WeightsError: The weights to begin with cannot be had, or are not this detector's.
    """
    from earwitness.detectors.loading import published_name

    if kind == SPECNN:
        from earwitness.detectors.specnn import CONTRACT
        from earwitness.training.specnn import PUBLISHED, train_specnn

        if init not in (None, "none"):
            raise UsageError(f"--init {init}: {SPECNN} begins with random weights, expected none")
        return Recipe(kind, CONTRACT, PUBLISHED, train_specnn)
    if published_name(kind) is None:
        known = f"{CLASSIFIER}, {SPECNN}, {FAKEPRINT} or a SpecTTTra (sonics-spectttra-…)"
        raise UsageError(f"--detector {kind}: cannot be trained, expected {known}")
    from earwitness.training.spectttra import RECIPE, find_start, train_spectttra

    start = find_start(kind, init)
    return Recipe(kind, start.card.contract, RECIPE, partial(train_spectttra, start))


def make_plan(recipe: Mapping[str, Any], *, monitor: str, **options: Any) -> TrainConfig:
    """Put a plan together; options that are ``None`` take the recipe's own.

    Args:
        recipe: Of the detector.
        monitor: The figure to watch.
        **options: Of ``TrainConfig``.

    Raises:
        UsageError: No such figure to watch.
    """
    from earwitness.training.task import TrainConfig

    if monitor not in _MONITORS:
        raise UsageError(f"--monitor {monitor}: expected {' or '.join(_MONITORS)}")
    given = {name: value for name, value in options.items() if value is not None}
    return TrainConfig(monitor=cast("Monitor", monitor), **{**recipe, **given})


def make_hardware(device: str, gpu: int | None, n_devices: int, precision: str) -> Hardware:
    """Return where training runs; the CPU stands in for what is not there, and that is said."""
    from earwitness.detectors.network import native_precision
    from earwitness.training.trainer import Hardware

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
    from earwitness.training.image_task import find_init

    with console.download_bar("fetching weights") as on_progress:
        find_init(init, on_progress)


def tell_failures(failures: Sequence[tuple[Example, str]], n_shown: int = 5) -> None:
    """Say which examples could not be read."""
    for example, reason in failures[:n_shown]:
        console.remark(f"not used: {example.path}: {reason}")
    if len(failures) > n_shown:
        console.remark(f"{len(failures) - n_shown} more could not be read")


@contextlib.contextmanager
def listening(plan: TrainConfig, n_train: int) -> Iterator[Callbacks]:
    """Show a bar over all epochs and a line after each; Ctrl-C asks to stop."""
    from earwitness.scoring.interrupts import held_interrupts
    from earwitness.training.trainer import Callbacks

    with (
        console.progress_bar(
            "training", plan.epochs * n_train, "examples", may_end_early=True
        ) as advance,
        held_interrupts() as should_stop,
    ):
        yield Callbacks(lambda row: _tell(row, plan), advance, should_stop)


def _tell(row: Row, plan: TrainConfig) -> None:
    console.err.print(
        f"epoch {row['epoch']:.0f} of {plan.epochs}: train loss {row['train_loss']:.4f}, "
        f"valid loss {row['valid_loss']:.4f}, AUROC {row['valid_auroc']:.4f}, "
        f"balanced accuracy {row['valid_balanced_accuracy']:.4f}",
        markup=False,
    )


def finish(trained: Trained, out: Path, test: HeldOut | None = None) -> None:
    """Say what came of a training, and of its held-out test where there was one."""
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


def format_estimate(estimate: Estimate) -> str:
    """Return a metric with its interval, or why there is none."""
    if estimate.value is None:
        return f"undefined ({estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4f} (no interval: {estimate.reason})"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def fit_on_audio(
    course: Recipe,
    train: list[Manifest],
    valid: list[Manifest],
    out: Path,
    plan: TrainConfig,
    *,
    sharing: SplitConfig,
    num_workers: int | None,
    resume: Resume,
    hardware: Hardware,
) -> None:
    """Fit a detector on the audio of manifests and say how well.

    Raises:
        UsageError: No manifest was given.
    """
    from earwitness.scoring.workers import default_workers
    from earwitness.training.crops import readable
    from earwitness.training.resnet import list_sides

    if not train:
        raise UsageError(f"{course.name}: expected --manifest FILES")
    (ours, failed), (theirs, failed_too) = (
        readable(side, course.contract) for side in list_sides(train, valid, sharing)[:2]
    )
    tell_failures([*failed, *failed_too])
    with listening(plan, len(ours)) as listeners:
        _, trained = course.learn(
            ours,
            theirs,
            out,
            plan,
            n_loaders=default_workers() if num_workers is None else num_workers,
            resume=resume,
            hardware=hardware,
            listeners=listeners,
            remark=console.remark,
        )
    finish(trained, out)


def fit_fakeprint(
    manifests: list[Manifest],
    out: Path | None,
    *,
    sample_rate_hz: int,
    band_hz: tuple[float, float],
    num_workers: int | None,
) -> None:
    """Fit a fakeprint and say how well.

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
