"""The published evaluation sections: accuracy over all items, per encoder, and on reals.

Conventions: a section with no scored item is left out; rows with an error are not counted; the
encoder of a fake is its ``generator``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.predictions import ENCODER_PREFIX, Predictions, encoder_columns
from earwitness.core.registry import nearest

SECTIONS = ("all", "encoder", "real")


def section_accuracies(
    predictions: Predictions, sections: Collection[str] = SECTIONS
) -> dict[str, dict[str, Any]]:
    """Return accuracy by section: ``all``, each encoder's name, ``real``.

    Args:
        predictions: Rows of one detector.
        sections: Which of ``SECTIONS`` to give.

    Returns:
        Section → ``n``, ``accuracy`` and, where the detector has an encoder head that knows the
        section's class, ``encoder_accuracy``: how often that class is its first choice.

    Raises:
        UsageError: An unknown section.
    """
    check_sections(sections)
    scored = predictions.frame.filter(pl.col("pred_label").is_not_null())
    fake = pl.col("target") == 1
    parts: dict[str, pl.DataFrame] = {"all": scored} if "all" in sections else {}
    if "encoder" in sections and "generator" in scored.columns:
        for (name,), rows in (
            scored.filter(fake).sort("generator").group_by("generator", maintain_order=True)
        ):
            parts[f"encoder {name}" if name in SECTIONS else str(name or "unknown")] = rows
    if "real" in sections:
        parts["real"] = scored.filter(~fake)
    return {name: _accuracy(name, rows) for name, rows in parts.items() if rows.height}


def has_encoders(predictions: Predictions) -> bool:
    """Whether any fake says by its ``generator`` which encoder made it."""
    frame = predictions.frame
    fakes = frame.filter(pl.col("target") == 1)
    return fakes.is_empty() or ("generator" in frame.columns and fakes["generator"].count() > 0)


def check_sections(sections: Collection[str]) -> None:
    """Check the names of sections.

    Raises:
        UsageError: An unknown section.
    """
    for section in sections:
        if section not in SECTIONS:
            hint = nearest(section, list(SECTIONS))
            known = ", ".join(SECTIONS)
            raise UsageError(f"--eval-sections: {section!r}, expected some of {known}{hint}")


def _accuracy(name: str, rows: pl.DataFrame) -> dict[str, Any]:
    right = (rows["pred_label"] == rows["target"]).sum()
    section: dict[str, Any] = {"n": rows.height, "accuracy": right / rows.height}
    heads = encoder_columns(rows.columns)
    if ENCODER_PREFIX + name in heads:
        first = rows.select(pl.concat_list(heads).list.arg_max().alias("first"))["first"]
        hits = (first == heads.index(ENCODER_PREFIX + name)).sum()
        section["encoder_accuracy"] = hits / rows.height
    return section
