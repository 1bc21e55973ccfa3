"""Sharing groups out over training and validation.

Conventions: a group goes to one side whole; the draw is by rank (a hash of seed and group), so it
depends on nothing but the groups. Groups of one kind (which classes and generators they hold) are
shared out alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from earwitness.training.examples import Example, Sharing


def share_groups(
    examples: Sequence[Example], sharing: Sharing
) -> tuple[list[Example], list[Example]]:
    """Return the examples to train and to validate with.

    Args:
        examples: All of them.
        sharing: How.
    """
    kinds: dict[str, set[tuple[int, str]]] = {}
    for one in examples:
        kinds.setdefault(one.group, set()).add((one.target, one.generator or ""))
    strata: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for group in sorted(kinds, key=lambda group: _rank(sharing.seed, group)):
        strata.setdefault(tuple(sorted(kinds[group])), []).append(group)
    held: set[str] = set()
    seen = 0
    for _, groups in sorted(strata.items()):
        before = round(seen * sharing.valid_share)
        seen += len(groups)
        held.update(groups[: round(seen * sharing.valid_share) - before])
    train = [one for one in examples if one.group not in held]
    return train, [one for one in examples if one.group in held]


def _rank(seed: int, group: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0valid\0{group}".encode(), digest_size=8).digest()
