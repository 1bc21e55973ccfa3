"""Versions by faiss: the same pairs as by hashed windows, and the faint ones that these miss."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.audit.near_duplicates import neighbours, versions
from earwitness.audit.near_duplicates.alignment import UNCHANGED, VARIANTS, vary
from earwitness.audit.near_duplicates.index import InvertedIndex, stack
from earwitness.audit.near_duplicates.neighbours import choose_lookup, describe_missing
from earwitness.audit.scratch import FEWEST_BYTES, Scratch
from earwitness.core.errors import UsageError

EMPTY = np.zeros((0, 12), dtype=np.int8)


def random_chroma(seed: int, n: int) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).standard_normal((n + 3, 12))
    return (sum(noise[k : k + n] for k in range(4)) * 16).clip(-127, 127).astype(np.int8)


@pytest.fixture
def music(monkeypatch: pytest.MonkeyPatch) -> InvertedIndex:
    """60 recordings, silence, and versions: of 3 from its sixth second, of 5 slower, of 7 short."""
    pytest.importorskip("faiss", reason="faiss is not installed (earwitness[faiss])")
    monkeypatch.setattr(versions, "ALL_PAIRS", 0.0)
    recordings = [random_chroma(seed, 240) for seed in range(60)]
    later = recordings[3][48:208] * 0.8 + random_chroma(99, 160) * 0.6
    slower, _ = vary(recordings[5], VARIANTS[2])
    short = recordings[7][64:116]
    made = [later.clip(-127, 127).astype(np.int8), slower, short]
    return stack([*recordings, np.zeros_like(recordings[0]), *made], empty=EMPTY)


@pytest.mark.parametrize("share", [1 << 28, 16_000])
def test_planted_versions_are_found_in_any_number_of_parts(
    music: InvertedIndex, share: int, tmp_path: Path
) -> None:
    scratch = Scratch(FEWEST_BYTES, tmp_path)
    n_parts = len(list(neighbours.split_recordings(music, scratch)))
    scratch.share = share
    assert n_parts == 1 <= len(list(neighbours.split_recordings(music, scratch)))
    found = versions.find_versions(
        music, music, same=True, least=9, scratch=scratch, lookup="faiss"
    )
    assert list(zip(found.matches.one, found.matches.other, strict=True)) == [(3, 61), (7, 63)]
    assert found.matches.offset_s == pytest.approx(np.array([48, 64]) * 688 / 5_500)


def test_changed_versions_are_found(music: InvertedIndex) -> None:
    variants = (UNCHANGED, VARIANTS[2])
    found = versions.find_versions(
        music, music, same=True, least=9, variants=variants, lookup="faiss"
    )
    pairs = zip(found.matches.one, found.matches.other, found.variant, strict=True)
    assert list(pairs) == [(3, 61, 0), (5, 62, 1), (7, 63, 0)]


def test_many_windows_are_looked_up_by_faiss_if_it_is_installed(
    music: InvertedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (choose_lookup(music), describe_missing(music)) == ("hash", "")
    monkeypatch.setattr(neighbours, "MOST_HASHED", 100)
    assert (choose_lookup(music), describe_missing(music)) == ("faiss", "")


def test_without_faiss_many_windows_are_hashed_and_a_note_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    monkeypatch.setattr(neighbours, "MOST_HASHED", 10)
    monkeypatch.setattr(versions, "ALL_PAIRS", 0.0)
    music = stack([random_chroma(0, 240)], empty=EMPTY)
    assert choose_lookup(music) == "hash"
    assert describe_missing(music).startswith("13 windows of 5 s looked up by hashes")
    with pytest.raises(UsageError, match=r"pip install 'earwitness\[faiss\]'"):
        versions.find_versions(music, music, lookup="faiss")
