"""Inverted index, alignment and null distribution, on arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earwitness.audit.near_duplicates import versions
from earwitness.audit.near_duplicates.alignment import (
    MARGIN,
    SHORTEST,
    VARIANTS,
    Alignment,
    Spectra,
    Variant,
    align_near,
    align_pairs,
    screen,
    screen_near,
    transform_length,
    vary,
)
from earwitness.audit.near_duplicates.check import fit_gumbel
from earwitness.audit.near_duplicates.copies import find_copies, most_bit_error
from earwitness.audit.near_duplicates.index import (
    Candidates,
    InvertedIndex,
    Keys,
    find_candidates,
    key_bits,
    stack,
)
from earwitness.audit.near_duplicates.versions import find_versions
from earwitness.audit.scratch import FEWEST_BYTES, Scratch
from earwitness.core.errors import UsageError

NO_WORDS = np.zeros(0, dtype=np.uint32)
NO_CHROMA = np.zeros((0, 12), dtype=np.int8)


def random_words(seed: int, n: int) -> NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(1, 1 << 32, n, dtype=np.uint32)


def random_chroma(seed: int, n: int) -> NDArray[np.int8]:
    noise = np.random.default_rng(seed).standard_normal((n + 3, 12))
    return (sum(noise[k : k + n] for k in range(4)) * 16).clip(-127, 127).astype(np.int8)


def words(*sequences: NDArray[np.uint32]) -> InvertedIndex:
    return stack(sequences, empty=NO_WORDS)


def align(one: NDArray[np.int8], other: NDArray[np.int8]) -> Alignment:
    return Alignment(*(column[0] for column in align_pairs([one], [other])))


def keys_of(*sequences: list[int]) -> Keys:
    """Every value is a key."""
    owner = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    place = np.concatenate([np.arange(len(s)) for s in sequences])
    values = np.concatenate([np.array(s, dtype=np.uint32) for s in sequences])
    return Keys(values, owner.astype(np.int32), place.astype(np.int32))


def candidates(
    one: list[Keys], other: list[Keys], *, fewest: int = 1, scratch: Scratch | None = None
) -> Candidates:
    """The candidates of all blocks together."""
    found = find_candidates(one, other, tolerance=1, fewest=fewest, scratch=scratch or Scratch())
    return Candidates(*(np.concatenate(column) for column in zip(*found, strict=True)))


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=4),
)
def test_votes_are_those_of_counting_one_by_one(
    one: list[list[int]], other: list[list[int]]
) -> None:
    found = candidates([keys_of(*one)], [keys_of(*other)])
    got = {(a, b): n for a, b, n in zip(found.one, found.other, found.votes, strict=True)}
    expected = {}
    for a, first in enumerate(one):
        for b, second in enumerate(other):
            shifts = [i - j for i, x in enumerate(first) for j, y in enumerate(second) if x == y]
            if shifts:
                expected[a, b] = max(shifts.count(shift) for shift in shifts)
    assert got == expected


def test_blocks_do_not_change_what_is_found() -> None:
    one, other = keys_of([1, 2, 3], [4, 5]), keys_of([2, 3], [5, 5])
    whole = candidates([one], [other])
    blocks = [one.take(slice(3)), one.take(slice(3, None))]
    parts = candidates(blocks, [other])
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def small_scratch(n_entries: int) -> Scratch:
    """A place for so few keys that they are sorted in many parts."""
    scratch = Scratch(FEWEST_BYTES)
    scratch.share = n_entries * 48
    return scratch


@given(st.lists(st.lists(st.integers(0, 40), max_size=60), min_size=2, max_size=12))
def test_parts_do_not_change_what_is_found(sequences: list[list[int]]) -> None:
    blocks = [keys_of(*sequences)]
    few = np.arange(len(sequences)) // 2
    parts = [blocks[0].take(few[blocks[0].owner] == number) for number in np.unique(few)]
    whole = candidates(blocks, blocks, fewest=2)
    divided = candidates(parts, parts, fewest=2, scratch=small_scratch(20))
    for a, b in zip(whole, divided, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_entries", [100, 1 << 20])
def test_keys_that_are_too_common_have_no_votes_in_any_number_of_parts(n_entries: int) -> None:
    common, rare = [7] * 60, [1, 2, 3]
    index = [keys_of(common + rare)._replace(owner=np.full(63, n, np.int32)) for n in range(5)]
    asked = [keys_of([*common[:2], *rare])]
    found = candidates(asked, index, scratch=small_scratch(n_entries))
    assert (found.other.tolist(), found.votes.tolist()) == ([0, 1, 2, 3, 4], [3] * 5)


def test_copies_and_versions_are_the_same_in_little_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "ALL_PAIRS", 0.0)
    library = [random_words(seed, 700) for seed in range(1_100)]
    copies = [noisy(library[seed], 0.1, seed) for seed in range(0, 1_100, 100)]
    in_memory = find_copies(words(*library), words(*copies))
    scratch = Scratch(FEWEST_BYTES, tmp_path)
    scratch.share = 1 << 20
    one, other = (stack(side, empty=NO_WORDS, scratch=scratch) for side in (library, copies))
    assert len(in_memory) == 11
    for a, b in zip(in_memory, find_copies(one, other, scratch=scratch), strict=True):
        np.testing.assert_array_equal(a, b)
    music = stack([random_chroma(seed, 120) for seed in range(60)], empty=NO_CHROMA)
    variants = VARIANTS[:3]
    whole = find_versions(music, music, same=True, least=2, variants=variants)
    small = find_versions(music, music, same=True, least=2, variants=variants, scratch=scratch)
    for a, b in zip((*whole.matches, *whole[1:]), (*small.matches, *small[1:]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(whole.score)
    assert not list(tmp_path.iterdir())


def test_arrays_beyond_the_limit_are_in_files_and_keep_their_values(tmp_path: Path) -> None:
    scratch = Scratch(FEWEST_BYTES, tmp_path)
    scratch.share = 0
    scratch._free = 1_000
    kept = [scratch.keep(random_words(seed, 100)) for seed in range(50)]
    scratch.release()
    for seed, values in enumerate(kept):
        np.testing.assert_array_equal(values, random_words(seed, 100))
    with pytest.raises(UsageError, match="expected at least 256 MiB"):
        Scratch(1 << 20)


def test_keys_grow_by_a_bit_when_comparisons_double() -> None:
    lengths = [key_bits(n, chance_hits=100, among=range(4, 30)) for n in (1 << 20, 1 << 21)]
    assert lengths == [14, 15]
    assert key_bits(0, chance_hits=100, among=range(4, 30)) == 4
    assert key_bits(1 << 60, chance_hits=1, among=range(4, 30)) == 29


def test_a_crop_with_wrong_bits_is_found_where_it_begins() -> None:
    library = [random_words(seed, 900) for seed in range(20)]
    flips = np.random.default_rng(1)
    noise = random_words(2, 500) & random_words(3, 500) & random_words(4, 500)
    crop = library[7][231:731] ^ np.where(flips.random(500) < 0.8, noise, 0).astype(np.uint32)
    matches = find_copies(words(*library), words(crop))
    assert matches.one.tolist() == [7]
    assert matches.offset_s[0] == pytest.approx(231 * 64 / 5_500)
    assert 0.85 < matches.similarity[0] < 0.95


def test_each_pair_of_one_library_is_given_once() -> None:
    library = words(random_words(0, 600), random_words(1, 600), random_words(0, 600))
    matches = find_copies(library, library, same=True)
    assert (matches.one.tolist(), matches.other.tolist()) == ([0], [2])
    assert matches.similarity.tolist() == [1.0]


def test_silence_and_what_is_too_short_are_no_copies() -> None:
    silent, short = np.zeros(900, dtype=np.uint32), random_words(0, 120)
    library = words(silent, silent, short, short)
    assert len(find_copies(library, library, same=True)) == 0


@pytest.mark.parametrize("libraries", [0, 1, 2])
def test_nothing_is_found_in_nothing(libraries: int) -> None:
    full, bare = words(random_words(0, 600)), words()
    one, other = [(bare, bare), (full, bare), (bare, full)][libraries]
    assert len(find_copies(one, other)) == 0
    empty = stack([], empty=NO_CHROMA)
    assert len(find_versions(empty, empty).score) == 0


@pytest.mark.parametrize("all_pairs", [3e8, 0.0])
def test_versions_are_found_by_either_way(
    monkeypatch: pytest.MonkeyPatch, all_pairs: float
) -> None:
    monkeypatch.setattr(versions, "ALL_PAIRS", all_pairs)
    originals = [random_chroma(seed, 240) for seed in range(30)]
    noise = random_chroma(99, 160)
    version = (originals[11][48:208] * 0.8 + noise * 0.6).clip(-127, 127).astype(np.int8)
    one, other = stack(originals, empty=NO_CHROMA), stack([version], empty=NO_CHROMA)
    found = find_versions(one, other)
    best = int(found.score.argmax())
    assert found.matches.one[best] == 11
    assert found.matches.offset_s[best] == pytest.approx(48 * 688 / 5_500)
    assert found.matches.similarity[best] == pytest.approx(0.8, abs=0.05)
    assert np.sort(found.score)[:-1].max(initial=0) < 6 < found.score[best]


@given(st.integers(-60, 60))
def test_alignment_finds_the_shift_and_agrees_with_exact_sums(shift: int) -> None:
    whole = random_chroma(5, 300)
    one, other = whole[60 - max(-shift, 0) : 200], whole[60 + max(shift, 0) : 240]
    found = align(one, other)
    assert found.shift == max(shift, 0) + max(-shift, 0)
    near = align_near(one, other, range(found.shift - 2, found.shift + 3))
    assert near.shift == found.shift
    assert near.correlation == pytest.approx(found.correlation, abs=1e-4)
    assert near.score == pytest.approx(found.score, rel=1e-2)


def test_an_overlap_that_is_too_short_has_no_score() -> None:
    assert align(random_chroma(0, SHORTEST - 1), random_chroma(0, 100)).score == -np.inf


def test_chance_exceeds_its_limits_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    chance = fit_gumbel(rng.gumbel(1.5, 0.3, 2_000))
    assert chance is not None
    fresh = rng.gumbel(1.5, 0.3, 200_000)
    n_above = int((fresh > chance.limit(200_000, 10)).sum())
    assert n_above <= 20  # the tail is taken slow, so fewer than ten are expected
    assert chance.limit(200_000, 10) < chance.limit(200_000, 0.01) < 9


def test_a_few_related_pairs_do_not_hide_the_others() -> None:
    scores = np.random.default_rng(0).gumbel(1.5, 0.3, 2_000)
    clean, spoilt = fit_gumbel(scores), fit_gumbel(np.concatenate([scores, [30.0, 30.0]]))
    assert clean is not None
    assert spoilt is not None
    assert spoilt.limit(10_000, 0.01) < 1.5 * clean.limit(10_000, 0.01)


def test_too_few_pairs_give_no_distribution() -> None:
    assert fit_gumbel(np.array([1.0, np.nan, -np.inf] * 10)) is None


def test_silence_at_an_end_has_no_score_of_its_own() -> None:
    """Rounded sums of next to nothing used to correlate by more than a thousand."""
    music = [random_chroma(seed, 240) for seed in range(12)]
    silent = music[0].copy()
    silent[-120:] = 0
    silent[-120::7, 3] = 1
    everything = stack([silent, *music[1:]], empty=NO_CHROMA)
    found = find_versions(everything, everything, same=True)
    assert np.abs(found.matches.similarity).max() <= 1
    assert found.score.max() < 5


def test_silence_before_a_sound_does_not_hide_it() -> None:
    music = random_chroma(1, 160)
    late = np.concatenate([np.zeros((80, 12), dtype=np.int8), music])
    found = align(late, music)
    assert (found.shift, found.correlation) == (80, pytest.approx(1))


def test_more_bits_may_differ_where_there_are_more_of_them() -> None:
    few, some, many = most_bit_error(256), most_bit_error(2_500), most_bit_error(17_000)
    assert (float(few), float(some)) == (pytest.approx(0.25), pytest.approx(0.352))
    assert 0.298 < many < 0.4


def noisy(words_: NDArray[np.uint32], error: float, seed: int) -> NDArray[np.uint32]:
    flips = np.random.default_rng(seed).random((len(words_), 32)) < error
    return words_ ^ np.packbits(flips, axis=1).view(">u4").astype(np.uint32).ravel()


@pytest.mark.parametrize(("n", "found"), [(17_000, 1), (300, 0)])
def test_another_mastering_is_found_where_it_is_long(n: int, found: int) -> None:
    one = random_words(0, n)
    assert len(find_copies(words(one), words(noisy(one, 0.298, 1)))) == found


def test_a_short_crop_is_found() -> None:
    library = [random_words(seed, 900) for seed in range(20)]
    crop = noisy(library[3][300:440], 0.08, 1)
    assert find_copies(words(*library), words(crop)).one.tolist() == [3]


def test_an_excerpt_inside_another_sound_is_partial() -> None:
    one, other = random_words(0, 2_500), random_words(1, 2_500)
    other[900:1_760] = noisy(one[400:1_260], 0.1, 2)
    found = find_copies(words(one), words(other))
    assert found.partial.tolist() == [True]
    assert found.offset_s[0] == pytest.approx(-500 * 64 / 5_500)
    assert found.similarity[0] > 0.85


@pytest.mark.parametrize("all_pairs", [3e8, 0.0])
@pytest.mark.parametrize("variant", [VARIANTS[2], VARIANTS[5], VARIANTS[-1]])
def test_changed_pitch_and_speed_are_found_by_either_way(
    monkeypatch: pytest.MonkeyPatch, all_pairs: float, variant: Variant
) -> None:
    monkeypatch.setattr(versions, "ALL_PAIRS", all_pairs)
    originals = [random_chroma(seed, 300) for seed in range(20)]
    changed, _ = vary(originals[7], variant)
    one, other = stack(originals, empty=NO_CHROMA), stack([changed], empty=NO_CHROMA)
    found = find_versions(one, other, least=7, variants=VARIANTS)
    assert found.matches.one.tolist() == [7]
    assert VARIANTS[int(found.variant[0])] == variant
    assert abs(found.matches.offset_s[0]) < 0.5


def over_loop(seed: int, *, n: int = 232, period: int = 56) -> NDArray[np.int8]:
    """Return a melody of its own over one chord progression that comes back every 7 s."""
    loop = np.tile(random_chroma(1, period), (n // period + 1, 1))[:n]
    return (loop * 0.8 + random_chroma(seed, n) * 0.6).clip(-127, 127).astype(np.int8)


def test_pieces_over_one_progression_do_not_stand_out_and_a_changed_piece_does() -> None:
    pieces = [over_loop(seed) for seed in range(50, 56)]
    shared = find_versions(*[stack(pieces, empty=NO_CHROMA)] * 2, same=True, least=8)
    assert len(shared.score) == 15
    assert shared.margin.max() < MARGIN
    changed, _ = vary(pieces[0], Variant(1.0, 1.045))  # between two variants
    one, other = stack(pieces[:1], empty=NO_CHROMA), stack([changed], empty=NO_CHROMA)
    found = find_versions(one, other, least=7, variants=VARIANTS)
    assert found.margin.tolist() > [MARGIN]


def test_screening_keeps_every_pair_that_reaches_the_score() -> None:
    lengths = np.random.default_rng(0).integers(30, 300, 24)
    sounds = [over_loop(seed, n=n) for seed, n in enumerate(lengths)]
    sounds[3][20:] = 0
    numbers = range(len(sounds))
    pairs = [(a, b) for a in numbers for b in numbers]
    delay, n = max(lengths), transform_length(2 * max(lengths))
    passed = screen(Spectra(sounds, n, delay=delay), Spectra(sounds, n), delay, 5.0)
    exact = align_pairs([sounds[a] for a, _ in pairs], [sounds[b] for _, b in pairs])
    near = screen_near(
        [sounds[a] for a, _ in pairs],
        [sounds[b] for _, b in pairs],
        exact.shift + 2,
        reach=4,
        least=5.0,
    )
    reaching = exact.score >= 5
    assert 0 < reaching.sum() < len(pairs)
    assert passed.ravel()[reaching].all()
    assert near[reaching].all()
    assert passed.sum() < 1.2 * reaching.sum()


def test_related_pairs_do_not_raise_the_limit() -> None:
    rng = np.random.default_rng(0)
    unrelated = rng.gumbel(1.5, 0.3, 2_000)
    clean = fit_gumbel(unrelated)
    assert clean is not None
    for share in (0.01, 0.02, 0.08, 0.2):
        alike = rng.uniform(4, 100, int(share * 2_000))
        spoilt = fit_gumbel(np.concatenate([unrelated, alike]))
        assert spoilt is not None
        assert spoilt.limit(2_304, 0.005) < 1.6 * clean.limit(2_304, 0.005)


def test_where_most_pairs_are_alike_nothing_is_fitted() -> None:
    rng = np.random.default_rng(0)
    assert fit_gumbel(np.concatenate([rng.gumbel(1.5, 0.3, 100), rng.uniform(4, 90, 150)])) is None
