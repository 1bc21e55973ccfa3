"""What is trained on: one row an example, from folders of images or from manifests.

Conventions: a group (a track with its windows and reconstructions) is never shared out over both
sides of a split. Without a ``group_id`` the group of a file is what ``--group-by`` finds in its
path, by default the name up to ``__``, as ``earwitness render`` names images.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness.core.errors import DatasetError, ManifestError, UsageError
from earwitness.core.io import compose
from earwitness.core.manifest import Manifest
from earwitness.splits.grouping import corpus_of, link_rows, track_of
from earwitness.splits.manifests import read_manifest

GROUP_BY = r"([^/]+?)(__[^/]*)?\.[^/.]+$"
"""The file's name up to ``__``, without its suffix."""
SIDES = ("original", "deepfake")
"""Folders of either class, by its number."""

_TOLD = ("generator", "group_id", "source_dataset", "split_tag")


@dataclass(frozen=True)
class Example:
    """One file that is trained on or validated with.

    Attributes:
        name: What it is called in tables.
        path: Where it lies.
        target: 0 for real, 1 for fake.
        group: What it is not independent of.
        generator: What made a fake, where that is known.
        origin: Data set and split it is from, where that is known.
    """

    name: str
    path: Path
    target: int
    group: str
    generator: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class SplitConfig:
    """How examples are shared out over training, validation and test.

    Attributes:
        valid_share: About which share of the groups goes to validation.
        group_by: What of a path names its group, where nothing else does.
        seed: Of the draw.
        test_share: About which share of the groups is held out for a test.
    """

    valid_share: float = 0.2
    group_by: str = GROUP_BY
    seed: int = 0
    test_share: float = 0.0


def list_audio(manifests: Sequence[Manifest], *, group_by: str = GROUP_BY) -> list[Example]:
    """Return the files of manifests, each once.

    Raises:
        ManifestError: A file carries both labels.
        UsageError: ``group_by`` is no regular expression, or finds nothing in a path.
    """
    find = GroupFinder(group_by)
    examples: dict[Path, Example] = {}
    for manifest in manifests:
        located = manifest.locate_all()
        for path, row in zip(located, manifest.frame.iter_rows(named=True), strict=True):
            name, target = str(row["filepath"]), int(row["target"])
            group = row.get("group_id") or find(name)
            one = examples.setdefault(path, make_example(name, path, target, group, row))
            if one.target != target:
                raise ManifestError(f"{path}: real in one manifest and fake in another")
    return list(examples.values())


def join_groups(examples: Sequence[Example]) -> list[Example]:
    """Return the examples, with one group for what shares a group, a file or a track.

    Manifests may name a track differently, or one of them not at all; links lead to one file.
    """
    if not examples:
        return []
    names = [compose(one.group) for one in examples]
    stems = ((corpus_of(e.origin), compose(e.path.stem), e.target) for e in examples)
    keys = {
        "group": pl.Series(names),
        "file": pl.Series([os.path.realpath(one.path) for one in examples]),
        "track": pl.Series([track_of(*stem) for stem in stems], dtype=pl.String),
    }
    linked = link_rows(keys).tolist()
    least = dict(sorted(zip(linked, names, strict=True), reverse=True))
    return [replace(e, group=least[n]) for e, n in zip(examples, linked, strict=True)]


def check_sides(train: Sequence[Example], valid: Sequence[Example], second: str = "valid") -> None:
    """Check that both sides have both classes and that no group is on both.

    Args:
        train: Examples to learn from.
        valid: Examples of another side.
        second: What that side is called.

    Raises:
        DatasetError: They do not.
    """
    for side, examples in (("train", train), (second, valid)):
        check_classes(side, examples)
    shared = {e.group for e in train} & {e.group for e in valid}
    if shared:
        raise DatasetError(
            f"{len(shared)} groups stand in train and in {second} (as {min(shared)}), expected none"
        )


def check_classes(side: str, examples: Sequence[Example]) -> None:
    """Check that a side has both classes.

    Raises:
        DatasetError: It does not.
    """
    lacking = {0, 1} - {example.target for example in examples}
    if lacking:
        raise DatasetError(
            f"no {SIDES[min(lacking)]} among the {len(examples)} examples to {side} with, expected "
            "both classes (several groups of each)"
        )


def fingerprint(examples: Iterable[Example]) -> str:
    """Return the SHA-256 of what examples are called, their classes, groups and sizes on disk."""
    digest = hashlib.sha256()
    for one in examples:
        n_bytes = one.path.stat().st_size if one.path.is_file() else -1
        digest.update(f"{one.name}\0{one.target}\0{one.group}\0{n_bytes}\n".encode())
    return digest.hexdigest()


