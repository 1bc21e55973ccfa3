"""What must hold for every check of an audit; what a new one finds is added to ``planted``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.audit.audit import CHECKS, find_cards
from earwitness.audit.checks import AuditContext, Outcome, make_context
from earwitness.audit.features import FileFeatures
from earwitness.audit.shortcuts import MEASURES
from earwitness.audit.signal import Channel
from earwitness.core.manifest import Manifest

Rows = list[tuple[dict[str, Any], FileFeatures]]
DETECTOR = "specnn_amplitude"
N_WORDS, N_FRAMES, N_REAL, N_FAKE, N_OTHERS = 600, 80, 13, 13, 3

SILENT: Any = {name: getattr(FileFeatures(), name) for name in ("words", "chroma")}
ONLY_DESCRIBES = {"reconstructions"}
"""Results that measure how well near duplicates are found, and never flag a row."""


def sound(number: int, *, is_copy: bool = False, shift: float = 0.0) -> FileFeatures:
    """Random features of a file; those of fakes may be shifted, and copies differ in few bits."""
    rng = np.random.default_rng(number)
    words = rng.integers(1, 1 << 32, N_WORDS, dtype=np.uint32)
    noise = rng.standard_normal((N_FRAMES + 3, 12))
    chroma = sum(noise[k : k + N_FRAMES] for k in range(4)) * 16
    flips = [rng.integers(1 << 32, size=N_WORDS, dtype=np.uint32) for _ in range(3)]
    name = f"{number} {is_copy}"
    values = rng.normal(size=len(Channel._fields)) + shift
    channel = Channel(*values)._replace(bit_depth=24 if shift else 16)
    return FileFeatures(
        sha256=name,
        packets_sha256=f"packets {name}",
        samples_sha256=f"samples {name}",
        duration_s=10 + rng.normal() + shift,
        sample_rate_hz=8_000 if shift else 44_100,
        n_channels=1 if shift else 2,
        codec="mp3" if shift else "pcm_s16le",
        container="mp3" if shift else "wav",
        bit_rate_kbps=round(rng.normal(1_000, 9) + 100 * shift),
        encoder="lame" if shift else None,
        tag_fields="title" if shift else "",
        cover_art="yes" if shift else "no",
        channel=channel,
        words=words ^ (flips[0] & flips[1] & flips[2]) if is_copy else words,
        chroma=chroma.clip(-127, 127).astype(np.int8),
    )


def row(number: int, **changes: Any) -> dict[str, Any]:
    usual = {"filepath": f"{number:06d}.wav", "target": 0, "source_dataset": "FMA"}
    own = {"group_id": f"g{number}", "artist": f"a{number}", "youtube_id": f"video{number:06d}"}
    return {**usual, "split_tag": "deezer_test", "generator": None, **own, **changes}


def context_of(audited: Rows, others: Rows = [], *, columns: int | None = None) -> AuditContext:  # noqa: B006
    """The context of two sets, or of one; ``columns`` limits what the manifests have."""
    manifests = []
    for name, rows in (("eval", audited), ("train", others)):
        empty = pl.DataFrame(schema={"filepath": pl.String, "target": pl.Int64})
        frame = pl.DataFrame([one for one, _ in rows]) if rows else empty
        manifests.append(Manifest(name, frame[:, slice(columns)], (Path("/nowhere"),)))
    context = make_context(manifests[:1], manifests[1:] if others else (), find_cards([DETECTOR]))
    features = dict(
        zip(context.rows["file"], (found for _, found in [*audited, *others]), strict=True)
    )
    return replace(context, features=features)


def fake(number: int, **changes: Any) -> dict[str, Any]:
    return row(number, target=1, generator="codec", **changes)


def clean_rows() -> tuple[Rows, Rows]:
    reals: Rows = [(row(n), sound(n)) for n in range(N_REAL)]
    fakes: Rows = [(fake(n), sound(n)) for n in range(100, 100 + N_FAKE)]
    made = fake(200, filepath="200/000000.wav", group_id="g0")
    reconstruction: Rows = [(made, sound(0, is_copy=True))]
    others: Rows = [(row(n), sound(n)) for n in range(300, 300 + N_OTHERS)]
    return reals + fakes + reconstruction, others


def clean() -> AuditContext:
    """Nothing is wrong, and a reconstruction is found as its track."""
    return context_of(*clean_rows())


def planted() -> AuditContext:
    """Everything is wrong that a check can find."""
    audited: Rows = [(row(n), sound(n)) for n in range(6)]
    audited += [(row(n), replace(sound(n), **SILENT)) for n in range(6, N_REAL)]
    audited += [
        (fake(n, source_dataset="B", filepath=f"{n}.mp3"), replace(sound(n, shift=50), **SILENT))
        for n in range(100, 185)
    ]
    _, others = clean_rows()
    version = replace(sound(500), chroma=sound(301).chroma)
    audited += [
        (row(400, filepath="000300.wav"), sound(300)),  # path, name, bytes, packets, samples
        (row(401, filepath="000001.wav"), sound(1)),
        (row(402, filepath="mine/000302.wav"), sound(402)),  # track
        (row(403, filepath="mine/000002.wav"), sound(403)),
        (row(404, artist="A301"), sound(404)),
        (row(405, youtube_id="video000301"), sound(405)),
        (row(406, youtube_id="video000003"), sound(406)),
        (row(407, group_id="g301"), sound(407)),
        (row(408, split_tag="deezer_train"), sound(408)),
        (row(409), sound(302, is_copy=True)),
        (row(410), sound(4, is_copy=True)),
        (row(411), version),
        (row(412), replace(sound(501), chroma=sound(5).chroma)),
        (row(413), FileFeatures(error="no such file")),
    ]
    return context_of(audited, others)


def one_class() -> AuditContext:
    return context_of([(row(n), sound(n)) for n in range(4)], clean_rows()[1])


def few_rows() -> Rows:
    return [(row(n) if n % 2 else fake(n), sound(n)) for n in range(8)]


def alone() -> AuditContext:
    return context_of(few_rows())


def unreadable() -> AuditContext:
    lost = FileFeatures(error="no such file")
    audited: Rows = [(row(n, target=n % 2), lost) for n in range(4)]
    return context_of(audited, [(row(9), lost)])


def bare() -> AuditContext:
    return context_of(few_rows(), clean_rows()[1], columns=2)


def empty() -> AuditContext:
    return context_of([], clean_rows()[1])


def few() -> AuditContext:
    return context_of([(row(0), sound(0)), (fake(1), sound(1))])


CONTEXTS = (clean, planted, one_class, alone, unreadable, bare, empty, few)


@cache
def run(make: Callable[[], AuditContext], check: str) -> list[Outcome]:
    return CHECKS.load(check)(context_of_maker(make))


@cache
def context_of_maker(make: Callable[[], AuditContext]) -> AuditContext:
    return make()


@pytest.mark.parametrize("make", CONTEXTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("check", [*CHECKS])
def test_a_check_gives_a_verdict_whatever_it_is_given(
    check: str, make: Callable[[], AuditContext]
) -> None:
    context, outcomes = context_of_maker(make), run(make, check)
    assert outcomes
    n_rows = context.audited_rows.height
    for result, findings, links in outcomes:
        assert result.detail
        assert "\n" not in result.detail
        assert result.n_rows <= result.n_checked <= n_rows
        assert result.n_checked + result.n_unchecked <= n_rows
        assert (result.verdict == "finding") <= bool(result.advice)
        assert {finding.check for finding in findings} <= {result.name}
        assert {finding.manifest for finding in findings} <= {"eval"}
        assert {link.manifest for link in links} <= {"eval"}
        if result.scope == "across" and not context.has_others:
            assert result.verdict == "not checked"


@pytest.mark.parametrize("check", [*CHECKS])
@pytest.mark.parametrize(
    ("make", "verdict"),
    [(planted, "finding"), (clean, "pass"), (empty, "not checked")],
    ids=["finding", "pass", "not checked"],
)
def test_a_check_can_give_every_verdict(
    check: str, make: Callable[[], AuditContext], verdict: str
) -> None:
    for outcome in run(make, check):
        if outcome.result.name not in ONLY_DESCRIBES or verdict != "finding":
            assert outcome.result.verdict == verdict, outcome.result


def test_results_have_names_of_their_own() -> None:
    names = [outcome.result.name for check in CHECKS for outcome in run(clean, check)]
    assert len(set(names)) == len(names)
    assert {f"alone_{measure.name}" for measure in MEASURES} <= set(names)
