"""AI-OpenBMAT: minutes of television sound with human-made or generated music.

Layout::

    AI-OpenBMAT/human/<pair>.{wav,json}
    AI-OpenBMAT/ai/<pair>_ai.{wav,json}

Each JSON file lists consecutive ``segments`` with a ``duration`` and their ``sources`` (``type``
music or speech). In ``ai`` the music is by Suno v3.5, so a minute is fake where it has music; one
without music has nothing generated and is left out. Crossfades make the durations add up to a
little more than a minute: the last segments are cut there.

Convention: the group is the pair, which shares speech and structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from earwitness.core.errors import DatasetError
from earwitness.core.io import read_model
from earwitness.core.segments import SEGMENTS, Segment, format_segments
from earwitness.datasets.catalog import Catalog, Omission
from earwitness.datasets.readers import ItemList, Rule, read_files

RULES = (
    Rule(r"human/(?P<piece>[^/]+)\.wav", target=0),
    Rule(r"ai/(?P<piece>[^/]+?)_ai\.wav", target=1, generator="suno-v3.5"),
)


class _Source(BaseModel):
    type: str


class _Part(BaseModel):
    duration: float = Field(gt=0, allow_inf_nan=False)
    sources: tuple[_Source, ...]

    @property
    def has_music(self) -> bool:
        return any(source.type == "music" for source in self.sources)


class _Minute(BaseModel):
    duration: float = Field(gt=0, allow_inf_nan=False)
    segments: tuple[_Part, ...]


def catalog_openbmat(source: str, root: Path) -> Catalog:
    """Return the catalog of all minutes with music; fakes have ``segments``.

    Raises:
        DatasetError: ``root`` is no folder or has no such files.
    """

    def complete(items: ItemList, path: str, row: dict[str, Any]) -> None:
        described = root / Path(path).with_suffix(".json")
        expected = "a minute's segments with duration and sources"
        try:
            minute = read_model(described, _Minute, error=DatasetError, expected=expected)
        except DatasetError as error:
            items.omitted.append(Omission(row["target"], path, str(error)))
            return
        if not any(part.has_music for part in minute.segments):
            items.omitted.append(Omission(row["target"], path, "no music in it"))
            return
        is_fake = row["target"] == 1
        segments = format_segments(_segments(minute)) if is_fake else None
        items.add(path, row | {"duration_s": minute.duration, SEGMENTS: segments})

    return read_files(source, root, RULES, add=complete)


def _segments(minute: _Minute) -> Sequence[Segment]:
    """Return the parts of a minute with generated music, which are fake, and the others."""
    ends = [min(end, minute.duration) for end in accumulate(p.duration for p in minute.segments)]
    spans = zip([0.0, *ends[:-1]], ends, minute.segments, strict=True)
    return [
        Segment(start_s=start, end_s=end, label=1 if part.has_music else 0)
        for start, end, part in spans
        if end > start
    ]
