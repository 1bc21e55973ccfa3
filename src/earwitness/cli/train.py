"""``earwitness train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from earwitness.cli import console, drawing, learning
from earwitness.cli.learning import CLASSIFIER, FAKEPRINT
from earwitness.cli.lists import two_numbers, windows_choice
from earwitness.core.errors import UsageError

_NETWORK = "Networks"


def _of_networks(metavar: str | None, text: str, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel=_NETWORK, **more)


def train(
    *,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to train: resnet18 on images (the default), fakeprint (the default with "
            "--manifest alone), specnn_amplitude or sonics-spectttra-… on --manifest.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images: original/** and deepfake/** in it (default: data, for resnet18).",
        ),
    ] = None,
    manifest: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES",
            help="Audio to train on, or a folder of manifests; several by comma. For resnet18 its "
            "images are drawn meanwhile.",
        ),
    ] = None,
    valid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES", help="Audio to validate with; without it, groups are set aside."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the weights; its name is the detector's (default for networks: "
            "models/experiments).",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that relative paths in the manifests start from."),
    ] = None,
    init: Annotated[
        str | None,
        _of_networks(
            "FROM",
            "Weights to begin with. resnet18: imagenet (torchvision's, fetched once; the default), "
            "a file, or none. sonics-spectttra-…: a folder or a hub id (default: the published "
            "ones).",
        ),
    ] = None,
    epochs: Annotated[int, _of_networks("N", "At most.", min=1)] = 20,
    patience: Annotated[
        int | None,
        _of_networks(
            "N",
            "Epochs without a better figure until training stops (default: 8, and 20 for "
            "specnn_amplitude).",
            min=1,
        ),
    ] = None,
    monitor: Annotated[
        str,
        _of_networks("NAME", "The figure that the best epoch has: valid_loss or valid_auroc."),
    ] = "valid_loss",
    batch_size: Annotated[
        int, _of_networks("N", "Examples a step; halved where memory runs out.", min=1)
    ] = 32,
    learning_rate: Annotated[
        float | None,
        _of_networks(
            "RATE",
            "The largest (default: 0.0003; 0.001 for specnn_amplitude, 0.00005 for "
            "sonics-spectttra-…).",
            min=0,
        ),
    ] = None,
    freeze_epochs: Annotated[
        int | None,
        _of_networks(
            "N",
            "Epochs in which only the last layer learns (default: 1, and 0 with --init none).",
            min=0,
        ),
    ] = None,
    balanced: Annotated[bool, _of_networks(None, "Draw as many of either class.")] = True,
    augment: Annotated[
        bool, _of_networks(None, "Shift, mask and scale images while learning.")
    ] = True,
    valid_share: Annotated[
        float,
        _of_networks("SHARE", "Of the groups, to validate with.", min=0.01, max=0.9),
    ] = 0.2,
    group_by: Annotated[
        str | None,
        _of_networks(
            "REGEX",
            "What of a path names its group, where no manifest does (default: the file's name up "
            "to __). Groups stay on one side.",
        ),
    ] = None,
    name: Annotated[
        str, _of_networks("STEM", "The weights are called best_STEM.pth and final_STEM.pth.")
    ] = "laundered_processed",
    published: Annotated[
        bool,
        _of_networks(
            None,
            "resnet18: write each .pth in the shape of the published training script: output 0 is "
            "the deepfake, the linear layer is fc.1, behind dropout.",
        ),
    ] = False,
    seed: Annotated[int, _of_networks("N", "Of every draw.", min=0)] = 0,
    resume: Annotated[
        str,
        _of_networks(
            "HOW",
            "A training that was stopped: missing goes on, always begins anew, never refuses the "
            "folder.",
        ),
    ] = "missing",
    device: Annotated[str, _of_networks("DEVICE", "auto, cpu, cuda, cuda:N or mps.")] = "auto",
    gpu: Annotated[
        int | None, _of_networks("N", "N is --device cuda:N, -1 is --device cpu.", min=-1)
    ] = None,
    devices: Annotated[int, _of_networks("N", "GPUs that share the work.", min=1)] = 1,
    precision: Annotated[
        str,
        _of_networks(
            "NAME",
            "What networks compute in while learning: fp32, bf16, fp16, or auto: bf16 where the "
            "processor has it. Weights are kept in fp32.",
        ),
    ] = "auto",
    windows: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Images per file of --manifest: published (its centre), N spread evenly, or all.",
            rich_help_panel=drawing.PANEL,
        ),
    ] = "published",
    contract: drawing.Contract = None,
    size: drawing.Size = "224",
    clip_s: drawing.ClipS = 5.0,
    scale: drawing.Scale = "mel",
    n_fft: drawing.NFft = 2_048,
    top_db: drawing.TopDb = 80.0,
    colours: drawing.Colours = "grey",
    band_hz: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="fakeprint: band whose peaks are looked at (default: 5000,16000). resnet18: band "
            "that is drawn of --manifest (default: 20 Hz to half the rate).",
        ),
    ] = None,
    sample_rate_hz: Annotated[
        int | None,
        typer.Option(
            min=1000,
            metavar="HZ",
            help="Rate that all audio is brought to (default: 44100 for fakeprint, 16000 for "
            "resnet18).",
        ),
    ] = None,
    num_workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Decoding processes; 0 decodes in this one."),
    ] = None,
) -> None:
    """Train a detector of your own.

    resnet18 learns from folders of images; without options, from data into models/experiments.
    After Ctrl-C or a crash the same command goes on at the last whole epoch. specnn_amplitude is
    fitted on audio by its published recipe; a SpecTTTra (sonics-spectttra-…) is fine-tuned.

    fakeprint is fitted in seconds and stored without pickle; its card holds hashes of the
    training items and groups, so that exposure can be told later.
    """
    kind = detector or (FAKEPRINT if manifest and not (images or valid) else CLASSIFIER)
    if images and (manifest or kind != CLASSIFIER):
        raise UsageError(f"--images: {CLASSIFIER} learns from it, expected it alone")
    if kind == FAKEPRINT:
        learning.fit_fakeprint(
            learning.read_all(manifest, root),
            out,
            sample_rate_hz=sample_rate_hz or 44_100,
            band_hz=two_numbers("--band-hz", band_hz or "5000,16000"),
            num_workers=num_workers,
        )
        return
    course = None if kind == CLASSIFIER else learning.course_of(kind, init)
    from earwitness.training.examples import GROUP_BY, Sharing, list_images
    from earwitness.training.images import IMAGENET, NOTHING

    out = out or Path("models/experiments")
    init = init or IMAGENET
    held = int(course is None and init != NOTHING)
    plan = learning.make_plan(
        course.recipe if course else {},
        epochs=epochs,
        patience=patience,
        monitor=monitor,
        batch_size=batch_size,
        learning_rate=learning_rate,
        freeze_epochs=held if freeze_epochs is None else freeze_epochs,
        balanced=balanced,
        seed=seed,
    )
    hardware = learning.make_hardware(device, gpu, devices, precision)
    how = learning.check_folder(out, resume)
    sharing = Sharing(valid_share, group_by or GROUP_BY, seed)
    if course:
        learning.fit_on_audio(
            course,
            learning.read_all(manifest, root),
            learning.read_all(valid, root),
            out,
            plan,
            sharing=sharing,
            num_workers=num_workers,
            resume=how,
            hardware=hardware,
        )
        return
    if manifest is None:
        examples = list_images(images or Path("data"), group_by=sharing.group_by)
        learning.fetch_init(init)  # a missing file is an error before images are read
        shelves = learning.shelve_images(examples, out, sharing)
    else:
        drawn_by = drawing.contract_of(
            contract,
            size=size,
            clip_s=clip_s,
            sample_rate_hz=sample_rate_hz or 16_000,
            scale=scale,
            band_hz=band_hz,
            n_fft=n_fft,
            top_db=top_db,
            colours=colours,
        )
        sides = learning.read_all(manifest, root), learning.read_all(valid, root)
        learning.fetch_init(init)
        shelves = learning.shelve_audio(
            *sides, drawn_by, out, sharing, windows=windows_choice(windows), num_workers=num_workers
        )
    learning.tell_failures(shelves.failures)
    from earwitness.training.classifier import train_classifier

    with learning.listening(plan, len(shelves.train.examples)) as listeners:
        done = train_classifier(
            shelves,
            out,
            plan,
            init=init,
            augmented=augment,
            stem=name,
            published=published,
            resume=how,
            hardware=hardware,
            listeners=listeners,
            remark=console.remark,
        )
    learning.finish(done.trained, out)
