"""Preparation and reporting for ``earwitness train``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earwitness.cli import console
from earwitness.cli.options import (
    choose_device,
    comma_list,
    open_manifests,
    parse_option,
    remark_on_manifests,
)
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.cards import ClipContract, Windows
    from earwitness.core.manifest import Manifest
    from earwitness.core.spectrogram import SpectrogramContract
    from earwitness.scoring.options import Resume
    from earwitness.training.curves import Row
    from earwitness.training.examples import Example, SplitConfig
    from earwitness.training.image_dataset import Failure, ImageSplits
    from earwitness.training.image_sources import ImageSources
    from earwitness.training.run import TrainedDetector
    from earwitness.training.task import Hardware, TrainConfig, TrainingTask

FAKEPRINT, BOX, CLASSIFIER, SPECNN = "fakeprint", "box", "resnet18", "specnn_amplitude"


def read_all(manifests: list[str] | None, root: Path | None) -> list[Manifest]:
    """Return the manifests that options name."""
    read = open_manifests(manifests, root) if manifests else []
    remark_on_manifests(read)
    return read


class AudioTraining(NamedTuple):
    """Training on audio: its clips, default hyperparameters, and task from both splits."""

    contract: ClipContract
    recipe: Mapping[str, Any]
    make_task: Callable[..., TrainingTask]


def audio_training(kind: str, init: str | None, seed: int) -> AudioTraining:
    """Return how a detector is trained on audio; raise ``UsageError`` if it cannot be."""
    from earwitness.detectors.loading import HUB_NAMES, published_name

    if kind == SPECNN:
        from earwitness.detectors.specnn import CONTRACT
        from earwitness.training.specnn import PUBLISHED, SpecnnTask

        if init not in (None, "none"):
            raise UsageError(f"--init {init}: {SPECNN} starts from random weights, expected none")
        return AudioTraining(CONTRACT, PUBLISHED, partial(SpecnnTask, seed=seed))
    if published_name(kind) not in HUB_NAMES:
        known = f"{CLASSIFIER}, {SPECNN}, {FAKEPRINT}, {BOX} or a SpecTTTra (sonics-spectttra-…)"
        raise UsageError(f"--detector {kind}: cannot be trained, expected {known}")
    from earwitness.training.spectttra import RECIPE, SpectttraTask, find_start

    start = find_start(kind, init)
    return AudioTraining(start.card.contract, RECIPE, partial(SpectttraTask, start))


def make_audio_task(
    audio: AudioTraining,
    manifests: Sequence[list[Manifest]],
    config: SplitConfig,
    num_workers: int | None,
) -> TrainingTask:
    """Return a task on the readable files of manifests, and report the others."""
    from earwitness.scoring.workers import default_workers
    from earwitness.training.examples import list_splits
    from earwitness.training.sampling import split_readable

    train, valid = manifests
    (ours, failed), (held, held_failed) = (
        split_readable(split, audio.contract) for split in list_splits(train, valid, config)[:2]
    )
    report_failures([*failed, *held_failed])
    n_loaders = default_workers() if num_workers is None else num_workers
    return audio.make_task(ours, held, n_loaders=n_loaders)


def make_hardware(device: str, gpu: int | None, n_devices: int, precision: str) -> Hardware:
    """Return device and precision; an unavailable device falls back to the CPU with a note."""
    from earwitness.detectors.network import native_precision
    from earwitness.training.task import Hardware

    chosen = choose_device(device, gpu)
    is_auto = precision == "auto"
    taken = native_precision(chosen) if is_auto else parse_option("precision", precision)
    return Hardware(chosen, n_devices, taken)


def check_folder(out: Path, resume: str) -> Resume:
    """Parse ``--resume``; raise ``RunError`` for a finished training or a non-empty folder."""
    from earwitness.scoring.run_folder import refuse_contents
    from earwitness.training.run import refuse_finished

    how: Resume = parse_option("resume", resume)
    if how == "never":
        refuse_contents(out)
    refuse_finished(out, resume=how)
    return how


def fetch_init(init: str) -> None:
    """Download initial weights if needed, with a progress bar."""
    from earwitness.training.resnet import find_init

    with console.download_bar("fetching weights") as on_progress:
        find_init(init, on_progress)


def report_failures(failures: Sequence[Failure], n_shown: int = 5) -> None:
    """Print which examples could not be read."""
    for example, reason in failures[:n_shown]:
        console.remark(f"not used: {example.path}: {reason}")
    if len(failures) > n_shown:
        console.remark(f"{len(failures) - n_shown} more could not be read")


def train(task: TrainingTask, config: TrainConfig, out: Path, **options: Any) -> None:
    """Train with a progress bar and a line per epoch, and print the result; Ctrl-C stops it."""
    from earwitness.scoring.workers import held_interrupts
    from earwitness.training import run
    from earwitness.training.curves import Callbacks

    def on_epoch(row: Row) -> None:
        console.err.print(
            f"epoch {row['epoch']:.0f} of {config.epochs}: train loss {row['train_loss']:.4f}, "
            f"{_format_row(row)}",
            markup=False,
        )

    n_examples = config.epochs * len(task.train)
    with (
        console.progress_bar("training", n_examples, "examples", may_end_early=True) as advance,
        held_interrupts() as should_stop,
    ):
        callbacks = Callbacks(on_epoch, advance, should_stop)
        done = run.train(task, config, out, callbacks=callbacks, on_note=console.remark, **options)
    _print_result(done, out)


def _format_row(row: Row) -> str:
    return (
        f"valid loss {row['valid_loss']:.4f}, AUROC {row['valid_auroc']:.4f}, balanced accuracy "
        f"{row['valid_balanced_accuracy']:.4f}"
    )


def _print_result(done: TrainedDetector, out: Path) -> None:
    """Print the metrics of the best epoch and of the test."""
    from earwitness.images.classify import format_estimate

    trained, test = done.trained, done.test
    console.remark(*trained.notes)
    best = f"best epoch {trained.best_epoch} of {len(trained.rows)}"
    console.echo(f"{best}: {_format_row(trained.best_row)}")
    if test:
        auroc, accuracy = (
            format_estimate(test.estimates[name]) for name in ("auroc", "balanced_accuracy")
        )
        console.echo(
            f"held-out test ({test.n_images} images of {test.n_groups} groups): AUROC {auroc}, "
            f"balanced accuracy {accuracy} (see {out / 'test.json'})"
        )
    _print_usage(out)


def _print_usage(out: Path) -> None:
    """Print the option that opens the detector, as a path if a registered one has its name."""
    from earwitness.detectors.loading import DETECTORS

    name = f"./{out}" if str(out) in DETECTORS else str(out)
    console.echo(f"written to {out}; use it with --detector {name}")


def fit_fakeprint(
    manifests: list[Manifest], out: Path | None, *, num_workers: int | None, **options: Any
) -> None:
    """Train a fakeprint detector and print its accuracy; ``options`` of ``train_fakeprint``."""
    from earwitness.training.fakeprint import train_fakeprint

    if out is None or not manifests:
        raise UsageError("fakeprint: expected --manifest FILES and --out DIR")
    n_files = len({path for m in manifests for path in m.locate_all()})
    with console.progress_bar("training", n_files) as advance:
        fitted = train_fakeprint(manifests, out, n_workers=num_workers, advance=advance, **options)
    console.remark(*(f"not used: {path}: {reason}" for path, reason in fitted.failures))
    console.echo(
        f"fitted on {fitted.n_real} real and {fitted.n_fake} fake items, "
        f"{len(fitted.failures)} left out; "
        f"accuracy on these same items {fitted.training_accuracy:.3f}"
    )
    _print_usage(out)


def fit_box(
    manifests: list[Manifest], valid: list[Manifest], out: Path | None, **options: Any
) -> None:
    """Train a box and print what its limit means; ``options`` of ``train_box``."""
    from earwitness.training.box import N_PAIRS, train_box

    if out is None or not manifests:
        raise UsageError(f"{BOX}: expected --manifest FILES and --out DIR")
    n_files = len({path for m in (*manifests, *valid) for path in m.locate_all()})
    n_examples = n_files * (N_PAIRS + 1)
    with console.progress_bar("training", n_examples, "examples", may_end_early=True) as advance:
        trained = train_box(manifests, out, valid=valid, advance=advance, **options)
    console.remark(*(f"not used: {path}: {reason}" for path, reason in trained.failures))
    console.echo(
        f"trained on {trained.n_real} real and {trained.n_marked} marked spectra; at the limit "
        f"{trained.recall:.1%} of these are found, and {trained.false_positives} of "
        f"{trained.n_threshold} tracks of the threshold corpus are flagged"
    )
    _print_usage(out)


def read_folder(
    root: Path, real_folders: list[str] | None, fake_folders: list[str] | None, group_by: str
) -> ImageSources:
    """Return the images of class folders."""
    from earwitness.training.image_sources import find_images

    reals, fakes = (comma_list(some) if some else [] for some in (real_folders, fake_folders))
    if both := sorted(set(reals) & set(fakes)):
        raise UsageError(f"--real-folders and --fake-folders: {both[0]!r} is in both")
    classes = dict.fromkeys(reals, 0) | dict.fromkeys(fakes, 1)
    return find_images(root, group_by=group_by, classes=classes)


def read_csvs(
    train: list[str], base: Path, valid: list[str] | None, test: list[str] | None, group_by: str
) -> ImageSources:
    """Return the images of CSVs."""
    from earwitness.training.image_sources import read_image_csvs

    ours, held, tested = (
        [Path(p) for p in comma_list(some or [])] for some in (train, valid, test)
    )
    return read_image_csvs(ours, base, valid=held, test=tested, group_by=group_by)


def _settle_test(
    examples: Sequence[Example], config: SplitConfig, *, required: bool
) -> SplitConfig:
    """Return ``config``, without a test if there are too few groups and it is not required."""
    from earwitness.training.examples import hold_out_test, split_groups

    if required or not config.test_share:
        return config
    rest, test, rest_config = hold_out_test(examples, config)
    splits = (test, *split_groups(rest, rest_config))
    if all({example.target for example in split} == {0, 1} for split in splits):
        return config
    console.remark("too few groups to hold some out for a test: there is none (--test-share)")
    return replace(config, test_share=0.0)


def prepare_images(
    sources: ImageSources, out: Path, config: SplitConfig, *, required: bool
) -> ImageSplits:
    """Read images, with a progress bar; ``required``: whether ``--test-share`` was given."""
    from earwitness.training import image_dataset

    valid, test = sources.valid, sources.test
    if valid is None and test is None:
        config = _settle_test(sources.examples, config, required=required)
    n_images = sum(map(len, (sources.examples, valid or (), test or ())))
    with console.progress_bar("reading", n_images, "images") as advance:
        return image_dataset.prepare_images(
            sources.examples, config, valid=valid, test=test, folder=out, advance=advance
        )


def prepare_audio(
    manifests: Sequence[list[Manifest]],
    contract: SpectrogramContract,
    out: Path,
    config: SplitConfig,
    *,
    required: bool,
    windows: Windows,
    num_workers: int | None,
) -> ImageSplits:
    """Render the audio of training, validation and test manifests, with a progress bar."""
    from earwitness.training import image_dataset
    from earwitness.training.examples import join_groups, list_audio

    train, valid, test = manifests
    if not (valid or test):
        examples = join_groups(list_audio(train, group_by=config.group_by))
        config = _settle_test(examples, config, required=required)
    n_files = len({path for m in (*train, *valid, *test) for path in m.locate_all()})
    with console.progress_bar("rendering", n_files) as advance:
        return image_dataset.prepare_audio(
            train,
            valid,
            contract,
            config,
            test=test,
            windows=windows,
            folder=out,
            n_workers=num_workers,
            advance=advance,
        )
