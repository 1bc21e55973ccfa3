from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.splits.grouping import Share, balance_classes, balance_sources, share_sources


def sources(sizes: dict[str, Share]) -> pl.DataFrame:
    items = [
        (f"{source}/{target}/{i}", source, target, f"g{i % 2}" if target else None)
        for source, share in sizes.items()
        for target, n in enumerate(share)
        for i in range(n)
    ]
    schema = ["key", "source_dataset", "target", "generator"]
    return pl.DataFrame(items, schema=schema, orient="row")


def counts(frame: pl.DataFrame) -> dict[tuple[str, int], int]:
    grouped = frame.group_by("source_dataset", "target").len().iter_rows()
    return {(source, target): n for source, target, n in grouped}


def test_the_smaller_class_is_kept_whole_and_the_larger_drawn_in_proportion() -> None:
    frame = sources({"FMA": Share(30, 60), "SONICS": Share(20, 20), "Caps": Share(0, 20)})
    balanced = balance_classes(frame, seed=1, purpose="x")
    assert counts(balanced) == {
        ("FMA", 0): 30,
        ("SONICS", 0): 20,
        ("FMA", 1): 30,
        ("SONICS", 1): 10,
        ("Caps", 1): 10,
    }
    assert balanced.filter(pl.col("generator") == "g0").height == 25


SIZES = st.fixed_dictionaries(
    {name: st.builds(Share, st.integers(0, 40), st.integers(0, 40)) for name in ("A", "B", "C")}
)


@given(SIZES)
def test_classes_are_always_equal(sizes: dict[str, Share]) -> None:
    shares = share_sources(sizes)
    assert sum(s.n_real for s in shares.values()) == sum(s.n_fake for s in shares.values())
    assert all(shares[n].n_real <= sizes[n].n_real for n in sizes)
    assert all(shares[n].n_fake <= sizes[n].n_fake for n in sizes)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (
            {"FMA": Share(2000, 2000), "SONICS": Share(2000, 2000), "Caps": Share(0, 2000)},
            {"FMA": Share(1500, 500), "SONICS": Share(1500, 500), "Caps": Share(0, 2000)},
        ),
        (
            {"FMA": Share(40, 40), "SONICS": Share(10, 40), "Caps": Share(0, 40)},
            {"FMA": Share(20, 0), "SONICS": Share(10, 10), "Caps": Share(0, 20)},
        ),
        (  # reals in one source only: equal sources cannot be had, equal classes can
            {"FMA": Share(0, 9), "SONICS": Share(9, 9), "Caps": Share(0, 9)},
            {"FMA": Share(0, 3), "SONICS": Share(9, 3), "Caps": Share(0, 3)},
        ),
    ],
)
def test_sources_share_as_equally_as_their_classes_allow(
    sizes: dict[str, Share], expected: dict[str, Share]
) -> None:
    assert share_sources(sizes) == expected


def test_rows_follow_the_shares() -> None:
    sizes = {"FMA": Share(12, 12), "SONICS": Share(12, 12), "Caps": Share(0, 8)}
    drawn = balance_sources(sources(sizes), seed=1, purpose="x")
    assert counts(drawn) == {
        ("FMA", 0): 6,
        ("FMA", 1): 2,
        ("SONICS", 0): 6,
        ("SONICS", 1): 2,
        ("Caps", 1): 8,
    }
