"""``earwitness train``."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from earwitness.cli import console, train_options
from earwitness.cli.images import PANEL, make_contract, with_rendering_options
from earwitness.cli.options import GPU_HELP, Root, option, parse_option, two_numbers
from earwitness.cli.train_options import BOX, CLASSIFIER, FAKEPRINT, SPECNN
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.training.image_dataset import ImageSplits

_network = partial(option, panel="Networks")


@with_rendering_options
def train(
    *,
    detector: Annotated[
        str | None,
        option(
            "NAME",
            "Detector to train: resnet18 on images (the default), fakeprint (the default with "
            "--manifest alone), specnn_amplitude or sonics-spectttra-… on --manifest; box on real "
            "music alone.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        option(
            "DIR",
            "Folder of images with one folder per class (original, deepfake or the like), or "
            "train, val and test with such folders (default: data, for resnet18).",
        ),
    ] = None,
    csv: Annotated[
        list[str] | None,
        option(
            "FILES",
            "CSVs of images with img_path and actual_output, in place of --images; a column "
            "split_tag puts rows in train, valid or test.",
        ),
    ] = None,
    base: Annotated[Path, option("DIR", "Base folder of img_path of --csv.")] = Path("data"),
    real_folders: Annotated[
        list[str] | None, option("NAMES", "Class folders of originals with other names.")
    ] = None,
    fake_folders: Annotated[
        list[str] | None, option("NAMES", "Class folders of deepfakes with other names.")
    ] = None,
    manifest: Annotated[
        list[str] | None,
        option(
            "FILES",
            "Manifests of training audio, or a folder of them; several by comma. For resnet18, "
            "images are rendered from it.",
        ),
    ] = None,
    valid: Annotated[
        list[str] | None,
        option(
            "FILES", "Manifests (with --csv: CSVs) to validate with (default: groups are held out)."
        ),
    ] = None,
    test: Annotated[
        list[str] | None,
        option("FILES", "resnet18: manifests (with --csv: CSVs) for the test at the end."),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "DIR",
            "Output folder; its name is the detector's (default for networks: models/experiments).",
        ),
    ] = None,
    root: Root = None,
    init: Annotated[
        str | None,
        _network(
            "FROM",
            "Initial weights. resnet18: imagenet (torchvision's, downloaded once; the default), "
            "a file, or none. sonics-spectttra-…: a folder or a hub id (default: the published "
            "weights).",
        ),
    ] = None,
    epochs: Annotated[int, _network("N", "Maximum number of epochs.", min=1)] = 20,
    patience: Annotated[
        int | None,
        _network(
            "N",
            "Epochs without improvement before training stops (default: 8; 20 for "
            "specnn_amplitude).",
            min=1,
        ),
    ] = None,
    monitor: Annotated[
        str, _network("NAME", "Metric that chooses the best epoch: valid_loss or valid_auroc.")
    ] = "valid_loss",
    batch_size: Annotated[
        int, _network("N", "Examples per step; halved when memory runs out.", min=1)
    ] = 32,
    learning_rate: Annotated[
        float | None,
        _network(
            "RATE",
            "Peak learning rate (default: 0.0003; 0.001 for specnn_amplitude, 0.00005 for "
            "sonics-spectttra-…).",
            min=0,
        ),
    ] = None,
    freeze_epochs: Annotated[
        int | None,
        _network(
            "N",
            "Epochs in which only the last layer is trained (default: 1; 0 with --init none).",
            min=0,
        ),
    ] = None,
    balanced: Annotated[bool, _network(None, "Sample both classes equally often.")] = True,
    augment: Annotated[
        bool, _network(None, "Augment training images: shift, mask and scale.")
    ] = True,
    weight_decay: Annotated[
        float | None,
        _network(
            "RATE",
            "Decoupled weight decay of AdamW (default: 0.01; 0.05 for sonics-spectttra-…).",
            min=0,
        ),
    ] = None,
    valid_share: Annotated[
        float | None,
        _network(
            "SHARE",
            "Share of the groups to validate with (default: 0.15 for resnet18, 0.4 for box, else "
            "0.2).",
            min=0.01,
            max=0.9,
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        _network(
            "SHARE",
            "resnet18: share of the groups held out for a test at the end, never used to choose; 0 "
            "for none (default: 0.15 if there are enough groups and no split is given).",
            min=0,
            max=0.9,
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        _network(
            "REGEX",
            "Pattern of the part of a path that names its group, if no manifest does (default: "
            "the file's name up to __). Groups stay in one split.",
        ),
    ] = None,
    name: Annotated[
        str, _network("STEM", "Weights are written to best_STEM.pth and final_STEM.pth.")
    ] = "laundered_processed",
    published: Annotated[
        bool,
        _network(
            None,
            "resnet18: write each .pth in the shape of the published training script: output 0 is "
            "the deepfake, the linear layer is fc.1, behind dropout.",
        ),
    ] = False,
    seed: Annotated[int, _network("N", "Random seed.", min=0)] = 0,
    resume: Annotated[
        str,
        _network(
            "HOW",
            "An interrupted training: missing resumes it, always starts over, never refuses the "
            "folder.",
        ),
    ] = "missing",
    device: Annotated[str, _network("DEVICE", "auto, cpu, cuda, cuda:N or mps.")] = "auto",
    gpu: Annotated[int | None, _network("N", GPU_HELP, min=-1)] = None,
    devices: Annotated[int, _network("N", "Number of GPUs.", min=1)] = 1,
    precision: Annotated[
        str,
        _network(
            "NAME",
            "Training precision: fp32, bf16, fp16, or auto: bf16 if the processor has it. Weights "
            "are kept in fp32.",
        ),
    ] = "auto",
    windows: Annotated[
        str,
        option(
            "N",
            "Images per file of --manifest: published (its centre), N evenly spaced, or all.",
            panel=PANEL,
        ),
    ] = "published",
    rendering: dict[str, Any],
    band_hz: Annotated[
        str | None,
        option(
            "LOW,HIGH",
            "fakeprint: frequency band of the peaks (default: 5000,16000). resnet18: band of "
            "images of --manifest (default: 20 Hz to half the rate).",
        ),
    ] = None,
    sample_rate_hz: Annotated[
        int | None,
        option(
            "HZ",
            "Rate that all audio is resampled to (default: 44100 for fakeprint, 16000 for "
            "resnet18).",
            min=1000,
        ),
    ] = None,
    num_workers: Annotated[
        int | None, option("N", "Decoding processes; 0 decodes in the main process.", min=0)
    ] = None,
) -> None:
    """Train a detector.

    resnet18 is trained on folders of images; by default from data into models/experiments. After
    Ctrl-C or a crash the same command resumes after the last whole epoch. specnn_amplitude is
    trained on audio by its published recipe; a SpecTTTra (sonics-spectttra-…) is fine-tuned.

    box is trained on real music: its fakes are made by decoders with random weights. Its
    threshold is chosen on the sources of --valid, or on some of those of --manifest.

    fakeprint is fitted in seconds and stored without pickle; its card contains hashes of the
    training items and groups, so that exposure can be detected later.
    """
    given = locals()
    kind = detector or (FAKEPRINT if manifest and not (images or valid) else CLASSIFIER)
    _check_sources(kind, images=images, csv=csv, manifest=manifest, valid=valid, test=test)
    if weight_decay is not None and kind in (FAKEPRINT, BOX, SPECNN):
        raise UsageError(f"--weight-decay: {kind} is fitted without it")
    if kind == FAKEPRINT:
        train_options.fit_fakeprint(
            train_options.read_all(manifest, root),
            out,
            sample_rate_hz=sample_rate_hz or 44_100,
            band_hz=two_numbers("--band-hz", band_hz or "5000,16000"),
            num_workers=num_workers,
        )
        return
    if kind == BOX:
        reals, held = (train_options.read_all(some, root) for some in (manifest, valid))
        train_options.fit_box(reals, held, out, valid_share=valid_share or 0.4, seed=seed)
        return
    audio = None if kind == CLASSIFIER else train_options.audio_training(kind, init, seed)
    from earwitness.training.examples import GROUP_BY, SplitConfig
    from earwitness.training.resnet import IMAGENET, NOTHING, ImageTask
    from earwitness.training.task import Monitor, TrainConfig

    if monitor not in get_args(Monitor):
        raise UsageError(f"--monitor {monitor}: expected {' or '.join(get_args(Monitor))}")
    out = out or Path("models/experiments")
    init = init or IMAGENET
    recipe = audio.recipe if audio else {"freeze_epochs": int(init != NOTHING)}
    own = {f.name: given[f.name] for f in fields(TrainConfig) if given.get(f.name) is not None}
    config = TrainConfig(**{**recipe, **own})
    hardware = train_options.make_hardware(device, gpu, devices, precision)
    how = train_options.check_folder(out, resume)
    split = SplitConfig(
        valid_share or (0.2 if audio else 0.15),
        group_by or GROUP_BY,
        seed,
        0.0 if audio else 0.15 if test_share is None else test_share,
    )
    if audio:
        if not manifest:
            raise UsageError(f"{kind}: expected --manifest FILES")
        manifests = [train_options.read_all(some, root) for some in (manifest, valid)]
        task = train_options.make_audio_task(audio, manifests, split, num_workers)
        train_options.train(task, config, out, resume=how, hardware=hardware)
        return
    if split.valid_share + split.test_share >= 1:
        raise UsageError("--valid-share and --test-share: expected a sum below 1")
    required = test_share is not None
    splits: ImageSplits
    if manifest is None:
        sources = (
            train_options.read_csvs(csv, base, valid, test, split.group_by)
            if csv
            else train_options.read_folder(
                images or Path("data"), real_folders, fake_folders, split.group_by
            )
        )
        console.remark(*sources.notes)
        train_options.fetch_init(init)  # a missing file is an error before images are read
        splits = train_options.prepare_images(sources, out, split, required=required)
    else:
        contract = make_contract(**rendering, band_hz=band_hz, sample_rate_hz=sample_rate_hz)
        manifests = [train_options.read_all(some, root) for some in (manifest, valid, test)]
        train_options.fetch_init(init)
        splits = train_options.prepare_audio(
            manifests,
            contract,
            out,
            split,
            required=required,
            windows=parse_option("windows", windows),
            num_workers=num_workers,
        )
    train_options.report_failures(splits.failures)
    image_task = ImageTask(
        splits, init=init, seed=seed, augmented=augment, stem=name, published=published
    )
    train_options.train(image_task, config, out, resume=how, hardware=hardware)


def _check_sources(
    kind: str, *, images: object, csv: object, manifest: object, valid: object, test: object
) -> None:
    """Raise ``UsageError`` for options that do not go together."""
    if (images or csv) and (manifest or kind != CLASSIFIER):
        name = "--images" if images else "--csv"
        raise UsageError(f"{name}: only for {CLASSIFIER}, and not with --manifest")
    if images and csv:
        raise UsageError("--images and --csv: expected one of them")
    if (valid or test) and not (csv or manifest):
        raise UsageError(
            "--valid and --test: expected with --manifest or --csv (a folder of --images has its "
            "splits in train, val and test)"
        )
    if test and kind != CLASSIFIER:
        raise UsageError(f"--test: expected with {CLASSIFIER}")
