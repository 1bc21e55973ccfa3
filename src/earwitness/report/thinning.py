"""Fewer points of long curves, evenly spread, including the first and the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def _spread(n: int, n_max: int) -> list[int]:
    """Return evenly spread indices, including the first and the last."""
    if n <= n_max:
        return list(range(n))
    return sorted({round(step * (n - 1) / (n_max - 1)) for step in range(n_max)})


def keep_some(tooltips: Sequence[str]) -> list[str]:
    """Return tooltips, most of them emptied."""
    kept = set(_spread(len(tooltips), 48))
    return [text if at in kept else "" for at, text in enumerate(tooltips)]


def thin(points: Sequence[T], n_max: int = 40) -> list[T]:
    """Return at most ``n_max`` points."""
    return [points[at] for at in _spread(len(points), n_max)]
