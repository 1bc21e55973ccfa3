"""Whether reconstructions are heard as their own track, and as no other.

Conventions: a reconstruction is a fake whose group has a real in the same set: its track. Recall is
the share of a generator's reconstructions that sound like their track, precision the share of own
tracks among the reals that they sound like. Both tell how well the audit hears in this very set,
where what belongs together is known; not to be heard is no offence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import JsonValue

from earwitness.auditing.outcomes import Subject, conclude_slices, not_checked
from earwitness.auditing.pairs import Family, Pair, Place, Sounds
from earwitness.auditing.scene import Outcome, Scene
from earwitness.manifests.cells import UNKNOWN

SUBJECT = Subject("reconstructions", "reconstructions heard as their own track", "inside", "")


class Heard(NamedTuple):
    """What was heard of one generator's reconstructions.

    Attributes:
        n: Reconstructions that could be heard.
        n_linked: Those that sound like their track.
        n_own: Pairs with their track that sound alike.
        n_strange: Pairs with another real that sound alike.
    """

    n: int
    n_linked: int
    n_own: int
    n_strange: int

    def told(self) -> str:
        """Return recall and precision in words."""
        recall = f"recall {self.n_linked} of {self.n}"
        n_pairs = self.n_own + self.n_strange
        return f"{recall}, precision {self.n_own} of {n_pairs}" if n_pairs else recall


def judge_reconstructions(scene: Scene, sounds: Sounds, pairs: Iterable[Pair]) -> Outcome:
    """Compare what is heard with what ``group_id`` says, generator by generator.

    Args:
        scene: What is looked at.
        sounds: Those of audited rows.
        pairs: Families of one set that sound alike, beyond chance.
    """
    heard = _listen(sounds, pairs)
    figures: dict[str, JsonValue] = {name: dict(one._asdict()) for name, one in heard.items()}
    n = sum(one.n for one in heard.values())
    n_linked = sum(one.n_linked for one in heard.values())
    if not n_linked:
        why = "none is heard as its track" if n else "no fake has the group_id of a real"
        n_rows = scene.audited_rows.height
        return not_checked(SUBJECT, why, n_unchecked=n_rows, figures=figures)
    alike: dict[str, list[str]] = {}
    for generator, one in heard.items():
        alike.setdefault(one.told(), []).append(generator)
    return conclude_slices(
        SUBJECT,
        is_finding=False,
        detail="; ".join(f"{', '.join(names)}: {told}" for told, names in alike.items()),
        n_checked=n_linked,
        n_unchecked=n - n_linked,
        figures=figures,
    )


def _listen(sounds: Sounds, pairs: Iterable[Pair]) -> dict[str, Heard]:
    """Return what was heard, by generator in alphabetical order."""
    families = [family for kin in sounds.families for family in kin]
    tracks = {_track(family) for family in families if not _is_fake(family)} - {None}
    made = [family for family in families if _is_fake(family) and _track(family) in tracks]
    n: Counter[str] = Counter()
    for family in made:
        n[_generator(family)] += len(family)
    linked: dict[str, set[Place]] = {name: set() for name in n}
    own, strange = Counter[str](), Counter[str]()
    for fake, real in _fakes_with_reals(pairs):
        name = _generator(fake)
        if name in n and _track(fake) == _track(real) is not None:
            own[name] += len(fake) * len(real)
            linked[name] |= {(row["set"], row["row"]) for row in fake}
        else:
            strange[name] += len(fake) * len(real)
    return {name: Heard(n[name], len(linked[name]), own[name], strange[name]) for name in sorted(n)}


def _fakes_with_reals(pairs: Iterable[Pair]) -> Iterator[tuple[Family, Family]]:
    for pair in pairs:
        if _is_fake(pair.one) != _is_fake(pair.other):
            yield (pair.one, pair.other) if _is_fake(pair.one) else (pair.other, pair.one)


def _is_fake(family: Family) -> bool:
    return bool(family[0]["target"])


def _track(family: Family) -> tuple[int, str] | None:
    first = family[0]
    return (first["set"], first["group"]) if first["group"] else None


def _generator(family: Family) -> str:
    return family[0]["generator"] or UNKNOWN
