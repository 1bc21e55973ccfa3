"""Checks of a dataset's folder: everything that is missing or broken, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from earwitness.audio.decode import probe_audio
from earwitness.core.errors import AudioError
from earwitness.datasets.catalog import LAYOUTS, Catalog, Layout
from earwitness.splits.build import SplitOptions
from earwitness.splits.catalogs import open_catalog


class Problem(NamedTuple):
    """A file that is missing, left out, of no layout, or broken.

    Attributes:
        kind: "missing" (listed, no such file, or a table that does not exist), "left out" (found,
            but no item), "unlisted" (not named by the layout) or "broken" (cannot be decoded).
        name: Its name in the layout or path.
        reason: Why.
    """

    kind: Literal["missing", "left out", "unlisted", "broken"]
    name: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """What a dataset's folder contains and lacks."""

    catalog: Catalog
    problems: tuple[Problem, ...]


def check_dataset(
    name: str,
    folder: Path,
    *,
    probe: bool = True,
    on_start: Callable[[int], Callable[[bool], None]] = lambda _: lambda _: None,
) -> Checked:
    """Return all problems of a dataset's folder.

    Args:
        name: Registered name of the dataset.
        folder: Its folder.
        probe: Whether to open every audio file.
        on_start: Called with the number of files to open; returns a function that is called after
            each with whether it can be decoded.

    Raises:
        DatasetError: The folder is missing or is not that of this dataset.
    """
    layout: Layout = LAYOUTS.load(name)
    wanted = {0: 0, 1: 0} | dict.fromkeys(layout.classes, 1)
    options = SplitOptions(train_check=False)
    catalog = open_catalog(name, layout, folder, wanted, options, allow_missing=True)
    problems = [*_absent(catalog)]
    if probe:
        paths = catalog.frame["filepath"].to_list()
        if catalog.prepare is not None:
            catalog.prepare(paths)
        problems += _broken(paths, on_start(len(paths)))
    return Checked(catalog, tuple(problems))


def _absent(catalog: Catalog) -> Iterable[Problem]:
    for line in catalog.looked_at:
        if line.endswith(": no such file"):
            yield Problem("missing", line.removesuffix(": no such file"), "no such file")
    for omission in catalog.omitted:
        kind: Literal["missing", "left out"] = "left out"
        if omission.reason == "no such file":
            kind = "missing"
        yield Problem(kind, omission.name, omission.reason)
    for path in catalog.unlisted:
        yield Problem("unlisted", path, "not in the layout")


def _broken(paths: Iterable[str], advance: Callable[[bool], None]) -> Iterable[Problem]:
    for path in paths:
        problem = None
        try:
            probe_audio(path)
        except AudioError as error:
            problem = Problem("broken", path, error.reason)
        advance(problem is None)
        if problem is not None:
            yield problem
