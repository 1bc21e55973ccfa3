"""CSVs of images, as the published pipeline writes them: ``img_path,actual_output``.

Conventions: ``img_path`` is relative to a base folder, which it must not leave; backslashes are
taken for slashes where nothing of that name exists. Labels are names or numbers of either class.
"""

from __future__ import annotations

import os
from pathlib import Path

from earwitness.core.errors import DatasetError
from earwitness.core.files import missing
from earwitness.core.labels import PUBLISHED_NAMES, parse_label
from earwitness.core.rawcsv import RawCsv, read_raw_csv

PATH, TRUTH, GROUP = "img_path", "actual_output", "group_id"
_KNOWN = (TRUTH, GROUP, "split_tag", "split", "generator")


def read_image_csv(path: Path) -> RawCsv:
    """Read a CSV that has ``img_path``.

    Raises:
        DatasetError: It is missing, cannot be read, or has no such column.
    """
    if not path.is_file():
        raise DatasetError(f"{missing(path)}; expected a CSV with {PATH}")
    return read_raw_csv(path, needed=PATH, known=_KNOWN)


def locate_image(base: Path, text: str) -> Path | str:
    """Return the path of a row's image, or why it must not be opened."""
    if not text.strip():
        return f"no {PATH}"
    top = os.path.abspath(base)  # noqa: PTH100 - links are followed where they lead
    there = os.path.normpath(os.path.join(top, text))  # noqa: PTH118 - a name may be no valid Path
    if "\\" in text and not os.path.lexists(there):
        there = os.path.normpath(os.path.join(top, text.replace("\\", "/")))  # noqa: PTH118
    if os.path.commonpath([top, there]) != top:
        return "lies outside of the base folder"
    return Path(there)


def read_targets(csv: RawCsv) -> list[int | None]:
    """Return the label of each row, ``None`` where it has none.

    Raises:
        DatasetError: A label stands for neither class.
    """
    if TRUTH not in csv:
        return [None] * len(csv.rows)
    targets = [parse_label(text) if text.strip() else None for text in csv.values(TRUTH)]
    unknown = [
        (row.line, text)
        for row, text, target in zip(csv.rows, csv.values(TRUTH), targets, strict=True)
        if text.strip() and target is None
    ]
    if unknown:
        line, text = unknown[0]
        others = f" (and {len(unknown) - 1} more rows)" if unknown[1:] else ""
        raise DatasetError(
            f"{csv.path}:{line}: {TRUTH} {text!r}, expected {' or '.join(PUBLISHED_NAMES)} or the "
            f"like{others}"
        )
    return targets
