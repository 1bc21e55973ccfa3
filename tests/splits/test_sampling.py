from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.splits.grouping import (
    one_per_group,
    proportional,
    share_out,
    stratum_counts,
    take,
    with_rank,
)

SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), min_size=1)


@given(st.integers(0, 120), SIZES)
def test_shares_are_equal_as_far_as_sizes_allow(n: int, sizes: dict[str, int]) -> None:
    shares = share_out(n, sizes)
    assert sum(shares.values()) == min(n, sum(sizes.values()))
    assert all(0 <= shares[name] <= sizes[name] for name in sizes)
    most = max(shares.values())
    assert all(shares[name] >= most - 1 or shares[name] == sizes[name] for name in sizes)


def test_deficits_go_round() -> None:
    assert share_out(10, {"a": 1, "b": 9, "c": 9}) == {"a": 1, "b": 5, "c": 4}


@given(st.integers(0, 120), SIZES)
def test_proportions_are_within_one_of_exact(n: int, sizes: dict[str, int]) -> None:
    shares = proportional(n, sizes)
    total = sum(sizes.values())
    assert sum(shares.values()) == min(n, total)
    for name, size in sizes.items():
        assert shares[name] <= size
        assert n > total or abs(shares[name] - n * size / max(total, 1)) < 1


def rows(keys: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"key": keys, "generator": [key[0] for key in keys]})


KEYS = st.lists(st.text("abc", min_size=1, max_size=6), unique=True, min_size=1)


@given(KEYS, st.randoms())
def test_ranks_do_not_depend_on_the_order_of_rows(keys: list[str], random: object) -> None:
    shuffled = list(keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = with_rank(rows(keys), seed=1, purpose="x")
    assert first.equals(with_rank(rows(shuffled), seed=1, purpose="x"))


@given(KEYS, st.text("def", min_size=1))
def test_a_new_file_displaces_but_does_not_reorder(keys: list[str], new: str) -> None:
    before = with_rank(rows(keys), seed=1, purpose="x")["key"].to_list()
    after = with_rank(rows([*keys, new]), seed=1, purpose="x")["key"].to_list()
    assert [key for key in after if key != new] == before


def test_seeds_and_purposes_give_other_orders() -> None:
    frame = rows([f"a{n}" for n in range(50)])
    orders = [
        with_rank(frame, seed=seed, purpose=purpose)["key"].to_list()
        for seed, purpose in [(1, "x"), (2, "x"), (1, "y")]
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_ranks_are_a_fair_draw() -> None:
    frame = rows([f"a{n}" for n in range(10)])
    first = [with_rank(frame, seed=seed, purpose="x")["key"][0] for seed in range(2000)]
    counts = [first.count(f"a{n}") for n in range(10)]
    assert min(counts) > 130  # 200 each on average; 5 standard deviations
    assert max(counts) < 270


def test_take_keeps_the_order_and_the_quota() -> None:
    frame = pl.DataFrame({"key": list("vwxyz"), "generator": ["g", None, "g", "h", "g"]})
    assert take(frame, {"g": 2, "": 1})["key"].to_list() == ["v", "w", "x"]
    assert stratum_counts(frame) == {"": 1, "g": 3, "h": 1}


def tracks(n: int, generators: list[str]) -> pl.DataFrame:
    items = [(f"t{i}", 0, None) for i in range(n)]
    items += [(f"t{i}", 1, g) for i in range(n) for g in generators]
    frame = pl.DataFrame(items, schema=["group_id", "target", "generator"], orient="row")
    keys = pl.concat_str("group_id", pl.col("generator").fill_null("real"))
    return with_rank(frame.with_columns(keys.alias("key")), seed=3, purpose="x")


@pytest.mark.parametrize(("n_real", "n_fake"), [(20, 20), (30, 10), (5, 35)])
def test_one_per_group_fills_both_sides_and_all_generators(n_real: int, n_fake: int) -> None:
    kept = one_per_group(tracks(40, ["e1", "e2", "e3"]), {0: n_real, 1: n_fake})
    assert kept["group_id"].is_unique().all()
    assert kept.height == 40
    assert abs((kept["target"] == 0).sum() - n_real) <= 1
    per_generator = stratum_counts(kept.filter(pl.col("target") == 1)).values()
    assert max(per_generator) - min(per_generator) <= 1
