"""Segments of an item: which parts of a file were generated.

Conventions: times are seconds from the start of the file; label 0 is real, 1 is fake. The column
``segments`` of a manifest holds them as JSON, ``[{"start_s": 0, "end_s": 9.5, "label": 1}]``; what
no segment covers has the item's own label, and an empty cell means the whole file has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

SEGMENTS = "segments"
"""Name of the column."""


class Segment(BaseModel):
    """A part of a file with a label of its own.

    Attributes:
        start_s: Start in seconds.
        end_s: End in seconds.
        label: 0 (real) or 1 (fake).
        part: Stem it is about ("vocals", "accompaniment"); ``None`` for the mix.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    start_s: float = Field(ge=0)
    end_s: float
    label: Literal[0, 1]
    part: str | None = None

    @model_validator(mode="after")
    def _has_length(self) -> Segment:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g}, expected over start_s {self.start_s:g}")
        return self


_SEGMENTS = TypeAdapter(tuple[Segment, ...])


def format_segments(segments: Iterable[Segment]) -> str:
    """Return segments as text for a cell, without empty fields."""
    return _SEGMENTS.dump_json(tuple(segments), exclude_none=True).decode()


def parse_segments(text: str) -> tuple[Segment, ...]:
    """Return the segments of a cell, sorted by start; ``ValueError`` in one line if invalid."""
    from earwitness.core.io import first_problem

    try:
        found = _SEGMENTS.validate_json(text)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None
    return tuple(sorted(found, key=lambda segment: (segment.start_s, segment.end_s)))
