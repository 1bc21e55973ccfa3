"""Rows whose own rate is below the band that a detector looks at."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import JsonValue

from earwitness.auditing.outcomes import Subject, conclude, not_checked
from earwitness.auditing.scene import Outcome, Scene
from earwitness.core.audits import Finding
from earwitness.core.cards import DetectorCard

_ADVICE = (
    "report these rows apart or drop them: part of what the detector looks at is not there, and "
    "where one class lacks it, that alone tells"
)
_NAMES = ("real", "fake")


def check_band(scene: Scene) -> list[Outcome]:
    """Compare every file's rate with the band of every detector."""
    if not scene.cards:
        subject = Subject("band", "rates below the band of a detector", "shortcuts", _ADVICE)
        n = scene.audited_rows.height
        return [not_checked(subject, "no detector was named (--detector)", n_unchecked=n)]
    return [_check_card(scene, card) for card in scene.cards]


def _check_card(scene: Scene, card: DetectorCard) -> Outcome:
    title = f"rates below the band of {card.name}"
    subject = Subject(f"band_{card.name}", title, "shortcuts", _ADVICE)
    rows = [
        (row, rate)
        for row in scene.audited_rows.iter_rows(named=True)
        if (rate := scene.sounds[row["file"]].sample_rate_hz) is not None
    ]
    n_unchecked = scene.audited_rows.height - len(rows)
    if not rows:
        return not_checked(subject, "no file could be heard", n_unchecked=n_unchecked)
    top_hz = card.band_hz[1]
    below = [(row, rate) for row, rate in rows if rate < 2 * top_hz]
    counts = Counter(_NAMES[row["target"]] for row, _ in below)
    of = Counter(_NAMES[row["target"]] for row, _ in rows)
    told = ", ".join(f"{counts[name]} of {of[name]} {name}" for name in _NAMES if of[name])
    figures: dict[str, JsonValue] = {"top_hz": top_hz, **{f"n_{n}": counts[n] for n in _NAMES}}
    return conclude(
        subject,
        [_finding(scene, subject, card, row, rate) for row, rate in below],
        n_checked=len(rows),
        n_unchecked=n_unchecked,
        detail=told if below else "",
        figures=figures,
    )


def _finding(
    scene: Scene, subject: Subject, card: DetectorCard, row: dict[str, Any], rate_hz: int
) -> Finding:
    top_hz = card.band_hz[1]
    return Finding(
        check=subject.name,
        manifest=scene.manifests[row["set"]].name,
        row=row["row"],
        filepath=row["filepath"],
        target=row["target"],
        relation="shortcut",
        detail=f"{rate_hz} Hz ends at {rate_hz / 2:g} Hz, {card.name} looks up to {top_hz:g} Hz",
        drop=False,
    )
