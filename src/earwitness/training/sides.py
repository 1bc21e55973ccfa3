"""Sharing groups out over training, validation and test.

Conventions: a group goes to one side whole; the draw is by rank (a hash of seed and group), so it
depends on nothing but the groups. Groups of one kind (which classes and generators they hold) are
shared out alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from earwitness.training.examples import Example, Sharing


def share_groups(
    examples: Sequence[Example], sharing: Sharing
) -> tuple[list[Example], list[Example]]:
    """Return the examples to train and to validate with.

    Args:
        examples: All of them.
        sharing: How.
    """
    return _hold_out(examples, sharing.valid_share, f"{sharing.seed}\0valid")


def hold_out_test(
    examples: Sequence[Example], sharing: Sharing
) -> tuple[list[Example], list[Example], Sharing]:
    """Return the examples to learn from, those held out for a test, and how to share the former.

    Args:
        examples: All of them.
        sharing: How; both of its shares are of all examples.
    """
    rest, test = _hold_out(examples, sharing.test_share, f"{sharing.seed}\0test")
    share = sharing.valid_share / (1 - sharing.test_share)
    return rest, test, replace(sharing, valid_share=share, test_share=0.0)


def _hold_out(
    examples: Sequence[Example], share: float, salt: str
) -> tuple[list[Example], list[Example]]:
    """Return the examples of most groups, and those of about this share of the groups."""
    kinds: dict[str, set[tuple[int, str]]] = {}
    for one in examples:
        kinds.setdefault(one.group, set()).add((one.target, one.generator or ""))
    strata: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for group in sorted(kinds, key=lambda group: _rank(salt, group)):
        strata.setdefault(tuple(sorted(kinds[group])), []).append(group)
    held: set[str] = set()
    seen = 0
    for _, groups in sorted(strata.items()):
        before = round(seen * share)
        seen += len(groups)
        held.update(groups[: round(seen * share) - before])
    rest = [one for one in examples if one.group not in held]
    return rest, [one for one in examples if one.group in held]


def _rank(salt: str, group: str) -> bytes:
    return hashlib.blake2b(f"{salt}\0{group}".encode(), digest_size=8).digest()