def split_frame(
    train: Sequence[Example], valid: Sequence[Example], test: Sequence[Example] = ()
) -> pl.DataFrame:
    """Return which example is on which side."""
    rows = [
        (e.name, e.target, side, e.generator, e.group)
        for side, examples in (("train", train), ("valid", valid), ("test", test))
        for e in examples
    ]
    columns = ("filepath", "target", "split_tag", "generator", "group_id")
    types = dict.fromkeys(columns, pl.String) | {"target": pl.Int8}
    return pl.DataFrame(rows, schema=types, orient="row")


def make_example(
    name: str, path: Path, target: int, group: object, row: Mapping[str, object]
) -> Example:
    """Return an example with what a manifest's row says of it."""
    parts = [row.get("source_dataset"), row.get("split_tag")]
    origin = " ".join(str(part) for part in parts if part) or None
    generator = row.get("generator")
    return Example(name, path, target, str(group), str(generator) if generator else None, origin)


def read_origins(path: Path) -> dict[str, dict[str, object]]:
    """Return what a manifest says of files beyond their class; nothing where it is not there."""
    if not path.is_file():
        return {}
    frame = read_manifest(path).frame
    kept = frame.select("filepath", *(c for c in _TOLD if c in frame.columns))
    return {row.pop("filepath"): row for row in kept.iter_rows(named=True)}


class GroupFinder:
    """Finds the group in a path.

    Args:
        pattern: A regular expression; its first group counts, else all that it matches.

    Raises:
        UsageError: It is none; when called, it finds nothing in a path.
    """

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--group-by {pattern!r}: {error}") from None

    def __call__(self, name: str) -> str:
        """Return the group of a path."""
        found = self._pattern.search(name)
        if found is None:
            raise UsageError(f"--group-by {self._pattern.pattern!r}: finds nothing in {name!r}")
        return found[1] if found.re.groups else found[0]


def share_groups(
    examples: Sequence[Example], sharing: SplitConfig
) -> tuple[list[Example], list[Example]]:
    """Return the examples to train and to validate with.

    Args:
        examples: All of them.
        sharing: How.
    """
    return _hold_out(examples, sharing.valid_share, f"{sharing.seed}\0valid")


def hold_out_test(
    examples: Sequence[Example], sharing: SplitConfig
) -> tuple[list[Example], list[Example], SplitConfig]:
    """Return the examples to learn from, those held out for a test, and how to share the former.

    Args:
        examples: All of them.
        sharing: How; both of its shares are of all examples.
    """
    rest, test = _hold_out(examples, sharing.test_share, f"{sharing.seed}\0test")
    share = sharing.valid_share / (1 - sharing.test_share)
    return rest, test, replace(sharing, valid_share=share, test_share=0.0)


def _hold_out(
    examples: Sequence[Example], share: float, salt: str
) -> tuple[list[Example], list[Example]]:
    """Return the examples of most groups, and those of about this share of the groups."""
    kinds: dict[str, set[tuple[int, str]]] = {}
    for one in examples:
        kinds.setdefault(one.group, set()).add((one.target, one.generator or ""))
    strata: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for group in sorted(kinds, key=lambda group: _rank(salt, group)):
        strata.setdefault(tuple(sorted(kinds[group])), []).append(group)
    held: set[str] = set()
    seen = 0
    for _, groups in sorted(strata.items()):
        before = round(seen * share)
        seen += len(groups)
        held.update(groups[: round(seen * share) - before])
    rest = [one for one in examples if one.group not in held]
    return rest, [one for one in examples if one.group in held]


def _rank(salt: str, group: str) -> bytes:
    return hashlib.blake2b(f"{salt}\0{group}".encode(), digest_size=8).digest()


def list_sides(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    sharing: SplitConfig,
    test: Sequence[Manifest] = (),
) -> tuple[list[Example], list[Example], list[Example]]:
    """Return the files to learn from, to validate and to test with.

    Without ``valid`` groups are shared out; without ``test`` as well, some are held out for it
    where ``sharing`` says so.

    Raises:
        DatasetError: A class is missing on a side, or a group is on two.
        ManifestError: A file carries both labels.
        UsageError: ``sharing.group_by`` cannot be used.
    """
    listed = [list_audio(some, group_by=sharing.group_by) for some in (train, valid, test)]
    joined = iter(join_groups([one for side in listed for one in side]))
    examples, held, tested = ([next(joined) for _ in side] for side in listed)
    if not (valid or test) and sharing.test_share:
        examples, tested, sharing = hold_out_test(examples, sharing)
    if not valid:
        examples, held = share_groups(examples, sharing)
    check_sides(examples, held)
    if tested:
        check_sides(examples, tested, "test")
        check_sides(held, tested, "test")
    return examples, held, tested
