"""Training examples and their splits.

Conventions: a group (a track with its windows and reconstructions) is never on two sides of a
split. Without a ``group_id``, the group of a file is what ``--group-by`` matches in its path.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness.core.errors import DatasetError, UsageError
from earwitness.core.io import compose
from earwitness.core.manifest import Manifest, distinct_rows
from earwitness.splits.grouping import corpus_of, link_rows, track_of

GROUP_BY = r"([^/]+?)(__[^/]*)?\.[^/.]+$"
"""The file's name up to ``__``, without its suffix."""
CLASSES = ("original", "deepfake")
"""Names of the classes, by number."""


@dataclass(frozen=True)
class Example:
    """A training, validation or test file; its group holds dependent examples."""

    name: str
    path: Path
    target: int
    group: str
    generator: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class SplitConfig:
    """How examples are split; shares are of the groups, ``group_by`` finds the group in a path."""

    valid_share: float = 0.2
    group_by: str = GROUP_BY
    seed: int = 0
    test_share: float = 0.0


def list_audio(manifests: Sequence[Manifest], *, group_by: str = GROUP_BY) -> list[Example]:
    """Return the distinct files of manifests; ``ManifestError`` if a file has both labels."""
    find = GroupFinder(group_by)
    examples = []
    for path, row in distinct_rows(manifests).items():
        name = str(row["filepath"])
        group = row.get("group_id") or find(name)
        examples.append(make_example(name, path, int(row["target"]), group, row))
    return examples


def make_example(
    name: str, path: Path, target: int, group: object, row: Mapping[str, object]
) -> Example:
    """Return an example with the metadata of a manifest's row."""
    parts = [row.get("source_dataset"), row.get("split_tag")]
    origin = " ".join(str(part) for part in parts if part) or None
    generator = row.get("generator")
    return Example(name, path, target, str(group), str(generator) if generator else None, origin)


class GroupFinder:
    """Finds the group in a path: the first group of a regular expression, else the whole match."""

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


def join_groups(examples: Sequence[Example]) -> list[Example]:
    """Return the examples with groups merged that share a group name, a file or a track."""
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


def check_splits(train: Sequence[Example], other: Sequence[Example], name: str = "valid") -> None:
    """Raise ``DatasetError`` if a split lacks a class or a group is in both."""
    check_classes("train", train)
    check_classes(name, other)
    shared = {e.group for e in train} & {e.group for e in other}
    if shared:
        raise DatasetError(
            f"{len(shared)} groups are in train and in {name} (as {min(shared)}), expected none"
        )


def check_classes(split: str, examples: Sequence[Example]) -> None:
    """Raise ``DatasetError`` if a split lacks a class."""
    lacking = {0, 1} - {example.target for example in examples}
    if lacking:
        raise DatasetError(
            f"no {CLASSES[min(lacking)]} among the {len(examples)} examples of {split}, expected "
            "both classes (several groups of each)"
        )


def fingerprint(examples: Iterable[Example]) -> str:
    """Return the SHA-256 of the names, classes, groups and file sizes of examples."""
    digest = hashlib.sha256()
    for one in examples:
        n_bytes = one.path.stat().st_size if one.path.is_file() else -1
        digest.update(f"{one.name}\0{one.target}\0{one.group}\0{n_bytes}\n".encode())
    return digest.hexdigest()


def split_frame(
    train: Sequence[Example], valid: Sequence[Example], test: Sequence[Example] = ()
) -> pl.DataFrame:
    """Return the table of ``split.csv``."""
    rows = [
        (e.name, e.target, split, e.generator, e.group)
        for split, examples in (("train", train), ("valid", valid), ("test", test))
        for e in examples
    ]
    columns = ("filepath", "target", "split_tag", "generator", "group_id")
    types = dict.fromkeys(columns, pl.String) | {"target": pl.Int8}
    return pl.DataFrame(rows, schema=types, orient="row")


def split_groups(
    examples: Sequence[Example], config: SplitConfig
) -> tuple[list[Example], list[Example]]:
    """Return the training and the validation examples."""
    return _hold_out(examples, config.valid_share, f"{config.seed}\0valid")


def hold_out_test(
    examples: Sequence[Example], config: SplitConfig
) -> tuple[list[Example], list[Example], SplitConfig]:
    """Return the remaining examples, the test examples, and how to split the former."""
    rest, test = _hold_out(examples, config.test_share, f"{config.seed}\0test")
    share = config.valid_share / (1 - config.test_share)
    return rest, test, replace(config, valid_share=share, test_share=0.0)


def _hold_out(
    examples: Sequence[Example], share: float, salt: str
) -> tuple[list[Example], list[Example]]:
    """Hold out about a share of the groups of each kind (its set of classes and generators)."""
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


def list_splits(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    config: SplitConfig,
    test: Sequence[Manifest] = (),
) -> tuple[list[Example], list[Example], list[Example]]:
    """Return the training, validation and test files of manifests.

    Splits without manifests are held out of ``train``; a test only if ``valid`` is, too.
    ``DatasetError`` if a split lacks a class or a group is in two.
    """
    listed = [list_audio(some, group_by=config.group_by) for some in (train, valid, test)]
    joined = iter(join_groups([one for split in listed for one in split]))
    examples, held, tested = ([next(joined) for _ in split] for split in listed)
    if not (valid or test) and config.test_share:
        examples, tested, config = hold_out_test(examples, config)
    if not valid:
        examples, held = split_groups(examples, config)
    check_splits(examples, held)
    if tested:
        check_splits(examples, tested, "test")
        check_splits(held, tested, "test")
    return examples, held, tested


def check_examples(
    train: Sequence[Example], valid: Sequence[Example], test: Sequence[Example] = ()
) -> Iterator[str]:
    """Yield splits with imbalanced classes or few groups."""
    few_groups = 10
    for split, examples in (("train", train), ("valid", valid), ("test", test)):
        if not examples:
            continue
        n = Counter(example.target for example in examples)
        if max(n[0], n[1]) > 3 * min(n[0], n[1]):
            yield (
                f"classes are imbalanced in {split}: {n[0]} original, {n[1]} deepfake; classes are "
                "sampled and weighted equally"
            )
        groups = {c: {e.group for e in examples if e.target == c} for c in (0, 1)}
        few = [CLASSES[c] for c in (0, 1) if len(groups[c]) < few_groups]
        if few:
            yield f"fewer than {few_groups} groups in {split} for {' and '.join(few)}"
