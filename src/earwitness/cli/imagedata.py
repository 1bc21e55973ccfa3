"""What ``earwitness train`` learns images from: folders, CSVs, or manifests that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.cli import console
from earwitness.cli.lists import comma_list
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.audio.clips import Windows
    from earwitness.core.images import SpectrogramContract
    from earwitness.core.manifest import Manifest
    from earwitness.training.classifier import Shelves
    from earwitness.training.examples import Example, Sharing
    from earwitness.training.imagesources import ImageSources

TEST_SHARE = 0.15


def read_folder(
    root: Path, real_folders: list[str] | None, fake_folders: list[str] | None, group_by: str
) -> ImageSources:
    """Find the images of a folder and say how its class folders were read."""
    from earwitness.training.imagesources import find_images

    reals, fakes = (comma_list(some) if some else [] for some in (real_folders, fake_folders))
    if both := sorted(set(reals) & set(fakes)):
        raise UsageError(f"--real-folders and --fake-folders: {both[0]!r} is in both")
    classes = dict.fromkeys(reals, 0) | dict.fromkeys(fakes, 1)
    return _noted(find_images(root, group_by=group_by, classes=classes))


def read_csvs(
    train: list[str], base: Path, valid: list[str] | None, test: list[str] | None, group_by: str
) -> ImageSources:
    """Read CSVs of images."""
    from earwitness.training.imagesources import read_image_csvs

    ours, held, tested = (
        [Path(p) for p in comma_list(some or [])] for some in (train, valid, test)
    )
    return _noted(read_image_csvs(ours, base, valid=held, test=tested, group_by=group_by))


def _noted(sources: ImageSources) -> ImageSources:
    for note in sources.notes:
        console.remark(note)
    return sources


def settle_test(examples: Sequence[Example], sharing: Sharing, *, asked: bool) -> Sharing:
    """Return how to share out: without a test where there are too few groups, unless asked for."""
    from earwitness.training.sides import hold_out_test, share_groups

    if asked or not sharing.test_share:
        return sharing
    rest, test, how = hold_out_test(examples, sharing)
    sides = (test, *share_groups(rest, how))
    if all({example.target for example in side} == {0, 1} for side in sides):
        return sharing
    console.remark("too few groups to hold some out for a test: there is none (--test-share)")
    return replace(sharing, test_share=0.0)


def shelve_images(sources: ImageSources, out: Path, sharing: Sharing, *, asked: bool) -> Shelves:
    """Read images."""
    from earwitness.training.classifier import shelve_folder

    if sources.valid is None and sources.test is None:
        sharing = settle_test(sources.examples, sharing, asked=asked)
    sides = (sources.examples, sources.valid or (), sources.test or ())
    with console.progress_bar("reading", sum(map(len, sides)), "images") as advance:
        return shelve_folder(
            sources.examples,
            sharing,
            valid=sources.valid,
            test=sources.test,
            folder=out,
            advance=advance,
        )


def shelve_audio(
    sides: tuple[list[Manifest], list[Manifest], list[Manifest]],
    contract: SpectrogramContract,
    out: Path,
    sharing: Sharing,
    *,
    asked: bool,
    windows: Windows,
    num_workers: int | None,
) -> Shelves:
    """Draw the audio of manifests.

    Args:
        sides: Manifests to learn from, to validate and to test with.
        contract: How to draw.
        out: Folder of the training.
        sharing: How groups are shared out.
        asked: Whether the share of the test was asked for.
        windows: Clips per file.
        num_workers: Decoding processes.
    """
    from earwitness.training.classifier import shelve_manifests
    from earwitness.training.examples import join_groups, list_audio

    train, valid, test = sides
    if not (valid or test):
        examples = join_groups(list_audio(train, group_by=sharing.group_by))
        sharing = settle_test(examples, sharing, asked=asked)
    n_files = len({path for m in (*train, *valid, *test) for path in m.locate_all()})
    with console.progress_bar("drawing", n_files) as advance:
        return shelve_manifests(
            train,
            valid,
            contract,
            sharing,
            test=test,
            windows=windows,
            folder=out,
            n_workers=num_workers,
            advance=advance,
        )
